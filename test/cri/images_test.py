#!/usr/bin/python3
"""The images of critest, pulled under their own names from the loopback: images_test.py PEPITA PROGRAM…"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import images
from oci import DebianRegistry

PEPITA, PROGRAMS = sys.argv[1], pathlib.Path(sys.argv[2]).parent
FULL_NAMES = {"library/": "docker.io/", images.STAGING: "gcr.io/", images.E2E: "registry.k8s.io/", "pause": "registry.k8s.io/"}


def full_name(name: str) -> str:
    return next(host for beginning, host in FULL_NAMES.items() if name.startswith(beginning)) + name


class Images(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.path = pathlib.Path(cls.folder.name)
        cls.registry = images.TestRegistry.start(PROGRAMS, cls.path)
        cls.addClassCleanup(cls.registry.close)

    def pepita(self, *arguments) -> str:
        done = subprocess.run([PEPITA, "image", *map(str, arguments), "--root", self.path / "store"], capture_output=True,
                              text=True, timeout=120)
        self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)
        return done.stdout

    def test_each_is_pulled_under_its_own_name(self):
        for name, image in self.registry.images.items():
            with self.subTest(name):
                self.assertEqual(self.pepita("pull", full_name(name), "--hosts", self.registry.hosts), image.id + "\n")
        self.pepita("pull", "k8s.gcr.io/pause:3.9", "--hosts", self.registry.hosts)
        listed = {tuple(name for name in entry["names"] if "@" not in name) for entry in json.loads(self.pepita("list", "--format=json"))}
        staging = "gcr.io/" + images.STAGING
        self.assertIn(("k8s.gcr.io/pause:3.9", "registry.k8s.io/pause:3.9"), listed)
        self.assertIn(tuple(f"{staging}test-image-tags:{tag}" for tag in "123"), listed)
        # Two names for the plain busybox.
        self.assertIn(("docker.io/library/busybox:latest", "registry.k8s.io/e2e-test-images/busybox:1.29-2"), listed)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_the_programs_do_what_critest_looks_for(self):
        root = self.path / "root"
        for name in ("var/run", "usr/sbin", "proc"):
            (root / name).mkdir(parents=True)
        for program, place in (("web_server", "usr/sbin/nginx"), ("effective_uid", "nnp")):
            (root / place).write_bytes((PROGRAMS / program).read_bytes())
            (root / place).chmod(0o4755)
        server = subprocess.Popen(["unshare", "--net", "--pid", "--fork", "--kill-child", "chroot", root, "/usr/sbin/nginx", "80"],
                                  stdout=subprocess.PIPE, text=True)
        self.addCleanup(server.communicate)
        self.addCleanup(server.kill)
        self.assertEqual(server.stdout.readline(), "nginx: serving port 80\n")
        self.assertEqual((root / "var/run/nginx.pid").read_text(), "1\n")
        inner = int(subprocess.run(["pgrep", "-P", str(server.pid)], capture_output=True, check=True).stdout)
        self.assertIn("master process", pathlib.Path(f"/proc/{inner}/cmdline").read_text())
        self.assertEqual(pathlib.Path(f"/proc/{inner}/comm").read_text(), "nginx\n")
        page = subprocess.run(["nsenter", f"--net=/proc/{inner}/ns/net", "sh", "-c",
                               "ip link set lo up && busybox wget -qO- http://127.0.0.1/"], capture_output=True, text=True)
        self.assertEqual(page.stdout, "Welcome to nginx!\n", page.stderr)
        for prefix, uid in (((), 0), (("setpriv", "--no-new-privs"), 1000)):
            said = subprocess.run([*prefix, "chroot", "--userspec=1000:1000", root, "/nnp"], capture_output=True, text=True)
            self.assertEqual(said.stdout, f"Effective uid: {uid}\n", said.stderr)


if __name__ == "__main__":
    if not DebianRegistry.is_here:
        print("images_test.py: docker-registry or skopeo is missing")
        sys.exit(77)
    sys.argv[1:] = []
    unittest.main(verbosity=2)

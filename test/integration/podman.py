"""Debian's podman, unchanged, with pepita-run in runc's place. Its storage is this test's own."""
import json
import os
import shutil
import subprocess
import tarfile
import unittest

import support
from support import NodeTest

PODMAN = shutil.which("podman")
# What a container has that asks for nothing else.
ALONE = ("--network", "none", "--security-opt", "seccomp=unconfined")


class Podman(NodeTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if PODMAN is None:
            raise unittest.SkipTest("podman is not installed: deploy/packages-test has it")

    def setUp(self):
        super().setUp()
        self.storage = self.scratch / "podman"
        self.storage.mkdir()
        (self.storage / "containers.conf").write_text(
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n')
        self.addCleanup(self.remove_all)
        root = self.scratch / "root"
        support.busybox_root(root)
        with tarfile.open(self.scratch / "image.tar", "w") as image:
            image.add(root, arcname=".")
        self.podman("import", "--quiet", self.scratch / "image.tar", "busybox:1")

    def remove_all(self):
        self.podman("rm", "--all", "--force", "--time", "0")
        # podman mounts its storage on itself.
        subprocess.run(["umount", "-R", str(self.storage / "root/overlay")], capture_output=True, check=False)

    def podman(self, *arguments, expect=0, stdin=b""):
        flags = {"root": self.root, "data": support.DATA, "isolation": support.ISOLATION, "shim": support.SHIM}
        command = [PODMAN, "--root", self.storage / "root", "--runroot", self.storage / "run", "--storage-driver", "overlay",
                   "--runtime", support.PEPITA_RUN]
        for name, value in flags.items():
            command += ["--runtime-flag", f"{name}={value}"]
        done = subprocess.run([*map(str, command), *map(str, arguments)], input=stdin, capture_output=True, check=False,
                              timeout=support.PATIENCE_S,
                              env=os.environ | {"CONTAINERS_CONF": str(self.storage / "containers.conf")})
        self.assertEqual(done.returncode, expect, f"{arguments}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def run_once(self, *arguments, **more):
        return self.podman("run", "--rm", *ALONE, *arguments, **more)

    def test_run_with_a_volume(self):
        shared = self.scratch / "shared"
        shared.mkdir()
        (shared / "file").write_text("content\n")
        said = self.run_once("-v", f"{shared}:/vol", "-v", f"{shared}:/ro:ro", "busybox:1", "sh", "-c",
                             "cat /vol/file; echo back > /vol/made; (echo x > /ro/no) 2> /dev/null || echo refused")
        self.assertEqual(said, b"content\nrefused\n")
        self.assertEqual((shared / "made").read_text(), "back\n")

    def test_input_and_statuses(self):
        self.assertEqual(self.run_once("-i", "busybox:1", "cat", stdin=b"through\n"), b"through\n")
        self.run_once("busybox:1", "sh", "-c", "exit 7", expect=7)
        self.run_once("busybox:1", "nosuch", expect=127)

    def test_a_life_with_exec_cp_logs_and_stop(self):
        (self.scratch / "file").write_text("from the host\n")
        self.podman("run", "-d", "--name", "web", *ALONE, "busybox:1", "sh", "-c",
                    "trap 'echo stopping; exit 3' TERM; echo started; while :; do sleep 1; done")
        self.assertEqual(self.podman("exec", "web", "sh", "-c", "echo made > /made; cat /proc/1/comm"), b"sh\n")
        self.podman("cp", self.scratch / "file", "web:/copied")
        self.assertEqual(self.podman("exec", "web", "cat", "/copied"), b"from the host\n")
        self.podman("stop", "--time", "20", "web")
        self.assertEqual(self.podman("logs", "web"), b"started\nstopping\n")
        state = json.loads(self.podman("inspect", "web"))[0]["State"]
        self.assertEqual((state["Status"], state["ExitCode"]), ("exited", 3))
        self.assertIn(b"A /made", self.podman("diff", "web").splitlines())
        self.podman("cp", "web:/made", self.scratch / "copy")
        self.assertEqual((self.scratch / "copy").read_text(), "made\n")
        self.podman("cp", self.scratch / "file", "web:/got")
        self.podman("commit", "--quiet", "web", "web:2")
        self.podman("rm", "web")
        self.assertEqual(self.run_once("web:2", "cat", "/made", "/got"), b"made\nfrom the host\n")

    def test_named_volumes_outlive_their_containers(self):
        self.run_once("-v", "kept:/kept", "busybox:1", "sh", "-c", "echo 1 > /kept/file")
        self.assertEqual(self.run_once("-v", "kept:/kept", "busybox:1", "cat", "/kept/file"), b"1\n")

    def test_a_read_only_root(self):
        said = self.run_once("--read-only", "--read-only-tmpfs=false", "busybox:1", "sh", "-c",
                             "touch /x 2> /dev/null || echo refused; cat /etc/hosts | grep -c localhost")
        self.assertEqual(said.splitlines()[0], b"refused")

    def test_user_and_dropped_capabilities(self):
        said = self.run_once("--user", "1000:1000", "--cap-drop", "all", "busybox:1", "sh", "-c",
                             "id -u; grep CapBnd /proc/self/status")
        self.assertEqual(said, b"1000\nCapBnd:\t0000000000000000\n")


if __name__ == "__main__":
    unittest.main()

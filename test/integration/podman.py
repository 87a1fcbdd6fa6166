"""Debian's podman, unchanged, with pepita-run in runc's place: its storage and network are this test's own."""
import json
import os
import shlex
import shutil
import subprocess
import tarfile
import unittest

import support
from support import NodeTest

PODMAN = shutil.which("podman")
# What a container has that asks for nothing else.
ALONE = ("--network", "none")
BOOT_ID = "/proc/sys/kernel/random/boot_id"
NETWORK = {"cniVersion": "0.4.0", "name": "podman", "plugins": [
    {"type": "bridge", "bridge": "cni-podman0", "isGateway": True, "ipMasq": False, "hairpinMode": True,
     "ipam": {"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}], "ranges": [[{"subnet": "10.88.0.0/16"}]]}},
    {"type": "portmap", "capabilities": {"portMappings": True}}]}


class PodmanTest(NodeTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if PODMAN is None:
            raise unittest.SkipTest("podman is not installed: deploy/packages-test has it")

    def setUp(self):
        super().setUp()
        self.storage = self.scratch / "podman"
        self.storage.mkdir()
        (self.storage / "net.d").mkdir()
        NETWORK["plugins"][0]["ipam"]["dataDir"] = str(self.storage / "leases")
        (self.storage / "net.d/87-podman.conflist").write_text(json.dumps(NETWORK))
        (self.storage / "containers.conf").write_text(
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            '[network]\nnetwork_backend = "cni"\ncni_plugin_dirs = ["/usr/lib/cni"]\n'
            f'network_config_dir = "{self.storage}/net.d"\n')
        self.enter = []  # the words before podman's
        # Not podman's --runtime-flag: what it starts to clean up would not have it.
        self.runtime = self.storage / "pepita-run"
        self.runtime.write_text(f'#!/bin/sh\nexec {shlex.join(self.command())} "$@"\n')
        self.runtime.chmod(0o755)
        self.addCleanup(self.remove_all)
        root = self.scratch / "root"
        support.busybox_root(root)
        with tarfile.open(self.scratch / "image.tar", "w") as image:
            image.add(root, arcname=".")
        self.podman("import", "--quiet", self.scratch / "image.tar", "busybox:1")

    def remove_all(self):
        self.podman("pod", "rm", "--all", "--force", "--time", "0")
        self.podman("rm", "--all", "--force", "--time", "0")
        # podman mounts its storage on itself.
        subprocess.run(["umount", "-R", str(self.storage / "root/overlay")], capture_output=True, check=False)

    def podman(self, *arguments, expect=0, stdin=b""):
        command = [*self.enter, PODMAN, "--root", self.storage / "root", "--runroot", self.storage / "run", "--storage-driver", "overlay",
                   "--runtime", self.runtime]
        done = subprocess.run([*map(str, command), *map(str, arguments)], input=stdin, capture_output=True, check=False,
                              timeout=support.PATIENCE_S,
                              env=os.environ | {"CONTAINERS_CONF": str(self.storage / "containers.conf")})
        self.assertEqual(done.returncode, expect, f"{arguments}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def run_once(self, *arguments, **more):
        return self.podman("run", "--rm", *ALONE, *arguments, **more)


class Podman(PodmanTest):
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

    def test_a_pod_is_one_microvm(self):
        self.podman("pod", "create", "--name", "web", "--network", "none", "--infra-image", "busybox:1", "--infra-command", "sleep 1000")
        self.podman("run", "-d", "--name", "server", "--pod", "web", "busybox:1", "sh", "-c",
                    f"mkdir /www; cat {BOOT_ID} > /www/id; exec httpd -f -p 8080 -h /www")
        said = self.podman("run", "--rm", "--pod", "web", "busybox:1", "sh", "-c",
                           f"until wget -q -O - http://127.0.0.1:8080/id; do :; done; cat {BOOT_ID}; ls /www 2>&1; hostname")
        ids = said.decode().splitlines()
        self.assertEqual((ids[0], ids[2:]), (ids[1], ["ls: /www: No such file or directory", "web"]))
        self.assertEqual(self.podman("exec", "server", "cat", BOOT_ID).decode().strip(), ids[0])
        self.podman("pod", "stop", "--time", "1", "web")
        self.podman("pod", "rm", "web")

    def test_named_volumes_outlive_their_containers(self):
        self.run_once("-v", "kept:/kept", "busybox:1", "sh", "-c", "echo 1 > /kept/file")
        self.assertEqual(self.run_once("-v", "kept:/kept", "busybox:1", "cat", "/kept/file"), b"1\n")

    def test_a_read_only_root(self):
        said = self.run_once("--read-only", "busybox:1", "sh", "-c",
                             "touch /x 2> /dev/null || echo refused; touch /tmp/x /run/x /var/tmp/x && echo written")
        self.assertEqual(said, b"refused\nwritten\n")

    def test_user_and_dropped_capabilities(self):
        said = self.run_once("--user", "1000:1000", "--cap-drop", "all", "busybox:1", "sh", "-c",
                             "id -u; grep CapBnd /proc/self/status")
        self.assertEqual(said, b"1000\nCapBnd:\t0000000000000000\n")


if __name__ == "__main__":
    unittest.main()

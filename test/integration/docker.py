"""Debian's dockerd, unchanged, with pepita-run as a runtime: its network is made in a prestart hook. Its data are this test's own."""
import os
import pathlib
import shutil
import subprocess
import tarfile
import unittest

import network
import support
from support import NodeTest

DOCKERD = shutil.which("dockerd") or shutil.which("dockerd", path="/usr/sbin")


class Docker(NodeTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if DOCKERD is None:
            raise unittest.SkipTest("docker.io is not installed")

    def setUp(self):
        super().setUp()
        self.namespace = f"pepita-it-{os.getpid()}"
        network.ip("netns", "add", self.namespace)
        self.addCleanup(network.ip, "netns", "delete", self.namespace)
        network.ip("link", "set", "lo", "up", namespace=self.namespace)
        self.runtime = self.scratch / "pepita-run"
        self.runtime.write_text(f'#!/bin/sh\nexec {" ".join(self.command())} "$@"\n')
        self.runtime.chmod(0o755)
        self.data = self.scratch / "docker"
        self.data.mkdir()
        self.socket = self.data / "docker.sock"
        self.log = open(self.data / "log", "ab")
        self.addCleanup(self.log.close)
        # Mounts of its own, so that none of dockerd's is left.
        self.server = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.namespace}", "unshare", "-m", DOCKERD, "--storage-driver", "vfs", "--iptables=false",
             "--ip-masq=false", "--data-root", self.data / "data", "--exec-root", self.data / "exec", "-H", f"unix://{self.socket}",
             "-p", self.data / "pid", "--add-runtime", f"pepita={self.runtime}"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.addCleanup(self.stop)
        support.wait_until(lambda: self.call_docker("version").returncode == 0 or self.server.poll() is not None, "dockerd's start")
        self.assertIsNone(self.server.poll(), self.said())
        root = self.scratch / "root"
        support.busybox_root(root)
        with tarfile.open(self.scratch / "image.tar", "w") as image:
            image.add(root, arcname=".")
        self.docker("import", self.scratch / "image.tar", "busybox:1")

    def said(self):
        return pathlib.Path(self.log.name).read_text(errors="replace")

    def stop(self):
        self.call_docker("rm", "--force", *self.call_docker("ps", "--all", "--quiet").stdout.decode().split())
        self.server.terminate()
        self.server.wait(support.PATIENCE_S)

    def call_docker(self, *arguments):
        return subprocess.run(["docker", "-H", f"unix://{self.socket}", *map(str, arguments)], stdin=subprocess.DEVNULL,
                              capture_output=True, check=False, timeout=support.PATIENCE_S)

    def docker(self, *arguments, expect=0):
        done = self.call_docker(*arguments)
        self.assertEqual(done.returncode, expect, f"{arguments}: {done.stderr.decode(errors='replace')}\n{self.said()}")
        return done.stdout

    def test_output_and_statuses(self):
        self.assertEqual(self.docker("run", "--rm", "--runtime", "pepita", "--network", "none", "busybox:1", "echo", "hello"), b"hello\n")
        self.docker("run", "--rm", "--runtime", "pepita", "--network", "none", "busybox:1", "sh", "-c", "exit 7", expect=7)

    def test_a_published_port(self):
        self.docker("run", "-d", "--name", "web", "--runtime", "pepita", "-p", "8080:80", "busybox:1", "sh", "-c",
                    "mkdir /www; echo page > /www/index.html; exec httpd -f -h /www")

        def fetch():
            return subprocess.run(["nsenter", f"--net=/run/netns/{self.namespace}", support.BUSYBOX, "wget", "-q", "-O", "-",
                                   "http://127.0.0.1:8080/"], capture_output=True, timeout=support.PATIENCE_S, check=False).stdout
        support.wait_until(lambda: fetch() == b"page\n", "the page")
        self.assertIn(b"eth0", self.docker("exec", "web", "ip", "addr"))
        self.docker("rm", "--force", "web")


if __name__ == "__main__":
    unittest.main()

"""Networks of podman's containers: another container's, and published ports. By hand."""
import os
import subprocess
import unittest

import network
import support
from podman import ALONE, BOOT_ID, PodmanTest


class PodmanNetwork(PodmanTest):
    def test_the_network_of_another_container(self):
        self.podman("run", "-d", "--name", "first", *ALONE, "busybox:1", "sleep", "1000")
        first = self.podman("exec", "first", "cat", BOOT_ID)
        self.assertEqual(self.podman("run", "--rm", "--network", "container:first", "busybox:1", "cat", BOOT_ID), first)
        self.assertNotEqual(self.run_once("busybox:1", "cat", BOOT_ID), first)
        self.podman("rm", "--force", "--time", "0", "first")

    def test_a_published_port(self):
        namespace = f"pepita-it-{os.getpid()}"
        network.ip("netns", "add", namespace)
        self.addCleanup(network.ip, "netns", "delete", namespace)
        network.ip("link", "set", "lo", "up", namespace=namespace)
        self.enter = ["nsenter", f"--net=/run/netns/{namespace}"]
        self.addCleanup(setattr, self, "enter", [])
        self.podman("run", "-d", "--name", "web", "-p", "8080:80", "busybox:1", "sh", "-c",
                    "mkdir /www; echo page > /www/index.html; exec httpd -f -h /www")
        address = self.podman("inspect", "--format", "{{.NetworkSettings.Networks.podman.Gateway}}", "web").decode().strip()

        def fetch():
            return subprocess.run([*self.enter, "busybox", "wget", "-q", "-O", "-", f"http://{address}:8080/"], capture_output=True,
                                  timeout=support.PATIENCE_S, check=False).stdout
        support.wait_until(lambda: fetch() == b"page\n", "the page")
        self.podman("rm", "--force", "--time", "0", "web")


if __name__ == "__main__":
    unittest.main()

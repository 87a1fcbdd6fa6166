"""Pods of several containers: they join a running microVM, come and go in any order, and leave nothing.

Environment, beside support.py's: PEPITA_POD_CONTAINERS, how many in one pod at once, and PEPITA_POD_ROUNDS.
"""
import json
import os
import pathlib
import random
import subprocess
import unittest

import support

CONTAINERS = int(os.environ.get("PEPITA_POD_CONTAINERS", "6"))
ROUNDS = int(os.environ.get("PEPITA_POD_ROUNDS", "2"))


def as_pod(config):
    config["annotations"] = {"io.kubernetes.cri.container-type": "sandbox"}


def member_of(pod):
    def edit(config):
        config["annotations"] = {"io.kubernetes.cri.container-type": "container",
                                 "io.kubernetes.cri.sandbox-id": pod}
    return edit


class Pods(support.NodeTest):
    def setUp(self):
        super().setUp()
        self.files = self.scratch / "rootfs"
        support.busybox_root(self.files)

    def pod(self, name="pod"):
        """Its containers have packed roots: disks that come and go."""
        bundle = self.bundle(["/pause"], name=f"bundle-{name}", root=self.files, edit=as_pod)
        self.detached("run", "-d", "--root-disk", "-b", bundle, name)
        return name

    def member(self, args, name, pod="pod"):
        return self.started(args, name=name, root=self.files, edit=member_of(pod))

    def shim_of(self, name):
        return self.state_file(name)["shim"]["pid"]

    def remove(self, name):
        self.call("kill", name, "KILL", expect=0)
        support.wait_until(lambda: self.state(name)["status"] == "stopped", f"{name}'s end")
        self.call("delete", name, expect=0)

    def test_containers_share_one_microvm_and_nothing_else(self):
        self.pod()
        self.member(["sh", "-c", "echo one > /mine; exec sleep 1000"], "one")
        self.member(["sh", "-c", "echo two > /mine; exec sleep 1000"], "two")
        self.assertEqual({self.shim_of("pod")}, {self.shim_of(name) for name in ("one", "two")})
        self.assertEqual(self.state("one")["status"], "running")
        for name in ("one", "two"):
            support.wait_until(lambda name=name: self.call("exec", name, "cat", "/mine").stdout == f"{name}\n".encode(),
                               "what it wrote")
        self.assertEqual(self.call("exec", "one", "cat", "/proc/sys/kernel/random/boot_id", expect=0).stdout,
                         self.call("exec", "two", "cat", "/proc/sys/kernel/random/boot_id", expect=0).stdout)
        self.remove("one")
        self.assertEqual(self.state("two")["status"], "running")
        # The name is free, and what the first wrote is gone.
        done = self.call("run", "-b", self.bundle(["ls", "/mine"], root=self.files, edit=member_of("pod"),
                                                  name="again"), "one")
        self.assertNotEqual(done.returncode, 0)
        self.remove("two")
        self.call("kill", "pod", "TERM", expect=0)
        support.wait_until(lambda: self.state("pod")["status"] == "stopped", "the pod's end")
        self.call("delete", "pod", expect=0)

    def test_each_container_has_the_hosts_files_that_are_its_own(self):
        bundle = self.bundle(["/pause"], name="bundle-pod", root=self.files, edit=as_pod)
        self.detached("run", "-d", "-b", bundle, "pod")
        for name in ("one", "two", "three"):
            root = self.scratch / f"root-{name}"
            support.busybox_root(root)
            (root / "mine").write_text(name)
            volume = self.scratch / f"volume-{name}"
            volume.mkdir()
            (volume / "file").write_text(f"volume of {name}")

            def edit(config, volume=volume):
                member_of("pod")(config)
                config["mounts"].append({"destination": "/volume", "type": "bind", "source": str(volume),
                                         "options": ["rbind"]})
            self.started(["sleep", "1000"], name=name, root=root, edit=edit)
        for name in ("one", "two", "three"):
            self.assertEqual(self.call("exec", name, "cat", "/mine", "/volume/file", expect=0).stdout.decode(),
                             f"{name}volume of {name}")
        self.remove("one")
        self.assertEqual(self.call("exec", "two", "cat", "/mine", expect=0).stdout, b"two")
        for name in ("two", "three", "pod"):
            self.call("delete", "-f", name, expect=0)

    def test_the_pods_end_is_that_of_its_containers(self):
        self.pod()
        self.member(["sleep", "1000"], "one")
        self.call("kill", "pod", "KILL", expect=0)
        support.wait_until(lambda: self.state("one")["status"] == "stopped", "the member's end")
        self.call("delete", "pod", expect=0)
        self.call("delete", "one", expect=0)

    def test_a_member_passes_its_status_and_output_through(self):
        self.pod()
        done = self.call("run", "-b", self.bundle(["sh", "-c", "cat; exit 7"], root=self.files,
                                                  edit=member_of("pod")), "one", stdin=b"through\n", expect=7)
        self.assertEqual(done.stdout, b"through\n")
        self.assertEqual(self.ids(), ["pod"])
        self.call("delete", "-f", "pod", expect=0)

    def test_what_cannot_join_says_why(self):
        bundle = self.bundle(["true"], root=self.files, edit=member_of("none"))
        self.refused("create", "-b", bundle, "one", words=["join the pod 'none'", "does not exist"])
        self.pod()
        broken = self.bundle(["/nowhere"], root=self.files, edit=member_of("pod"), name="broken")
        self.refused("create", "-b", broken, "one", words=["/nowhere"])
        self.refused("exec", "pod", "true", status=125, words=["the pod's own container has no process"])
        self.assertEqual(self.ids(), ["pod"])
        self.call("delete", "-f", "pod", expect=0)

    def test_what_is_paused_stands_still_and_what_it_uses_is_told(self):
        self.started(["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > /count; done"], name="one", root=self.files)

        def count():
            return int(self.call("exec", "one", "cat", "/count", expect=0).stdout or 0)
        support.wait_until(lambda: self.call("exec", "one", "cat", "/count").returncode == 0, "the count")
        self.call("pause", "one", expect=0)
        self.assertEqual(self.state("one")["status"], "paused")
        self.refused("exec", "one", "true", status=125, words=["container is paused"])
        self.refused("pause", "one", words=["container is paused"])
        used = [json.loads(self.call("events", "--stats", "one", expect=0).stdout)["data"]["cpu"]["usage"]["total"]
                for _ in range(2)]
        self.assertEqual(used[0], used[1])
        self.call("resume", "one", expect=0)
        before = count()
        support.wait_until(lambda: count() != before, "the count after the pause")
        pids = json.loads(self.call("ps", "-f", "json", "one", expect=0).stdout)
        if support.HAS_MACHINE:
            self.assertEqual(pids, [self.state("one")["pid"]])
        else:
            self.assertEqual([pathlib.Path(f"/proc/{pid}/comm").read_text() for pid in pids], ["sh\n"])
        if support.HAS_MACHINE or support.has_controllers():
            self.limit_one()
        self.call("pause", "one", expect=0)
        self.call("kill", "one", "KILL", expect=0)
        support.wait_until(lambda: self.state("one")["status"] == "stopped", "the end of what was paused")
        self.call("delete", "one", expect=0)

    def limit_one(self):
        self.call("update", "--memory", "64m", "--pids-limit", "40", "one", expect=0)
        self.call("update", "--resources=-", "one", stdin=b'{"cpu": {"shares": 512}}', expect=0)
        stats = json.loads(self.call("events", "--stats", "one", expect=0).stdout)["data"]
        self.assertEqual(stats["memory"]["usage"]["limit"], 64 << 20)
        self.assertEqual(stats["pids"]["limit"], 40)
        self.assertGreater(stats["memory"]["usage"]["usage"], 0)

    def files_without_clients(self):
        """Descriptors once the shim has closed the connections of those who have gone."""
        def connections():
            return [line for line in pathlib.Path("/proc/self/net/unix").read_text().splitlines()
                    if line.endswith("/shim.sock") and line.split()[5] == "03"]
        support.wait_until(lambda: not connections(), "the end of connections")
        return self.open_files("pod")

    def test_many_come_and_go_in_random_order(self):
        self.pod()
        order = random.Random(3)
        names = [f"c{i}" for i in range(CONTAINERS)]
        self.member(["sleep", "1000"], "warm")
        self.remove("warm")
        before = self.files_without_clients()
        for _ in range(ROUNDS):
            waiting, running = list(names), []
            while waiting or running:
                if waiting and (not running or order.random() < 0.6):
                    name = waiting.pop(order.randrange(len(waiting)))
                    bundle = self.scratch / f"bundle-{name}"
                    if not bundle.exists():
                        self.bundle(["sleep", "1000"], root=self.files, edit=member_of("pod"), name=bundle.name)
                    self.detached("run", "-d", "-b", bundle, name)
                    running.append(name)
                else:
                    self.remove(running.pop(order.randrange(len(running))))
                if not waiting and len(running) == CONTAINERS:
                    listed = json.loads(self.call("list", "-f", "json", expect=0).stdout)
                    self.assertEqual(len(listed), CONTAINERS + 1)
            self.assertEqual(self.files_without_clients(), before)
        self.call("delete", "-f", "pod", expect=0)


if __name__ == "__main__":
    unittest.main()

"""Pods in network namespaces of the host: two of them are joined by a bridge, as a CNI plugin does it.

The bridge is in a namespace of its own, so that nothing of the machine is touched but names in /run/netns.
Environment: as support.py says.
"""
import hashlib
import json
import os
import subprocess
import unittest

import support

MEBIBYTES = int(os.environ.get("PEPITA_NETWORK_MIB", "64"))
# Two emulated processors interrupt each other for every few frames, which makes them four times slower than one.
MEBIBYTES_OF_TWO_PROCESSORS = MEBIBYTES if support.ISOLATION == "kvm" else MEBIBYTES // 8
MTU = 1400


def ip(*words, namespace=None):
    where = ["-n", namespace] if namespace else []
    return subprocess.run(["ip", *where, *map(str, words)], check=True, capture_output=True, text=True).stdout


def in_namespace(path):
    def edit(config):
        namespaces = [it for it in config["linux"]["namespaces"] if it["type"] != "network"]
        config["linux"]["namespaces"] = [*namespaces, {"type": "network", "path": str(path)}]
        config["process"]["capabilities"] = {name: ["CAP_NET_RAW", "CAP_NET_ADMIN"]
                                             for name in ("bounding", "effective", "permitted")}
    return edit


class Network(support.NodeTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # The first name makes /run/netns a mount, which stays.
        ip("netns", "add", f"pepita-it-{os.getpid()}")
        ip("netns", "delete", f"pepita-it-{os.getpid()}")

    def setUp(self):
        super().setUp()
        self.prefix = f"pepita-it-{os.getpid()}"
        self.files = self.scratch / "rootfs"
        support.busybox_root(self.files)
        self.bridge = self.namespace("bridge")
        ip("link", "add", "bridge", "type", "bridge", namespace=self.bridge)
        ip("link", "set", "bridge", "mtu", MTU, "up", namespace=self.bridge)
        ip("addr", "add", "10.9.0.1/24", "dev", "bridge", namespace=self.bridge)
        self.pods = [self.pod_namespace(name, number) for number, name in enumerate(("a", "b"), 2)]

    def namespace(self, name):
        name = f"{self.prefix}-{name}"
        ip("netns", "add", name)
        self.addCleanup(ip, "netns", "delete", name)
        return name

    def pod_namespace(self, name, number, interface="eth0"):
        pod = self.namespace(name)
        ip("link", "add", f"to-{name}", "mtu", MTU, "type", "veth", "peer", "name", interface, "mtu", MTU,
           "address", f"02:00:00:00:09:{number:02x}", "netns", pod, namespace=self.bridge)
        ip("link", "set", f"to-{name}", "master", "bridge", "up", namespace=self.bridge)
        ip("link", "set", interface, "up", namespace=pod)
        ip("addr", "add", f"10.9.0.{number}/24", "dev", interface, namespace=pod)
        ip("addr", "add", f"fd00:9::{number:x}/64", "dev", interface, "nodad", namespace=pod)
        ip("route", "add", "default", "via", "10.9.0.1", "mtu", 1300, namespace=pod)
        ip("neigh", "add", "10.9.0.99", "lladdr", "02:00:00:00:09:99", "dev", interface, "nud", "permanent",
           namespace=pod)
        return pod

    def start(self, pod, name, options=()):
        bundle = self.bundle(["sleep", "1000"], root=self.files, name=f"bundle-{name}",
                             edit=in_namespace(f"/run/netns/{pod}"))
        with open(self.scratch / "detached.log", "ab") as log:
            done = subprocess.run(self.command("run", *options, "-d", "-b", bundle, name),
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=support.PATIENCE_S,
                                  check=False)
        self.assertEqual(done.returncode, 0, (self.scratch / "detached.log").read_text(errors="replace"))

    def inside(self, name, script):
        return self.call("exec", name, "sh", "-c", script, expect=0).stdout.decode()

    def end(self, *names):
        for name in names:
            self.call("delete", "-f", name, expect=0)

    def links(self, pod):
        return {link["ifname"] for link in json.loads(ip("-j", "link", namespace=pod))}

    def ingress(self, pod):
        found = subprocess.run(["tc", "-n", pod, "-j", "qdisc"], check=True, capture_output=True, text=True).stdout
        return [it["dev"] for it in json.loads(found) if it["kind"] == "ingress"]

    def send(self, sender, receiver, address, mebibytes):
        """So many MiB by TCP, whose hash the receiver computes."""
        server = subprocess.Popen(self.command("exec", receiver, "sh", "-c",
                                                 # Its standard input does not end before the data does.
                                                 "mkfifo /tmp/in; nc -l -p 5000 <> /tmp/in | md5sum; rm /tmp/in"),
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.addCleanup(server.kill)
        self.inside(sender, f"n=0; while [ $n -lt {mebibytes} ]; do cat /block; n=$((n + 1)); done > /tmp/data; "
                    f"until nc {address} 5000 < /tmp/data; do sleep 0.1; done; rm /tmp/data")
        hashed = server.communicate(timeout=support.PATIENCE_S)[0].decode().split()[0]
        self.assertEqual(hashed, hashlib.md5((self.files / "block").read_bytes() * mebibytes).hexdigest())

    def test_guest_has_what_the_namespace_has(self):
        self.start(self.pods[0], "a")
        shown = self.inside("a", "ip addr show dev eth0; ip route; ip -6 route; ip neigh show nud permanent")
        for words in ("02:00:00:00:09:02", "mtu 1400", "inet 10.9.0.2/24", "inet6 fd00:9::2/64", "inet6 fe80::",
                      "default via 10.9.0.1 dev eth0", "10.9.0.0/24 dev eth0", "fd00:9::/64 dev eth0",
                      "10.9.0.99 dev eth0 lladdr 02:00:00:00:09:99"):
            self.assertIn(words, shown)
        self.end("a")

    def test_two_pods_talk_over_a_bridge(self):
        self.start(self.pods[0], "a")
        self.start(self.pods[1], "b", options=("--cpus", "2"))  # two queue pairs
        self.inside("a", "ping -c 2 -w 20 10.9.0.1 && ping -c 2 -w 20 10.9.0.3")
        self.inside("b", "ping -c 2 -w 20 -s 4000 10.9.0.2 && ping6 -c 2 -w 20 fd00:9::2")
        self.assertIn("10.9.0.2", self.inside("b", "traceroute -n -m 2 -q 1 10.9.0.2 | tail -n 1"))  # by UDP
        self.send("a", "b", "10.9.0.3", MEBIBYTES)
        self.send("b", "a", "10.9.0.2", MEBIBYTES_OF_TWO_PROCESSORS)
        self.assertEqual(self.ingress(self.pods[0]).count("eth0"), 1)
        self.end("a", "b")
        for pod in self.pods:
            self.assertEqual(self.links(pod), {"lo", "eth0"})
            self.assertEqual(self.ingress(pod), [])

    def test_several_interfaces_have_their_own_names(self):
        pod = self.pods[0]
        ip("link", "add", "to-x", "type", "veth", "peer", "name", "net1", "address", "02:00:00:00:09:10", "netns", pod,
           namespace=self.bridge)
        ip("link", "set", "net1", "up", namespace=pod)
        ip("addr", "add", "10.10.0.2/16", "dev", "net1", namespace=pod)
        ip("link", "set", "eth0", "down", namespace=pod)
        ip("link", "set", "eth0", "name", "z", namespace=pod)
        ip("link", "set", "net1", "down", namespace=pod)
        ip("link", "set", "net1", "name", "eth0", namespace=pod)
        for name in ("z", "eth0"):
            ip("link", "set", name, "up", namespace=pod)
        self.start(pod, "a")
        shown = self.inside("a", "ip addr show dev eth0; echo; ip addr show dev z").split("\n\n")
        self.assertIn("10.10.0.2/16", shown[0])
        self.assertIn("02:00:00:00:09:10", shown[0])
        self.assertIn("10.9.0.2/24", shown[1])
        self.end("a")

    def test_an_interface_may_appear_later(self):
        pod = self.pods[0]
        self.start(pod, "a")
        ip("link", "add", "to-x", "type", "veth", "peer", "name", "net1", "netns", pod, namespace=self.bridge)
        ip("link", "set", "to-x", "up", namespace=self.bridge)
        ip("addr", "add", "10.10.0.1/24", "dev", "to-x", namespace=self.bridge)
        ip("addr", "add", "10.10.0.2/24", "dev", "net1", namespace=pod)
        ip("link", "set", "net1", "up", namespace=pod)
        support.wait_until(lambda: self.call("exec", "a", "ping", "-c", "1", "-w", "5", "10.10.0.1").returncode == 0,
                           "the new interface")
        ip("addr", "add", "10.11.0.2/24", "dev", "net1", namespace=pod)
        support.wait_until(lambda: "10.11.0.2/24" in self.inside("a", "ip addr show dev net1"), "the new address")
        self.end("a")

    def test_who_names_the_network_of_a_pod_joins_its_microvm(self):
        self.start(self.pods[0], "a")
        bundle = self.bundle(["sh", "-c", "ip -o addr show dev eth0; cat /proc/sys/kernel/random/boot_id"], root=self.files,
                             edit=in_namespace(f"/run/netns/{self.pods[0]}"))
        said = self.call("run", "-b", bundle, "second", expect=0).stdout.decode()
        self.assertIn("10.9.0.2/24", said)
        self.assertEqual(said.splitlines()[-1], self.inside("a", "cat /proc/sys/kernel/random/boot_id").strip())
        self.end("a")

    def test_an_interface_has_one_microvm(self):
        self.start(self.pods[0], "a")
        bundle = self.bundle(["true"], root=self.files, edit=in_namespace(f"/run/netns/{self.pods[0]}"))
        # Of another root nothing is known.
        self.refused("--root", self.scratch / "other", "run", "-b", bundle, "second", status=125,
                     words=("interface 'eth0'", "another microVM has it"))
        self.inside("a", "ping -c 1 -w 20 10.9.0.1")
        self.end("a")

    def test_a_killed_shim_leaves_nothing_that_is_in_the_way(self):
        self.start(self.pods[0], "a")
        os.kill(self.state_file("a")["shim"]["pid"], 9)
        support.wait_until(lambda: self.links(self.pods[0]) == {"lo", "eth0"}, "the tap's end")
        self.end("a")
        self.start(self.pods[0], "next")
        self.inside("next", "ping -c 1 -w 20 10.9.0.1")
        self.end("next")
        self.assertEqual(self.ingress(self.pods[0]), [])

    def test_what_is_no_namespace_is_refused(self):
        for name, path, words in (("none", self.scratch / "missing", "No such file"),
                                  ("file", "/dev/null", "is no network namespace"),
                                  ("mount", "/proc/self/ns/mnt", "is no network namespace"),
                                  ("own", f"/proc/{os.getpid()}/ns/net", "is the host's network namespace")):
            bundle = self.bundle(["true"], root=self.files, name=name, edit=in_namespace(path))
            self.refused("run", "-b", bundle, name, status=125, words=(words,))


if __name__ == "__main__":
    unittest.main(verbosity=2)

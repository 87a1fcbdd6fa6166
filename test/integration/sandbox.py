"""A pod as containerd drives it: the Sandbox API, Task v3 and events, spoken to a real pepita-shim."""
import json
import os
import pathlib
import unittest

import network
import sandbox_client
import support
import ttrpc


class Sandbox(sandbox_client.SandboxTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # The first name makes /run/netns a mount, which stays.
        network.ip("netns", "add", f"pepita-it-{os.getpid()}")
        network.ip("netns", "delete", f"pepita-it-{os.getpid()}")

    def test_a_sandbox_from_its_beginning_to_its_end(self):
        self.start_sandbox()
        self.assertEqual(self.sandbox("SandboxStatus")[3], b"SANDBOX_READY")
        self.sandbox("PingSandbox")
        with self.assertRaises(ttrpc.Refused) as refused:
            self.client.call(sandbox_client.SANDBOX, "PingSandbox", {1: "other"})
        self.assertEqual(refused.exception.args[0], 5)

        output, reader = self.fifo("output")
        bundle = self.bundle(["sh", "-c", "echo here; exec sleep 1000"])
        self.task("Create", "web", f2=str(bundle), f5="", f6=output, f7=output)
        self.task("Start", "web")
        self.assertEqual(support.read_until(reader, b"here\n"), b"here\n")
        self.assertEqual(self.task("State", "web")[4], 2)
        self.task("Pause", "web")
        self.assertEqual(self.task("State", "web")[4], 4)
        self.task("Resume", "web")
        if support.HAS_MACHINE or support.has_controllers():
            self.task("Update", "web", f2={1: "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources",
                                           2: json.dumps({"pids": {"limit": 50}})})
            metrics = ttrpc.fields_of(ttrpc.fields_of(self.task("Stats", "web")[1])[2])
            self.assertEqual(ttrpc.fields_of(metrics[1])[2], 50)
        self.assertIn(2, ttrpc.fields_of(self.sandbox("SandboxMetrics")[1]))
        with self.assertRaises(ttrpc.Refused) as refused:
            self.task("Checkpoint", "web")
        self.assertEqual(refused.exception.args[0], 12)
        self.task("Kill", "web", f3=9)
        self.assertEqual(self.task("Wait", "web")[1], 137)
        self.assertEqual(self.task("Delete", "web")[2], 137)

        self.end_sandbox()
        self.assertEqual(self.events.topics, ["/tasks/create", "/tasks/start", "/tasks/paused", "/tasks/resumed",
                                              "/tasks/exit", "/tasks/delete"])

    def test_a_sandbox_that_cannot_begin_says_why(self):
        with self.assertRaises(ttrpc.Refused) as refused:
            self.sandbox("StartSandbox")
        self.assertIn("memory 1: must be a whole number", self.refusal(self.create_sandbox, spec={7: 1}))

    def test_a_sandbox_that_has_no_such_network_says_so(self):
        self.create_sandbox(f5="/run/netns/no-such")
        self.assertIn("'/run/netns/no-such'", self.refusal(self.sandbox, "StartSandbox"))
        self.shim.wait(support.PATIENCE_S)

    def test_a_sandbox_has_the_network_that_its_request_names(self):
        namespace = f"pepita-it-{os.getpid()}"
        network.ip("netns", "add", namespace)
        self.addCleanup(network.ip, "netns", "delete", namespace)
        network.ip("link", "add", "eth0", "address", "02:00:00:00:09:01", "type", "veth", "peer", "name", "peer0",
                   namespace=namespace)
        network.ip("addr", "add", "10.9.0.1/24", "dev", "eth0", namespace=namespace)
        network.ip("link", "set", "eth0", "up", namespace=namespace)
        network.ip("link", "set", "peer0", "up", namespace=namespace)
        path = f"/run/netns/{namespace}"
        self.create_sandbox(f5=path)
        self.sandbox("StartSandbox")
        output, reader = self.fifo("output")
        bundle = self.bundle(["sh", "-c", "ip addr show eth0; echo end"], edit=network.in_namespace(path))
        self.task("Create", "web", f2=str(bundle), f5="", f6=output, f7=output)
        self.task("Start", "web")
        text = support.read_until(reader, b"end\n")
        self.assertIn(b"02:00:00:00:09:01", text)
        self.assertIn(b"10.9.0.1/24", text)
        self.task("Wait", "web")
        self.task("Delete", "web")
        other = self.bundle(["true"], edit=network.in_namespace("/proc/self/ns/net"), name="other")
        self.assertIn("is not the pod's", self.refusal(self.task, "Create", "other", f2=str(other)))
        self.sandbox("ShutdownSandbox")
        self.shim.wait(support.PATIENCE_S)

    def test_a_sandbox_is_in_its_cgroup(self):
        place = f"/pepita-sandbox-{os.getpid()}/pod"
        self.create_sandbox(spec={17: place})
        self.sandbox("StartSandbox")
        children = pathlib.Path(f"/proc/{self.shim.pid}/task/{self.shim.pid}/children").read_text().split()
        for pid in [str(self.shim.pid), *children]:
            for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
                group = place if support.HAS_MACHINE else f"{place}/shim~"
                self.assertTrue(line.endswith(f":{group}"), f"{pid}: {line}")
        self.assertGreaterEqual(len(children), 2 if support.HAS_MACHINE else 1)
        self.sandbox("StopSandbox", f2=30)
        self.sandbox("ShutdownSandbox")
        self.shim.wait(support.PATIENCE_S)


if __name__ == "__main__":
    unittest.main()

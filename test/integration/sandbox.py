"""A pod as containerd drives it: the Sandbox API, Task v3 and events, spoken to a real pepita-shim."""
import json
import os
import socket
import subprocess
import unittest

import support
import ttrpc

SANDBOX = "containerd.runtime.sandbox.v1.Sandbox"
TASK = "containerd.task.v3.Task"
ISOLATIONS = {"kvm": 1, "tcg": 2}


class ShimTest(support.NodeTest):
    """A pepita-shim of this test's own, and its first client."""

    def setUp(self):
        super().setUp()
        self.events = ttrpc.EventListener(self.scratch / "events.sock")
        self.addCleanup(self.events.close)
        ours, theirs = socket.socketpair()
        ours.settimeout(support.PATIENCE_S)

        def place():
            os.dup2(theirs.fileno(), 3)
        self.shim = subprocess.Popen([support.SHIM], pass_fds=(3,), preexec_fn=place, stdin=subprocess.DEVNULL,
                                     stderr=open(self.scratch / "shim.log", "wb"),
                                     env={"TTRPC_ADDRESS": str(self.scratch / "events.sock"), "NAMESPACE": "test"})
        theirs.close()
        self.client = ttrpc.Client(ours)
        self.addCleanup(self.end_shim)

    def end_shim(self):
        self.client.connection.close()
        self.shim.kill()
        self.shim.wait()

    def sandbox(self, method, **more):
        return self.client.call(SANDBOX, method, {1: "pod", **{int(k[1:]): v for k, v in more.items()}})

    def task(self, method, name, fds=(), **more):
        return self.client.call(TASK, method, {1: name, **{int(k[1:]): v for k, v in more.items()}}, fds)

    def start_sandbox(self):
        spec = ttrpc.message({1: "pod", 2: str(self.root), 3: str(support.DATA), 6: ISOLATIONS[support.ISOLATION],
                              5: "/usr/bin/qemu-system-x86_64", 7: 256, 8: 1, 9: 64, 10: 120, 15: 1})
        self.sandbox("CreateSandbox", f4={1: "pepita.pod.v1.PodSpec", 2: spec})
        self.assertEqual(self.sandbox("StartSandbox")[1], self.shim.pid)

    def end_sandbox(self):
        self.sandbox("StopSandbox", f2=30)
        self.assertEqual(self.sandbox("WaitSandbox").get(1, 0), 0)
        self.sandbox("ShutdownSandbox")
        self.shim.wait(support.PATIENCE_S)


class Sandbox(ShimTest):
    def test_a_sandbox_from_its_beginning_to_its_end(self):
        self.start_sandbox()
        self.assertEqual(self.sandbox("SandboxStatus")[3], b"SANDBOX_READY")
        self.sandbox("PingSandbox")
        with self.assertRaises(ttrpc.Refused) as refused:
            self.client.call(SANDBOX, "PingSandbox", {1: "other"})
        self.assertEqual(refused.exception.args[0], 5)

        output = self.scratch / "output"
        os.mkfifo(output)
        reader = os.open(output, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        bundle = self.bundle(["sh", "-c", "echo here; exec sleep 1000"])
        self.task("Create", "web", f2=str(bundle), f5="", f6=str(output), f7=str(output))
        self.task("Start", "web")
        self.assertEqual(support.read_until(reader, b"here\n"), b"here\n")
        self.assertEqual(self.task("State", "web")[4], 2)
        self.task("Pause", "web")
        self.assertEqual(self.task("State", "web")[4], 4)
        self.task("Resume", "web")
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
        spec = ttrpc.message({1: "pod", 2: str(self.root), 3: str(support.DATA), 7: 1, 8: 1, 10: 60})
        with self.assertRaises(ttrpc.Refused) as refused:
            self.sandbox("CreateSandbox", f4={1: "pepita.pod.v1.PodSpec", 2: spec})
        self.assertIn("memory 1: must be a whole number", refused.exception.args[1])


if __name__ == "__main__":
    unittest.main()

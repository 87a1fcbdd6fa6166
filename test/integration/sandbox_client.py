"""A pepita-shim as containerd drives it: the Sandbox API and Task v3, spoken to the real program."""
import os
import socket
import subprocess

import support
import ttrpc

SANDBOX = "containerd.runtime.sandbox.v1.Sandbox"
TASK = "containerd.task.v3.Task"
ISOLATIONS = {"kvm": 1, "tcg": 2, "process": 3}


class SandboxTest(support.NodeTest):
    """A shim that has no pod yet; fields of requests are named f<number>."""

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

    def pod_spec(self, more=None) -> bytes:
        """A pepita.pod.v1.PodSpec; `more`: fields beside the usual ones."""
        return ttrpc.message({1: "pod", 2: str(self.root), 3: str(support.DATA), 6: ISOLATIONS[support.ISOLATION],
                              5: "/usr/bin/qemu-system-x86_64", 7: 256, 8: 1, 9: 64, 10: 120, 15: 1, **(more or {})})

    def create_sandbox(self, spec=None, **more):
        """`spec`: fields of its PodSpec; `more`: of the request."""
        self.sandbox("CreateSandbox", f4={1: "pepita.pod.v1.PodSpec", 2: self.pod_spec(spec)}, **more)

    def start_sandbox(self):
        self.create_sandbox()
        self.assertEqual(self.sandbox("StartSandbox")[1], self.shim.pid)

    def end_sandbox(self):
        self.sandbox("StopSandbox", f2=30)
        self.assertEqual(self.sandbox("WaitSandbox").get(1, 0), 0)
        self.sandbox("ShutdownSandbox")
        self.shim.wait(support.PATIENCE_S)

    def refusal(self, call, *arguments, **more):
        """The words of a call that must be refused."""
        with self.assertRaises(ttrpc.Refused) as refused:
            call(*arguments, **more)
        return refused.exception.args[1]

    def fifo(self, name):
        """Its path, and a descriptor to read it by."""
        path = self.scratch / name
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        return str(path), reader

"""Streams of containers as pepita-cri drives them, with a real pepita-shim: logs, attach, exec, ports."""
import hashlib
import json
import os
import re
import socket
import threading
import unittest

import support
import ttrpc
from sandbox_client import SandboxTest

POD = "pepita.pod.v1.Pod"
PROCESS = "types.containerd.io/opencontainers/runtime-spec/1/Process"
RECORD = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (stdout|stderr) ([PF]) (.*)", re.DOTALL)
LINE_MAX = 16384
MIB = 1 << 20


def read_exactly(fd, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(fd, min(65536, size - len(data)))
        if not part:
            raise AssertionError(f"the stream ended after {len(data)} bytes of {size}")
        data += part
    return data


def read_to_end(fd) -> bytes:
    parts = []
    while part := os.read(fd, 65536):
        parts.append(part)
    return b"".join(parts)


class Streams(SandboxTest):
    def setUp(self):
        super().setUp()
        self.log = self.scratch / "logs" / "0.log"
        self.log.parent.mkdir()
        self.start_sandbox()

    # Helpers: containers and what they have written.

    def pod(self, method, fields, fds=()):
        return self.client.call(POD, method, fields, fds)

    def container(self, script, name="web", stdin="", terminal=False):
        def share_network(config):
            namespaces = config["linux"]["namespaces"]
            config["linux"]["namespaces"] = [each for each in namespaces if each["type"] != "network"]
            config["process"]["terminal"] = terminal
        bundle = self.bundle(["sh", "-c", script], name=f"bundle-{name}", edit=share_network)
        log = f"cri-log://{self.log}"
        self.task("Create", name, f2=str(bundle), f4=int(terminal), f5=stdin, f6=log, f7="" if terminal else log)
        self.task("Start", name)

    def end(self, name="web", status=0):
        self.assertEqual(self.task("Wait", name).get(1, 0), status)
        self.task("Delete", name)

    def pipe(self):
        ends = os.pipe()
        closed = set()

        def close(end):
            if end not in closed:
                closed.add(end)
                os.close(end)
        for end in ends:
            self.addCleanup(close, end)
        return *ends, close

    def attach(self, stdin=None, stdout=None, name="web"):
        given = {number: fd for number, fd in ((2, stdin), (3, stdout)) if fd is not None}
        names = {number: f"fd:{i}" for i, number in enumerate(given)}
        self.pod("Attach", {1: name, **names}, list(given.values()))

    def records(self, *logs):
        for log in logs or [self.log]:
            for line in log.read_bytes().split(b"\n")[:-1]:
                parts = RECORD.fullmatch(line)
                self.assertIsNotNone(parts, line)
                yield parts.groups()

    @staticmethod
    def content(records, stream: bytes) -> bytes:
        return b"".join(text + (b"\n" if mark == b"F" else b"")
                        for _, which, mark, text in records if which == stream)

    # Logs.

    def test_all_that_a_chatty_container_writes_is_in_its_log(self):
        self.container("""i=0
            while [ $i -lt 2000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done
            head -c 40000 /dev/zero | tr '\\0' x; echo; echo; printf 'a\\0b'""")
        self.end()
        records = list(self.records())
        numbers = range(2000)
        self.assertEqual(self.content(records, b"stdout"),
                         b"".join(b"out %d\n" % i for i in numbers) + b"x" * 40000 + b"\n\na\0b")
        self.assertEqual(self.content(records, b"stderr"), b"".join(b"err %d\n" % i for i in numbers))
        times = [record[0] for record in records]
        self.assertEqual(times, sorted(times))
        self.assertEqual([(mark, len(text)) for _, which, mark, text in records if which == b"stdout"][2000:],
                         [(b"P", LINE_MAX), (b"P", LINE_MAX), (b"F", 40000 - 2 * LINE_MAX), (b"F", 0), (b"P", 3)])
        self.assertEqual(self.log.stat().st_mode & 0o777, 0o640)
        self.end_sandbox()

    def test_rotation_under_load_loses_and_repeats_no_line(self):
        lines = 300000
        self.container(f"seq 1 {lines}; read wait", stdin="attach:once")
        last = b"stdout F %d\n" % lines
        rotated = []

        def ends_with_last(path):
            with open(path, "rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - len(last)))
                return log.read() == last
        while not any(ends_with_last(path) for path in [self.log, *rotated[-1:]]):
            rotated.append(self.log.with_suffix(f".{len(rotated)}"))
            self.log.rename(rotated[-1])
            self.pod("ReopenLog", {1: "web"})
        self.assertGreater(len([log for log in rotated if log.stat().st_size > 0]), 2)
        self.assertEqual(self.content(self.records(*rotated, self.log), b"stdout"),
                         b"".join(b"%d\n" % i for i in range(1, lines + 1)))
        reading, writing, close = self.pipe()
        self.attach(stdin=reading)
        close(writing)
        self.end(status=1)
        with self.assertRaises(ttrpc.Refused) as refused:
            self.pod("ReopenLog", {1: "web"})
        self.assertIn("does not exist", refused.exception.args[1])
        self.end_sandbox()

    # Attach.

    def test_of_two_attachers_the_slow_one_holds_nobody_up(self):
        rounds, size = 12, MIB // 2
        self.container(f"while read line; do head -c {size - 1} /dev/zero | tr '\\0' x; echo; done",
                       stdin="attach:once")
        slow, slow_out, close = self.pipe()
        self.attach(stdout=slow_out)
        close(slow_out)
        quick, quick_out, close_quick = self.pipe()
        typing, keyboard, close_keyboard = self.pipe()
        self.attach(stdin=typing, stdout=quick_out)
        close_quick(quick_out)
        close_keyboard(typing)
        text = b"x" * (size - 1) + b"\n"
        for _ in range(rounds):
            os.write(keyboard, b"more\n")
            self.assertEqual(read_exactly(quick, size), text)
        close_keyboard(keyboard)
        self.assertEqual(read_to_end(quick), b"")
        self.end()
        self.assertEqual(self.content(self.records(), b"stdout"), text * rounds)
        # It has what its pipe held when it was given up, from the beginning on.
        got = read_to_end(slow)
        self.assertLess(len(got), MIB)
        self.assertEqual(got, (text * rounds)[:len(got)])
        self.end_sandbox()

    def test_what_an_attacher_types_is_read_to_its_end(self):
        self.container("cat", stdin="attach:once")
        output, output_in, close = self.pipe()
        typing, keyboard, close_keyboard = self.pipe()
        self.attach(stdin=typing, stdout=output_in)
        close(output_in)
        close_keyboard(typing)
        text = os.urandom(MIB // 2).hex().encode() + b"\n"

        def write():
            left = text
            while left:
                left = left[os.write(keyboard, left):]
            close_keyboard(keyboard)
        writer = threading.Thread(target=write)
        writer.start()
        self.assertEqual(read_to_end(output), text)
        writer.join()
        self.end()
        self.assertEqual(self.content(self.records(), b"stdout"), text)
        self.end_sandbox()

    def test_attachers_of_a_terminal_see_it(self):
        self.container("read line; echo got $line; read line", stdin="attach:", terminal=True)
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.attach(stdin=theirs.fileno(), stdout=theirs.fileno())
        theirs.close()
        ours.sendall(b"word\n")
        self.assertIn(b"word\n", support.read_until(ours.fileno(), b"got word\n"))
        self.task("Kill", "web", f3=9)
        self.assertEqual(read_to_end(ours.fileno()), b"")
        self.end(status=137)
        self.assertIn((b"stdout", b"F", b"got word"), [record[1:] for record in self.records()])
        self.end_sandbox()

    # Exec, as ExecSync and Exec of CRI need it.

    def exec(self, name, args, fds):
        process = {"args": args, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
        names = {4 + i: f"fd:{i}" for i in range(len(fds))}
        self.client.call("containerd.task.v3.Task", "Exec", {
            1: "web", 2: name, **names, 7: {1: PROCESS, 2: json.dumps(process)}}, fds)
        self.task("Start", "web", f2=name)

    def test_exec_with_pipes(self):
        self.container("exec sleep 1000")
        typing, keyboard, close_keyboard = self.pipe()
        out, out_in, close_out = self.pipe()
        err, err_in, close_err = self.pipe()
        for round_number in range(3):
            name = f"e{round_number}"
            if round_number > 0:
                typing, keyboard, close_keyboard = self.pipe()
                out, out_in, close_out = self.pipe()
                err, err_in, close_err = self.pipe()
            self.exec(name, ["sh", "-c", "cat; echo done >&2; exit 3"], [typing, out_in, err_in])
            close_keyboard(typing)
            close_out(out_in)
            close_err(err_in)
            os.write(keyboard, b"question")
            close_keyboard(keyboard)
            self.assertEqual(self.task("Wait", "web", f2=name)[1], 3)
            # It is all there when Wait has answered, and the end with it.
            os.set_blocking(out, False)
            os.set_blocking(err, False)
            self.assertEqual(read_to_end(out), b"question")
            self.assertEqual(read_to_end(err), b"done\n")
            self.task("Delete", "web", f2=name)

        out, out_in, close_out = self.pipe()
        nothing, _, close = self.pipe()
        self.exec("big", ["sh", "-c", "cat /block /block /block"], [nothing, out_in])
        close_out(out_in)
        block = (self.scratch / "bundle-web/rootfs/block").read_bytes()
        self.assertEqual(read_to_end(out), block * 3)
        self.assertEqual(self.task("Wait", "web", f2="big").get(1, 0), 0)

        out, out_in, close_out = self.pipe()
        self.exec("long", ["sh", "-c", "echo here; exec sleep 1000"], [nothing, out_in])
        close_out(out_in)
        close(nothing)
        self.assertEqual(read_exactly(out, 5), b"here\n")
        self.task("Kill", "web", f2="long", f3=9)
        self.assertEqual(self.task("Wait", "web", f2="long")[1], 137)
        self.assertEqual(read_to_end(out), b"")
        self.assertEqual(self.task("State", "web")[4], 2)  # runs on
        self.task("Kill", "web", f3=9)
        self.end(status=137)
        self.end_sandbox()

    # Ports.

    def test_a_port_of_the_pod_is_forwarded(self):
        self.container("""echo ready; cat /block /block /block /block /block /block /block /block |
            nc -l -p 8080 | sha256sum; nc -l -p 8080 -e cat; read wait""", stdin="attach:")
        output, output_in, close = self.pipe()
        self.attach(stdout=output_in)
        close(output_in)
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        ours.settimeout(support.PATIENCE_S)

        def connect(port, peer):
            self.pod("Connect", {1: port, 2: "fd:0"}, [peer.fileno()])

        def is_listening(port, peer):
            try:
                connect(port, peer)
                return True
            except ttrpc.Refused as refused:
                self.assertEqual(refused.args, (14, f"port {port}: connect: Connection refused (ECONNREFUSED)"))
                return False
        with self.assertRaises(ttrpc.Refused) as refused:
            connect(9, theirs)
        self.assertEqual(refused.exception.args[1], "port 9: connect: Connection refused (ECONNREFUSED)")
        support.wait_until(lambda: is_listening(8080, theirs), "nc listens")
        theirs.close()
        sent = os.urandom(8 * MIB)
        writer = threading.Thread(target=ours.sendall, args=(sent,))
        writer.start()
        block = (self.scratch / "bundle-web/rootfs/block").read_bytes()
        got = b"".join(iter(lambda: ours.recv(65536), b""))
        self.assertEqual(hashlib.sha256(got).hexdigest(), hashlib.sha256(block * 8).hexdigest())
        writer.join()
        ours.shutdown(socket.SHUT_WR)
        digest = hashlib.sha256(sent).hexdigest().encode()
        support.read_until(output, digest)

        # A client that goes ends the connection in the pod, and that pod's server with it.
        ours, theirs = socket.socketpair()
        support.wait_until(lambda: is_listening(8080, theirs), "nc listens again")
        theirs.close()
        ours.sendall(b"echo")
        self.assertEqual(ours.recv(4), b"echo")
        ours.close()
        self.task("Kill", "web", f3=9)
        self.end(status=137)
        self.end_sandbox()
        self.assertEqual(self.shim.returncode, 0)


if __name__ == "__main__":
    unittest.main()

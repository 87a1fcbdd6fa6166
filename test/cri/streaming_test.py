#!/usr/bin/python3
"""The streaming server under real clients (client-go, built here) and hostile ones (bytes by hand).

Usage: streaming_test.py STREAMING_HOST

test/cri/go_programs.py builds the client of test/cri/client once; about 40 s on two processors.
"""
import base64
import hashlib
import json
import os
import pathlib
import re
import select
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import go_programs  # noqa: E402

MEGABYTES = 100
SESSIONS = 50


class Host:
    """The server in a process of its own."""

    def __init__(self, *options: str):
        self.process = subprocess.Popen([Host.program, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, bufsize=1)

    def ask(self, **request) -> str:
        self.process.stdin.write(json.dumps(request) + "\n")
        return self.process.stdout.readline().rstrip("\n")

    def exec(self, *command: str, streams: str = "oe") -> str:
        return self.ask(verb="exec", command=list(command), streams=streams)

    def shell(self, script: str, streams: str = "oe") -> str:
        return self.exec("/bin/sh", "-c", script, streams=streams)

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory_kib(self) -> int:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

    def wait_for_sessions(self, count: int, seconds: float = 10) -> int:
        return wait_for(lambda: int(self.ask(verb="sessions")), count, seconds)

    def close(self) -> int:
        self.process.stdin.close()
        code = self.process.wait(20)
        self.process.stdout.close()
        return code


def wait_for(look, wanted, seconds: float = 10):
    """The last look, which is `wanted` or was not within the time."""
    end = time.monotonic() + seconds
    while (seen := look()) != wanted and time.monotonic() < end:
        select.select([], [], [], 0.02)
    return seen


def client(verb: str, url: str, *options: str, **how) -> subprocess.CompletedProcess:
    return subprocess.run([go_programs.streaming_client(), verb, "--url", url, *options], capture_output=True, timeout=120, **how)


class Echo(socketserver.ThreadingTCPServer):
    """Sends back what comes, until the half-close."""
    allow_reuse_address = True
    daemon_threads = True

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            while block := self.request.recv(65536):
                self.request.sendall(block)

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return super().__enter__()

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.port = self.server_address[1]


class Raw:
    """A client that speaks by hand."""

    def __init__(self, url: str):
        match = re.fullmatch(r"http://([\d.]+):(\d+)(/.*)", url)
        self.path = match.group(3)
        self.socket = socket.create_connection((match.group(1), int(match.group(2))), timeout=20)
        self.early = b""

    def request(self, method: str, *headers: str) -> str:
        lines = [f"{method} {self.path} HTTP/1.1", "Host: localhost", *headers, "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            block = self.socket.recv(65536)
            if not block:
                break
            answer += block
        head, _, self.early = answer.partition(b"\r\n\r\n")
        return head.decode()

    def spdy(self, protocol: str = "v4.channel.k8s.io") -> str:
        return self.request("POST", "Connection: Upgrade", "Upgrade: SPDY/3.1", f"X-Stream-Protocol-Version: {protocol}")

    def websocket(self, protocol: str) -> str:
        return self.request("GET", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", f"Sec-WebSocket-Protocol: {protocol}")

    def rest(self) -> bytes:
        """Until the server closes; a reset is an end too."""
        got = self.early
        try:
            while block := self.socket.recv(65536):
                got += block
        except ConnectionResetError:
            pass
        return got

    def send_message(self, payload: bytes):
        length = len(payload)
        head = struct.pack("!BB", 0x82, 0x80 | length) if length < 126 else \
            struct.pack("!BBH", 0x82, 0x80 | 126, length)
        self.socket.sendall(head + bytes(4) + payload)

    def message(self) -> bytes:
        head = self.exactly(2)
        length = head[1] & 0x7f
        if length == 126:
            length, = struct.unpack("!H", self.exactly(2))
        elif length == 127:
            length, = struct.unpack("!Q", self.exactly(8))
        return self.exactly(length)

    def exactly(self, count: int) -> bytes:
        while len(self.early) < count:
            block = self.socket.recv(65536)
            if not block:
                raise EOFError
            self.early += block
        got, self.early = self.early[:count], self.early[count:]
        return got


def control(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack("!HHI", 0x8003, kind, flags << 24 | len(body)) + body


class SpdyHeaders:
    """Blocks for SYN_STREAM; no dictionary is needed to be understood."""

    def __init__(self):
        self.zlib = zlib.compressobj()

    def open(self, number: int, **headers: str) -> bytes:
        block = struct.pack("!I", len(headers))
        for name, value in headers.items():
            block += struct.pack("!I", len(name)) + name.encode() + struct.pack("!I", len(value)) + value.encode()
        block = self.zlib.compress(block) + self.zlib.flush(zlib.Z_SYNC_FLUSH)
        return control(1, struct.pack("!IIH", number, 0, 0) + block)


class WithHost(unittest.TestCase):
    options: tuple = ()

    def setUp(self):
        self.host = Host(*self.options)
        self.assertEqual(self.host.ask(verb="sessions"), "0")  # it is up
        self.files = self.host.open_files()

    def tearDown(self):
        self.assertEqual(self.host.wait_for_sessions(0), 0)
        self.assertEqual(wait_for(self.host.open_files, self.files), self.files, "descriptors leaked")
        self.assertEqual(self.host.close(), 0)


TRANSPORTS = {
    "SPDY v4": ("--transport", "spdy"),
    "SPDY v3": ("--transport", "spdy", "--protocol", "v3.channel.k8s.io"),
    "SPDY v2": ("--transport", "spdy", "--protocol", "v2.channel.k8s.io"),
    "SPDY v1": ("--transport", "spdy", "--protocol", "channel.k8s.io"),
    "WebSocket v5": ("--transport", "websocket"),
    "WebSocket v4": ("--transport", "websocket", "--protocol", "v4.channel.k8s.io"),
}
WITH_STATUS = {name: options for name, options in TRANSPORTS.items() if name[-2:] in ("v4", "v5")}
WITH_HALF_CLOSE = {name: options for name, options in TRANSPORTS.items() if name not in ("SPDY v1", "WebSocket v4")}
MODERN = {name: TRANSPORTS[name] for name in ("SPDY v4", "WebSocket v5")}


class Exec(WithHost):
    def each(self, transports: dict):
        for name, options in transports.items():
            with self.subTest(name):
                yield options

    def test_both_outputs_arrive_apart(self):
        for options in self.each(TRANSPORTS):
            done = client("exec", self.host.shell("echo out; echo err >&2"), "--stdout", "--stderr", *options)
            self.assertEqual((done.stdout, done.stderr, done.returncode), (b"out\n", b"err\n", 0))

    def test_exit_status_arrives(self):
        for options in self.each(WITH_STATUS):
            done = client("exec", self.host.shell("exit 3"), "--stdout", "--stderr", *options)
            self.assertEqual(done.returncode, 3, done.stderr)

    def test_death_by_a_signal_is_a_status(self):
        for options in self.each(MODERN):
            done = client("exec", self.host.shell("kill -9 $$"), "--stdout", "--stderr", *options)
            self.assertEqual(done.returncode, 137)

    def test_older_protocols_hear_of_a_failure_in_words(self):
        for name in ("SPDY v3", "SPDY v2"):  # client-go's v1 may take the end of the output for a success
            with self.subTest(name):
                done = client("exec", self.host.shell("exit 3"), "--stdout", "--stderr", *TRANSPORTS[name])
                self.assertEqual(done.returncode, 125)
                self.assertIn(b"exit status 3", done.stderr)

    def test_a_program_that_is_missing_is_an_error(self):
        for options in self.each(MODERN):
            done = client("exec", self.host.exec("/no/such/program"), "--stdout", "--stderr", *options)
            self.assertEqual(done.returncode, 125)
            self.assertIn(b"/no/such/program", done.stderr)

    def test_input_ends_where_the_client_closes_it(self):
        for options in self.each(WITH_HALF_CLOSE):
            done = client("exec", self.host.shell("cat; echo end", "ioe"), "--stdin", "--stdout", "--stderr", *options,
                          input=b"hello ")
            self.assertEqual((done.stdout, done.returncode), (b"hello end\n", 0), done.stderr)

    def test_a_process_may_end_before_its_input(self):
        for options in self.each(MODERN):
            done = client("exec", self.host.shell("exit 4", "ioe"), "--stdin", "--stdout", "--stderr", *options,
                          input=b"x" * 10_000_000)
            self.assertEqual(done.returncode, 4, done.stderr)

    def test_100_megabytes_each_way(self):
        block = os.urandom(1 << 20)
        sent = hashlib.sha256()
        for _ in range(MEGABYTES):
            sent.update(block)
        for options in self.each(MODERN):
            process = subprocess.Popen(
                [go_programs.streaming_client(), "exec", "--url", self.host.exec("/bin/cat", streams="ioe"), "--stdin", "--stdout",
                 "--stderr", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            writer = threading.Thread(target=lambda: ([process.stdin.write(block) for _ in range(MEGABYTES)],
                                                      process.stdin.close()))
            writer.start()
            got, size = hashlib.sha256(), 0
            while part := process.stdout.read(1 << 20):
                got.update(part)
                size += len(part)
            writer.join()
            process.stdout.close()
            self.assertEqual(process.wait(60), 0)
            self.assertEqual((size, got.digest()), (MEGABYTES << 20, sent.digest()))
        self.assertLess(self.host.memory_kib(), 60_000)

    def test_a_slow_reader_holds_the_process_back(self):
        url = self.host.shell("head -c 50000000 /dev/zero; echo done >&2")
        process = subprocess.Popen([go_programs.streaming_client(), "exec", "--url", url, "--stdout", "--stderr"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        # Nothing is read until standard error could have come, were the output taken and held.
        self.assertEqual(select.select([process.stderr], [], [], 1.5)[0], [])
        self.assertLess(self.host.memory_kib(), 60_000)
        out, err = process.communicate(timeout=60)
        self.assertEqual((len(out), err, process.returncode), (50_000_000, b"done\n", 0))

    def test_a_terminal_has_the_client_s_size(self):
        for options in self.each(MODERN | {"SPDY v3": TRANSPORTS["SPDY v3"], "WebSocket v4": TRANSPORTS["WebSocket v4"]}):
            script = "until [ \"$(stty size)\" = '30 100' ]; do :; done; echo seen"
            done = client("exec", self.host.shell(script, "iot"), "--stdin", "--stdout", "--tty", "--sizes", "80x24,100x30",
                          *options, stdin=subprocess.DEVNULL)
            self.assertEqual((done.stdout, done.returncode), (b"seen\r\n", 0), done.stderr)

    def test_input_of_a_terminal_is_echoed(self):
        for options in self.each(MODERN):
            process = subprocess.Popen(
                [go_programs.streaming_client(), "exec", "--url", self.host.shell("read line; echo got $line", "iot"), "--stdin",
                 "--stdout", "--tty", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            out, _ = process.communicate(b"typed\n", timeout=60)
            self.assertEqual(out, b"typed\r\ngot typed\r\n")

    def test_output_of_a_child_that_stays_behind_ends(self):
        for options in self.each(MODERN):
            begin = time.monotonic()
            done = client("exec", self.host.shell("echo first; sleep 300 & exit 5"), "--stdout", "--stderr", *options)
            self.assertEqual((done.stdout, done.returncode), (b"first\n", 5))
            self.assertLess(time.monotonic() - begin, 30)

    def test_attach(self):
        for options in self.each(MODERN):
            url = self.host.ask(verb="attach", container="cat", streams="ioe")
            done = client("exec", url, "--stdin", "--stdout", "--stderr", *options, input=b"attached")
            self.assertEqual((done.stdout, done.returncode), (b"attached", 0), done.stderr)

    def test_a_client_that_dies_ends_its_session(self):
        for options in self.each(MODERN):
            process = subprocess.Popen(
                [go_programs.streaming_client(), "exec", "--url", self.host.shell("echo up; cat", "ioe"), "--stdin", "--stdout",
                 "--stderr", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.assertEqual(process.stdout.readline(), b"up\n")
            process.kill()
            process.communicate()
            self.assertEqual(self.host.wait_for_sessions(0), 0)

    def test_50_sessions_at_once(self):
        names = list(MODERN.values())
        processes = [subprocess.Popen(
            [go_programs.streaming_client(), "exec", "--url", self.host.shell("read line; echo $line; cat", "ioe"), "--stdin",
             "--stdout", "--stderr", *names[index % 2]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for index in range(SESSIONS)]
        self.assertEqual(self.host.wait_for_sessions(SESSIONS, 60), SESSIONS)
        for index, process in enumerate(processes):
            out, _ = process.communicate(b"%d\n" % index + b"x" * 100_000, timeout=60)
            self.assertEqual((out, process.returncode), (b"%d\n" % index + b"x" * 100_000, 0))


class Forward(WithHost):
    def forwarder(self, *options: str, ports: str) -> subprocess.Popen:
        url = self.host.ask(verb="forward", pod="web", ports=[])
        return subprocess.Popen([go_programs.streaming_client(), "forward", "--url", url, "--ports", ports, *options],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def each(self):
        for transport in ("spdy", "websocket"):
            with self.subTest(transport):
                yield ("--transport", transport)

    def test_20_connections_through_one_session(self):
        with Echo() as echo:
            for options in self.each():
                forwarder = self.forwarder(*options, ports=f"0:{echo.port}")
                local = int(forwarder.stdout.readline().split()[0])
                sockets = [socket.create_connection(("127.0.0.1", local), timeout=20) for _ in range(20)]
                for index, one in enumerate(sockets):
                    one.sendall(b"hello %d" % index)
                    one.shutdown(socket.SHUT_WR)
                for index, one in enumerate(sockets):
                    self.assertEqual(one.makefile("rb").read(), b"hello %d" % index)
                    one.close()
                forwarder.communicate(timeout=20)
                self.assertEqual(forwarder.returncode, 0)

    def test_100_megabytes_each_way(self):
        block = os.urandom(1 << 20)
        with Echo() as echo:
            for options in self.each():
                forwarder = self.forwarder(*options, ports=f"0:{echo.port}")
                one = socket.create_connection(("127.0.0.1", int(forwarder.stdout.readline().split()[0])), timeout=60)
                writer = threading.Thread(target=lambda: ([one.sendall(block) for _ in range(MEGABYTES)],
                                                          one.shutdown(socket.SHUT_WR)))
                writer.start()
                got, sent = hashlib.sha256(), hashlib.sha256()
                for _ in range(MEGABYTES):
                    sent.update(block)
                size = 0
                while part := one.recv(1 << 20):
                    got.update(part)
                    size += len(part)
                writer.join()
                one.close()
                forwarder.communicate(timeout=20)
                self.assertEqual((size, got.digest()), (MEGABYTES << 20, sent.digest()))
        self.assertLess(self.host.memory_kib(), 60_000)

    def test_a_port_nobody_listens_on_is_an_error(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            for options in self.each():
                forwarder = self.forwarder(*options, ports=f"0:{unused.getsockname()[1]}")
                local = int(forwarder.stdout.readline().split()[0])
                with socket.create_connection(("127.0.0.1", local), timeout=20) as one:
                    self.assertEqual(one.recv(10), b"")
                _, errors = forwarder.communicate(timeout=20)
                self.assertIn("ECONNREFUSED", errors)

    def test_channels_without_spdy(self):
        with Echo() as echo:
            url = self.host.ask(verb="forward", pod="web", ports=[echo.port])
            raw = Raw(url)
            self.assertIn("101", raw.websocket("v4.channel.k8s.io"))
            port = struct.pack("<H", echo.port)
            self.assertEqual([raw.message(), raw.message()], [b"\0" + port, b"\1" + port])
            raw.send_message(b"\0ping")
            self.assertEqual(raw.message(), b"\0ping")
            raw.socket.close()


class Tls(WithHost):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.certificate, key = (os.path.join(cls.folder.name, name) for name in ("cert.pem", "key.pem"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", cls.certificate, "-days", "1", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        cls.options = ("--certificate", cls.certificate, "--key", key)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_exec_over_tls(self):
        for name, options in MODERN.items():
            with self.subTest(name):
                url = self.host.shell("cat; exit 3", "ioe")
                self.assertTrue(url.startswith("https://127.0.0.1:"))
                data = os.urandom(20_000_000)
                done = client("exec", url, "--stdin", "--stdout", "--stderr", "--ca", self.certificate, *options, input=data)
                self.assertEqual(done.returncode, 3, done.stderr)
                self.assertTrue(done.stdout == data)

    def test_a_client_without_the_certificate_authority_refuses(self):
        done = client("exec", self.host.shell("true"), "--stdout", "--stderr")
        self.assertIn(b"certificate", done.stderr)
        self.assertEqual(done.returncode, 125)

    def test_plain_http_gets_nothing(self):
        raw = Raw(self.host.shell("true").replace("https", "http"))
        try:
            self.assertEqual(raw.spdy(), "")
        except ConnectionResetError:
            pass
        raw.socket.close()


class Handshake(WithHost):
    options = ("--token-ms", "500")

    def status(self, url: str, method: str = "POST", *headers: str) -> str:
        raw = Raw(url)
        head = raw.request(method, *headers)
        raw.socket.close()
        return head

    def test_a_url_works_once(self):
        url = self.host.shell("true")
        self.assertEqual(client("exec", url, "--stdout", "--stderr").returncode, 0)
        self.assertIn(" 404 ", self.status(url))

    def test_a_url_expires(self):
        url = self.host.shell("true")
        self.assertEqual(wait_for(lambda: time.monotonic() > self.begin + 0.6, True), True)
        self.assertIn(" 404 ", self.status(url))

    def setUp(self):
        super().setUp()
        self.begin = time.monotonic()

    def test_a_url_of_one_verb_serves_no_other(self):
        self.assertIn(" 404 ", self.status(self.host.shell("true").replace("/exec/", "/attach/")))

    def test_refuses_what_it_does_not_speak(self):
        self.assertIn(" 400 ", self.status(self.host.shell("true")))
        self.assertIn(" 405 ", self.status(self.host.shell("true"), "PUT"))
        refused = self.status(self.host.shell("true"), "POST", "Connection: Upgrade", "Upgrade: SPDY/3.1",
                              "X-Stream-Protocol-Version: v9.channel.k8s.io")
        self.assertIn(" 403 ", refused)
        self.assertIn("X-Accepted-Stream-Protocol-Versions: v4.channel.k8s.io", refused)
        raw = Raw(self.host.shell("true"))
        self.assertIn(" 403 ", raw.websocket("base64.channel.k8s.io"))
        raw.socket.close()

    def test_takes_the_first_protocol_that_both_speak(self):
        raw = Raw(self.host.shell("cat", "ioe"))
        self.assertIn("X-Stream-Protocol-Version: v3.channel.k8s.io", raw.spdy("v9.channel.k8s.io, v3.channel.k8s.io, v4.channel.k8s.io"))
        raw.socket.close()

    def test_answers_the_key_of_rfc_6455(self):
        raw = Raw(self.host.shell("cat", "ioe"))
        self.assertIn("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", raw.websocket("v5.channel.k8s.io"))
        raw.socket.close()

    def test_refuses_streams_that_exclude_each_other(self):
        self.assertEqual(self.host.shell("true", "oet"), "error: tty and stderr exclude each other")
        self.assertEqual(self.host.shell("true", ""), "error: none of stdin, stdout and stderr is requested")


class Hostile(WithHost):
    options = ("--idle-ms", "1500", "--client-ms", "1000")

    def spdy(self, script: str = "cat", streams: str = "ioe") -> Raw:
        raw = Raw(self.host.shell(script, streams))
        self.assertIn(" 101 ", raw.spdy())
        return raw

    def ends(self, raw: Raw) -> bytes:
        rest = raw.rest()
        raw.socket.close()
        self.assertEqual(self.host.wait_for_sessions(0), 0)
        return rest

    def test_junk_after_the_upgrade(self):
        raw = self.spdy()
        raw.socket.sendall(b"\xff" * 1000)
        self.ends(raw)

    def test_a_client_that_opens_no_streams(self):
        begin = time.monotonic()
        self.ends(self.spdy())
        self.assertLess(time.monotonic() - begin, 5)

    def test_a_session_that_nobody_uses(self):
        raw = self.spdy()
        headers = SpdyHeaders()
        for number, kind in enumerate(("error", "stdin", "stdout", "stderr")):
            raw.socket.sendall(headers.open(2 * number + 1, streamtype=kind))
        self.ends(raw)

    def test_header_bomb(self):
        raw = self.spdy()
        raw.socket.sendall(SpdyHeaders().open(1, streamtype="x" * 10_000_000))
        self.ends(raw)
        self.assertLess(self.host.memory_kib(), 60_000)

    def test_half_a_request_is_given_up(self):
        raw = Raw(self.host.shell("true"))
        raw.socket.sendall(b"POST /exec/")
        raw.rest()
        raw.socket.close()

    def test_endless_request_head(self):
        raw = Raw(self.host.shell("true"))
        try:
            for _ in range(1000):
                raw.socket.sendall(b"POST / HTTP/1.1\r\n" if _ == 0 else b"X-Header: %s\r\n" % (b"y" * 1000))
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.assertIn(raw.rest()[:12], (b"HTTP/1.1 431", b""))
        raw.socket.close()

    def test_pings_without_end_that_nobody_reads_the_answers_of(self):
        raw = self.spdy()
        raw.socket.settimeout(0.5)
        ping = control(6, struct.pack("!I", 1)) * 5000
        with self.assertRaises((TimeoutError, BrokenPipeError, ConnectionResetError)):
            for _ in range(2000):
                raw.socket.sendall(ping)
        self.assertLess(self.host.memory_kib(), 60_000)
        raw.socket.close()

    def test_input_that_the_process_does_not_read(self):
        raw = self.spdy("exec sleep 4", "ioe")
        headers = SpdyHeaders()
        for number, kind in enumerate(("error", "stdin", "stdout", "stderr")):
            raw.socket.sendall(headers.open(2 * number + 1, streamtype=kind))
        raw.socket.settimeout(0.5)
        frame = struct.pack("!II", 3, 1_000_000) + bytes(1_000_000)
        with self.assertRaises(TimeoutError):
            for _ in range(100):
                raw.socket.sendall(frame)
        self.assertLess(self.host.memory_kib(), 60_000)
        raw.socket.close()

    def test_10000_streams(self):
        url = self.host.ask(verb="forward", pod="web", ports=[])
        raw = Raw(url)
        self.assertIn(" 101 ", raw.spdy("portforward.k8s.io"))
        headers = SpdyHeaders()
        drain = threading.Thread(target=raw.rest)
        drain.start()
        try:
            for number in range(10_000):
                raw.socket.sendall(headers.open(2 * number + 1, streamtype="data", port="80", requestid=str(number)))
        except (BrokenPipeError, ConnectionResetError):
            self.fail("refused streams end no connection")
        self.assertLess(self.host.memory_kib(), 60_000)
        raw.socket.shutdown(socket.SHUT_RDWR)
        drain.join()
        raw.socket.close()

    def test_a_websocket_message_of_a_terabyte(self):
        raw = Raw(self.host.shell("wc -c", "ioe"))
        self.assertIn(" 101 ", raw.websocket("v5.channel.k8s.io"))
        raw.socket.sendall(struct.pack("!BBQ", 0x82, 0xff, 1 << 40) + bytes(4) + b"\0")
        for _ in range(50):
            raw.socket.sendall(bytes(1_000_000))
        self.assertLess(self.host.memory_kib(), 60_000)
        raw.socket.close()


if __name__ == "__main__":
    Host.program = sys.argv.pop(1)
    go_programs.streaming_client()
    unittest.main(verbosity=2)

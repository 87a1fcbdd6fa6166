#!/usr/bin/python3
"""Tests of pepita-storage and `pepita storage` as programs: what is kept when they end, or are killed.

Usage: program_test.py PEPITA_STORAGE PEPITA [unittest's arguments]
"""
import json
import os
import pathlib
import pty
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))
from storage_daemon import StorageDaemon  # noqa: E402: the path first

PATIENCE_S = 60  # only a hang gets here
DAEMON, PEPITA = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
# The store wants a tmpfs; where this one is small, its files are, too.
TMPFS = "/dev/shm"


def start_daemon(*options: str, check: bool = True) -> StorageDaemon:
    return StorageDaemon(DAEMON, *options, check=check, patience_s=PATIENCE_S)


class Program(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(dir=TMPFS)
        self.addCleanup(scratch.cleanup)
        self.root = pathlib.Path(scratch.name)
        self.socket = self.root / "s"

    def start(self, *more: str, check: bool = True) -> StorageDaemon:
        daemon = start_daemon("--socket", str(self.socket), "--state", str(self.root / "state"), *more, check=check)
        self.addCleanup(daemon.end, signal.SIGKILL)
        return daemon

    def ask(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run([PEPITA, "storage", *words, "--socket", str(self.socket)],
                              capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    def done(self, *words: str) -> str:
        answer = self.ask(*words)
        self.assertEqual((answer.returncode, answer.stderr), (0, ""), words)
        return answer.stdout

    def refused(self, *words: str, status: int = 1) -> str:
        answer = self.ask(*words)
        self.assertEqual((answer.returncode, answer.stdout), (status, ""), words)
        self.assertEqual(answer.stderr.count("\n"), 1, answer.stderr)
        return answer.stderr.strip()

    def volumes(self) -> dict[str, dict]:
        return {volume["name"]: volume for volume in json.loads(self.done("list", "--format", "json"))}

    def test_volumes_are_made_listed_resized_and_deleted(self):
        self.start()
        self.done("create", "web", "--size", "64M", "--domain", "tenant")
        self.done("resize", "web", "128M")
        self.assertEqual(self.volumes()["web"]["capacityBytes"], 128 << 20)
        self.assertEqual(self.volumes()["web"]["domain"], "tenant")
        self.assertIn("web", self.done("list"))
        self.assertEqual([domain["domain"] for domain in json.loads(self.done("stats", "--format", "json"))["domains"]],
                         ["tenant"])
        self.done("delete", "web")
        self.assertEqual(self.volumes(), {})

    def test_what_is_wrong_is_said_in_one_line(self):
        self.start()
        self.done("create", "web", "--size", "4K")
        self.assertEqual(self.refused("create", "web", "--size", "4K"),
                         "pepita: storage create 'web': volume 'web' exists")
        self.assertEqual(self.refused("delete", "nobody"),
                         "pepita: storage delete 'nobody': volume 'nobody' does not exist")
        self.assertIn("must be 1 to 63 of", self.refused("create", "../web", "--size", "4K", status=2))
        self.assertIn("capacity 0:", self.refused("create", "none"))
        self.assertIn("capacity 4097:", self.refused("create", "odd", "--size", "4097"))
        self.assertIn("131072000000 at the most", self.refused("create", "huge", "--size", "1T"))
        self.assertIn("ENOENT", self.refused("create", "file", "--kind", "file", "--file", "/nowhere"))
        self.assertIn("'--depth'", self.refused("attach", "web", "--depth", "0", status=2))
        self.assertIn("a vhost-user front end decides itself", self.refused("attach", "web", "--depth", "8"))
        self.assertIn("only a volume of kind file", self.refused("create", "x", "--size", "4K", "--direct"))
        self.assertEqual(list(self.volumes()), ["web"])

    def test_a_kill_loses_nothing(self):
        daemon = self.start()
        self.done("create", "web", "--size", "64M")
        base = self.root / "base"
        base.write_bytes(bytes(8192))
        self.done("create", "over", "--kind", "overlay", "--file", str(base))
        self.done("create", "longer", "--kind", "overlay", "--file", str(base), "--size", "1M")
        self.done("create", "disk", "--kind", "file", "--file", str(base))
        before = self.volumes()
        self.assertEqual(daemon.end(signal.SIGKILL), -signal.SIGKILL)
        self.assertTrue(self.socket.exists())
        self.start()
        self.assertEqual(self.volumes(), before)

    def test_an_orderly_end_keeps_volumes_and_takes_the_socket_away(self):
        daemon = self.start()
        self.done("create", "web", "--size", "64M")
        self.assertEqual(daemon.end(), 0)
        self.assertFalse(self.socket.exists())
        self.assertIn("is pepita-storage running?", self.refused("list"))
        self.start()
        self.assertEqual(list(self.volumes()), ["web"])

    def test_purge_takes_the_volumes_in_memory_away(self):
        daemon = self.start("--purge")
        self.done("create", "web", "--size", "64M")
        self.assertEqual(daemon.end(), 0)
        daemon = self.start()
        self.assertEqual(self.volumes(), {})
        self.assertEqual(daemon.end(), 0)
        self.assertIn("a volume is gone", daemon.log)

    def test_a_second_daemon_gives_up_and_the_first_goes_on(self):
        self.start()
        self.done("create", "web", "--size", "4K")
        second = self.start(check=False)
        second.process.wait(PATIENCE_S)
        self.assertEqual(second.end(), 1)
        self.assertIn("another daemon holds", second.log)
        self.assertEqual(list(self.volumes()), ["web"])

    def refused_beside_it(self, state: str, memory: str) -> str:
        """What another daemon says, of those places and with a socket of its own, before it gives up."""
        other = start_daemon("--socket", str(self.root / "t"), "--state", str(self.root / state),
                       "--memory-file", str(self.root / memory), check=False)
        self.addCleanup(other.end, signal.SIGKILL)
        other.process.wait(PATIENCE_S)
        self.assertEqual(other.end(), 1)
        return other.log

    def test_two_daemons_never_have_one_memory(self):
        self.start()
        self.assertIn("memory.lock", self.refused_beside_it("other", "memory"))

    def test_two_daemons_never_have_one_state_directory(self):
        self.start()
        self.assertIn("state/lock", self.refused_beside_it("state", "other"))

    def test_a_socket_of_another_program_is_left_alone(self):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.socket))
            listener.listen()
            daemon = self.start(check=False)
            daemon.process.wait(PATIENCE_S)
            self.assertEqual(daemon.end(), 1)
            self.assertIn("another process listens at", daemon.log)
        self.assertTrue(self.socket.exists())

    def test_a_damaged_memory_file_ends_it_with_a_reason(self):
        (self.root / "memory").write_bytes(b"x" * 8192)
        daemon = self.start(check=False)
        daemon.process.wait(PATIENCE_S)
        self.assertEqual(daemon.end(), 1)
        self.assertIn(f"memory file '{self.root}/memory'", daemon.log)
        self.assertEqual((self.root / "memory").read_bytes(), b"x" * 8192)

    def test_a_client_that_dies_half_way_changes_nothing(self):
        descriptors = pathlib.Path(f"/proc/{self.start().process.pid}/fd")
        idle = len(os.listdir(descriptors))
        before = self.volumes()
        for said in (b"", b"\x00\x00\x01\x00\x00\x00\x00\x01\x01\x00half a message", b"\xff" * 4096):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(self.socket))
                client.sendall(said)
        self.assertEqual(self.volumes(), before)
        deadline = time.monotonic() + PATIENCE_S
        while len(os.listdir(descriptors)) != idle:  # the daemon has yet to see the ends of some
            self.assertLess(time.monotonic(), deadline, "descriptors were left")
            self.volumes()

    def test_a_volume_is_attached_over_a_kill_and_an_orderly_end(self):
        daemon = self.start()
        self.done("create", "web", "--size", "64M")
        path = self.done("attach", "web", "--queues", "2").strip()
        self.assertEqual(path, str(self.root / "web.vhost"))
        self.assertIn("is attached at", self.refused("attach", "web"))
        self.assertIn("is attached at", self.refused("delete", "web"))
        self.assertIn("is attached at", self.refused("resize", "web", "1M"))
        for how in (signal.SIGKILL, signal.SIGTERM):
            self.can_connect(path)
            daemon.end(how)
            daemon = self.start()
            self.assertEqual(self.volumes()["web"]["attachment"]["path"], path)
        self.can_connect(path)
        self.done("resize", "web", "128M")
        self.done("detach", "web")
        self.assertFalse(os.path.exists(path))
        self.assertIn("is not attached", self.refused("detach", "web"))
        self.done("delete", "web")

    def can_connect(self, path: str):
        with socket.socket(socket.AF_UNIX) as front_end:
            front_end.connect(path)

    @unittest.skipIf(os.path.exists("/dev/ublk-control"), "this machine has ublk; test/lab/storage_test.py is for it")
    def test_without_ublk_the_other_front_end_still_works(self):
        self.start()
        self.done("create", "web", "--size", "64M")
        self.assertIn("/dev/ublk-control", self.refused("attach", "web", "--front-end", "ublk"))
        self.done("attach", "web")

    def test_a_snapshot_comes_back_and_a_damaged_one_does_not(self):
        self.start()
        self.done("create", "web", "--size", "1M")
        kept = self.root / "web.snapshot"
        self.done("snapshot", "web", str(kept))
        self.done("create", "again", "--size", "1M")
        self.done("restore", "again", str(kept))
        kept.write_bytes(kept.read_bytes()[:-3])
        self.refused("restore", "again", str(kept))
        self.assertEqual(self.volumes()["again"]["capacityBytes"], 1 << 20)

    def test_the_socket_and_the_memory_are_their_owners_alone(self):
        self.start()
        for path in (self.socket, self.root / "memory", self.root / "state/volumes.json"):
            self.assertEqual(path.stat().st_mode & 0o777, 0o600, path)

    def test_metrics_are_written_and_printed(self):
        metrics = self.root / "pepita.prom"
        self.start("--metrics", str(metrics))
        self.done("create", "web", "--size", "4K")
        self.assertIn('pepita_storage_volume_capacity_bytes{volume="web",domain="default"} 4096\n',
                      self.done("metrics"))
        self.assertIn("pepita_storage_limit_bytes 1073741824\n", metrics.read_text())

    def test_top_is_printed_once_without_a_terminal_and_lives_with_one(self):
        self.start()
        self.done("create", "web", "--size", "4K")
        self.assertIn("saved", self.done("top"))
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        top = subprocess.Popen([PEPITA, "storage", "top", "--socket", str(self.socket)], stdout=theirs)
        os.close(theirs)
        seen = b""
        while seen.count(b"\x1b[2J") < 2:  # it was drawn again
            self.assertTrue(select.select([ours], [], [], PATIENCE_S)[0], seen)
            seen += os.read(ours, 4096)
        top.terminate()
        top.wait(PATIENCE_S)
        self.assertIn(b"web", seen)

    def test_wrong_options_are_usage_errors(self):
        for program, words in ((DAEMON, ["--frob"]), (PEPITA, ["storage", "frob"]), (PEPITA, [])):
            answer = subprocess.run([program, *words], capture_output=True, text=True, timeout=PATIENCE_S,
                                    check=False)
            self.assertEqual((answer.returncode, answer.stdout), (2, ""))
            self.assertEqual(answer.stderr.count("\n"), 1)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])

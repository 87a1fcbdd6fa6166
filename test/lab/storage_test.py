#!/usr/bin/env python3
"""pepita-storage on real ublk: a file system on a volume over kills and restarts of the daemon.

Usage: storage_test.py PEPITA_STORAGE PEPITA [unittest's arguments]; in the lab, as root.
"""
import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from storage_daemon import StorageDaemon  # noqa: E402: the path first

PATIENCE_S = 120  # only a hang gets here
DAEMON, PEPITA = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
ROOT = pathlib.Path("/run/storage_test")
MOUNT = ROOT / "mount"


class Daemon:
    """A pepita-storage in a folder of its own."""

    def __init__(self, test: unittest.TestCase, root: pathlib.Path):
        self.test, self.root = test, root
        self.state = root / "state"

    def start(self):
        self.process = StorageDaemon(DAEMON, "--socket", self.root / "s", "--state", self.state, "--cold-after", "1",
                                     patience_s=PATIENCE_S)
        self.test.addCleanup(self.process.end, signal.SIGKILL)

    def end(self, how: int) -> int:
        return self.process.end(how)

    def call(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run([PEPITA, "storage", *words, "--socket", self.root / "s"], capture_output=True, text=True,
                              timeout=PATIENCE_S, check=False)

    def ask(self, *words: str) -> str:
        done = self.call(*words)
        self.test.assertEqual((done.returncode, done.stderr), (0, ""), words)
        return done.stdout

    def ask_in_vain(self, *words: str) -> str:
        done = self.call(*words)
        self.test.assertEqual(done.returncode, 1, words)
        return done.stderr

    def attach(self, name: str) -> str:
        return self.ask("attach", name, "--front-end", "ublk", "--queues", "1").strip()


class Ublk(unittest.TestCase):
    def setUp(self):
        MOUNT.mkdir(parents=True)
        self.addCleanup(shutil.rmtree, ROOT)
        self.addCleanup(subprocess.run, ["umount", "-ql", MOUNT], check=False)
        self.daemon = Daemon(self, ROOT / "a")
        self.daemon.start()

    def run_done(self, *words):
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=PATIENCE_S,
                              check=False)
        self.assertEqual(done.returncode, 0, (words, done.stderr))

    def wait_for_cold_pages(self):
        until = time.monotonic() + PATIENCE_S
        while not re.search(r'^pepita_storage_domain_cold_objects\{domain="default"\} [1-9]', self.daemon.ask("metrics"), re.M):
            self.assertLess(time.monotonic(), until, "nothing became cold")

    def digest(self, path: pathlib.Path) -> str:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def test_a_file_system_outlives_the_daemon(self):
        self.daemon.ask("create", "web", "--size", "64M")
        device = self.daemon.attach("web")
        self.assertEqual(device, "/dev/ublkb0")
        self.run_done("mkfs.ext4", "-q", device)
        self.run_done("mount", "-o", "discard", device, MOUNT)
        content = os.urandom(1 << 20).hex().encode() + b"the same over and over " * 100_000
        wanted = hashlib.sha256(content).hexdigest()
        for number, how in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)):
            (MOUNT / str(number)).write_bytes(content)
            os.sync()
            self.wait_for_cold_pages()
            self.daemon.end(how)
            self.daemon.start()
            for written in range(number + 1):
                self.assertEqual(self.digest(MOUNT / str(written)), wanted)
        self.assertIn("still in use", self.daemon.ask_in_vain("detach", "web"))
        self.run_done("umount", MOUNT)
        self.run_done("e2fsck", "-fn", device)
        self.daemon.ask("detach", "web")
        self.assertFalse(os.path.exists(device))
        self.daemon.ask("delete", "web")
        self.assertEqual(self.daemon.end(signal.SIGTERM), 0)

    def test_a_device_that_was_not_written_down_goes(self):
        self.daemon.ask("create", "web", "--size", "16M")
        other = Daemon(self, ROOT / "b")
        other.start()
        other.ask("create", "its", "--size", "16M")
        its = other.attach("its")
        state = self.daemon.state / "volumes.json"
        before = state.read_bytes()
        device = self.daemon.attach("web")
        self.daemon.end(signal.SIGKILL)
        state.write_bytes(before)  # as if the kill had come between the device and its entry
        self.assertTrue(os.path.exists(device))
        self.daemon.start()
        self.assertFalse(os.path.exists(device))
        self.run_done("mkfs.ext4", "-q", its)  # another daemon's is another's
        self.assertEqual(self.daemon.attach("web"), device)
        self.run_done("mkfs.ext4", "-q", device)
        self.daemon.end(signal.SIGKILL)
        self.daemon.start()  # written down: it stays
        self.run_done("e2fsck", "-fn", device)
        for daemon, name in ((self.daemon, "web"), (other, "its")):
            daemon.ask("detach", name)
            daemon.ask("delete", name)
            self.assertEqual(daemon.end(signal.SIGTERM), 0)

    def test_a_mounted_volume_has_a_snapshot(self):
        self.daemon.ask("create", "web", "--size", "64M")
        device = self.daemon.attach("web")
        self.run_done("mkfs.ext4", "-q", device)
        self.run_done("mount", device, MOUNT)
        (MOUNT / "kept").write_bytes(os.urandom(4 << 20))
        kept = self.digest(MOUNT / "kept")
        os.sync()
        writer = subprocess.Popen(["sh", "-c", f"while :; do head -c 2M /dev/urandom > {MOUNT}/changing; done"])
        self.addCleanup(writer.wait)
        self.addCleanup(writer.kill)
        snapshot = ROOT / "snapshot"
        for number in range(3):
            snapshot.unlink(missing_ok=True)
            self.daemon.ask("snapshot", "web", str(snapshot))
            self.daemon.ask("create", "copy", "--size", "64M")
            self.daemon.ask("restore", "copy", str(snapshot))
            copy = self.daemon.attach("copy")
            # As after a power failure: the journal is replayed, and then there is nothing to mend.
            self.run_done("sh", "-c", f"e2fsck -fp {copy}; [ $? -le 1 ]")
            self.run_done("e2fsck", "-fn", copy)
            other = ROOT / "other"
            other.mkdir(exist_ok=True)
            self.run_done("mount", "-o", "ro", copy, other)
            self.addCleanup(subprocess.run, ["umount", "-ql", other], check=False)
            self.assertEqual(self.digest(other / "kept"), kept, number)
            self.run_done("umount", other)
            self.daemon.ask("detach", "copy")
            self.daemon.ask("delete", "copy")
        writer.kill()
        writer.wait()
        self.run_done("umount", MOUNT)
        self.daemon.ask("detach", "web")
        self.daemon.ask("delete", "web")
        self.assertEqual(self.daemon.end(signal.SIGTERM), 0)

    def has_resize(self) -> bool:
        """Of ublk: UPDATE_SIZE is of Linux 6.16."""
        return tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 16)

    def size_of(self, device: str) -> int:
        return int(pathlib.Path(f"/sys/block/{device.rpartition('/')[2]}/size").read_text()) * 512

    def test_a_mounted_volume_grows(self):
        self.daemon.ask("create", "web", "--size", "16M")
        device = self.daemon.attach("web")
        self.run_done("mkfs.ext4", "-q", device)
        self.run_done("mount", device, MOUNT)
        small = os.statvfs(MOUNT)
        (MOUNT / "before").write_bytes(b"before " * 1_000_000)
        os.sync()
        if not self.has_resize():
            refused = self.daemon.ask_in_vain("resize", "web", "64M")
            self.assertIn("the front end was not told", refused)
            # The volume is larger than the device now, and the next daemon does not mind.
            self.daemon.end(signal.SIGKILL)
            self.daemon.start()
            self.assertEqual(self.size_of(device), 16 << 20)
        else:
            self.daemon.ask("resize", "web", "64M")
            self.assertEqual(self.size_of(device), 64 << 20)
            self.run_done("resize2fs", device)
            large = os.statvfs(MOUNT)
            self.assertGreater(large.f_blocks, 3 * small.f_blocks)
            (MOUNT / "behind").write_bytes(os.urandom(24 << 20))
            behind = self.digest(MOUNT / "behind")
            os.sync()
            self.daemon.end(signal.SIGKILL)
            self.daemon.start()
            self.assertEqual(self.digest(MOUNT / "behind"), behind)
        self.assertEqual((MOUNT / "before").read_bytes(), b"before " * 1_000_000)
        self.assertIn("is attached", self.daemon.ask_in_vain("resize", "web", "8M"))
        self.run_done("umount", MOUNT)
        self.run_done("e2fsck", "-fn", device)
        self.daemon.ask("detach", "web")
        self.daemon.ask("delete", "web")
        self.assertEqual(self.daemon.end(signal.SIGTERM), 0)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])

"""A guest of QEMU's whose disk is our vhost-user-blk server, which is killed under its load.

Environment, beside support.py's: PEPITA_VHOST_USER_DISK and PEPITA_DISK_VERIFIER, programs of this folder;
PEPITA_STORAGE and PEPITA, the node's daemon and its command line.
"""
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import support

sys.path.insert(0, str(support.SOURCE / "test/support"))
from storage_daemon import StorageDaemon  # noqa: E402: the path first

SERVER = os.environ.get("PEPITA_VHOST_USER_DISK", support.BUILD / "test/integration/vhost-user-disk")
VERIFIER = os.environ.get("PEPITA_DISK_VERIFIER", support.BUILD / "test/integration/disk-verifier")
DAEMON = os.environ.get("PEPITA_STORAGE", support.BUILD / "storage/daemon/pepita-storage")
PEPITA = os.environ.get("PEPITA", support.BUILD / "storage/cli/pepita")
KILLS = 5
WRITES_BETWEEN_KILLS = 50
MEBIBYTES = 64
SECTORS = MEBIBYTES * 2048
PROGRAMS = ("mkfs.ext4", "e2fsck")

INIT = f"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /mnt /tmp
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
export PATH=/bin
stty -echo
fail() {{ echo "FAILED: $1"; poweroff -f; }}
[ ! -s /virtio_blk.ko ] || insmod /virtio_blk.ko || fail insmod
echo "disk of $(cat /sys/block/vda/size) sectors, $(ls /sys/block/vda/mq | wc -l) queues," \\
     "serial $(cat /sys/block/vda/serial)"
mkfs.ext4 -q /dev/vda || fail mkfs.ext4
mount -t ext4 /dev/vda /mnt || fail mount
dd if=/dev/zero of=/mnt/data bs=1M count=8 2>/dev/null || fail dd  # or ext4 writes one block at a time
disk-verifier /mnt/data 24 2048 || fail disk-verifier
umount /mnt || fail umount
e2fsck -fn /dev/vda >/tmp/fsck 2>&1 || {{ cat /tmp/fsck; fail e2fsck; }}
echo "file system is clean"
until [ "$(cat /sys/block/vda/size)" = {2 * SECTORS} ]; do usleep 20000; done
dd if=/dev/urandom of=/tmp/last bs=64k count=16 2>/dev/null
dd if=/tmp/last of=/dev/vda bs=64k seek={2 * MEBIBYTES * 16 - 16} oflag=direct 2>/dev/null || fail "write at the end"
dd if=/dev/vda bs=64k skip={2 * MEBIBYTES * 16 - 16} iflag=direct 2>/dev/null | cmp - /tmp/last || fail "read at the end"
echo "the disk has grown"
poweroff -f
"""


def libraries(program: str) -> set[str]:
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"(/\S+)", listed))


def make_initramfs(directory: pathlib.Path) -> pathlib.Path:
    """busybox, e2fsprogs with their libraries, our verifier, and the guest's own virtio_blk, where it is a module."""
    root = directory / "root"
    for name in ("bin", "dev", "etc"):
        (root / name).mkdir(parents=True)
    shutil.copy(support.BUSYBOX, root / "bin/busybox")
    shutil.copy(VERIFIER, root / "bin/disk-verifier")
    (root / "etc/mtab").symlink_to("/proc/mounts")
    for name in PROGRAMS:
        program = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if program is None:
            raise unittest.SkipTest(f"{name} is missing: apt-get install e2fsprogs")
        shutil.copy(program, root / "bin" / name)
        for library in libraries(program):
            place = root / library.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, place)
    subprocess.run(["cpio", "-i", "--quiet", "--to-stdout", "modules/virtio_blk.ko"], check=True,
                   stdin=open(support.DATA / "guest/initramfs.cpio", "rb"),
                   stdout=open(root / "virtio_blk.ko", "wb"))
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    image = directory / "initramfs.cpio"
    with open(image, "wb") as out:
        names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=names.encode(), stdout=out, check=True)
    return image


class Scenario:
    """One disk, two servers of it: see the classes below."""

    SERIAL = ""

    def setUp(self):
        if not (support.DATA / "guest/vmlinuz").exists():
            raise AssertionError(f"no guest in {support.DATA}/guest: deploy/guest/build makes one")
        if shutil.which("qemu-system-x86_64") is None:
            raise unittest.SkipTest("qemu-system-x86_64 is missing: apt-get install qemu-system-x86")
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="pepita-vhost-"))
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)
        self.socket = self.scratch / "blk.sock"  # where QEMU finds the disk
        self.server = None
        self.server_log = open(self.scratch / "server.log", "w+b")
        self.addCleanup(self.server_log.close)
        self.shown = b""

    def start_server(self):
        raise NotImplementedError

    def grow(self):
        """Makes the disk twice as large."""
        raise NotImplementedError

    def expect_inherited(self, count: int):
        """So many requests were in flight when a server was killed, and were served by the next."""
        raise NotImplementedError

    def stop_server(self):
        self.server.terminate()
        self.assertEqual(self.server.wait(), 0, self.log())
        self.assertFalse(self.socket.exists())

    @staticmethod
    def end(process):
        process.kill()
        process.communicate()

    def log(self):
        return (self.scratch / "server.log").read_text(errors="replace")

    def start_machine(self):
        self.machine = subprocess.Popen(
            ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
             "-machine", "q35,memory-backend=ram",
             # Two threads trip over code that the kernel changes while it runs (QEMU 7.2).
             "-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2", "-m", "256M",
             "-object", "memory-backend-memfd,id=ram,size=256M,share=on",
             "-chardev", f"socket,id=disk,path={self.socket},reconnect=1",
             "-device", "vhost-user-blk-pci,chardev=disk,num-queues=2",
             "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
             "-kernel", str(support.DATA / "guest/vmlinuz"), "-initrd", str(make_initramfs(self.scratch)),
             "-append", "console=ttyS0 quiet panic=-1 nokaslr mitigations=off cryptomgr.notests"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(self.end, self.machine)

    def read_until(self, wanted: str) -> re.Match:
        """Reads on until a new part of what the guest says matches."""
        deadline = time.monotonic() + support.PATIENCE_S
        while True:
            found = re.search(wanted.encode(), self.shown)
            if found:
                self.shown = self.shown[found.end():]
                return found
            if re.search(rb"FAILED|WRONG|LOST|panic", self.shown):
                self.fail(f"waited for {wanted!r}: {self.shown[-2000:]!r}; server: {self.log()}")
            ready, _, _ = select.select([self.machine.stdout], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self.machine.stdout.fileno(), 65536) if ready else b""
            if not data:
                self.fail(f"{wanted!r} did not come: {self.shown[-2000:]!r}; server: {self.log()}")
            self.shown += data

    def writes(self) -> int:
        return int(self.read_until(r"writes (\d+)\r?\n").group(1))

    def wait_for_more_writes(self):
        first = self.writes()
        while self.writes() < first + WRITES_BETWEEN_KILLS:
            pass

    def test_no_acknowledged_write_is_lost_when_the_server_is_killed(self):
        self.start_server()
        self.start_machine()
        seen = self.read_until(r"disk of (\d+) sectors, (\d+) queues, serial (\S+)\r?\n")
        self.assertEqual(seen.groups(), (str(SECTORS).encode(), b"2", self.SERIAL.encode()))
        for _ in range(KILLS):
            self.wait_for_more_writes()
            self.server.send_signal(signal.SIGKILL)
            self.server.wait()
            self.start_server()
        self.wait_for_more_writes()
        inherited = [int(count) for count in re.findall(r"served again.* requests=(\d+)", self.log())]
        self.expect_inherited(sum(inherited))
        self.machine.stdin.write(b"stop\n")
        self.machine.stdin.flush()
        verified = self.read_until(r"verified 2048 blocks after (\d+) writes\r?\n")
        self.read_until("file system is clean")
        print(f"{verified.group(1).decode()} writes acknowledged, {sum(inherited)} served again by a successor",
              end=" ", flush=True)

        # Once more with nothing to do, and politely. QEMU is away while the disk grows.
        self.stop_server()
        self.start_server()
        self.grow()
        self.read_until("the disk has grown")
        self.assertEqual(self.machine.wait(support.PATIENCE_S), 0)
        self.stop_server()


class SlowFile(Scenario, unittest.TestCase):
    """A server of this folder's, whose writes take so long that each kill finds some in flight."""

    SERIAL = "pepita-test"

    def start_server(self):
        self.server = subprocess.Popen([SERVER, self.scratch / "disk", self.socket, "2", str(MEBIBYTES)],
                                       stdout=subprocess.PIPE, stderr=self.server_log)
        self.addCleanup(self.end, self.server)
        self.assertEqual(self.server.stdout.readline(), b"ready\n", self.log())

    def grow(self):
        self.server.send_signal(signal.SIGHUP)
        self.assertEqual(self.server.stdout.readline(), b"resized\n")

    def expect_inherited(self, count: int):
        self.assertGreater(count, 0, self.log())


class VolumeOfTheDaemon(Scenario, unittest.TestCase):
    """pepita-storage and a volume of its store, which outlive each kill in the memory file."""

    SERIAL = "web"

    def setUp(self):
        super().setUp()
        self.memory = pathlib.Path(tempfile.mkdtemp(prefix="pepita-vhost-", dir="/dev/shm"))  # the store wants a tmpfs
        self.addCleanup(shutil.rmtree, self.memory, ignore_errors=True)
        self.is_made = False

    def start_server(self):
        daemon = StorageDaemon(DAEMON, "--socket", self.scratch / "s", "--state", self.scratch / "state",
                               "--memory-file", self.memory / "memory", patience_s=support.PATIENCE_S)
        self.addCleanup(daemon.end, signal.SIGKILL)
        self.server = daemon.process
        if not self.is_made:
            self.ask("create", "web", "--size", f"{MEBIBYTES}M")
            self.socket = pathlib.Path(self.ask("attach", "web", "--queues", "2").strip())
            self.is_made = True

    def ask(self, *words: str) -> str:
        done = subprocess.run([PEPITA, "storage", *words, "--socket", self.scratch / "s"], capture_output=True, text=True,
                              timeout=support.PATIENCE_S, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""), words)
        return done.stdout

    def grow(self):
        self.ask("resize", "web", f"{2 * MEBIBYTES}M")

    def expect_inherited(self, count: int):
        """None, mostly: a store is done too soon."""

#!/usr/bin/python3
"""Tests of storage/ublk_server.h on a kernel with ublk; test/lab/run gives one.

Usage: test/lab/ublk_test.py UBLK_DISK [--cycles N] [--kills N] [--devices N] [unittest's arguments]
"""
import argparse
import errno
import fcntl
import mmap
import os
import pathlib
import signal
import struct
import subprocess
import sys
import time
import unittest

PATIENCE_S = 60  # only a hang gets here
BLKDISCARD, BLKZEROOUT, BLKRRPART = 0x1277, 0x127F, 0x125F
MIB = 1 << 20
OPTIONS = argparse.Namespace()


def wait_until(is_so, what: str):
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


def run(*command: str, **more) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, **more)


def ublk_disk(*words: str) -> subprocess.CompletedProcess:
    return run(OPTIONS.program, *words)


class Server:
    """A process that serves devices; each is (id, queues)."""

    def __init__(self, *words: str, **more):
        self.process = subprocess.Popen([OPTIONS.program, "serve", *words], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, **more)
        wanted = next((int(word[8:]) for word in words if word.startswith("devices=")), 1)
        self.devices = []
        while len(self.devices) < wanted:
            line = self.process.stdout.readline().split()
            if not line:
                self.process.wait(PATIENCE_S)
                raise RuntimeError(self.process.stderr.read())
            self.devices.append((int(line[1]), int(line[2])))
        self.id = self.devices[0][0]
        self.path = f"/dev/ublkb{self.id}"

    def end(self, how=signal.SIGTERM) -> int:
        self.process.send_signal(how)
        self.output, _ = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode

    def clean_up(self):
        """After a test that failed, so that the next one finds nothing."""
        if self.process.poll() is None:
            self.end()
        for pipe in (self.process.stdout, self.process.stderr):
            pipe.close()


class Case(unittest.TestCase):
    def setUp(self):
        began = time.monotonic()
        self.addCleanup(lambda: print(f"{time.monotonic() - began:.1f} s", file=sys.stderr))

    def serve(self, *words: str, **more) -> Server:
        server = Server(*words, **more)
        self.addCleanup(server.clean_up)
        return server

    def ends_well(self, server: Server):
        self.assertEqual(server.end(), 0)
        self.nothing_is_left()

    def nothing_is_left(self):
        self.assertEqual(ublk_disk("list").stdout, "")
        left = [node.name for node in pathlib.Path("/dev").glob("ublk[bc]*")]
        self.assertEqual(left, [])

    def memory(self, size: int) -> str:
        path = f"/dev/shm/ublk-{self.id().rpartition('.')[2]}"
        with open(path, "wb") as file:
            file.truncate(size)
        self.addCleanup(os.unlink, path)
        return path

    def mount_point(self) -> str:
        path = f"/run/{self.id().rpartition('.')[2]}"
        os.mkdir(path)
        self.addCleanup(lambda: os.path.exists(path) and os.rmdir(path))
        self.addCleanup(run, "umount", path)
        return path

    def fio(self, device: str, *words: str) -> list[str]:
        return ["fio", "--name=job", f"--filename={device}", "--direct=1", "--ioengine=io_uring",
                "--bs=4k", "--verify=crc32c", "--verify_fatal=1", "--group_reporting",
                "--output-format=terse", *words]

    def assert_done(self, done: subprocess.CompletedProcess):
        self.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr[-2000:])

    def queue(self, server: Server, name: str) -> str:
        return pathlib.Path(f"/sys/block/ublkb{server.id}/queue/{name}").read_text().strip()

    def write_direct(self, fd: int, offset: int, data: bytes):
        with mmap.mmap(-1, len(data)) as buffer:
            buffer.write(data)
            self.assertEqual(os.pwritev(fd, [buffer], offset), len(data))

    def read_direct(self, fd: int, offset: int, size: int) -> bytes:
        with mmap.mmap(-1, size) as buffer:
            self.assertEqual(os.preadv(fd, [buffer], offset), size)
            return buffer[:]

    def flags(self, server: Server) -> int:
        lines = [line.split() for line in ublk_disk("list").stdout.splitlines()]
        return next(int(words[4], 16) for words in lines if int(words[0]) == server.id)

    def written(self, server: Server) -> int:
        return int(pathlib.Path(f"/sys/block/ublkb{server.id}/stat").read_text().split()[6])

    def kill_under_load(self, *disk: str):
        server = self.serve(*disk, "queues=4")
        load = subprocess.Popen(self.fio(server.path, "--rw=randwrite", "--size=4M", "--numjobs=2",
                                         "--offset_increment=8M", "--iodepth=8", "--loops=1000000",
                                         "--time_based", f"--runtime={OPTIONS.kills * 3 + 5}",
                                         "--verify_backlog=64"), text=True,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        # Where this fails, the load would wait for a server that does not come back.
        self.addCleanup(load.stderr.close)
        self.addCleanup(load.wait, PATIENCE_S)
        self.addCleanup(ublk_disk, "delete", str(server.id))
        longest = 0.0
        for number in range(OPTIONS.kills + 1):
            # The last one goes of its own accord, without taking the device away.
            how = signal.SIGKILL if number < OPTIONS.kills else signal.SIGHUP
            before = self.written(server)
            wait_until(lambda: self.written(server) > before + 500, "no load")
            self.assertIsNone(load.poll(), "the load has ended")
            began = time.monotonic()
            self.assertEqual(server.end(how), -signal.SIGKILL if how == signal.SIGKILL else 0)
            server = self.serve(*disk, f"recover={server.id}")
            longest = max(longest, time.monotonic() - began)
        self.assertIsNone(load.poll(), "the load ended before the last kill")
        self.assertEqual(load.wait(OPTIONS.kills * 3 + PATIENCE_S), 0)
        self.assertEqual(load.stderr.read(), "")
        print(f"{OPTIONS.kills} kills, the longest recovery {longest * 1000:.0f} ms", file=sys.stderr)
        self.ends_well(server)


class Ublk(Case):
    def test_a_file_system_keeps_its_files(self):
        server = self.serve("size=64")
        mount = self.mount_point()
        self.assert_done(run("mkfs.ext4", "-q", "-F", server.path))
        content = os.urandom(3 * MIB + 17)
        for step in ("write", "read"):
            self.assert_done(run("mount", server.path, mount))
            if step == "write":
                pathlib.Path(mount, "file").write_bytes(content)
            else:
                self.assertEqual(pathlib.Path(mount, "file").read_bytes(), content)
            self.assert_done(run("umount", mount))
        self.assert_done(run("e2fsck", "-fn", server.path))
        self.ends_well(server)

    def test_what_was_written_is_in_the_memory_after_the_end(self):
        """The end itself writes back: nobody calls fsync here."""
        file = self.memory(4 * MIB)
        server = self.serve(f"file={file}")
        content = os.urandom(MIB)
        with open(server.path, "r+b", buffering=0) as device:
            device.write(content)
        self.ends_well(server)
        self.assertEqual(pathlib.Path(file).read_bytes()[:MIB], content)

    def test_random_writes_on_all_queues_are_verified(self):
        for copy in ("kernel", "server"):
            with self.subTest(copy=copy):
                server = self.serve("size=32", "queues=4", f"copy={copy}")
                queues = server.devices[0][1]
                self.assertEqual(queues, min(4, os.cpu_count()))
                # A queue serves some CPUs, and the scheduler need not use them all: each job has its own.
                done = run(*self.fio(server.path, "--rw=randwrite", "--numjobs=4", "--size=2M",
                                     "--offset_increment=8M", "--iodepth=16",
                                     f"--cpus_allowed=0-{os.cpu_count() - 1}", "--cpus_allowed_policy=split"))
                self.assert_done(done)
                served = self.threads_that_served(server)
                self.assertEqual(len(served), queues, served)
                self.ends_well(server)

    def test_disks_that_wait_are_verified_and_forced(self):
        """Completions from the event loop; fio's writes are O_DSYNC, so each is followed by a flush."""
        file = self.memory(8 * MIB)
        server = self.serve(f"file={file}", "io=ring", "queues=2")
        self.assert_done(run(*self.fio(server.path, "--rw=randwrite", "--numjobs=2", "--size=1M",
                                       "--offset_increment=4M", "--iodepth=16", "--sync=dsync")))
        device = os.open(server.path, os.O_RDWR | os.O_DIRECT)
        self.write_direct(device, 0, b"x" * 4096)
        fcntl.ioctl(device, BLKZEROOUT, struct.pack("QQ", 0, 4096))
        self.assertEqual(self.read_direct(device, 0, 4096), bytes(4096))
        os.close(device)
        self.ends_well(server)

    def threads_that_served(self, server: Server) -> list[str]:
        """Queues' threads that have waited more often than starting up takes."""
        tasks = pathlib.Path(f"/proc/{server.process.pid}/task").iterdir()
        return [(task / "comm").read_text().strip() for task in tasks
                if (task / "comm").read_text().startswith("ublk")
                and "-" in (task / "comm").read_text()
                and int((task / "status").read_text().split("voluntary_ctxt_switches:")[1].split()[0]) > 20]

    def test_discard_gives_memory_back_and_zeroes(self):
        # 16 pages of memory behind 1024 of disk.
        server = self.serve("size=4", "pages=16")
        page = os.urandom(4096)
        device = os.open(server.path, os.O_RDWR | os.O_DIRECT)
        self.write_direct(device, 0, page * 16)
        with self.assertRaises(OSError) as full:
            self.write_direct(device, 64 * 4096, page)
        self.assertEqual(full.exception.errno, errno.ENOSPC)
        fcntl.ioctl(device, BLKDISCARD, struct.pack("QQ", 0, 8 * 4096))
        self.write_direct(device, 64 * 4096, page)
        self.assertEqual(self.read_direct(device, 0, 4096), bytes(4096))
        self.assertEqual(self.read_direct(device, 8 * 4096, 4096), page)
        fcntl.ioctl(device, BLKZEROOUT, struct.pack("QQ", 8 * 4096, 4096))
        self.assertEqual(self.read_direct(device, 8 * 4096, 4096), bytes(4096))
        os.close(device)
        self.assertEqual(self.queue(server, "discard_granularity"), "4096")
        self.assertNotEqual(self.queue(server, "write_zeroes_max_bytes"), "0")
        self.ends_well(server)

    def test_flush_and_fua_reach_the_disk(self):
        flushes = []
        for count in (0, 5):
            server = self.serve("size=4")
            self.assertEqual(self.queue(server, "fua"), "1")
            self.assertEqual(self.queue(server, "write_cache"), "write back")
            self.assertIn("[none]", self.queue(server, "scheduler"))
            device = os.open(server.path, os.O_RDWR | os.O_DIRECT)
            forced = os.open(server.path, os.O_RDWR | os.O_DIRECT | os.O_DSYNC)
            self.write_direct(device, 0, b"w" * 4096)
            for i in range(count):
                self.write_direct(forced, 4096 * i, b"x" * 4096)
                os.fsync(device)
            os.close(device)
            os.close(forced)
            self.ends_well(server)
            flushes.append(int(server.output.split()[1]))
        # O_DSYNC on a block device is a FUA write and a FLUSH behind it; fsync is one more.
        self.assertEqual(flushes[1] - flushes[0], 15)

    def test_read_only_is_read_only(self):
        file = self.memory(MIB)
        pathlib.Path(file).write_bytes(b"r" * MIB)
        server = self.serve(f"file={file}", "access=read-only")
        self.assertEqual(pathlib.Path(f"/sys/block/ublkb{server.id}/ro").read_text().strip(), "1")
        self.assertEqual(pathlib.Path(server.path).read_bytes(), b"r" * MIB)
        fd = os.open(server.path, os.O_RDWR)
        with self.assertRaises(PermissionError):
            os.write(fd, b"w")
        os.close(fd)
        self.ends_well(server)

    def test_partitions_are_found(self):
        server = self.serve("size=8")
        table = bytearray(512)
        for i, (first, count) in enumerate(((2048, 2048), (4096, 1024))):
            struct.pack_into("<BxxxBxxxII", table, 446 + 16 * i, 0, 0x83, first, count)
        table[510:] = b"\x55\xaa"
        with open(server.path, "r+b", buffering=0) as device:
            device.write(table)
            os.fsync(device.fileno())
            fcntl.ioctl(device, BLKRRPART)
        with open(server.path + "p2", "r+b", buffering=0) as part:
            part.write(b"second")
            os.fsync(part.fileno())
        with open(server.path, "rb") as device:
            device.seek(4096 * 512)
            self.assertEqual(device.read(6), b"second")
        self.ends_well(server)

    def test_removal_under_load_ends_the_load(self):
        for recovery in ("yes", "no"):
            with self.subTest(recovery=recovery):
                server = self.serve("size=16", f"recovery={recovery}")
                with subprocess.Popen(self.fio(server.path, "--rw=randwrite", "--size=8M", "--iodepth=8",
                                               "--time_based", "--runtime=100"), text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE) as load:
                    before = self.written(server)
                    wait_until(lambda: self.written(server) > before, "no load")
                    self.assertEqual(server.end(), 0)
                    load.communicate(timeout=PATIENCE_S)
                    self.assertNotEqual(load.returncode, 0)
                self.nothing_is_left()

    def test_others_may_delete_it(self):
        server = self.serve("size=4")
        self.assert_done(ublk_disk("delete", str(server.id)))
        self.assertEqual(server.process.wait(PATIENCE_S), 0)
        self.nothing_is_left()

    def test_what_is_open_goes_when_it_is_closed(self):
        server = self.serve("size=4", "limit=1")
        device = os.open(server.path, os.O_RDONLY)
        server.process.terminate()
        _, errors = server.process.communicate(timeout=PATIENCE_S)
        self.assertEqual(errors, f"ublk_disk: ublk device {server.id}: DEL_DEV: not done within 1 s\n")
        self.assertFalse(os.path.exists(server.path))
        os.close(device)
        wait_until(lambda: not ublk_disk("list").stdout, "the device stayed")
        self.nothing_is_left()

    def test_add_and_delete_leave_nothing(self):
        self.assert_done(ublk_disk("cycle", str(OPTIONS.cycles)))
        self.nothing_is_left()

    def test_many_devices_at_once(self):
        server = self.serve("size=1", f"devices={OPTIONS.devices}", "depth=4")
        for number, _ in server.devices:
            with open(f"/dev/ublkb{number}", "r+b", buffering=0) as device:
                device.write(f"{number:4096}".encode())
        for number, _ in server.devices:
            with open(f"/dev/ublkb{number}", "rb") as device:
                self.assertEqual(int(device.read(4096)), number)
        self.assertEqual(len(ublk_disk("list").stdout.splitlines()), OPTIONS.devices)
        self.ends_well(server)

    def test_killed_under_verified_load_and_recovered(self):
        self.kill_under_load(f"file={self.memory(16 * MIB)}")

    def test_killed_store_under_verified_load_and_recovered(self):
        self.kill_under_load(f"store={self.memory(0)}", "size=16")

    def test_detached_is_recovered_with_its_file_system_mounted(self):
        """The servers' own mount namespaces must not hold the file system."""
        file = self.memory(16 * MIB)
        server = self.serve(f"file={file}", "namespace=own")
        mount = self.mount_point()
        self.assert_done(run("mkfs.ext4", "-q", "-F", server.path))
        self.assert_done(run("mount", server.path, mount))
        for how in (signal.SIGKILL, signal.SIGHUP):
            pathlib.Path(mount, how.name).write_text(how.name * 1000)
            self.assertEqual(server.end(how), -9 if how == signal.SIGKILL else 0)
            self.assertIn(f"{server.id} 2 ", ublk_disk("list").stdout)  # quiesced
            server = self.serve(f"file={file}", "namespace=own", f"recover={server.id}")
            mounts = pathlib.Path(f"/proc/{server.process.pid}/mountinfo").read_text()
            self.assertNotIn("/dev/ublkb", mounts)
        self.assert_done(run("umount", mount))
        self.assert_done(run("mount", server.path, mount))
        for how in (signal.SIGKILL, signal.SIGHUP):
            self.assertEqual(pathlib.Path(mount, how.name).read_text(), how.name * 1000)
        self.assert_done(run("umount", mount))
        self.ends_well(server)

    def test_recovery_is_refused_where_it_cannot_be(self):
        file = self.memory(MIB)
        live = self.serve(f"file={file}")
        other = self.memory_that_is_too_small()
        for words, complaint in (((f"file={other}", f"recover={live.id}"), "has 2048 sectors, its disk 1024"),
                                 ((f"file={file}", "recover=77"), "ublk device 77: GET_DEV_INFO: No such device")):
            done = ublk_disk("serve", *words)
            self.assertEqual(done.returncode, 1)
            self.assertIn(complaint, done.stderr)
        self.ends_well(live)
        mortal = self.serve(f"file={file}", "recovery=no")
        done = ublk_disk("serve", f"file={file}", f"recover={mortal.id}")
        self.assertIn("is not recoverable", done.stderr)
        mortal.end(signal.SIGKILL)
        wait_until(lambda: not os.path.exists(mortal.path), "the disk stayed")
        self.assert_done(ublk_disk("delete", str(mortal.id)))
        self.nothing_is_left()

    def memory_that_is_too_small(self) -> str:
        path = "/dev/shm/ublk-other"
        with open(path, "wb") as file:
            file.truncate(MIB // 2)
        self.addCleanup(os.unlink, path)
        return path

    def test_bad_devices_are_refused(self):
        for words, complaint in ((("queues=0",), "ublk device of 0 queues: 1 to 4096"),
                                 (("depth=0",), "queues 0 deep: 1 to 4096"),
                                 (("depth=4097",), "queues 4097 deep: 1 to 4096")):
            done = ublk_disk("serve", *words)
            self.assertEqual(done.returncode, 1)
            self.assertIn(complaint, done.stderr)
        self.nothing_is_left()

    def test_the_deepest_queue_works(self):
        server = self.serve("size=8", "depth=4096")
        self.assert_done(run(*self.fio(server.path, "--rw=randwrite", "--size=2M", "--iodepth=512")))
        self.ends_well(server)

    def test_a_user_without_privileges_needs_the_mode_and_the_nodes(self):
        user = {"user": 65534, "group": 65534, "extra_groups": []}
        done = run(OPTIONS.program, "serve", **user)
        self.assertIn("open '/dev/ublk-control': Permission denied (EACCES)", done.stderr)
        os.chmod("/dev/ublk-control", 0o666)
        self.addCleanup(os.chmod, "/dev/ublk-control", 0o600)
        done = run(OPTIONS.program, "serve", **user)
        self.assertIn("ublk device: ADD_DEV: Operation not permitted (EPERM)", done.stderr)
        # udev's part of it.
        udev = subprocess.Popen(["sh", "-c", "while [ ! -e /dev/ublkc0 ]; do :; done; chown 65534:65534 /dev/ublkc0;"
                                 "while [ ! -e /dev/ublkb0 ]; do :; done; chown 65534:65534 /dev/ublkb0"])
        server = self.serve("owner=user", "size=4", **user)
        self.assertEqual(udev.wait(PATIENCE_S), 0)
        done = run("sh", "-c", f"echo mine > {server.path} && sync && head -c 4 {server.path}", **user)
        self.assertEqual(done.stdout, "mine", done.stderr)
        self.ends_well(server)


class Newer(Case):
    """What 6.12 does not have."""

    def need(self, bit: int, name: str):
        if int(ublk_disk("features").stdout, 16) >> bit & 1 == 0:
            self.skipTest(f"this kernel's ublk lacks {name}")

    def memory_of_ours(self, server: Server) -> int:
        status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) * 1024

    def test_a_file_is_served_without_copies(self):
        self.need(11, "AUTO_BUF_REG")
        file = self.memory(64 * MIB)
        used = {}
        for copy in ("kernel", "never"):
            server = self.serve(f"file={file}", "io=ring", f"copy={copy}", "queues=2")
            self.assertEqual(self.flags(server) >> 11 & 1, int(copy == "never"))
            before = self.memory_of_ours(server)
            self.assert_done(run(*self.fio(server.path, "--rw=randwrite", "--bs=512k", "--size=32M",
                                           "--numjobs=2", "--offset_increment=32M", "--iodepth=16")))
            used[copy] = self.memory_of_ours(server) - before
            self.ends_well(server)
        # Sixteen requests of half a MiB pass through memory of the server's, or not.
        self.assertGreater(used["kernel"], 8 * MIB)
        self.assertLess(used["never"], 2 * MIB)

    def test_a_file_that_shrinks_fails_what_lies_behind_its_end(self):
        self.need(11, "AUTO_BUF_REG")
        file = self.memory(4 * MIB)
        server = self.serve(f"file={file}", "io=ring")
        device = os.open(server.path, os.O_RDWR | os.O_DIRECT)
        self.write_direct(device, 0, b"a" * 8192)
        os.truncate(file, 4096)
        self.assertEqual(self.read_direct(device, 0, 4096), b"a" * 4096)
        for offset in (0, MIB):  # short, and nothing
            with self.assertRaises(OSError) as failed:
                self.read_direct(device, offset, 8192)
            self.assertEqual(failed.exception.errno, errno.EIO)
        os.truncate(file, 4 * MIB)
        os.close(device)
        self.ends_well(server)

    def test_forced_writes_reach_the_disk_below_the_file(self):
        """A file of a file system on another ublk disk, which counts its flushes."""
        self.need(11, "AUTO_BUF_REG")
        flushes = []
        for count in (0, 20):
            below = self.serve("size=32")
            mount = self.mount_point()
            self.assert_done(run("mkfs.ext4", "-q", "-F", below.path))
            self.assert_done(run("mount", below.path, mount))
            file = pathlib.Path(mount, "file")
            file.write_bytes(os.urandom(MIB))
            os.sync()
            server = self.serve(f"file={file}", "io=ring")
            forced = os.open(server.path, os.O_RDWR | os.O_DIRECT | os.O_DSYNC)
            for i in range(count):
                self.write_direct(forced, 4096 * i, b"x" * 4096)
            os.close(forced)
            self.assertEqual(server.end(), 0)
            self.assert_done(run("umount", mount))
            os.rmdir(mount)
            self.ends_well(below)
            flushes.append(int(below.output.split()[1]))
        # Each is a forced write and a flush; the file system's own differ by a few.
        self.assertGreaterEqual(flushes[1] - flushes[0], 30)

    def test_many_requests_go_by_one_command(self):
        self.need(15, "BATCH_IO")
        for copy in ("kernel", "server"):
            server = self.serve("size=32", "queues=2", f"copy={copy}")
            self.assertEqual(self.flags(server) >> 15 & 1, 1)
            self.assert_done(run(*self.fio(server.path, "--rw=randwrite", "--size=4M", "--numjobs=2",
                                           "--offset_increment=8M", "--iodepth=32")))
            self.ends_well(server)
        server = self.serve("size=32", "commands=each")
        self.assertEqual(self.flags(server) >> 15 & 1, 0)
        self.ends_well(server)

    def test_servers_with_and_without_copies_follow_each_other(self):
        """One that serves no file copies what the kernel has registered all the same."""
        self.need(11, "AUTO_BUF_REG")
        file = self.memory(4 * MIB)
        server = self.serve(f"file={file}", "io=ring")
        for number, io in enumerate(("ring", "mapped", "ring")):
            if number:
                self.assertEqual(server.end(signal.SIGHUP), 0)
                server = self.serve(f"file={file}", f"io={io}", f"recover={server.id}")
            device = os.open(server.path, os.O_RDWR | os.O_DIRECT)
            for i in range(number):
                self.assertEqual(self.read_direct(device, i * 65536, 65536), bytes([i]) * 65536)
            self.write_direct(device, number * 65536, bytes([number]) * 65536)
            os.close(device)
        self.ends_well(server)

    def test_killed_file_without_copies_is_recovered(self):
        self.need(11, "AUTO_BUF_REG")
        self.kill_under_load(f"file={self.memory(16 * MIB)}", "io=ring")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--devices", type=int, default=20)
    _, rest = parser.parse_known_args(namespace=OPTIONS)
    if not os.path.exists("/dev/ublk-control"):
        sys.exit("ublk_test: there is no /dev/ublk-control here; test/lab/run has one")
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()

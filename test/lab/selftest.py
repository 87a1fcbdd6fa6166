#!/usr/bin/python3
"""Tests of test/lab/run itself, each in a lab of its own. Usage: test/lab/selftest.py [-v]"""
import hashlib
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
# Far beyond a boot on a busy machine: only a hang gets here.
PATIENCE_S = 300
OUTPUT_BYTES = 5_000_000
KVM_CREATE_VM = 0xAE01


def lab(*arguments: str, **more) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PEPITA_LAB": "machine", **more.pop("env", {})}
    return subprocess.run([HERE / "run", *arguments], capture_output=True, timeout=PATIENCE_S,
                          stdin=subprocess.DEVNULL, env=environment, check=False, **more)


def machines_below(pid: int) -> list[int]:
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


class Lab(unittest.TestCase):
    def test_gives_status_streams_devices_and_a_vm(self):
        """One boot for all that one command can show."""
        script = f"""
import fcntl, os, stat, subprocess, sys
subprocess.Popen(["sleep", "1000"])
for name in ("kvm", "ublk-control", "vhost-vsock", "vsock", "fuse", "net/tun"):
    assert stat.S_ISCHR(os.stat("/dev/" + name).st_mode), name
vm = fcntl.ioctl(os.open("/dev/kvm", os.O_RDWR), {KVM_CREATE_VM}, 0)
assert vm > 2
controllers = open("/sys/fs/cgroup/cgroup.controllers").read().split()
assert {{"cpu", "memory", "pids", "cpuset", "io"}} <= set(controllers), controllers
os.mkdir("/sys/fs/cgroup/selftest")
os.rmdir("/sys/fs/cgroup/selftest")
assert os.path.exists({str(HERE / "run")!r})
open("/var/lib/selftest", "w").close()
open("/lab/out/result", "w").write("from the lab")
sys.stderr.write("to stderr")
assert os.write(1, (bytes(range(256)) * 19532)[:{OUTPUT_BYTES}]) == {OUTPUT_BYTES}
sys.exit(7)
"""
        with tempfile.TemporaryDirectory() as out:
            done = lab("--out", out, "--", "/usr/bin/python3", "-c", script)
            self.assertEqual(done.returncode, 7, done.stderr)
            self.assertEqual(pathlib.Path(out, "result").read_text(), "from the lab")
        expected = (bytes(range(256)) * 19532)[:OUTPUT_BYTES]
        self.assertEqual(hashlib.sha256(done.stdout).hexdigest(), hashlib.sha256(expected).hexdigest())
        self.assertEqual(done.stderr, b"to stderr")
        self.assertFalse(pathlib.Path("/var/lib/selftest").exists())

    def test_ends_a_command_that_takes_too_long(self):
        began = time.monotonic()
        done = lab("--timeout", "20", "--", "sleep", "1000")
        self.assertEqual(done.returncode, 124)
        self.assertEqual(done.stderr, b"lab: sleep: not done within 20.0 s\n")
        self.assertLess(time.monotonic() - began, 60)

    def test_leaves_no_machine_and_no_file_when_interrupted(self):
        with tempfile.TemporaryDirectory() as scratch:
            environment = {**os.environ, "PEPITA_LAB": "machine", "TMPDIR": scratch}
            with subprocess.Popen([HERE / "run", "--", "sh", "-c", "echo up; sleep 1000"],
                                  stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                  env=environment) as runner:
                self.assertEqual(runner.stdout.read(3), b"up\n")
                machines = machines_below(runner.pid)
                self.assertEqual(len(machines), 1)
                runner.send_signal(signal.SIGINT)
                self.assertEqual(runner.wait(PATIENCE_S), 130)
            self.assertFalse(pathlib.Path(f"/proc/{machines[0]}").exists())
            self.assertEqual(os.listdir(scratch), [])

    def test_says_in_one_line_what_is_missing(self):
        with tempfile.TemporaryDirectory() as empty:
            done = subprocess.run(["/usr/bin/python3", HERE / "run", "--", "true"], check=False,
                                  capture_output=True, timeout=PATIENCE_S,
                                  env={"PATH": empty, "PEPITA_LAB_CACHE": empty})
        self.assertEqual(done.returncode, 125)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertTrue(done.stderr.startswith(b"lab: "), done.stderr)

    def test_says_where_the_archive_of_the_newest_kernel_is_out_of_reach(self):
        with tempfile.TemporaryDirectory() as empty:
            done = lab("--kernel", "newest", "--", "true",
                       env={"PEPITA_LAB_CACHE": empty, "http_proxy": "http://127.0.0.1:9"})
            self.assertEqual(os.listdir(empty), [])
        self.assertEqual(done.returncode, 77, done.stderr)
        self.assertTrue(done.stderr.startswith(b"lab: no newest kernel: apt-get failed: "), done.stderr)

    def test_runs_directly_where_the_host_can(self):
        done = lab("--", "sh", "-c", "echo $PEPITA_IN_LAB; exit 3", env={"PEPITA_LAB": "native"})
        self.assertEqual((done.returncode, done.stdout), (3, b"\n"))

    def test_asks_the_probe_where_nobody_decided(self):
        done = lab("--", "sh", "-c", "exit 3", env={"PEPITA_LAB": "", "PEPITA_KVM_PROBE": "/bin/true"})
        self.assertEqual(done.returncode, 3)
        self.assertIn(b"lab: not needed", done.stderr)


if __name__ == "__main__":
    unittest.main()

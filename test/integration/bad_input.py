"""What is wrong gets one clear line and leaves nothing behind."""
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import unittest

import support
from support import NodeTest


class Bundle(NodeTest):
    def test_no_bundle(self):
        self.refused("run", "-b", "/no/such/bundle", "c1", status=125, words=["/no/such/bundle"])

    def test_malformed_config(self):
        bundle = self.bundle(["true"])
        (bundle / "config.json").write_text('{"ociVersion": "1.0.2", ')
        self.refused("run", "-b", bundle, "c1", status=125, words=["config.json"])

    def test_hostile_config(self):
        bundle = self.bundle(["true"])
        (bundle / "config.json").write_text("[" * 100_000)
        self.refused("run", "-b", bundle, "c1", status=125, words=["config.json"])
        (bundle / "config.json").write_text('{"ociVersion": "1.0.2", "x": "' + "y" * (4 << 20) + '"}')
        self.refused("run", "-b", bundle, "c1", status=125, words=["config.json"])

    def test_what_is_not_done_is_refused_by_name(self):
        def edit(config):
            config["linux"]["resources"] = {"rdma": {"mlx": {"hcaHandles": 1}}}
        self.refused("run", "-b", self.bundle(["true"], edit=edit), "c1", status=125, words=["rdma"])

    def test_missing_root(self):
        bundle = self.bundle(["true"])
        shutil.rmtree(bundle / "rootfs")
        self.refused("run", "-b", bundle, "c1", status=125, words=["rootfs"])

    def test_bad_names(self):
        bundle = self.bundle(["true"])
        for name in ("..", "a/b", "x" * 129):
            self.refused("run", "-b", bundle, name, status=125)


class Program(NodeTest):
    def test_command_not_found(self):
        self.refused("run", "-b", self.bundle(["/nope"]), "c1", status=127, words=["'/nope'"])

    def test_command_not_executable(self):
        self.refused("run", "-b", self.bundle(["/bin/notexec"]), "c1", status=126, words=["'/bin/notexec'"])

    def test_a_cwd_that_cannot_be(self):
        def edit(config):
            config["process"]["cwd"] = "/bin/sh"
        self.refused("run", "-b", self.bundle(["true"], edit=edit), "c1", status=125, words=["/bin/sh"])


@support.needs_machine
class Guest(NodeTest):
    def data_with(self, kernel: bytes | None):
        """A data directory with another kernel."""
        data = pathlib.Path(tempfile.mkdtemp(prefix="data-", dir=self.scratch))
        (data / "guest").mkdir()
        shutil.copy(support.DATA / "guest/initramfs.cpio", data / "guest")
        if kernel is not None:
            (data / "guest/vmlinuz").write_bytes(kernel)
        return data

    def test_missing_kernel(self):
        self.refused("run", "-b", self.bundle(["true"]), "c1", status=125, data=self.data_with(None),
                     words=["vmlinuz", "ENOENT"])

    def test_not_a_kernel(self):
        self.refused("run", "-b", self.bundle(["true"]), "c1", status=125, data=self.data_with(b"no kernel" * 4096),
                     words=["kernel"])

    def test_truncated_kernel(self):
        kernel = (support.DATA / "guest/vmlinuz").read_bytes()
        self.refused("run", "-b", self.bundle(["true"]), "c1", status=125,
                     data=self.data_with(kernel[:len(kernel) // 2]), words=["kernel"])

    def test_no_space_while_packing(self):
        data = self.data_with((support.DATA / "guest/vmlinuz").read_bytes())
        small = data / "tmp"
        small.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "small", str(small)], check=True)
        try:
            self.refused("run", "--root-disk", "-b", self.bundle(["true"]), "c1", status=125, data=data,
                         words=["ENOSPC"])
        finally:
            subprocess.run(["umount", str(small)], check=True)

    def with_init(self, program: bytes, answer: bytes = b""):
        """A data directory whose guest runs `program` as its init, and has busybox and /answer."""
        data = self.data_with((support.DATA / "guest/vmlinuz").read_bytes())
        root = pathlib.Path(tempfile.mkdtemp(prefix="initramfs-", dir=self.scratch))
        with open(data / "guest/initramfs.cpio", "rb") as archive:
            subprocess.run(["cpio", "-idm", "--quiet"], check=True, stdin=archive, cwd=root)
        (root / "bin").mkdir()
        shutil.copy(support.BUSYBOX, root / "bin/busybox")
        (root / "init").unlink()
        (root / "init").write_bytes(program)
        (root / "answer").write_bytes(answer)
        (root / "init").chmod(0o755)
        names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
        packed = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=names.encode(), cwd=root,
                                capture_output=True, check=True)
        (data / "guest/initramfs.cpio").write_bytes(packed.stdout)
        return data

    def test_guest_panic(self):
        data = self.with_init(b"#!/bin/busybox sh\n"
                              b"for module in $(/bin/busybox cat /etc/pepita/modules); do /bin/busybox insmod $module; done\n"
                              b"exit 1\n")
        said = self.refused("run", "-b", self.bundle(["true"]), "c1", status=125, data=data)
        self.assertRegex(said, "panicked")

    def test_guest_that_never_answers(self):
        data = self.with_init(b"#!/bin/busybox sh\nwhile :; do /bin/busybox sleep 1000; done\n")
        self.refused("run", "--boot-deadline", "15", "-b", self.bundle(["true"]), "c1", status=125, data=data,
                     words=["did not answer within 15 s"])

    def test_guest_that_sends_garbage(self):
        program = pathlib.Path(os.environ["PEPITA_LYING_INIT"]).read_bytes()
        header = struct.Struct(">IIBB")  # ttrpc: length, stream, type, flags
        answers = {
            "noise": os.urandom(1 << 20),
            "a frame of 4 GiB": header.pack(0xffffffff, 1, 2, 0) + bytes(4096),
            "an answer that is no message": header.pack(64, 1, 2, 0) + b"\xff" * 64,
            "an answer to what nobody asked": header.pack(0, 77, 2, 0) * 100,
        }
        for number, (name, answer) in enumerate(answers.items()):
            with self.subTest(name):
                bundle = self.bundle(["true"], name=f"bundle-{number}")
                self.refused("run", "--boot-deadline", "20", "-b", bundle, f"c{number}", status=125,
                             data=self.with_init(program, answer))


class Options(NodeTest):
    def test_a_scratch_disk_that_cannot_be(self):
        bundle = self.bundle(["true"])
        for value in ("15", "-1", "65537", "64M", "", "0x40", "99999999999999999999999"):
            for verb, status in (("run", 125), ("create", 2)):
                self.refused(verb, "--scratch", value, "-b", bundle, "c1", status=status,
                             words=["'--scratch'", "16 to 65536"])


    def test_R5_a_pod_that_cannot_be_is_refused_with_its_reason(self):
        bundle = self.bundle(["true"])
        self.refused("run", "--memory", "100000", "-b", bundle, "c1", status=125, words=["memory", "64 to 65536"])
        self.refused("run", "--cpus", "9", "-b", bundle, "c1", status=125, words=["1 to 8"])

    def test_R27_a_callers_limits_are_not_the_daemons(self):
        bundle = self.bundle(["echo", "fine"])
        command = self.command("run", "-b", bundle, "c1")
        script = 'ulimit -S -f 100; ulimit -S -n 64; exec "$@"'
        done = subprocess.run(["bash", "-c", script, "bash", *command], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=support.PATIENCE_S, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, b"fine\n"), done.stderr)

    def test_R28_an_environment_that_no_program_can_have(self):
        bundle = self.bundle(["sh", "-c", "while :; do sleep 1; done"])
        self.detached("run", "-d", "--memory", "96", "-b", bundle, "c1")
        process = self.scratch / "process.json"

        def exec_with(size):
            env = ["PATH=/bin", *(f"V{number}=" + "x" * 99_990 for number in range(size // 100_000))]
            process.write_text(json.dumps({"args": ["true"], "cwd": "/", "env": env}))
            return ["exec", "-p", process, "c1"]
        self.refused(*exec_with(3_950_000), status=125, words=["arguments and environment", "2097152"])
        self.call(*exec_with(1_900_000), expect=0)
        self.call("delete", "-f", "c1", expect=0)


class Clients(NodeTest):
    def test_name_taken(self):
        self.started(["sh", "-c", "while :; do sleep 1; done"])
        bundle = self.bundle(["true"], name="second")
        self.refused("run", "-b", bundle, "c1", status=125, words=["c1", "already exists"])
        self.assertEqual(self.state("c1")["status"], "running")
        self.refused("delete", "c1", words=["running"])
        self.assertEqual(self.state("c1")["status"], "running")
        self.call("delete", "-f", "c1", expect=0)

    def test_unknown_container(self):
        for command in (["state"], ["start"], ["kill"], ["delete"]):
            self.refused(*command, "ghost", words=["ghost", "does not exist"])
        self.refused("exec", "ghost", "true", status=125, words=["ghost", "does not exist"])

    def test_garbage_on_the_shims_socket(self):
        self.started(["sh", "-c", "while :; do sleep 1; done"])
        for words in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64, os.urandom(4096)):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.connect(str(self.root / "c1/shim.sock"))
                client.sendall(words)
        self.assertEqual(self.call("exec", "c1", "echo", "fine", expect=0).stdout, b"fine\n")
        self.call("delete", "-f", "c1", expect=0)

    def test_a_stopped_container(self):
        bundle = self.bundle(["true"])
        self.detached("run", "-d", "-b", bundle, "c1")
        support.wait_until(lambda: self.state("c1")["status"] == "stopped", "the container stops")
        self.refused("kill", "c1", words=["not running"])
        self.refused("exec", "c1", "true", status=125, words=["not running"])
        self.refused("start", "c1")
        self.call("delete", "c1", expect=0)


class Deaths(NodeTest):
    """kill -9 of each process in the middle."""

    def running(self):
        bundle = self.bundle(["sh", "-c", "echo up; while :; do sleep 1; done"])
        run = subprocess.Popen(self.command("run", "-b", bundle, "c1"), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        self.assertEqual(run.stdout.readline(), b"up\n")
        return run

    def end_of(self, run):
        said = run.stderr.read().decode().strip()
        self.assertEqual(run.wait(support.PATIENCE_S), 125, said)
        self.assertEqual(len(said.splitlines()), 1, said)
        run.stdout.close()
        run.stderr.close()
        return said

    def test_shim_killed(self):
        run = self.running()
        shim = self.state_file("c1")["shim"]["pid"]
        os.kill(shim, signal.SIGKILL)
        self.end_of(run)

    def test_shim_of_a_detached_container_killed(self):
        self.started(["sh", "-c", "while :; do sleep 1; done"])
        os.kill(self.state_file("c1")["shim"]["pid"], signal.SIGKILL)
        support.wait_until(lambda: self.state("c1")["status"] == "stopped", "the container counts as stopped")
        self.call("delete", "c1", expect=0)

    @support.needs_machine
    def test_vmm_killed(self):
        run = self.running()
        os.kill(self.child_of_shim("c1", "pepita-vmm"), signal.SIGKILL)
        self.assertIn("killed by signal 9", self.end_of(run))

    @unittest.skipUnless(support.ISOLATION == "tcg", "only the tcg machine has a QEMU")
    def test_qemu_killed(self):
        run = self.running()
        os.kill(self.child_of_shim("c1", "qemu-system"), signal.SIGKILL)
        self.assertIn("killed by signal 9", self.end_of(run))

    @support.needs_machine
    def test_machine_of_a_detached_container_killed(self):
        self.started(["sh", "-c", "while :; do sleep 1; done"])
        os.kill(self.child_of_shim("c1", "pepita-vmm"), signal.SIGKILL)
        support.wait_until(lambda: self.state("c1")["status"] == "stopped", "the container stops")
        self.refused("exec", "c1", "true", status=125, words=["not running"])
        self.call("delete", "c1", expect=0)


if __name__ == "__main__":
    unittest.main()

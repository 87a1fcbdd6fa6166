"""A container's life from create to delete, as a user of runc expects it."""
import contextlib
import hashlib
import json
import os
import pathlib
import pty
import signal
import socket
import subprocess
import termios
import threading
import tty
import unittest

import support
from support import NodeTest


class Run(NodeTest):
    def test_output_and_status_come_back(self):
        done = self.run_bundle(["sh", "-c", "echo out; echo err >&2; exit 3"], expect=3)
        self.assertEqual((done.stdout, done.stderr), (b"out\n", b"err\n"))

    @support.needs_machine
    def test_the_guest_runs_its_own_kernel(self):
        release = (support.DATA / "guest/kernel-release").read_text().strip()
        done = self.run_bundle(["uname", "-r"])
        self.assertEqual(done.stdout.decode().strip(), release)
        self.assertNotEqual(release, os.uname().release)

    def test_auto_takes_kvm_where_that_runs_linux(self):
        usable = subprocess.run([os.environ["PEPITA_KVM_PROBE"]], stdout=subprocess.DEVNULL, check=False).returncode == 0
        if "PEPITA_IN_LAB" in os.environ:
            self.assertTrue(usable)
        log = self.scratch / "log"
        done = self.call("run", "-b", self.bundle(["true"]), "c1", expect=0,
                         options=("--isolation", "auto", "--log", log))
        self.assertEqual(done.stderr, b"")  # it is the container's: R12
        self.assertIn(f"isolation {'kvm' if usable else 'tcg'} (/dev/kvm: ", log.read_text())

    @support.needs_machine
    def test_four_processors(self):
        bundle = self.bundle(["grep", "-c", "^processor", "/proc/cpuinfo"])
        done = self.call("run", "--cpus", "4", "-b", bundle, "c1", expect=0)
        self.assertEqual(done.stdout, b"4\n")

    def test_statuses_of_signals(self):
        # PID 1 of a namespace is immune to its own signals, so its children show them.
        script = 'for s in KILL TERM; do sh -c "kill -$s \\$\\$"; echo $?; done'
        self.assertEqual(self.run_bundle(["sh", "-c", script]).stdout, b"137\n143\n")

    def test_config_is_what_the_process_sees(self):
        def edit(config):
            config["hostname"] = "web"
            config["process"].update({"cwd": "/tmp", "env": ["PATH=/bin", "A=b c"],
                                      "user": {"uid": 1000, "gid": 1000, "additionalGids": [5]}})
            config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
        script = "hostname; pwd; echo $A; id -u; id -G; ulimit -n; echo $$; grep -c NoNewPrivs:.1 /proc/self/status"
        done = self.run_bundle(["sh", "-c", script], edit=edit)
        self.assertEqual(done.stdout.decode().split("\n")[:-1],
                         ["web", "/tmp", "b c", "1000", "1000 5", "100", "1", "1"])

    def test_a_root_disk_is_writable_and_the_bundle_stays_as_it_was(self):
        bundle = self.bundle(["sh", "-c", "echo x > /written && cat /written"])
        self.call("run", "--root-disk", "-b", bundle, "c1", expect=0)
        self.assertFalse((bundle / "rootfs/written").exists())

    def test_read_only_root(self):
        def edit(config):
            config["root"]["readonly"] = True
        done = self.run_bundle(["sh", "-c", "echo x > /written"], edit=edit, expect=1)
        self.assertIn(b"Read-only file system", done.stderr)

    def test_masked_paths_hide(self):
        done = self.run_bundle(["sh", "-c", "cat /proc/timer_list | wc -c; ls /sys/firmware | wc -l"])
        self.assertEqual(done.stdout.split(), [b"0", b"0"])

    def test_debian(self):
        root = support.debian_root()
        done = self.run_bundle(["bash", "-c", "cat /etc/debian_version; dpkg -l | wc -l"], root=root)
        version, packages = done.stdout.split()
        self.assertTrue(version.startswith(b"12"), version)
        self.assertGreater(int(packages), 10)


class Scratch(NodeTest):
    """The disk that takes what a container writes."""

    IDLE = ["sh", "-c", "while :; do sleep 1; done"]

    def idle(self, *options):
        self.detached("run", "-d", *options, "-b", self.bundle(self.IDLE), "c1")

    def inside(self, script, expect=0):
        done = self.call("exec", "c1", "sh", "-c", script, expect=expect)
        return done.stdout.decode(), done.stderr.decode()

    def df(self):
        """Size, used and available KiB of the root."""
        size, used, free = self.inside("df -k /")[0].splitlines()[-1].split()[1:4]
        return int(size), int(used), int(free)

    def store_bytes(self, name):
        """What the store of a container's disk takes of the host's memory."""
        fds = pathlib.Path(f"/proc/{self.child_of_shim(name, 'pepita-vmm')}/fd")
        stores = [fd for fd in fds.iterdir() if os.readlink(fd).startswith("/memfd:store")]
        self.assertEqual(len(stores), 1)
        return stores[0].stat().st_blocks * 512

    def test_df_shows_the_quota(self):
        self.idle("--root-disk")
        size, used, free = self.df()
        self.assertTrue(980 << 10 <= size <= 1024 << 10, size)
        self.assertLess(used, 1 << 10)
        self.assertGreater(free, 960 << 10)
        if support.HAS_MACHINE:
            self.assertEqual(self.inside("grep -c vd /proc/partitions")[0], "2\n")
        self.call("delete", "-f", "c1", expect=0)

    def test_what_is_written_comes_back(self):
        self.idle("--root-disk", "--scratch", "128")
        bundle = self.scratch / "bundle/rootfs/block"
        expected = hashlib.md5(bundle.read_bytes() * 24).hexdigest()
        self.inside("i=0; while [ $i -lt 24 ]; do cat /block; i=$((i+1)); done > /big; sync; "
                    "echo 3 > /proc/sys/vm/drop_caches 2> /dev/null; cp /big /copy; sync")
        for name in ("/big", "/copy"):
            self.assertEqual(self.inside(f"md5sum {name}")[0].split()[0], expected)
        self.inside("rm /big; dd if=/copy of=/head bs=1M count=3 2> /dev/null; rm -r /copy /tmp; mv /head /tail")
        self.assertEqual(self.inside("md5sum < /tail")[0].split()[0],
                         hashlib.md5(bundle.read_bytes() * 3).hexdigest())
        self.call("delete", "-f", "c1", expect=0)

    def test_a_full_disk_harms_nothing_else(self):
        self.idle("--root-disk", "--scratch", "64")
        size, _, before = self.df()
        self.assertTrue(60 << 10 <= size <= 64 << 10, size)
        # What cannot be compressed costs the host hardly more than the quota, zeros next to nothing.
        for source, least, most in (("/dev/urandom", 50, 64 + 16 + 4), ("/dev/zero", 0, 8)):
            for name in ("/fill", "/more"):  # what the first left over because it was not sure
                _, said = self.inside(f"dd if={source} of={name} bs=4k", expect=1)
                self.assertIn("No space left on device", said)
                self.inside("sync")
            self.assertLess(self.df()[2], 1 << 10)
            if support.HAS_MACHINE:
                self.assertTrue(least << 20 <= self.store_bytes("c1") <= most << 20, self.store_bytes("c1"))
            self.assertEqual(self.inside("wc -c < /block")[0], "1048576\n")
            self.inside("rm -f /fill /more; sync")
            if support.HAS_MACHINE:
                self.assertLess(self.store_bytes("c1"), 8 << 20)  # discarded, so the host has it again
            self.assertGreater(self.df()[2], before - 256)
        self.inside("cat /block > /again && sync && cmp /block /again")
        self.assertEqual(self.state("c1")["status"], "running")
        self.call("delete", "-f", "c1", expect=0)

    def test_many_files_fill_it_too(self):
        self.idle("--root-disk", "--scratch", "16")
        _, said = self.inside("i=0; while :> /tmp/$i; do i=$((i+1)); done", expect=1)
        self.assertIn("No space left on device", said)
        self.inside("rm -r /tmp; cat /block > /again && cmp /block /again")
        self.call("delete", "-f", "c1", expect=0)

    def test_without_a_disk_memory_takes_it(self):
        script = "grep -c vd /proc/partitions; cat /block > /x; cmp /block /x"
        self.assertEqual(self.run_with(["--root-disk", "--scratch", "0"], script), b"1\n")

    def test_a_read_only_root_has_no_disk(self):
        def edit(config):
            config["root"]["readonly"] = True
        self.assertEqual(self.run_with(["--root-disk"], "grep -c vd /proc/partitions", edit=edit), b"1\n")

    def run_with(self, options, script, **more):
        bundle = self.bundle(["sh", "-c", script], **more)
        return self.call("run", *options, "-b", bundle, "c1", expect=0).stdout

    def test_the_largest_and_the_smallest(self):
        for mib in (16, 1 << 16):
            with self.subTest(mib):
                bundle = self.bundle(["df", "-m", "/"], name=f"bundle-{mib}")
                done = self.call("run", "--root-disk", "--scratch", mib, "-b", bundle, "c1", expect=0)
                size = int(done.stdout.decode().splitlines()[-1].split()[1])
                self.assertTrue(mib * 15 // 16 <= size <= mib, size)


class Streams(NodeTest):
    def test_a_hundred_megabytes_of_output_in_order(self):
        bundle = self.bundle(["sh", "-c", f"i=0; while [ $i -lt {support.BLOCK_COUNT} ]; do echo $i; cat /block; "
                                          "i=$((i+1)); done"])
        block = (bundle / "rootfs/block").read_bytes()
        expected = hashlib.sha256()
        for number in range(support.BLOCK_COUNT):
            expected.update(f"{number}\n".encode() + block)
        got = hashlib.sha256()
        size = 0
        with subprocess.Popen(self.command("run", "-b", bundle, "c1"), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE) as run:
            while data := run.stdout.read(1 << 20):
                got.update(data)
                size += len(data)
            self.assertEqual(run.wait(support.PATIENCE_S), 0)
        self.assertGreater(size, support.BLOCK_COUNT << 20)
        self.assertEqual(got.hexdigest(), expected.hexdigest())

    def test_a_hundred_megabytes_of_input_in_order(self):
        bundle = self.bundle(["md5sum"])
        block = (bundle / "rootfs/block").read_bytes()
        expected = hashlib.md5()
        with subprocess.Popen(self.command("run", "-b", bundle, "c1"), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as run:
            def feed():
                for number in range(support.BLOCK_COUNT):
                    part = f"{number}\n".encode() + block
                    expected.update(part)
                    run.stdin.write(part)
                run.stdin.close()
            feeder = threading.Thread(target=feed)
            feeder.start()
            said = run.stdout.read()
            feeder.join()
            self.assertEqual(run.wait(support.PATIENCE_S), 0)
        self.assertEqual(said.split()[0].decode(), expected.hexdigest())

    def test_input_that_ends_ends_in_the_guest(self):
        done = self.run_bundle(["sh", "-c", "cat; echo end"], stdin=b"some words\n")
        self.assertEqual(done.stdout, b"some words\nend\n")

    def test_a_reader_that_goes_stops_the_writer(self):
        bundle = self.bundle(["sh", "-c", "while cat /block; do :; done; exit 9"])
        with subprocess.Popen(self.command("run", "-b", bundle, "c1"), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
            run.stdout.read(1 << 16)
            run.stdout.close()
            # cat dies of SIGPIPE, or says so; the loop ends either way.
            self.assertEqual(run.wait(support.PATIENCE_S), 9)


class Terminal(NodeTest):
    def test_a_session_on_the_callers_terminal(self):
        def edit(config):
            config["process"]["terminal"] = True
        bundle = self.bundle(["sh", "-c", "tty; stty size; read line; echo got:$line; exit 4"], edit=edit)
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (33, 101))
        before = termios.tcgetattr(slave)
        with subprocess.Popen(self.command("run", "-b", bundle, "c1"), stdin=slave, stdout=slave, stderr=slave,
                              start_new_session=True) as run:
            text = support.read_until(master, b"33 101")
            self.assertIn(b"/dev/pts/0", text)
            os.write(master, b"hello\n")
            support.read_until(master, b"got:hello")
            self.assertEqual(run.wait(support.PATIENCE_S), 4)
        self.assertEqual(termios.tcgetattr(slave), before)
        os.close(master)
        os.close(slave)

    def test_a_console_socket_gets_a_terminal_that_follows_its_size(self):
        def edit(config):
            config["process"]["terminal"] = True
        script = 'trap "stty size" WINCH; echo ready; while :; do read line && break; done; echo bye:$line'
        bundle = self.bundle(["sh", "-c", script], edit=edit)
        console = support.Console(self.scratch)
        self.addCleanup(console.close)
        self.detached("create", "-b", bundle, "--console-socket", console.path, "c1")
        master = console.receive()
        tty.setraw(master)
        self.call("start", "c1", expect=0)
        support.read_until(master, b"ready")
        termios.tcsetwinsize(master, (44, 122))
        support.read_until(master, b"44 122")
        os.write(master, b"now\n")
        support.read_until(master, b"bye:now")
        support.wait_until(lambda: self.state("c1")["status"] == "stopped", "the container stops")
        self.call("delete", "c1", expect=0)


class Detached(NodeTest):
    def test_create_start_state_kill_delete(self):
        bundle = self.bundle(["sh", "-c", 'trap "exit 143" TERM; while :; do sleep 1; done'])
        pid_file = self.scratch / "pid"
        self.detached("create", "-b", bundle, "--pid-file", pid_file, "c1")
        pid = int(pid_file.read_text())
        state = self.state("c1")
        self.assertEqual((state["id"], state["status"], state["pid"], state["bundle"]),
                         ("c1", "created", pid, str(bundle)))
        self.call("start", "c1", expect=0)
        self.assertEqual(self.state("c1")["status"], "running")
        self.assertFalse(support.process_is_gone(pid))
        self.call("kill", "c1", "TERM", expect=0)

        def is_stopped():
            # What comes before the trap is set is lost: the first process of a pid namespace has no
            # default actions. So it is said until it is heard.
            self.call("kill", "c1", "TERM")
            return self.state("c1")["status"] == "stopped"
        support.wait_until(is_stopped, "the container stops")
        support.wait_until(lambda: support.process_is_gone(pid), "the pid file's process goes")
        self.call("delete", "c1", expect=0)
        self.refused("state", "c1", words=["c1", "does not exist"])

    def test_the_pid_files_process_ends_with_the_containers_status(self):
        # A subreaper, as conmon is: the process becomes ours when pepita-run ends.
        bundle = self.bundle(["sh", "-c", "read line; exit 42"])
        pid_file = self.scratch / "pid"
        helper = (
            "import ctypes, os, subprocess, sys\n"
            "ctypes.CDLL(None).prctl(36, 1)\n"  # PR_SET_CHILD_SUBREAPER
            "read, write = os.pipe()\n"
            "subprocess.run(sys.argv[2:], stdin=read, check=True)\n"
            "os.close(read); os.close(write)\n"
            "pid = int(open(sys.argv[1]).read())\n"
            "_, status = os.waitpid(pid, 0)\n"
            "print(os.waitstatus_to_exitcode(status))\n")
        command = self.command("run", "-d", "-b", bundle, "--pid-file", pid_file, "c1")
        done = subprocess.run(["/usr/bin/python3", "-c", helper, str(pid_file), *command], capture_output=True,
                              timeout=support.PATIENCE_S, check=False)
        self.assertEqual(done.stdout, b"42\n", done.stderr)
        self.call("delete", "c1", expect=0)

    def test_killing_the_pid_files_process_kills_the_container(self):
        bundle = self.bundle(["sh", "-c", "while :; do sleep 1; done"])
        pid_file = self.scratch / "pid"
        self.detached("run", "-d", "-b", bundle, "--pid-file", pid_file, "c1")
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        support.wait_until(lambda: self.state("c1")["status"] == "stopped", "the container stops")
        self.call("delete", "c1", expect=0)

    def test_137_by_kill(self):
        bundle = self.bundle(["sh", "-c", "echo up; while :; do sleep 1; done"])
        with subprocess.Popen(self.command("run", "-b", bundle, "c1"), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE) as run:
            self.assertEqual(run.stdout.readline(), b"up\n")
            self.call("kill", "c1", "KILL", expect=0)
            self.assertEqual(run.wait(support.PATIENCE_S), 137)

    def test_143_by_a_signal_to_the_client(self):
        bundle = self.bundle(["sh", "-c", 'trap "exit 143" TERM; echo up; while :; do sleep 1; done'])
        with subprocess.Popen(self.command("run", "-b", bundle, "c1"), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE) as run:
            self.assertEqual(run.stdout.readline(), b"up\n")
            run.send_signal(signal.SIGTERM)
            self.assertEqual(run.wait(support.PATIENCE_S), 143)

    def test_the_client_may_die(self):
        bundle = self.bundle(["sh", "-c", "echo up; while :; do sleep 1; done"])
        with subprocess.Popen(self.command("run", "-b", bundle, "c1"), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE) as run:
            self.assertEqual(run.stdout.readline(), b"up\n")
            run.kill()
        self.assertEqual(self.state("c1")["status"], "running")
        done = self.call("exec", "c1", "echo", "still here", expect=0)
        self.assertEqual(done.stdout, b"still here\n")
        self.call("delete", "-f", "c1", expect=0)

    def test_list_shows_what_there_is(self):
        self.started(["sh", "-c", "while :; do sleep 1; done"], name="one")
        listed = json.loads(self.call("list", "-f", "json", expect=0).stdout)
        self.assertEqual([(entry["id"], entry["status"]) for entry in listed], [("one", "running")])
        self.assertEqual(self.call("list", "-q", expect=0).stdout, b"one\n")
        self.call("delete", "-f", "one", expect=0)
        self.assertEqual(self.call("list", "-q", expect=0).stdout, b"")


@support.needs_machine
class Creating(NodeTest):
    """What is seen of a container, and what becomes of it, while it is being created."""

    def creating(self, **more):
        """A `create` in progress, whose machine boots."""
        bundle = self.bundle(["sh", "-c", "while :; do sleep 1; done"], **more)
        with open(self.scratch / "create.log", "ab") as log:
            create = subprocess.Popen(self.command("create", "-b", bundle, "c1"), stdin=subprocess.DEVNULL,
                                      stdout=log, stderr=log)
        self.addCleanup(create.wait, support.PATIENCE_S)
        program = "qemu-system" if support.ISOLATION == "tcg" else "pepita-vmm"
        support.wait_until(lambda: (self.root / "c1/state.json").exists(), "the container appears")
        support.wait_until(lambda: self.child_of_shim("c1", program), "its machine runs")
        return create

    def log(self):
        return (self.scratch / "create.log").read_text(errors="replace")

    def test_R1_delete_with_force_ends_it_and_leaves_nothing(self):
        create = self.creating()
        self.refused("delete", "c1", words=["being created"])
        self.call("delete", "-f", "c1", expect=0)
        # At once, not in the end: the name can be taken by another.
        self.assertEqual(self.ids(), [])
        self.assertEqual([found for found in support.Census(self.root).left - self.before
                          if "process" in found and "pepita-run" not in found], [])
        self.assertEqual(create.wait(support.PATIENCE_S), 1)
        self.assertIn("killed while it was being created", self.log())

    def test_R2_state_and_list_show_it(self):
        create = self.creating()
        self.assertEqual(self.state("c1")["status"], "creating")
        listed = json.loads(self.call("list", "-f", "json", expect=0).stdout)
        self.assertEqual([(entry["id"], entry["status"]) for entry in listed], [("c1", "creating")])
        self.assertEqual(create.wait(support.PATIENCE_S), 0, self.log())
        self.assertEqual(self.state("c1")["status"], "created")
        self.call("delete", "-f", "c1", expect=0)

    def test_R3_killing_the_stand_in_fails_the_create(self):
        create = self.creating()
        os.kill(self.state_file("c1")["pid"], signal.SIGKILL)
        self.assertEqual(create.wait(support.PATIENCE_S), 1)
        self.assertIn("killed while it was being created", self.log())
        self.assertEqual(self.ids(), [])

    def test_R4_killing_the_shim_and_the_client_leaves_a_free_name(self):
        create = self.creating()
        create.kill()
        shim = self.state_file("c1")["shim"]["pid"]
        os.kill(shim, signal.SIGKILL)
        create.wait(support.PATIENCE_S)
        support.wait_until(lambda: support.process_is_gone(shim), "end of the shim")
        bundle = self.bundle(["echo", "again"], name="second")
        self.assertEqual(self.call("run", "-b", bundle, "c1", expect=0).stdout, b"again\n")
        self.assertEqual(self.ids(), [])

    def test_R4_killing_the_shim_is_told_by_the_client(self):
        create = self.creating()
        os.kill(self.state_file("c1")["shim"]["pid"], signal.SIGKILL)
        self.assertEqual(create.wait(support.PATIENCE_S), 1)
        self.assertIn("killed by signal 9 (SIGKILL)", self.log())
        self.assertEqual(self.ids(), [])


class HostsView(NodeTest):
    """What tools of the host find by the pid of a container."""

    def test_R10_the_stand_in_has_empty_namespaces_and_the_cgroup_that_is_named(self):
        place = f"/pepita-it-{os.getpid()}/c1"

        def edit(config):
            config["linux"]["cgroupsPath"] = place
        self.addCleanup(self.remove_parents, place)
        self.started(["sh", "-c", "while :; do sleep 1; done"], edit=edit)
        state = self.state_file("c1")
        pid = state["pid"]
        for kind in ("mnt", "net", "pid", "ipc", "uts", "cgroup"):
            self.assertNotEqual(os.readlink(f"/proc/{pid}/ns/{kind}"), os.readlink(f"/proc/self/ns/{kind}"), kind)
        entered = subprocess.run(["nsenter", "-t", str(pid), "-n", "ip", "-o", "link"], capture_output=True,
                                 text=True, check=True).stdout
        self.assertEqual(len(entered.splitlines()), 1, entered)  # lo
        # The container's files, and no other process than itself.
        self.assertIn("block", os.listdir(f"/proc/{pid}/root"))
        self.assertEqual([name for name in os.listdir(f"/proc/{pid}/root/proc") if name.isdigit()], ["1"])
        processes = [pid, state["shim"]["pid"], state["vmm"]["pid"]]
        if support.HAS_MACHINE:
            processes.append(self.child_of_shim("c1", "pepita-vmm"))
        group = place if support.HAS_MACHINE else f"{place}/shim~"
        for process in processes:
            groups = pathlib.Path(f"/proc/{process}/cgroup").read_text().splitlines()
            self.assertEqual([line for line in groups if not line.endswith(group)], [], process)
        self.call("delete", "-f", "c1", expect=0)
        left = [str(path) for path in pathlib.Path("/sys/fs/cgroup").glob(f"**/{place.lstrip('/')}")]
        self.assertEqual(left, [])

    def test_X9_the_shim_keeps_only_what_it_uses(self):
        self.started(["sh", "-c", "while :; do sleep 1; done"])
        shim = self.state_file("c1")["shim"]["pid"]
        lines = pathlib.Path(f"/proc/{shim}/status").read_text().splitlines()
        status = {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}
        # By number (capabilities(7)): 0 CHOWN, 1 DAC_OVERRIDE, 5 KILL, 6 SETGID, 7 SETUID, 12 NET_ADMIN, 18 SYS_CHROOT,
        # 19 SYS_PTRACE, 21 SYS_ADMIN, 31 SETFCAP.
        kept = (0, 1, 5, 6, 7, 12, 18, 19, 21, 31) if support.HAS_MACHINE else (1, 19)
        for of in ("CapPrm", "CapEff", "CapBnd"):
            self.assertEqual([bit for bit in range(64) if int(status[of], 16) >> bit & 1], list(kept), of)
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
        self.assertEqual(self.call("exec", "c1", "echo", "well", expect=0).stdout, b"well\n")
        self.call("delete", "-f", "c1", expect=0)

    @support.needs_machine
    def test_X8_nobody_listens_where_init_was_ready(self):
        self.started(["sh", "-c", "while :; do sleep 1; done"])
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client, self.assertRaises(ConnectionRefusedError):
            client.connect(str(self.root / "c1/machine/vsock.sock_1024"))
        self.call("delete", "-f", "c1", expect=0)

    @staticmethod
    def remove_parents(place):
        for path in pathlib.Path("/sys/fs/cgroup").glob(f"**/{place.split('/')[1]}"):
            with contextlib.suppress(OSError):
                path.rmdir()


class Exec(NodeTest):
    def test_exec_joins_the_container(self):
        self.started(["sh", "-c", "hostname inside; while :; do sleep 1; done"])
        done = self.call("exec", "c1", "sh", "-c", "cat; tr '\\0' ' ' < /proc/1/cmdline; exit 5", stdin=b"in|", expect=5)
        self.assertTrue(done.stdout.startswith(b"in|sh -c hostname"), done.stdout)
        done = self.call("exec", "-e", "X=y", "--cwd", "/tmp", "-u", "1000:1000", "c1", "sh", "-c",
                         "echo $X $PWD $(id -u) $(id -g)", expect=0)
        self.assertEqual(done.stdout, b"y /tmp 1000 1000\n")
        for name, status in (("KILL", 137), ("TERM", 143)):
            self.call("exec", "c1", "sh", "-c", f"kill -{name} $$", expect=status)
        self.assertIn("'/nope'", self.refused("exec", "c1", "/nope", status=127))
        self.refused("exec", "c1", "/bin/notexec", status=126, words=["'/bin/notexec'"])
        process = self.scratch / "process.json"
        process.write_text(json.dumps({"args": ["pwd"], "cwd": "/etc", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}))
        self.assertEqual(self.call("exec", "-p", process, "c1", expect=0).stdout, b"/etc\n")
        self.call("delete", "-f", "c1", expect=0)

    def test_exec_with_a_terminal(self):
        self.started(["sh", "-c", "while :; do sleep 1; done"])
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (20, 70))
        with subprocess.Popen(self.command("exec", "-t", "c1", "sh", "-c", "stty size; read x; exit 6"), stdin=slave,
                              stdout=slave, stderr=slave, start_new_session=True) as run:
            support.read_until(master, b"20 70")
            os.write(master, b"\n")
            self.assertEqual(run.wait(support.PATIENCE_S), 6)
        os.close(master)
        os.close(slave)
        self.call("delete", "-f", "c1", expect=0)


    def test_execs_leave_no_descriptor_and_no_process(self):
        self.started(["sh", "-c", "while :; do sleep 1; done"])
        self.call("exec", "c1", "true", expect=0)
        before = self.open_files("c1")
        self.assertGreater(len(before), 1, before)
        for _ in range(5):
            self.assertEqual(self.call("exec", "c1", "cat", stdin=b"words", expect=0).stdout, b"words")
            self.refused("exec", "c1", "/nope", status=127)

        # What was open before may have been on its way out already; what ten execs leave is more than that.
        def has_no_more():
            now = self.open_files("c1")
            return now.keys() == before.keys() and all(now[pid] <= count for pid, count in before.items())

        support.wait_until(has_no_more, f"no more files than were open before: {before}")
        self.call("delete", "-f", "c1", expect=0)


class Callers(NodeTest):
    """What callers of runc do, and what they get there."""

    def test_R15_a_configuration_without_linux(self):
        def edit(config):
            for member in ("linux", "mounts", "hostname"):
                del config[member]
            config["process"] = {"cwd": "/", "args": config["process"]["args"]}
        done = self.run_bundle(["sh", "-c", "echo $(id -u):$(id -g) $HOME"], edit=edit)
        self.assertEqual(done.stdout, b"0:0 /root\n")

    def test_R14_default_devices_asked_for_again(self):
        def edit(config):
            config["linux"]["devices"] = [{"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2},
                                          {"path": "/dev/null", "type": "c", "major": 1, "minor": 3}]
        done = self.run_bundle(["readlink", "/dev/ptmx"], edit=edit)
        self.assertEqual(done.stdout, b"pts/ptmx\n")

    @support.needs_machine
    def test_R35_the_guests_console_is_a_file_that_is_made(self):
        console = self.scratch / "console"
        bundle = self.bundle(["true"])
        self.call("run", "-b", bundle, "--guest-console", console, "c1", expect=0)
        once = console.stat().st_size
        self.assertIn(b"Linux version", console.read_bytes())
        self.call("run", "-b", bundle, "--guest-console", console, "c1", expect=0)
        self.assertGreater(console.stat().st_size, once)

    def test_exec_as_callers_do(self):
        name = self.started(["sleep", "1000"])
        process = b'{"args": ["sh", "-c", "echo $(id -u):$(id -g)"], "cwd": "/", "env": ["PATH=/bin"]}'
        with self.subTest("R16"):
            self.assertEqual(self.call("exec", "-p", "/dev/stdin", name, stdin=process, expect=0).stdout, b"0:0\n")
        with self.subTest("R17"):
            self.call("kill", name, "0", expect=0)
        with self.subTest("R21"):
            done = subprocess.run(self.command("exec", "-t", name, "echo", "hi"), stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, timeout=support.PATIENCE_S, check=True)
            self.assertEqual(done.stdout, b"hi\n")
        with self.subTest("R22"), open("/dev/null", "wb") as write_only:
            done = subprocess.run(self.command("exec", name, "cat"), stdin=write_only, capture_output=True,
                                  timeout=support.PATIENCE_S, check=True)
            self.assertEqual(done.stdout, b"")
        with self.subTest("R34"):
            done = self.call("exec", "-g", "7", "-c", "CAP_SYS_TIME", "--no-new-privs", "--ignore-paused", name,
                             "sh", "-c", "id -G; grep -e CapBnd -e NoNewPrivs /proc/self/status", expect=0)
            groups, *status = done.stdout.decode().splitlines()
            self.assertIn("7", groups.split())
            bounding = int(status[0].split()[1], 16)
            self.assertTrue(bounding & 1 << 25, status)
            self.assertEqual(status[1].split()[1], "1")
        with self.subTest("R21 on a terminal"):
            master, slave = pty.openpty()
            call = subprocess.Popen(self.command("exec", "-t", name, "echo", "hi"), stdin=slave, stdout=slave,
                                    stderr=slave, start_new_session=True)
            os.close(slave)
            self.assertEqual(support.read_until(master, b"\n"), b"hi\r\n")
            call.wait(support.PATIENCE_S)
            os.close(master)
        self.call("delete", "-f", name, expect=0)


class Many(NodeTest):
    def test_ten_one_after_another(self):
        bundle = self.bundle(["sh", "-c", "echo $PPID; exit 0"])
        for number in range(10):
            self.call("run", "-b", bundle, f"c{number}", expect=0)
            with contextlib.suppress(FileNotFoundError):
                self.assertEqual(list(self.root.iterdir()), [])

    def test_three_at_once(self):
        runs = []
        for number in range(3):
            bundle = self.bundle(["sh", "-c", f"echo {number}; read line; exit {number}"], name=f"b{number}")
            runs.append(subprocess.Popen(self.command("run", "-b", bundle, f"c{number}"), stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE))
        for number, run in enumerate(runs):
            self.assertEqual(run.stdout.readline(), f"{number}\n".encode())
        self.assertEqual(sorted(path.name for path in pathlib.Path(self.root).iterdir()), ["c0", "c1", "c2"])
        for number, run in enumerate(runs):
            with run:
                run.stdin.write(b"\n")
                run.stdin.close()
                self.assertEqual(run.wait(support.PATIENCE_S), number)


if __name__ == "__main__":
    unittest.main()

"""Containers on the host itself, `--isolation process`: what a microVM cannot be asked for.

The other modules hold for them, too: run them with PEPITA_ISOLATION=process.
"""
import json
import os
import pathlib
import signal
import subprocess
import unittest

import support
from support import NodeTest


@unittest.skipIf(support.HAS_MACHINE, "it is about containers without a microVM")
class Process(NodeTest):
    def namespaces(self, *types, **paths):
        """Has a bundle ask for these namespaces alone, and for those of its mounts."""
        def edit(config):
            config["linux"]["namespaces"] = [{"type": name} for name in ("mount", *types)]
            config["linux"]["namespaces"] += [{"type": name, "path": path} for name, path in paths.items()]
            config.pop("hostname", None)
            # A sysfs is its network namespace's owner's.
            config["process"]["capabilities"]["bounding"].append("CAP_SYS_PTRACE")
        return edit

    def inode(self, name, pid="self"):
        return os.readlink(f"/proc/{pid}/ns/{name}")

    def test_what_it_does_not_ask_for_is_the_hosts(self):
        script = "for n in net pid ipc uts mnt; do readlink /proc/self/ns/$n; done"
        lines = self.run_bundle(["sh", "-c", script], edit=self.namespaces("cgroup")).stdout.decode().splitlines()
        self.assertEqual(lines[:4], [self.inode(name) for name in ("net", "pid", "ipc", "uts")])
        self.assertNotEqual(lines[4], self.inode("mnt"))

    def test_the_hosts_processes_are_seen_and_its_own_all_end(self):
        self.started(["sh", "-c", "sleep 1000 & sleep 1001; true"], edit=self.namespaces("network"))
        done = self.call("exec", "c1", "cat", f"/proc/{os.getpid()}/comm", expect=0)
        self.assertEqual(done.stdout, pathlib.Path("/proc/self/comm").read_bytes())
        pids = json.loads(self.call("ps", "--format", "json", "c1", expect=0).stdout)
        commands = {pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").strip() for pid in pids}
        self.assertEqual(commands, {b"sh -c sleep 1000 & sleep 1001; true", b"sleep 1000", b"sleep 1001"})
        self.call("delete", "-f", "c1", expect=0)
        self.assertEqual([pid for pid in pids if not support.process_is_gone(pid)], [])

    def test_namespaces_are_joined_by_their_paths(self):
        with subprocess.Popen(["unshare", "-n", "-i", "-u", "-p", "--fork", "--kill-child", "sleep", "1000"]) as holder:
            child = support.wait_until(lambda: self.descendant(holder.pid, "sleep"), "the holder sleeps")
            paths = {name: f"/proc/{child}/ns/{kind}" for name, kind in
                     (("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"))}
            script = "for n in net ipc uts pid; do readlink /proc/self/ns/$n; done; cat /proc/1/comm; ls /sys/class/net"
            lines = self.run_bundle(["sh", "-c", script], edit=self.namespaces(**paths)).stdout.decode().splitlines()
            self.assertEqual(lines, [self.inode(name, child) for name in ("net", "ipc", "uts", "pid")] + ["sleep", "lo"])
            holder.kill()

    def test_a_path_that_is_no_namespace_is_refused(self):
        for path, word in (("/nowhere", "ENOENT"), ("/etc/passwd", "EINVAL"), ("/proc/self/ns/net", "EINVAL")):
            bundle = self.bundle(["true"], edit=self.namespaces(ipc=path), name=f"bundle{path.replace('/', '-')}")
            self.refused("run", "-b", bundle, "c1", status=125, words=["ipc" if word == "EINVAL" else path, word])
            self.assertEqual(self.ids(), [])

    def test_mounts_go_to_the_host_where_a_bind_is_shared(self):
        place = self.scratch / "place"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "small", str(place)], check=True)
        self.addCleanup(subprocess.run, ["umount", "-R", str(place)], check=True)
        subprocess.run(["mount", "--make-shared", str(place)], check=True)
        (place / "there").mkdir()

        def edit(config):
            config["mounts"].append({"destination": "/vol", "type": "bind", "source": str(place),
                                     "options": ["rbind", "rshared"]})
            for kind in ("bounding", "effective", "permitted"):
                config["process"]["capabilities"][kind].append("CAP_SYS_ADMIN")
        script = "mount -t tmpfs made /vol/there && echo made > /vol/there/file"
        self.run_bundle(["sh", "-c", script], edit=edit)
        self.assertEqual((place / "there/file").read_text(), "made\n")

    def test_a_plain_bind_has_nothing_of_what_is_mounted_below(self):
        below = self.scratch / "shared/below"
        below.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "small", str(below)], check=True)
        self.addCleanup(subprocess.run, ["umount", str(below)], check=True)
        (below / "deep").write_text("deep\n")

        def edit(config):
            config["mounts"].append({"destination": "/vol", "type": "bind", "source": str(below.parent),
                                     "options": ["bind"]})
        self.assertEqual(self.run_bundle(["ls", "-A", "/vol/below"], edit=edit).stdout, b"")

    def test_nothing_runs_on_when_shim_or_engine_is_killed(self):
        """Not as other users either, whom the shim may not signal (X9)."""
        def edit(config):
            config["process"]["user"] = {"uid": 1000, "gid": 1000}
        for victim in ("shim", "vmm"):  # the state's word for what runs the containers
            self.started(["sh", "-c", "sleep 1000 & sleep 1001; true"], name=f"c-{victim}", edit=edit)
            pids = json.loads(self.call("ps", "--format", "json", f"c-{victim}", expect=0).stdout)
            self.assertEqual(len(pids), 3)
            os.kill(self.state_file(f"c-{victim}")[victim]["pid"], signal.SIGKILL)
            support.wait_until(lambda: all(support.process_is_gone(pid) for pid in pids), f"end after that of {victim}")
            self.call("delete", "-f", f"c-{victim}", expect=0)

    def test_nothing_runs_on_when_both_are_killed_and_it_is_deleted(self):
        self.started(["sh", "-c", "sleep 1000 & sleep 1001; true"])
        pids = json.loads(self.call("ps", "--format", "json", "c1", expect=0).stdout)
        state = self.state_file("c1")
        for victim in ("vmm", "shim"):
            os.kill(state["shim"]["pid"], signal.SIGSTOP)  # it must not end the containers itself
            os.kill(state[victim]["pid"], signal.SIGKILL)
        self.call("delete", "-f", "c1", expect=0)
        support.wait_until(lambda: all(support.process_is_gone(pid) for pid in pids), "the end of all processes")

    def test_the_stand_in_is_in_the_new_network(self):
        """Whoever prepares it finds it there, as dockerd's hook does."""
        self.started(["sleep", "1000"])
        pid = self.state("c1")["pid"]
        inside = self.call("exec", "c1", "readlink", "/proc/self/ns/net", expect=0).stdout.decode().strip()
        self.assertEqual(inside, self.inode("net", pid))
        self.call("delete", "-f", "c1", expect=0)

    @unittest.skipIf(support.has_controllers(), "the host can limit all of it")
    def test_limits_that_the_host_cannot_set_are_said(self):
        def edit(config):
            config["linux"]["resources"].update({"memory": {"limit": 64 << 20}, "pids": {"limit": 99}})
        log = self.scratch / "log"
        self.call("run", "-b", self.bundle(["true"], edit=edit), "c1", expect=0, options=("--log", log))
        self.assertIn('limits="memory.limit, pids.limit"', log.read_text())
        self.started(["sleep", "1000"])
        self.refused("update", "--memory", "64M", "c1", words=["memory.max", "no such controller"])
        self.call("delete", "-f", "c1", expect=0)

    def test_devices_are_the_hosts_where_the_rules_say_so(self):
        def edit(config):
            config["linux"]["devices"] = [{"path": "/dev/loop-control", "type": "c", "major": 10, "minor": 237}]
        script = "cat < /dev/loop-control"
        done = self.run_bundle(["sh", "-c", script], edit=edit, expect=1)
        self.assertIn(b"Operation not permitted", done.stderr)

        def allow(config):
            edit(config)
            config["linux"]["resources"]["devices"].append(
                {"allow": True, "type": "c", "major": 10, "minor": 237, "access": "rw"})
        bundle = self.bundle(["sh", "-c", "exec 3< /dev/loop-control && echo open"], edit=allow, name="second")
        done = self.call("run", "-b", bundle, "c1", expect=0)
        self.assertEqual(done.stdout, b"open\n")

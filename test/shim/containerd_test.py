#!/usr/bin/python3
"""containerd-shim-pepita-v2 under Debian's containerd: ctr, and a released crictl through containerd's CRI. Nothing of it is
left at the end of each test. Usage: containerd_test.py BUILD [ctr|crictl] [unittest's options]

Environment: as containerd_host.py's. The part `crictl` needs test/cri/go_programs.py's crictl, which is built once.
"""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import containerd_host  # noqa: E402
from containerd_host import BUSYBOX, PATIENCE_S, RUNTIME, wait_until  # noqa: E402

LOOP = ("sh", "-c", "trap 'exit 5' TERM; echo started; while :; do sleep 1; done")


class WithContainerd(unittest.TestCase):
    host: containerd_host.Host
    maxDiff = None

    def setUp(self):
        self.before = self.host.left()
        self.addCleanup(self.check_that_nothing_is_left)

    def check_that_nothing_is_left(self):
        if self.has_failed():
            print(self.host.said(), file=sys.stderr)

        def extra():
            return self.host.left() - self.before

        with contextlib.suppress(AssertionError):  # what was killed is collected by the kernel a moment later
            wait_until(lambda: not extra(), "clean-up", 15)
        self.assertEqual(extra(), set())

    def has_failed(self) -> bool:
        result = self._outcome.result  # unittest says it nowhere else
        return any(getattr(test, "test_case", test) is self for test, _ in result.failures + result.errors)


class Ctr(WithContainerd):
    def ctr(self, *arguments, expect=0, **how) -> str:
        done = self.host.ctr(*arguments, **how)
        self.assertEqual(done.returncode, expect, f"{arguments}: {done.stderr.decode()}{done.stdout.decode()}")
        return done.stdout.decode()

    def run_flags(self):
        return ("--snapshotter", self.host.snapshotter, "--runtime", RUNTIME, "--runtime-config-path", self.host.shim_config)

    def run_once(self, name, *command, options=(), **how):
        return self.ctr("run", "--rm", *self.run_flags(), *options, BUSYBOX, name, *command, **how)

    def started(self, name, *command, options=()):
        self.ctr("run", "--detach", "--null-io", *self.run_flags(), *options, BUSYBOX, name, *command)
        self.addCleanup(self.host.ctr, "containers", "rm", name)
        self.addCleanup(self.host.ctr, "tasks", "rm", "--force", name)

    def tasks(self) -> dict[str, tuple[int, str]]:
        rows = [line.split() for line in self.ctr("tasks", "ls").splitlines()[1:]]
        return {row[0]: (int(row[1]), row[2]) for row in rows}

    def execute(self, name, *command, **how):
        return self.ctr("tasks", "exec", "--exec-id", "e1", name, *command, **how)

    def removed(self, name, status):
        """Removes the task of a container that has ended or ends."""
        wait_until(lambda: self.tasks()[name][1] == "STOPPED", "the task's end")
        done = self.host.ctr("tasks", "rm", name)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"exit code {status}".encode(), done.stderr)
        self.ctr("containers", "rm", name)

    def test_output_input_and_statuses(self):
        self.assertEqual(self.run_once("c1", "echo", "hello"), "hello\n")
        self.assertEqual(self.run_once("c2", "cat", input=b"through\n"), "through\n")
        self.run_once("c3", "sh", "-c", "exit 7", expect=7)
        done = self.host.ctr("run", "--rm", *self.run_flags(), BUSYBOX, "c4", "nosuch")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"nosuch", done.stderr)

    def test_a_task_from_its_start_to_its_end(self):
        self.started("web", *LOOP)
        pid, status = self.tasks()["web"]
        self.assertEqual(status, "RUNNING")
        self.assertTrue(pathlib.Path(f"/proc/{pid}").exists())
        self.assertEqual(self.execute("web", "sh", "-c", "echo of $(cat /proc/1/comm)"), "of sh\n")
        self.assertEqual(self.execute("web", "cat", input=b"in\n"), "in\n")
        self.execute("web", "sh", "-c", "exit 3", expect=3)
        self.ctr("tasks", "pause", "web")
        self.assertEqual(self.tasks()["web"][1], "PAUSED")
        self.ctr("tasks", "resume", "web")
        self.assertEqual(self.tasks()["web"][1], "RUNNING")
        self.assertIn(str(pid), self.ctr("tasks", "ps", "web"))
        self.assertIn("memory.usage", self.ctr("tasks", "metrics", "web"))
        self.ctr("tasks", "kill", "--signal", "SIGTERM", "web")
        self.removed("web", 5)

    def test_containers_live_through_the_end_of_containerd(self):
        self.started("web", *LOOP)
        before = self.tasks()["web"]
        self.host.kill()
        self.host.start()
        self.assertEqual(self.tasks()["web"], before)
        self.assertEqual(self.execute("web", "echo", "there"), "there\n")
        self.ctr("tasks", "kill", "--signal", "SIGTERM", "web")
        self.removed("web", 5)

    def test_a_container_that_ends_while_containerd_is_away(self):
        self.started("web", *LOOP)
        pid = self.tasks()["web"][0]
        self.host.kill()
        os.kill(pid, signal.SIGTERM)  # its stand-in passes it on
        wait_until(lambda: not is_alive(pid), "the container's end")
        self.host.start()
        self.assertEqual(self.tasks()["web"][1], "STOPPED")
        self.removed("web", 5)

    def test_what_a_killed_shim_has_left_is_removed(self):
        self.started("web", *LOOP)
        shim, = (pid for pid, name in containerd_host.descendants().items() if name == "pepita-shim")
        os.kill(shim, signal.SIGKILL)
        wait_until(lambda: self.tasks().get("web", (0, "STOPPED"))[1] == "STOPPED", "the task's end")
        self.host.ctr("tasks", "rm", "web")
        self.ctr("containers", "rm", "web")

    def test_what_is_wrong_is_said(self):
        for name, options, words in (
                ("a", ("--annotation", "io.pepita.memory-mib=1"), "annotation 'io.pepita.memory-mib': must be a whole number"),
                ("b", ("--annotation", "io.pepita.data=/x"), "no option that a pod may set"),
                ("c", ("--net-host", "--with-ns", "network:/run/no-such"), "/run/no-such")):
            done = self.host.ctr("run", "--rm", *self.run_flags(), *options, BUSYBOX, name, "true")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(words, done.stderr.decode())
            self.host.ctr("containers", "rm", name)


def is_alive(pid) -> bool:
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


if __name__ == "__main__":
    if not containerd_host.is_here():
        print("containerd_test.py: containerd is not installed: deploy/packages-test has it")
        sys.exit(77)
    build = pathlib.Path(sys.argv[1]).resolve()
    with containerd_host.start(build, pathlib.Path(os.environ.get("PEPITA_DATA", build / "data")),
                               os.environ.get("PEPITA_ISOLATION", "tcg")) as WithContainerd.host:
        program = unittest.main(argv=["containerd_test.py", *sys.argv[2:]], exit=False)
    sys.exit(not program.result.wasSuccessful())

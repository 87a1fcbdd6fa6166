#!/usr/bin/python3
"""containerd-shim-pepita-v2 under Debian's containerd: ctr, and a released crictl through containerd's CRI. Nothing of it is
left at the end of each test. Usage: containerd_test.py BUILD [CLASS[.TEST]...]

Environment: as containerd_host.py's. Crictl needs test/cri/go_programs.py's crictl, which is built once.
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
import go_programs  # noqa: E402
from containerd_host import BUSYBOX, PATIENCE_S, RUNTIME, wait_until  # noqa: E402

LOOP = ("sh", "-c", "trap 'exit 5' TERM; touch /ready; while :; do sleep 1; done")


class WithContainerd(unittest.TestCase):
    host: containerd_host.Host
    maxDiff = None

    def setUp(self):
        self.before = self.host.left()
        self.addCleanup(self.check_that_nothing_is_left)

    def check_that_nothing_is_left(self):
        if self.has_failed():
            print("\n".join(line for line in self.host.said().splitlines() if " plugin" not in line), file=sys.stderr)

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
        if command == LOOP:  # a process 1 ignores signals that it has no trap for
            wait_until(lambda: self.host.ctr("tasks", "exec", "--exec-id", "e0", name, "test", "-e", "/ready").returncode == 0,
                       "the trap")

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


class Crictl(WithContainerd):
    """A pod by a RuntimeClass's handler, as the kubelet asks for one."""

    def crictl(self, *arguments) -> str:
        done = subprocess.run([go_programs.crictl(), "--config", self.host.config, *map(str, arguments)], text=True,
                              capture_output=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, f"{arguments}: {done.stderr}")
        return done.stdout.strip()

    def write(self, name, **content):
        path = self.host.path / name
        path.write_text(json.dumps(content))
        return path

    def run_pod(self, **more):
        config = self.write("pod.json", metadata={"name": "pod", "namespace": "tests", "uid": "uid", "attempt": 0}, hostname="web",
                            log_directory=str(self.host.path / "logs"), **{"linux": {}} | more)
        return self.crictl("runp", "--runtime", "pepita", config), config

    def started(self, pod, name, *command, **more):
        config = self.write(f"{name}.json", metadata={"name": name}, image={"image": BUSYBOX}, command=command,
                            log_path=f"{name}.log", **{"linux": {"security_context": {"namespace_options": {"pid": 1}}}} | more)
        container = self.crictl("create", pod[0], config, pod[1])
        self.crictl("start", container)
        return container

    def logs_of(self, container, words):
        wait_until(lambda: words in self.crictl("logs", container), f"'{words}' in its log")
        return self.crictl("logs", container)

    def test_a_pod_of_two_containers(self):
        shared = self.host.path / "shared"
        shared.mkdir(exist_ok=True)
        volume = [{"container_path": "/shared", "host_path": str(shared)}]
        pod = self.run_pod(linux={"sysctls": {"net.ipv4.ip_unprivileged_port_start": "7"}})
        server = self.started(pod, "server", "sh", "-c", "mkdir /www; echo page > /www/index.html; echo kept > /shared/file; "
                              "hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; exec httpd -f -p 8080 -h /www", mounts=volume)
        client = self.started(pod, "client", "sh", "-c", "trap 'exit 0' TERM; until wget -q -O - http://127.0.0.1:8080/; do :; done; "
                              "ls /www 2>&1; cat /shared/file; while :; do sleep 1; done", mounts=volume)
        self.assertEqual(self.logs_of(server, "7").splitlines(), ["web", "7"])
        self.assertEqual(self.logs_of(client, "kept").splitlines(), ["page", "ls: /www: No such file or directory", "kept"])
        self.assertEqual(self.crictl("exec", "-s", client, "cat", "/proc/1/comm"), "sh")
        self.assertEqual(json.loads(self.crictl("stats", "-o", "json", client))["stats"][0]["attributes"]["id"], client)
        address = json.loads(self.crictl("inspectp", pod[0]))["status"]["network"]["ip"]
        self.assertEqual(subprocess.run(["wget", "-q", "-O", "-", f"http://{address}:8080/"], capture_output=True,
                                        timeout=PATIENCE_S).stdout, b"page\n")
        self.host.kill()
        self.host.start()
        self.assertEqual(self.crictl("exec", "-s", client, "echo", "there"), "there")
        self.crictl("stop", "--timeout", "20", client)
        self.assertEqual(json.loads(self.crictl("inspect", client))["status"]["exitCode"], 0)
        self.crictl("rm", client)
        self.crictl("stopp", pod[0])
        self.crictl("rmp", pod[0])

    def test_a_pod_whose_shim_is_killed(self):
        pod = self.run_pod()
        self.started(pod, "one", "sleep", "1000")
        shim, = (pid for pid, name in containerd_host.descendants().items() if name == "pepita-shim")
        os.kill(shim, signal.SIGKILL)
        wait_until(lambda: json.loads(self.crictl("inspectp", pod[0]))["status"]["state"] == "SANDBOX_NOTREADY", "the pod's end")
        self.crictl("stopp", pod[0])
        self.crictl("rmp", pod[0])


def is_alive(pid) -> bool:
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


if __name__ == "__main__":
    if not containerd_host.is_here():
        print("containerd_test.py: containerd is not installed: deploy/packages-test has it")
        sys.exit(77)
    build = pathlib.Path(sys.argv[1]).resolve()
    if not sys.argv[2:] or any("Crictl" in name for name in sys.argv[2:]):
        go_programs.crictl()
    with containerd_host.start(build, pathlib.Path(os.environ.get("PEPITA_DATA", build / "data")),
                               os.environ.get("PEPITA_ISOLATION", "tcg")) as WithContainerd.host:
        program = unittest.main(argv=["containerd_test.py", *sys.argv[2:]], exit=False)
    sys.exit(not program.result.wasSuccessful())

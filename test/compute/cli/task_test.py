#!/usr/bin/env python3
"""Drives `pepita task` as people and scripts do: commands, batches that are interrupted and go on, top, reports.

Usage: task_test.py PEPITA [unittest option...]
"""
import json
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import unittest

PEPITA = ""
README = pathlib.Path(__file__).resolve().parents[3] / "README.md"
DEADLINE_S = 60


def children_of(pid: int) -> list[int]:
    return [int(child) for thread in pathlib.Path(f"/proc/{pid}/task").iterdir()
            for child in (thread / "children").read_text().split()]


class TaskTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def task(self, *words, **options):
        return subprocess.run([PEPITA, "task", *words], cwd=self.folder, capture_output=True, text=True,
                              timeout=DEADLINE_S, check=False, **options)

    def start(self, *words, **options):
        process = subprocess.Popen([PEPITA, "task", *words], cwd=self.folder, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, **options)
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stdout.close(), process.stderr.close()))
        return process

    def write(self, name, *tasks):
        (self.folder / name).write_text("".join(json.dumps(task) + "\n" for task in tasks))

    def gate(self):
        """A pipe that a task reads to its end: the task runs until the gate is closed."""
        os.mkfifo(self.folder / "gate")
        return ["sh", "-c", "echo begun > begun; cat gate"]

    def read_line(self, stream):
        ready, _, _ = select.select([stream], [], [], DEADLINE_S)
        self.assertTrue(ready, "nothing came")
        return stream.readline()


class Run(TaskTest):
    def test_ends_as_its_command(self):
        done = self.task("run", "sh", "-c", "echo out; echo err >&2; exit 3")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (3, "out\n", "err\n"))
        self.assertEqual(self.task("run", "--", "sh", "-c", "kill -9 $$").returncode, 137)

    def test_what_cannot_run_has_the_shells_status(self):
        done = self.task("run", "no-such-program")
        self.assertEqual(done.returncode, 127)
        self.assertEqual(done.stderr, "pepita: task run 'no-such-program': execute 'no-such-program': "
                                      "No such file or directory (ENOENT)\n")
        self.assertEqual(self.task("run", "/etc/passwd").returncode, 126)
        self.assertEqual(self.task("run", "--memory", "0", "true").returncode, 125)
        self.assertEqual(self.task("run").returncode, 125)

    def test_output_comes_while_it_runs(self):
        process = self.start("run", "sh", "-c", "echo first; read line; echo $line", stdin=subprocess.PIPE)
        self.assertEqual(self.read_line(process.stdout), "first\n")
        process.stdin.write("second\n")
        process.stdin.flush()
        self.assertEqual(self.read_line(process.stdout), "second\n")
        self.assertEqual(process.wait(DEADLINE_S), 0)
        process.stdin.close()

    def test_time_is_limited(self):
        done = self.task("run", "--timeout", "200ms", "sh", "-c", "sleep 1000 & sleep 1000")
        self.assertEqual((done.returncode, done.stderr), (124, "pepita: task run 'sh': the task's timeout passed\n"))

    def test_limits_reach_the_process(self):
        done = self.task("run", "--memory", "64M", "--cpu-time", "7s", "--open-files", "20", "--priority", "idle",
                         "--directory", "/usr", "-e", "COLOUR=red", "bash", "-c",
                         "ulimit -v; ulimit -t; ulimit -n; nice; pwd; echo $COLOUR")
        self.assertEqual(done.stdout.split(), ["65536", "7", "20", "19", "/usr", "red"])

    def test_runs_again_as_often_as_it_may(self):
        script = "echo >> count; test $(wc -l < count) = 3"
        done = self.task("run", "--retries", "2", "--metrics", "m.prom", "--trace", "t.json", "sh", "-c", script)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("pepita_task_retries_total 2\n", (self.folder / "m.prom").read_text())
        events = json.loads((self.folder / "t.json").read_text())["traceEvents"]
        self.assertEqual([(event["name"], event["args"]["attempts"]) for event in events], [("sh", 3)])
        (self.folder / "count").unlink()
        self.assertEqual(self.task("run", "--retries", "1", "sh", "-c", script).returncode, 1)

    def test_an_interrupt_ends_the_command_too(self):
        process = self.start("run", "sh", "-c", "echo $$; exec sleep 1000")
        pid = int(self.read_line(process.stdout))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(DEADLINE_S), 128 + signal.SIGTERM)
        self.assertFalse(pathlib.Path(f"/proc/{pid}").exists())


class Batch(TaskTest):
    def results(self, text):
        return sorted((json.loads(line) for line in text.splitlines()), key=lambda result: result["line"])

    def test_each_task_has_one_result(self):
        self.write("t.jsonl", *({"name": f"t{i}", "command": ["sh", "-c", f"cat; exit {int(i == 5)}"],
                                 "input": f"in {i}", "priority": ["high", "low"][i % 2]} for i in range(300)))
        done = self.task("batch", "t.jsonl", "--workers", "4", "--trace", "t.json", "--metrics", "m.prom")
        self.assertEqual(done.returncode, 1, done.stderr)
        results = self.results(done.stdout)
        self.assertEqual([result["line"] for result in results], list(range(1, 301)))
        self.assertEqual([result["output"] for result in results], [f"in {i}" for i in range(300)])
        self.assertEqual([result["line"] for result in results if result["status"] != "succeeded"], [6])
        self.assertIn("line 6 't5': exit status 1\n", done.stderr)
        self.assertRegex(done.stderr, r"succeeded +299\nfailed +1\n300 tasks in ")
        events = json.loads((self.folder / "t.json").read_text())["traceEvents"]
        self.assertEqual(len(events), 300)
        self.assertLessEqual({event["tid"] for event in events}, {0, 1, 2, 3})
        self.assertIn('pepita_task_ended_total{status="succeeded"} 299\n', (self.folder / "m.prom").read_text())
        self.assertEqual({path.name for path in self.folder.iterdir()},
                         {"t.jsonl", "t.jsonl.journal", "t.json", "m.prom"})

    def test_a_broken_line_is_named_before_anything_runs(self):
        good = json.dumps({"command": ["touch", "ran"]}) + "\n"
        (self.folder / "t.jsonl").write_text(good * 6 + '{"command": ["true"] "x"}\n' + good)
        done = self.task("batch", "t.jsonl")
        self.assertEqual((done.returncode, done.stderr),
                         (2, "pepita: task batch 't.jsonl': line 7, column 24: not JSON\n"))
        self.assertEqual([path.name for path in self.folder.iterdir()], ["t.jsonl"])

    def interrupted(self, how):
        """Two tasks end, the third is under way when the batch is."""
        self.write("t.jsonl", *({"command": ["sh", "-c", f"echo {i} >> ran"]} for i in range(2)),
                   {"command": self.gate()}, {"command": ["sh", "-c", "echo 3 >> ran"]})
        process = self.start("batch", "t.jsonl", "--workers", "1")
        before = [self.read_line(process.stdout), self.read_line(process.stdout)]
        with open(self.folder / "gate", "w", encoding="ascii"):  # opens when the third task reads
            process.send_signal(how)
            status = process.wait(DEADLINE_S)
        (self.folder / "gate").unlink()
        (self.folder / "gate").write_text("")
        again = self.task("batch", "t.jsonl")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertIn("2 had ended in an earlier run", again.stderr)
        results = self.results("".join(before) + again.stdout)
        self.assertEqual([result["line"] for result in results], [1, 2, 3, 4])
        self.assertEqual((self.folder / "ran").read_text(), "0\n1\n3\n")
        return status

    def test_goes_on_after_an_interrupt(self):
        self.assertEqual(self.interrupted(signal.SIGINT), 128 + signal.SIGINT)

    def test_goes_on_after_it_was_killed(self):
        self.assertEqual(self.interrupted(signal.SIGKILL), -signal.SIGKILL)

    def test_a_changed_file_is_another_batch(self):
        self.write("t.jsonl", {"command": ["true"]})
        self.assertEqual(self.task("batch", "t.jsonl").returncode, 0)
        self.write("t.jsonl", {"command": ["false"]})
        done = self.task("batch", "t.jsonl")
        self.assertEqual(done.returncode, 1)
        self.assertIn("the file has changed; --fresh discards it", done.stderr)
        self.assertEqual(len(self.results(self.task("batch", "--fresh", "t.jsonl").stdout)), 1)

    def test_shards_share_a_file(self):
        self.write("t.jsonl", *({"command": ["true"]} for _ in range(7)))
        lines = []
        for shard in range(3):
            done = self.task("batch", "t.jsonl", "--shard", f"{shard}/3")
            self.assertEqual(done.returncode, 0, done.stderr)
            lines += [result["line"] for result in self.results(done.stdout)]
        self.assertEqual(sorted(lines), list(range(1, 8)))

    def test_an_output_that_nobody_reads_ends_it(self):
        self.write("t.jsonl", *({"command": ["echo", "x"]} for _ in range(50)))
        process = self.start("batch", "t.jsonl")
        process.stdout.close()
        self.assertEqual(process.wait(DEADLINE_S), 1)
        self.assertIn("EPIPE", process.stderr.read())

    def test_a_terminal_gets_a_bar_and_a_table(self):
        self.write("t.jsonl", *({"command": ["true"]} for _ in range(3)))
        ours, theirs = pty.openpty()
        process = subprocess.Popen([PEPITA, "task", "batch", "t.jsonl"], cwd=self.folder, stdout=theirs)
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
        except OSError:
            pass  # the end of a terminal
        os.close(ours)
        self.assertEqual(process.wait(DEADLINE_S), 0)
        self.assertRegex(shown.decode(), r"\[ +\]  0/3 .*")
        self.assertRegex(shown.decode(), r"succeeded +3\r\n3 tasks in ")
        self.assertNotIn("line", shown.decode())


class Top(TaskTest):
    def test_shows_a_batch_that_runs(self):
        self.write("t.jsonl", {"command": ["true"]}, {"command": self.gate()}, {"command": ["true"], "priority": "low"})
        process = self.start("batch", "t.jsonl", "--workers", "1")
        self.read_line(process.stdout)
        with open(self.folder / "gate", "w", encoding="ascii"):
            busy = self.task("batch", "t.jsonl")
            self.assertEqual(busy.returncode, 1)
            self.assertIn(f"another batch runs it: process {process.pid}", busy.stderr)
            view = ""
            while "1/3" not in view:  # the status file is written each second
                shown = self.task("top", "t.jsonl")
                self.assertEqual(shown.returncode, 0, shown.stderr)
                view = shown.stdout
            self.assertRegex(view, r"running 1 ")
            self.assertRegex(view, r"low +1\n")
            self.assertIn("1 workers for functions, 1 parked", view)
        self.assertEqual(process.wait(DEADLINE_S), 0)
        self.assertEqual(self.task("top", "t.jsonl").stderr,
                         "pepita: task top 't.jsonl': no batch of it is running\n")

    def test_a_killed_batch_is_not_running(self):
        self.write("t.jsonl", {"command": self.gate()})
        process = self.start("batch", "t.jsonl")
        with open(self.folder / "gate", "w", encoding="ascii"):
            process.kill()
            process.wait(DEADLINE_S)
        self.assertTrue((self.folder / "t.jsonl.status").exists())
        self.assertEqual(self.task("top", "t.jsonl").returncode, 1)


class Readme(TaskTest):
    def test_its_first_task_runs(self):
        section = README.read_text(encoding="utf-8").split("### Tasks\n")[1]
        block = re.search(r"```sh\n(.*?)```", section, re.DOTALL).group(1)
        path = f"{pathlib.Path(PEPITA).parent}:{os.environ['PATH']}"
        done = subprocess.run(["bash", "-e", "-c", block], cwd=self.folder, env={**os.environ, "PATH": path},
                              capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('"output":"a\\nb\\n"', done.stdout)


if __name__ == "__main__":
    PEPITA = str(pathlib.Path(sys.argv.pop(1)).resolve())
    unittest.main()

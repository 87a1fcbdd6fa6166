#!/usr/bin/env python3
"""Kills one process of a container at a random moment, again and again; and fifty execs at once.

Usage: kill_campaign.py [--rounds N] [--bursts N] [--seed N]. Environment: as support.py.

A round takes one step of a container's life (create, start, exec, delete) and kills the shim, the VMM,
QEMU or the proxy while the step runs. Afterwards the state must be true, `delete -f` must succeed, and
nothing may be left: no process, mount, socket, file or cgroup. Each round takes the same name.
"""
import argparse
import collections
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import unittest

import support
from support import NodeTest, PATIENCE_S, wait_until

NAME = "c1"
STEPS = ("create", "start", "exec", "delete")
VICTIMS = ("pepita-shim", "pepita-vmm", "qemu-system", "pepita-proxy")
# How long a step takes, and a little more: a moment is drawn from it.
EXTENT_S = {"start": 0.5, "exec": 1.0, "delete": 1.0}


class KillCampaign(NodeTest):
    rounds = 20
    bursts = 2
    seed = 0

    def setUp(self):
        super().setUp()
        self.random = random.Random(self.seed)
        self.directory = self.bundle(["sleep", "1000"])
        self.outcomes = collections.Counter()

    def begin(self, *arguments):
        with open(self.scratch / "calls.log", "ab") as log:
            return subprocess.Popen(self.command(*arguments), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill_victim(self, parents, victim):
        """Kills the first process called `victim` below one of these; whether there was one."""
        for parent in parents:
            pid = self.descendant(parent, victim)
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    return True
        return False

    def host_pids(self):
        """The shim, and the proxy's parent, which is ours as a subreaper or init."""
        state = self.state_file(NAME)
        return state["shim"]["pid"], state["pid"]

    def strike(self, victim, shim, proxy):
        pid = {"pepita-shim": shim, "pepita-proxy": proxy}.get(victim)
        if pid is None:
            return self.kill_victim([shim], victim)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def step_create(self, victim, extent):
        call = self.begin("create", "-b", self.directory, NAME)
        time.sleep(self.random.uniform(0, extent))  # the moment is what is drawn
        struck = self.kill_victim([call.pid], victim)
        call.wait(PATIENCE_S)
        return struck

    def step_later(self, step, victim):
        self.detached("create", "-b", self.directory, NAME)
        if step != "start":
            self.detached("start", NAME)
        shim, proxy = self.host_pids()
        call = self.begin(*{"start": ("start", NAME),
                            "exec": ("exec", NAME, "sh", "-c", "sleep 0.2; echo out"),
                            "delete": ("delete", "-f", NAME)}[step])
        time.sleep(self.random.uniform(0, EXTENT_S[step]))
        struck = self.strike(victim, shim, proxy)
        call.wait(PATIENCE_S)
        return struck

    def status(self):
        done = self.call("state", NAME)
        if done.returncode != 0:
            self.assertIn(b"does not exist", done.stderr)
            return "none"
        return self.state(NAME)["status"]

    def check_truth(self, struck):
        """Nobody is said to run whose processes are dead."""
        if struck:
            wait_until(lambda: self.status() in ("none", "stopped"), f"{NAME} is known to have ended", 30)
        elif self.status() in ("created", "running"):
            shim, proxy = self.host_pids()
            for pid in (shim, proxy):
                self.assertFalse(support.process_is_gone(pid))

    def check_nothing_left(self):
        self.call("delete", "-f", NAME, expect=0)

        def extra():
            return support.Census(self.root).left - self.before
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not extra(), "clean-up", 30)
        left = {thing for thing in extra() if not thing.startswith(("file", "mount"))
                or str(self.root) in thing}
        self.assertEqual(left, set())
        self.assertEqual(self.ids(), [])

    def measure_create(self):
        begun = time.monotonic()
        self.detached("create", "-b", self.directory, NAME)
        self.check_nothing_left()
        return time.monotonic() - begun

    def test_kills(self):
        victims = [victim for victim in VICTIMS if support.ISOLATION == "tcg" or victim != "qemu-system"]
        extent = self.measure_create() * 1.1
        for number in range(self.rounds):
            step = STEPS[number % len(STEPS)]
            victim = victims[number // len(STEPS) % len(victims)]
            with self.subTest(round=number, step=step, victim=victim, seed=self.seed):
                struck = self.step_create(victim, extent) if step == "create" else self.step_later(step, victim)
                self.outcomes[f"{step} {victim} {'killed' if struck else 'was not there'}"] += 1
                self.check_truth(struck)
                self.check_nothing_left()
        self.detached("run", "-d", "-b", self.directory, NAME)
        self.assertEqual(self.state(NAME)["status"], "running")
        self.check_nothing_left()
        print(*(f"{count:4} {what}" for what, count in sorted(self.outcomes.items())), sep="\n", file=sys.stderr)

    def test_fifty_execs_at_once(self):
        """R23"""
        self.detached("run", "-d", "-b", self.directory, NAME)
        files = self.open_files(NAME)
        for burst in range(self.bursts):
            calls = [subprocess.Popen(self.command("exec", NAME, "echo", str(number)), stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for number in range(50)]
            said = [call.communicate(timeout=PATIENCE_S)[0] for call in calls]
            self.assertEqual(said, [f"{number}\n".encode() for number in range(50)], f"burst {burst}")
        processes = self.call("exec", NAME, "sh", "-c", "ls -d /proc/[0-9]* | wc -l", expect=0).stdout
        self.assertLessEqual(int(processes), 4, "sleep, and what counts")
        wait_until(lambda: self.open_files(NAME) == files, "the descriptors are closed", 15)
        self.check_nothing_left()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=KillCampaign.rounds)
    parser.add_argument("--bursts", type=int, default=KillCampaign.bursts)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    options, rest = parser.parse_known_args()
    KillCampaign.rounds, KillCampaign.bursts, KillCampaign.seed = options.rounds, options.bursts, options.seed
    print(f"seed {options.seed}", file=sys.stderr)
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)


if __name__ == "__main__":
    main()

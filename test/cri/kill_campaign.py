#!/usr/bin/python3
"""Pods come and go by crictl while, at random moments, one process of the node is killed: pepita-cri, or a pod's shim,
VMM, QEMU or virtiofsd. By hand: kill_campaign.py BUILD [--rounds N] [--seed N]. Environment: as crictl_test.py.

A round makes some calls, begins one more, kills one process while it runs, and then compares all that crictl says with
what must be true:
a pod whose processes were left alone is ready, its containers are as they were, and what runs can be exec'ed into; a
pod that lost a process is not ready, and neither runs anything nor keeps anything once it is removed; a call that
failed has done nothing, and one that lost its server has done its work or not. Every tenth round removes all pods, and
nothing may be left of them.
"""
import argparse
import collections
import contextlib
import dataclasses
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import cri_host
import crictl_test
import go_programs
from cri_host import PATIENCE_S, wait_until

SERVER = "pepita-cri"
# Of a pod; QEMU's name is cut by the kernel.
PARTS = ("pepita-shim", "pepita-vmm", "qemu-system-x86", "virtiofsd")
PODS = 3
CONTAINERS = 3
# How long a call takes, and a little more: the moment is drawn from it.
EXTENT_S = collections.defaultdict(lambda: 0.4, runp=4.0, stopp=1.5)
RUNNING, CREATED, EXITED, GONE = "CONTAINER_RUNNING", "CONTAINER_CREATED", "CONTAINER_EXITED", "gone"
# A call of one container: the state that it needs, and the one that it leaves.
CALLS = {"start": (CREATED, RUNNING), "exec": (RUNNING, RUNNING), "stop": (RUNNING, EXITED), "rm": (EXITED, GONE)}


@dataclasses.dataclass
class Pod:
    name: str
    identity: str
    config: pathlib.Path
    shim: int
    containers: dict[str, set[str]] = dataclasses.field(default_factory=dict)  # id → the states that may be said


@dataclasses.dataclass
class Call:
    """One of crictl's, and what is known of it."""
    verb: str
    arguments: tuple
    pod: Pod | None = None
    container: str = ""
    name: str = ""


def parents() -> dict[int, tuple[int, str]]:
    """Of each process here: its parent and its name."""
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            head, _, rest = (entry / "stat").read_text().rpartition(")")
            if rest.split()[0] not in "ZX":
                found[int(entry.name)] = int(rest.split()[1]), head.partition("(")[2]
    return found


class KillCampaign(crictl_test.WithNode):
    rounds = 30
    seed = 0

    def setUp(self):
        super().setUp()
        self.random = random.Random(self.seed)
        self.pods: dict[str, Pod] = {}
        self.count = 0
        self.told: list[str] = []  # what has been done since all was clean
        self.outcomes = collections.Counter()
        self.crictl("pull", crictl_test.BUSYBOX)

    def shims(self) -> set[int]:
        below = cri_host.descendants()
        return {pid for pid, name in below.items() if name == "pepita-shim"}

    def parts_of(self, shim: int) -> list[tuple[int, str]]:
        """Processes of its pod that run now, with what they are."""
        table = parents()
        found, ring = [], {shim}
        while ring:
            found += [(pid, table[pid][1]) for pid in ring if pid in table and table[pid][1] in PARTS]
            ring = {pid for pid, (parent, _) in table.items() if parent in ring}
        return found

    # What is asked.

    def next_call(self) -> Call:
        self.count += 1
        name = f"n{self.count}"
        if not self.pods or (len(self.pods) < PODS and self.random.random() < 0.4):
            return Call("runp", ("runp", self.pod_config(name)), name=name)
        pod = self.random.choice(list(self.pods.values()))
        if self.random.random() < 0.1:
            return Call("stopp", ("stopp", pod.identity), pod)
        choices = [Call(verb, (verb, *(["-s"] if verb == "exec" else ["-t", "1"] if verb == "stop" else []), one,
                               *(["true"] if verb == "exec" else [])), pod, one)
                   for one, states in pod.containers.items() for verb, (needs, _) in CALLS.items() if states == {needs}]
        if len(pod.containers) < CONTAINERS:
            config = self.write(f"container-{name}.json", metadata={"name": name}, image={"image": crictl_test.BUSYBOX},
                                log_path=f"{name}.log", command=["sleep", "1000"], linux={})
            choices.append(Call("create", ("create", pod.identity, config, pod.config), pod, name=name))
        return self.random.choice(choices)

    def begin(self, call: Call) -> subprocess.Popen:
        return subprocess.Popen([go_programs.crictl(), "--config", self.node.config, *map(str, call.arguments)], text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    # What is killed.

    def choose_victim(self, known: set[int]) -> tuple[int, str, int]:
        """Its pid, what it is, and the shim of its pod."""
        shims = list(self.shims())
        if not shims or self.random.random() < 0.3:
            return self.node.server.pid, SERVER, 0
        shim = self.random.choice([one for one in shims if one not in known] or shims)
        parts = self.parts_of(shim)
        what = self.random.choice([name for _, name in parts] or PARTS)
        return next((pid for pid, name in self.random.sample(parts, len(parts)) if name == what), 0), what, shim

    def strike(self, pid: int, what: str) -> bool:
        if what == SERVER:
            self.node.stop(signal.SIGKILL)
            self.node.start()
            return True
        with contextlib.suppress(ProcessLookupError):
            if pid:
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    # What must be true.

    def settle(self, call: Call, done: subprocess.CompletedProcess, ambiguous: bool):
        """Notes what the call has done to pods, or may have done."""
        said, failed = done.stdout.strip(), done.returncode != 0
        if call.verb == "runp":
            self.settle_run(call, said, failed)
        elif call.verb == "create":
            if not failed:
                call.pod.containers[said] = {CREATED}
            elif ambiguous:
                for one in self.listed("ps", "-a", "-p", call.pod.identity, "--name", f"^{call.name}$"):
                    call.pod.containers[one["id"]] = {CREATED}
        elif call.verb == "stopp":
            if failed:
                self.wait_for_call(*call.arguments)
            self.remove(call.pod)
        else:
            needs, leaves = CALLS[call.verb]
            call.pod.containers[call.container] = {leaves} if not failed else {needs, leaves} if ambiguous else {needs}

    def settle_run(self, call: Call, said: str, failed: bool):
        found = self.listed("pods", "--name", f"^{call.name}$")
        if not failed:
            self.assertEqual([one["id"] for one in found], [said])
        for one in found:
            fresh = self.shims() - {pod.shim for pod in self.pods.values()}
            pod = Pod(call.name, one["id"], call.arguments[1], fresh.pop() if fresh else 0)
            if failed:
                self.assertNotEqual((one["state"], pod.shim), ("SANDBOX_READY", 0))
                self.remove(pod)
            elif not pod.shim:
                self.lose(pod)
            else:
                self.pods[pod.identity] = pod

    def listed(self, verb: str, *arguments) -> list[dict]:
        out = self.json(verb, *arguments)
        return out["items" if verb == "pods" else "containers"]

    def wait_for_call(self, *arguments):
        """Until it succeeds, which it must soon: what it asks for has been begun."""
        wait_until(lambda: self.call(*arguments).returncode == 0, f"crictl {arguments}", 60)

    def remove(self, pod: Pod):
        self.crictl("rmp", "-f", pod.identity)
        self.pods.pop(pod.identity, None)

    def lose(self, pod: Pod):
        """The pod has lost a process: that is said, soon, and it can be removed."""
        wait_until(lambda: self.json("inspectp", pod.identity)["status"]["state"] == "SANDBOX_NOTREADY",
                   f"{pod.name} is known to have ended", 60)
        for one in self.listed("ps", "-a", "-p", pod.identity):
            self.assertIn(one["state"], (EXITED, CREATED))
            if one["state"] == EXITED and pod.containers.get(one["id"]) == {RUNNING}:
                self.assertNotEqual(self.status(one["id"])["exitCode"], 0, "of a container that was lost")
        self.assertNotEqual(self.call("exec", "-s", next(iter(pod.containers), pod.identity), "true").returncode, 0)
        self.remove(pod)

    def check_truth(self):
        said = {one["id"]: one["state"] for one in self.listed("pods")}
        self.assertEqual(said, {one: "SANDBOX_READY" for one in self.pods})
        self.assertLessEqual({pod.shim for pod in self.pods.values()}, self.shims())
        states = {one["id"]: one["state"] for one in self.listed("ps", "-a")}
        for pod in self.pods.values():
            for one, allowed in list(pod.containers.items()):
                state = states.pop(one, GONE)
                self.assertIn(state, allowed, f"container {one} of {pod.name}")
                if state == GONE:
                    del pod.containers[one]
                    continue
                pod.containers[one] = {state}
                if state == RUNNING:
                    self.wait_for_call("exec", "-s", one, "true")
        self.assertEqual(states, {}, "containers of nobody")

    def calm_call(self):
        """One during which nobody is killed; it succeeds."""
        call = self.next_call()
        out, err = (process := self.begin(call)).communicate(timeout=PATIENCE_S)
        self.told.append(f"{' '.join(map(str, call.arguments))}: {process.returncode} {out.strip()} {err.strip()}")
        self.assertEqual(process.returncode, 0)
        self.settle(call, subprocess.CompletedProcess(process.args, 0, out, err), False)

    def run_round(self):
        for _ in range(self.random.randrange(4)):
            self.calm_call()
        call = self.next_call()
        known = {pod.shim for pod in self.pods.values()}
        process = self.begin(call)
        time.sleep(self.random.uniform(0, EXTENT_S[call.verb]))  # the moment is what is drawn
        pid, what, shim = self.choose_victim(known)
        struck = self.strike(pid, what)
        out, err = process.communicate(timeout=PATIENCE_S)
        done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
        self.outcomes[f"{call.verb} {what} {'killed' if struck else 'was not there'}"] += 1
        lost = next((pod for pod in self.pods.values() if pod.shim == shim), None) if struck and shim else None
        self.told.append(f"{' '.join(map(str, call.arguments))}: {done.returncode} {out.strip()} {err.strip()}; "
                         f"{what} {pid} of {shim} {'killed' if struck else 'was not there'}")
        if lost is None or lost is not call.pod:
            self.settle(call, done, what == SERVER)
        if lost is None and struck and shim:  # that of the pod which the call made
            lost = next((pod for pod in self.pods.values() if pod.shim == shim), None)
        if lost and lost.identity in self.pods:
            self.lose(lost)
        self.check_truth()

    def clear(self):
        self.pods = {}
        self.crictl("rmp", "--all", "--force")
        try:
            self.check_that_nothing_is_left()
        except AssertionError as error:
            raise AssertionError("\n".join(map(str, [*self.told, error]))) from error
        self.told = []

    def test_kills(self):
        for number in range(self.rounds):
            with self.subTest(round=number, seed=self.seed):
                try:
                    self.run_round()
                except AssertionError as error:
                    raise AssertionError("\n".join(map(str, [*self.told, error]))) from error
            if number % 10 == 9 or self.has_failed():
                self.clear()
        self.clear()
        self.remove_images()
        print(*(f"{count:4} {what}" for what, count in sorted(self.outcomes.items())), sep="\n", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], add_help=False)
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=KillCampaign.rounds)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    options, rest = parser.parse_known_args()
    KillCampaign.rounds, KillCampaign.seed = options.rounds, options.seed
    print(f"seed {options.seed}", file=sys.stderr)
    crictl_test.main([options.build, *rest])


if __name__ == "__main__":
    main()

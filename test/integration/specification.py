"""Features of the OCI specification, each seen by a program inside the guest.

The same expectations hold for the engine on the host: test/runtime/container/confinement_test.cc and
namespaces_test.cc.
"""
import json
import pathlib
import unittest

import support
from support import NodeTest

PODMANS_PROFILE = pathlib.Path("/usr/share/containers/seccomp.json")


def podmans_profile():
    """What podman makes of its default profile for a container without more capabilities."""
    whole = json.loads(PODMANS_PROFILE.read_text())
    rules = []
    for rule in whole["syscalls"]:
        arches = rule["includes"].get("arches", ["amd64"])
        if "amd64" in arches and "caps" not in rule["includes"]:
            rules.append({key: rule[key] for key in ("names", "action", "args", "errnoRet") if rule.get(key) is not None})
    return {"defaultAction": whole["defaultAction"], "defaultErrnoRet": whole["defaultErrnoRet"],
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": rules}


class Specification(NodeTest):
    def said(self, script, edit):
        return self.run_bundle(["sh", "-c", script], edit=edit).stdout.decode()

    def test_seccomp(self):
        def edit(config):
            config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}
        self.assertEqual(self.said("mkdir /x 2>&1; grep Seccomp: /proc/self/status", edit),
                         "mkdir: can't create directory '/x': Operation not supported\nSeccomp:\t2\n")

    def test_seccomp_profile_of_podman(self):
        if not PODMANS_PROFILE.exists():
            raise unittest.SkipTest("golang-github-containers-common is not installed")
        def edit(config):
            config["linux"]["seccomp"] = podmans_profile()
            config["process"]["noNewPrivileges"] = False
        said = self.said("mount -t tmpfs none /tmp 2>&1; (echo b; echo a) | sort", edit)
        self.assertIn("mount: permission denied", said)
        self.assertTrue(said.endswith("a\nb\n"), said)

    def test_user_namespace(self):
        def edit(config):
            config["linux"]["namespaces"].append({"type": "user"})
            mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
            config["linux"].update({"uidMappings": mapping, "gidMappings": mapping})
        script = ("id -u; tr -s ' ' < /proc/self/uid_map; cat /proc/1/comm; echo x > /dev/null && ls -d /sys/class; "
                  "touch /dev/x && stat -c %u /dev/x")
        self.assertEqual(self.said(script, edit), "0\n 0 100000 65536\nsh\n/sys/class\n0\n")

    def test_time_namespace(self):
        def edit(config):
            config["linux"]["namespaces"].append({"type": "time"})
            config["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000000}}
        self.assertRegex(self.said("cut -d. -f1 /proc/uptime", edit), r"^100\d{7}\n$")

    def test_process_members(self):
        def edit(config):
            config["process"]["scheduler"] = {"policy": "SCHED_BATCH", "nice": 7}
            config["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 6}
            config["process"]["oomScoreAdj"] = 77
            config["linux"]["personality"] = {"domain": "LINUX32"}
            config["linux"]["rootfsPropagation"] = "shared"
        script = ("cut -d' ' -f 19,41 /proc/self/stat; ionice -p $$; cat /proc/self/oom_score_adj; uname -m; "
                  "grep -c '^[^ ]* [^ ]* [^ ]* [^ ]* / .* shared:' /proc/self/mountinfo")
        self.assertEqual(self.said(script, edit), "7 3\nbest-effort: prio 6\n77\ni686\n1\n")

    @unittest.skipUnless(support.HAS_MACHINE or support.has_controllers(), "the host's cgroup v2 has no controllers")
    def test_resources(self):
        def edit(config):
            config["linux"]["resources"] = {
                "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20},
                "cpu": {"quota": 50000, "period": 100000, "burst": 10000, "shares": 1024},
                "pids": {"limit": 99},
                "unified": {"memory.high": str(48 << 20)}}
        script = "cd /sys/fs/cgroup; cat memory.max memory.low memory.high cpu.max cpu.max.burst cpu.weight pids.max"
        self.assertEqual(self.said(script, edit), f"{64 << 20}\n{32 << 20}\n{48 << 20}\n50000 100000\n10000\n100\n99\n")

    def hook(self, kind, then=""):
        """A hook of the host that writes down its kind and its state."""
        return [{"path": "/bin/sh", "args": ["sh", "-c", f"(echo {kind}; cat; echo) >> {self.scratch}/hooks{then}"]}]

    def test_hooks_in_the_order_of_the_specification(self):
        inside = [{"path": "/bin/sh", "args": ["sh", "-c", "(cat; echo) >> /hooks"]}]
        def edit(config):
            config["annotations"] = {"a": "b"}
            config["hooks"] = {kind: self.hook(kind) for kind in ("prestart", "createRuntime", "poststart", "poststop")}
            config["hooks"].update({"createContainer": inside, "startContainer": inside})
        states = [json.loads(line) for line in self.said("cat /hooks", edit).splitlines()]
        self.assertEqual([(state["status"], state["id"], state["pid"], state["annotations"]) for state in states],
                         [("creating", "c1", 1, {"a": "b"}), ("created", "c1", 1, {"a": "b"})])
        lines = (self.scratch / "hooks").read_text().splitlines()
        self.assertEqual(lines[::2], ["prestart", "createRuntime", "poststart", "poststop"])
        self.assertEqual([json.loads(line)["status"] for line in lines[1::2]],
                         ["creating", "creating", "running", "stopped"])

    def test_a_hook_that_fails_ends_the_container(self):
        for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart"):
            with self.subTest(kind):
                def edit(config):
                    path = "/bin/false"
                    config["hooks"] = {kind: [{"path": path}], "poststop": self.hook("poststop", f"-{kind}")}
                bundle = self.bundle(["sleep", "600"], edit=edit, name=f"bundle-{kind}")
                self.refused("run", "-b", bundle, "c1", status=125, words=[f"{kind} hook '/bin/false'", "exit status 1"])
                self.assertEqual(self.ids(), [])
                self.assertIn("poststop", (self.scratch / f"hooks-{kind}").read_text())

    def test_a_hook_of_the_container_has_to_be_in_it(self):
        def edit(config):
            config["hooks"] = {"createContainer": [{"path": "/usr/bin/nvidia-hook"}]}
        self.refused("run", "-b", self.bundle(["true"], edit=edit), "c1", status=125,
                     words=["createContainer hook '/usr/bin/nvidia-hook'", "runs in the container"])

    def test_a_hook_that_hangs_is_killed(self):
        def edit(config):
            config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "600"], "timeout": 1}]}
        self.refused("run", "-b", self.bundle(["true"], edit=edit), "c1", status=125, words=["has not ended within 1 s"])

    @support.needs_machine
    def test_a_namespace_of_a_stranger_is_refused(self):
        def edit(config):
            config["linux"]["namespaces"] = [{"type": "mount"}, {"type": "pid"}, {"type": "ipc", "path": "/proc/1/ns/ipc"}]
            config.pop("hostname", None)
        self.refused("run", "-b", self.bundle(["true"], edit=edit), "c1", status=125, words=["/proc/1/ns/ipc", "ipc"])

#!/usr/bin/python3
"""Pod networks by CNI: Debian's plugins in a network namespace of the test's own, and hostile ones.

Usage: cni_test.py CNI_PROBE
"""
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import own_network  # noqa: E402

PLUGINS = "/usr/lib/cni"
BRIDGE = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False,
          "ipam": {"type": "host-local", "subnet": "10.88.7.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}

# A plugin that notes what it is given, then does what its configuration says.
RECORDER = """#!/usr/bin/python3
import json, os, sys
given = json.load(sys.stdin)
with open(os.path.join(os.path.dirname(__file__), "log"), "a") as log:
    log.write(json.dumps({"input": given, **{name: value for name, value in os.environ.items() if name.startswith("CNI_")}}) + "\\n")
answer = given.get("answers", {}).get(os.environ["CNI_COMMAND"])
if answer is not None:
    print(json.dumps(answer))
    sys.exit(1 if "code" in answer else 0)
if os.environ["CNI_COMMAND"] == "ADD":
    print(json.dumps(given.get("prevResult", {"cniVersion": given["cniVersion"]})))
"""


class WithProbe(unittest.TestCase):
    plugins = PLUGINS
    timeout_ms = 20_000

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        self.configs, self.fakes, self.cache = (self.root / name for name in ("net.d", "bin", "cache"))
        self.configs.mkdir()
        self.fakes.mkdir()
        self.start()

    def start(self):
        self.probe = subprocess.Popen(
            [WithProbe.program, self.configs, f"{self.fakes}:{self.plugins}", self.cache, str(self.timeout_ms)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def stop(self):
        self.probe.stdin.close()
        self.assertEqual(self.probe.wait(20), 0)
        self.probe.stdout.close()

    def tearDown(self):
        self.stop()
        self.folder.cleanup()

    def ask(self, do: str, **more) -> dict:
        self.probe.stdin.write(json.dumps({"do": do, **more}) + "\n")
        return json.loads(self.probe.stdout.readline())

    def network(self, *plugins: dict, file: str = "10-pods.conflist", version: str = "1.0.0", **more):
        (self.configs / file).write_text(json.dumps({"cniVersion": version, "name": "pods", "plugins": plugins} | more))

    def fake(self, name: str, script: str = RECORDER):
        path = self.fakes / name
        path.write_text(script)
        path.chmod(0o755)

    def log(self) -> list:
        path = self.fakes / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    def assertFails(self, answer: dict, code: str, *words: str):
        self.assertIn("error", answer)
        self.assertEqual(answer["error"]["code"], code, answer)
        for word in words:
            self.assertIn(word, answer["error"]["message"])


class Real(WithProbe):
    """Debian's plugins."""

    def setUp(self):
        super().setUp()
        subprocess.run(["ip", "netns", "add", "pod"], check=True)

    def tearDown(self):
        self.ask("remove", id="pod-1")  # what a failed test left
        subprocess.run(["ip", "netns", "del", "pod"], capture_output=True)
        subprocess.run(["ip", "link", "del", "cni0"], capture_output=True)
        shutil.rmtree("/var/lib/cni/networks", ignore_errors=True)
        super().tearDown()

    def links(self) -> list:
        out = subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout
        return sorted(link["ifname"] for link in json.loads(out))

    def leases(self) -> list:
        return sorted(path.name for path in pathlib.Path("/var/lib/cni/networks/pods").glob("10.*"))

    def nat(self) -> str:
        return subprocess.run(["iptables-save", "-t", "nat"], capture_output=True, text=True, check=True).stdout

    def greeting(self) -> bytes:
        """What a server in the pod sends to the bridge's side."""
        serve = ("import socket; s = socket.create_server(('10.88.7.2', 80)); print('up', flush=True); "
                 "s.accept()[0].sendall(b'hello from the pod')")
        server = subprocess.Popen(["nsenter", "--net=/run/netns/pod", "python3", "-c", serve], stdout=subprocess.PIPE)
        server.stdout.readline()
        with socket.create_connection(("10.88.7.2", 80), timeout=10) as client:
            got = client.makefile("rb").read()
        server.communicate(timeout=10)
        return got

    def chain(self):
        self.network(BRIDGE, {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
                     {"type": "bandwidth", "capabilities": {"bandwidth": True}}, {"type": "firewall"},
                     {"type": "loopback"})

    def test_a_pod_s_whole_life(self):
        self.chain()
        before = self.links()
        added = self.ask("add", id="pod-1", netns="/run/netns/pod", ports=["12000:80"])
        self.assertNotIn("error", added)
        self.assertEqual(added["ips"][0], ["10.88.7.2/24", "10.88.7.1"])
        self.assertEqual(added["routes"], [["0.0.0.0/0", ""]])
        self.assertIn(["eth0", "/run/netns/pod"], [[name, sandbox] for name, _, sandbox in added["interfaces"]])
        inside = subprocess.run(["ip", "-n", "pod", "addr", "show", "eth0"], capture_output=True, text=True).stdout
        self.assertIn("10.88.7.2/24", inside)
        self.assertIn("--dport 12000", self.nat())
        self.assertIn("10.88.7.2:80", self.nat())
        self.assertEqual(self.greeting(), b"hello from the pod")
        self.assertEqual(self.ask("cached", id="pod-1"), added)
        self.assertEqual(self.ask("remove", id="pod-1", netns="/run/netns/pod"), {})
        self.assertEqual(self.ask("remove", id="pod-1", netns="/run/netns/pod"), {})
        self.assertEqual(self.links(), sorted([*before, "cni0"]))
        self.assertEqual(self.leases(), [])
        self.assertNotIn("10.88.7.2", self.nat())
        self.assertEqual(list((self.cache / "results").iterdir()), [])

    def test_removal_after_a_restart_without_namespace_and_configuration(self):
        self.chain()
        self.assertNotIn("error", self.ask("add", id="pod-1", netns="/run/netns/pod", ports=["12000:80"]))
        self.stop()
        (self.configs / "10-pods.conflist").unlink()
        subprocess.run(["ip", "netns", "del", "pod"], check=True)
        self.start()
        self.assertEqual(self.ask("remove", id="pod-1"), {})
        self.assertEqual(self.leases(), [])
        self.assertNotIn("10.88.7.2", self.nat())

    def test_check_sees_a_network_that_was_damaged(self):
        self.network(BRIDGE)
        self.assertNotIn("error", self.ask("add", id="pod-1", netns="/run/netns/pod"))
        self.assertEqual(self.ask("check", id="pod-1", netns="/run/netns/pod"), {})
        subprocess.run(["ip", "-n", "pod", "addr", "flush", "dev", "eth0"], check=True)
        self.assertFails(self.ask("check", id="pod-1", netns="/run/netns/pod"), "failed precondition", "bridge", "CHECK")
        self.assertEqual(self.ask("remove", id="pod-1", netns="/run/netns/pod"), {})

    def test_a_failure_in_the_chain_undoes_what_was_done(self):
        self.fake("last")
        self.network(BRIDGE, {"type": "last", "answers": {"ADD": {"code": 11, "msg": "busy", "details": "later"}}})
        before = self.links()
        self.assertFails(self.ask("add", id="pod-1", netns="/run/netns/pod"), "unavailable",
                         "cni plugin 'last': ADD: busy: later (CNI error 11)")
        self.assertEqual(self.leases(), [])
        self.assertEqual(self.links(), sorted([*before, "cni0"]))
        self.assertEqual(list((self.cache / "results").iterdir()), [])

    def test_collect_removes_what_is_not_named(self):
        self.network(BRIDGE)
        subprocess.run(["ip", "netns", "add", "other"], check=True)
        self.addCleanup(subprocess.run, ["ip", "netns", "del", "other"])
        self.ask("add", id="pod-1", netns="/run/netns/pod")
        self.ask("add", id="pod-2", netns="/run/netns/other")
        self.assertEqual(self.leases(), ["10.88.7.2", "10.88.7.3"])
        self.assertEqual(self.ask("collect", valid=["pod-2"]), {})
        self.assertEqual(self.leases(), ["10.88.7.3"])
        self.assertEqual(self.ask("remove", id="pod-2"), {})


class Protocol(WithProbe):
    """What plugins are given."""

    def setUp(self):
        super().setUp()
        self.fake("one")
        self.fake("two")

    def test_environment_and_chained_result(self):
        result = {"cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "mac": "00:11:22:33:44:55", "mtu": 1400}],
                  "ips": [{"address": "10.1.2.3/16", "gateway": "10.1.0.1", "interface": 0}],
                  "routes": [{"dst": "::/0", "mtu": 1400}], "dns": {"nameservers": ["10.0.0.1"]}}
        self.network({"type": "one", "answers": {"ADD": result}, "capabilities": {"dns": True, "mac": True, "ips": False}},
                     {"type": "two"}, version="0.4.0", cniVersions=["0.3.1", "1.1.0", "9.0.0"])
        added = self.ask("add", id="pod-1", netns="/proc/self/ns/net")
        self.assertEqual(added["ips"], [["10.1.2.3/16", "10.1.0.1"]])
        self.assertEqual(added["nameservers"], ["10.0.0.1"])
        first, second = self.log()
        self.assertEqual(first["CNI_COMMAND"], "ADD")
        self.assertEqual(first["CNI_CONTAINERID"], "pod-1")
        self.assertEqual(first["CNI_NETNS"], "/proc/self/ns/net")
        self.assertEqual(first["CNI_IFNAME"], "eth0")
        self.assertEqual(first["CNI_ARGS"], "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;"
                                            "K8S_POD_INFRA_CONTAINER_ID=pod-1;K8S_POD_UID=u-1")
        self.assertEqual(first["CNI_PATH"], f"{self.fakes}:{self.plugins}")
        self.assertEqual(first["input"]["cniVersion"], "1.1.0")
        self.assertEqual(first["input"]["name"], "pods")
        self.assertNotIn("capabilities", first["input"])
        self.assertNotIn("prevResult", first["input"])
        self.assertEqual(first["input"]["runtimeConfig"], {"dns": {"servers": ["10.96.0.10"], "searches": [], "options": []}})
        self.assertEqual(second["input"]["prevResult"], result)
        self.assertNotIn("runtimeConfig", second["input"])
        self.assertEqual(self.ask("check", id="pod-1"), {})
        self.assertEqual(self.ask("remove", id="pod-1"), {})
        checks, deletes = self.log()[:2], self.log()
        self.assertEqual([(entry["CNI_COMMAND"], entry["input"]["type"]) for entry in checks],
                         [("CHECK", "one"), ("CHECK", "two")])
        self.assertEqual(checks[0]["input"]["prevResult"], result)

    def test_removal_is_in_reverse_with_the_final_result(self):
        self.network({"type": "one"}, {"type": "two", "answers": {"ADD": {"cniVersion": "1.0.0", "dns": {"domain": "x"}}}})
        self.ask("add", id="pod-1", netns="/gone")
        self.log()
        self.ask("remove", id="pod-1")
        entries = self.log()
        self.assertEqual([(entry["CNI_COMMAND"], entry["input"]["type"]) for entry in entries], [("DEL", "two"), ("DEL", "one")])
        self.assertEqual(entries[1]["input"]["prevResult"], {"cniVersion": "1.0.0", "dns": {"domain": "x"}})
        self.assertEqual(entries[0]["CNI_NETNS"], "", "a namespace that is gone is passed as none")

    def test_status_and_gc_of_version_1_1(self):
        self.network({"type": "one"}, version="1.1.0")
        self.assertEqual(self.ask("status"), {})
        self.ask("add", id="pod-1", netns="/gone")
        self.log()
        self.assertEqual(self.ask("collect", valid=["pod-1"]), {})
        entry, = self.log()
        self.assertEqual(entry["CNI_COMMAND"], "GC")
        self.assertEqual(entry["input"]["cni.dev/valid-attachments"], [{"containerID": "pod-1", "ifname": "eth0"}])
        self.network({"type": "one", "answers": {"STATUS": {"code": 50, "msg": "no addresses"}}}, version="1.1.0")
        self.assertFails(self.ask("status"), "unavailable", "no addresses")

    def test_disabled_commands_are_not_run(self):
        self.network({"type": "one"}, version="1.1.0", disableCheck=True, disableGC=True)
        self.ask("add", id="pod-1", netns="/gone")
        self.log()
        self.assertEqual((self.ask("check", id="pod-1"), self.ask("collect", valid=[])), ({}, {}))
        self.assertEqual(self.log(), [])
        self.assertEqual(self.ask("remove", id="pod-1"), {})

    def test_one_attachment_per_container(self):
        self.network({"type": "one"})
        self.ask("add", id="pod-1", netns="/gone")
        self.assertFails(self.ask("add", id="pod-1", netns="/gone"), "already exists", "pod-1")
        self.assertEqual(self.ask("remove", id="pod-1"), {})

    def test_a_container_that_the_plugin_does_not_know_is_removed(self):
        self.network({"type": "one", "answers": {"DEL": {"code": 3, "msg": "unknown"}}})
        self.ask("add", id="pod-1", netns="/gone")
        self.assertEqual(self.ask("remove", id="pod-1"), {})

    def test_a_removal_that_fails_can_be_repeated(self):
        self.network({"type": "one", "answers": {"DEL": {"code": 11, "msg": "busy"}}})
        self.ask("add", id="pod-1", netns="/gone")
        self.assertFails(self.ask("remove", id="pod-1"), "unavailable", "busy")
        self.assertFails(self.ask("remove", id="pod-1"), "unavailable", "busy")

    def test_a_damaged_cache_keeps_no_pod(self):
        self.network({"type": "one"})
        self.ask("add", id="pod-1", netns="/gone")
        (self.cache / "results" / "pods-pod-1-eth0").write_text("{broken")
        self.assertFails(self.ask("cached", id="pod-1"), "invalid argument", "pods-pod-1-eth0")
        self.assertEqual(self.ask("remove", id="pod-1"), {})
        self.assertEqual(list((self.cache / "results").iterdir()), [])

    def test_names_that_would_escape(self):
        self.network({"type": "one"})
        self.assertFails(self.ask("add", id="../x", netns="/gone"), "invalid argument", "container id")
        self.assertFails(self.ask("add", id="", netns="/gone"), "invalid argument", "container id")


class Directory(WithProbe):
    """Which network is used."""

    def test_readiness_follows_the_directory(self):
        self.assertFails(self.ask("status"), "failed precondition", str(self.configs))
        self.fake("one")
        self.network({"type": "one"})
        self.assertEqual(self.ask("status"), {})
        (self.fakes / "one").unlink()
        self.assertFails(self.ask("status"), "failed precondition", "'one'", "no such program")
        (self.configs / "10-pods.conflist").unlink()
        self.assertFails(self.ask("status"), "failed precondition")
        self.configs.rmdir()
        self.assertFails(self.ask("status"), "failed precondition", "ENOENT")
        self.configs.mkdir()

    def test_the_first_file_that_is_valid_is_used(self):
        self.fake("one")
        self.fake("two")
        (self.configs / "00-notes.txt").write_text("no configuration")
        (self.configs / "01-broken.conflist").write_text("{")
        (self.configs / "02-directory.conflist").mkdir()
        os.mkfifo(self.configs / "03-fifo.conf")
        (self.configs / "05-single.conf").write_text(json.dumps({"cniVersion": "0.4.0", "name": "single", "type": "two"}))
        self.network({"type": "one"})
        self.assertNotIn("error", self.ask("add", id="pod-1", netns="/gone"))
        self.assertEqual([entry["input"]["name"] for entry in self.log()], ["single"])
        self.assertEqual(self.ask("remove", id="pod-1"), {})

    def test_each_file_s_fault_is_named(self):
        (self.configs / "01-broken.conflist").write_text("{")
        self.network(file="02-none.conflist")
        self.network({"type": "../x"}, file="03-path.conflist")
        self.network({"type": "one"}, file="04-old.conflist", version="0.1.0")
        (self.configs / "05-large.conf").write_text(" " * (1 << 20 | 1))
        self.assertFails(self.ask("status"), "failed precondition", "01-broken.conflist", "02-none.conflist",
                         "03-path.conflist", "04-old.conflist", "05-large.conf", "'0.1.0' is not among")

    def test_plugins_of_the_network_s_folder_come_last(self):
        self.fake("one")
        self.fake("two")
        self.network({"type": "one"})
        (self.configs / "pods").mkdir()
        (self.configs / "pods" / "50-more.conf").write_text(json.dumps({"type": "two"}))
        self.ask("add", id="pod-1", netns="/gone")
        self.assertEqual([entry["input"]["type"] for entry in self.log()], ["one", "two"])
        self.ask("remove", id="pod-1")
        self.log()
        self.network({"type": "one"}, loadOnlyInlinedPlugins=True)
        self.ask("add", id="pod-1", netns="/gone")
        self.assertEqual([entry["input"]["type"] for entry in self.log()], ["one"])
        self.ask("remove", id="pod-1")


class HostilePlugins(WithProbe):
    timeout_ms = 1500

    def add(self, script: str) -> dict:
        self.fake("bad", script)
        self.network({"type": "bad"})
        return self.ask("add", id="pod-1", netns="/gone")

    def only_for_add(self, script: str) -> dict:
        return self.add('#!/bin/sh\n[ "$CNI_COMMAND" = ADD ] || exit 0\n' + script)

    def children(self) -> str:
        return pathlib.Path(f"/proc/{self.probe.pid}/task/{self.probe.pid}/children").read_text()

    def test_one_that_hangs_is_killed_with_its_children(self):
        begin = time.monotonic()
        mark = self.root / "child"
        answer = self.only_for_add(f"sleep 300 & echo $! > {mark}; wait")
        self.assertFails(answer, "deadline exceeded", "cni plugin 'bad': ADD: killed after 1500 ms")
        self.assertLess(time.monotonic() - begin, 10)
        self.assertEqual(self.children(), "")
        state = pathlib.Path(f"/proc/{mark.read_text().strip()}/stat")
        end = time.monotonic() + 10
        while state.exists() and state.read_text().split()[2] != "Z" and time.monotonic() < end:
            pass
        self.assertTrue(not state.exists() or state.read_text().split()[2] == "Z")

    def test_100_megabytes(self):
        self.assertFails(self.only_for_add("exec head -c 100000000 /dev/zero"), "resource exhausted", "more than 1 MiB")
        self.assertFails(self.only_for_add("exec head -c 100000000 /dev/zero >&2"), "resource exhausted", "more than 1 MiB")

    def test_garbage(self):
        self.assertFails(self.only_for_add("head -c 1000 /dev/urandom"), "invalid argument", "'bad'")
        self.assertFails(self.only_for_add("echo []"), "invalid argument", "'bad'")
        self.assertFails(self.only_for_add("true"), "invalid argument", "'bad'")
        self.assertFails(self.only_for_add("""echo '{"ips":[{"address":"999.1.1.1/24"}]}'"""), "invalid argument", "999.1.1.1/24")
        self.assertFails(self.only_for_add("""echo '{"ips":[{"address":"1.1.1.1/24","interface":7}]}'"""), "invalid argument",
                         "interface")

    def test_an_error_in_words(self):
        self.assertFails(self.only_for_add("printf 'no \\033[31mluck' >&2; exit 7"), "failed precondition",
                         "exit status 7: no \\x1b[31mluck")
        self.assertFails(self.only_for_add("kill -9 $$"), "failed precondition", "SIGKILL")

    def test_one_that_does_not_read(self):
        self.fake("bad", '#!/bin/sh\necho "{}"\n')
        self.network({"type": "bad", "much": "x" * 900_000})
        self.assertNotIn("error", self.ask("add", id="pod-1", netns="/gone"))
        self.assertEqual(self.ask("remove", id="pod-1"), {})

    def test_one_that_leaves_a_child_with_its_output(self):
        begin = time.monotonic()
        self.assertNotIn("error", self.only_for_add("echo '{}'; sleep 300 & exit 0"))
        self.assertLess(time.monotonic() - begin, 1.4)
        self.assertEqual(self.ask("remove", id="pod-1"), {})

    def test_one_that_leaves_a_child_that_writes_for_ever(self):
        mark = self.root / "child"
        answer = self.only_for_add(f"setsid sh -c 'echo $$ > {mark}; exec yes' & until [ -s {mark} ]; do :; done")
        # Killed for too much, or over before that: what matters is that it is over.
        self.assertRegex(answer["error"]["message"], "more than 1 MiB|not JSON")
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(mark.read_text()), 9)  # it left the group

    def test_no_program(self):
        self.assertFails(self.add("#!/no/such/interpreter\n"), "not found", "start '")

    def test_a_failed_undo_is_reported_and_kept_for_later(self):
        answer = self.add("#!/bin/sh\nexit 1\n")
        self.assertFails(answer, "failed precondition", "ADD: exit status 1; undo: cni plugin 'bad': DEL: exit status 1")
        self.fake("bad", "#!/bin/sh\nexit 0\n")
        self.assertEqual(self.ask("collect", valid=[]), {})
        self.assertEqual(list((self.cache / "results").iterdir()), [])


if __name__ == "__main__":
    WithProbe.program = sys.argv.pop(1)
    own_network.enter()
    unittest.main(verbosity=2)

#!/usr/bin/python3
"""Static pods of a real kubelet on pepita-cri. Usage: kubelet_test.py BUILD [unittest's arguments]

Environment: as crictl_test.py's. test/cri/go_programs.py builds the kubelet once, which takes about 1000 s of processor
time, so this test is run by hand.
"""
import contextlib
import json
import os
import pathlib
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import cri_host  # noqa: E402
from cri_host import wait_until  # noqa: E402
from kubelet import Kubelet, is_ready, statuses  # noqa: E402

BUSYBOX = "registry.k8s.io/e2e-test-images/busybox:1.29-2"
NGINX = "registry.k8s.io/e2e-test-images/nginx:1.14-2"
BOOT_S = 120


def shell(name: str, script: str, **more) -> dict:
    return {"name": name, "image": BUSYBOX, "command": ["sh", "-c", script]} | more


def pod(name: str, *containers: dict, **more) -> dict:
    return {"metadata": {"name": name, "labels": {"app": name}},
            "spec": {"containers": list(containers), "terminationGracePeriodSeconds": 5, "enableServiceLinks": False} | more}


SLEEP = "trap 'exit 0' TERM; while :; do sleep 1; done"


class OfKubelet(unittest.TestCase):
    kubelet: Kubelet
    maxDiff = None

    def setUp(self):
        self.before = self.kubelet.node.left()
        self.files = self.kubelet.node.open_files()
        self.addCleanup(self.check_that_nothing_is_left)

    def check_that_nothing_is_left(self):
        for manifest in list(self.kubelet.manifests.iterdir()):
            manifest.unlink()
        wait_until(lambda: not self.kubelet.running(), "the pods' end", BOOT_S)

        def extra():
            return {one for one in self.kubelet.node.left() - self.before if one != "link cni0"}

        with contextlib.suppress(AssertionError):
            wait_until(lambda: not extra(), "clean-up", 60)
        self.assertEqual(extra(), set())
        with contextlib.suppress(AssertionError):
            wait_until(lambda: self.kubelet.node.open_files() <= self.files, "descriptors", 15)
        self.assertLessEqual(self.kubelet.node.open_files(), self.files)

    def wait_for(self, name: str, claim, what: str, patience_s: float = BOOT_S) -> dict:
        def held():
            found = self.kubelet.pods().get(name)
            return found if found and claim(found) else None

        try:
            return wait_until(held, f"{name}: {what}", patience_s)
        except AssertionError:
            print(json.dumps(self.kubelet.pods().get(name, {}).get("status"), indent=1), file=sys.stderr)
            print(self.kubelet.node.said()[-6000:], file=sys.stderr)
            print(self.kubelet.said()[-6000:], file=sys.stderr)
            raise

    def wait_until_ready(self, name: str) -> dict:
        return self.wait_for(name, is_ready, "Ready")

    def container(self, name: str, container: str) -> dict:
        return statuses(self.kubelet.pods()[name])[container]


class StaticPods(OfKubelet):
    def test_three_pods_of_three_containers_become_ready(self):
        shared = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
        web = pod("web",
                  {"name": "server", "image": NGINX, "resources": {"limits": {"memory": "64Mi", "cpu": "1"}},
                   "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1},
                   "startupProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 1, "failureThreshold": 60}},
                  shell("writer", f"cat /shared/first; echo second > /shared/second; {SLEEP}", **shared),
                  shell("reader", f"until cat /shared/second; do sleep 0.1; done; until wget -qO /shared/page http://127.0.0.1/; do sleep 0.1; done; {SLEEP}", **shared,
                        livenessProbe={"exec": {"command": ["test", "-s", "/shared/page"]}, "periodSeconds": 1, "failureThreshold": 60}),
                  initContainers=[shell("first", "echo first > /shared/first", **shared)],
                  volumes=[{"name": "shared", "emptyDir": {}}])
        about = pod("about",
                    shell("a", f"cat /etc/about/labels; echo; {SLEEP}",
                          volumeMounts=[{"name": "about", "mountPath": "/etc/about"}],
                          env=[{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                               {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]),
                    shell("b", SLEEP, volumeMounts=[{"name": "host", "mountPath": "/host", "readOnly": True}]),
                    shell("c", SLEEP, volumeMounts=[{"name": "memory", "mountPath": "/memory"}]),
                    shareProcessNamespace=True, hostname="of-about",
                    hostAliases=[{"ip": "10.1.2.3", "hostnames": ["elsewhere"]}],
                    volumes=[{"name": "about", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                             {"name": "host", "hostPath": {"path": str(self.host_folder()), "type": "Directory"}},
                             {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}}])
        plain = pod("plain", *(shell(name, f"echo I am {name}; {SLEEP}") for name in ("x", "y", "z")),
                    securityContext={"runAsUser": 1234, "runAsGroup": 1235, "runAsNonRoot": True, "fsGroup": 1236})
        for manifest in (web, about, plain):
            self.kubelet.apply(manifest)
        for name in ("web", "about", "plain"):
            ready = self.wait_until_ready(name)
            running = {one["name"]: one for one in ready["status"]["containerStatuses"]}
            self.assertEqual(len(running), 3)
            self.assertEqual({one["name"]: one["lastState"] for one in running.values() if one["restartCount"]}, {})

        self.assertEqual(self.kubelet.container_log("web", "writer"), "first\n")
        self.assertEqual(self.kubelet.container_log("web", "reader").splitlines()[-1], "second")
        wait_until(lambda: self.kubelet.run("web", "writer", "cat", "/shared/page"), "the page that one container had from another")
        self.assertEqual(self.kubelet.container_log("about", "a"), 'app="about"\n')
        environment = self.kubelet.run("about", "a", "env")
        self.assertIn("POD=about-node1\n", environment)
        self.assertIn(f"ADDRESS={self.kubelet.pods()['about']['status']['podIP']}\n", environment)
        self.assertEqual(self.kubelet.run("about", "a", "hostname"), "of-about\n")
        self.assertIn("10.1.2.3\telsewhere", self.kubelet.run("about", "a", "cat", "/etc/hosts"))
        self.assertIn("nameserver 10.10.10.10", self.kubelet.run("about", "a", "cat", "/etc/resolv.conf"))
        self.assertIn("sleep", self.kubelet.run("about", "b", "ps"))
        self.assertEqual(self.kubelet.run("about", "b", "cat", "/host/file"), "of the host\n")
        self.assertIn("8.0M", self.kubelet.run("about", "c", "df", "-h", "/memory"))
        self.assertEqual(self.kubelet.run("plain", "y", "id", "-u"), "1234\n")
        self.assertEqual(set(self.kubelet.run("plain", "y", "id", "-G").split()), {"1235", "1236"})

        summary = json.loads(self.kubelet.get("http://127.0.0.1:10255/stats/summary?only_cpu_and_memory=true"))
        counted = {one["podRef"]["name"]: one for one in summary["pods"]}
        self.assertEqual(set(counted), {"web-node1", "about-node1", "plain-node1"})
        for one in counted.values():
            self.assertEqual(len(one["containers"]), 3)
            self.assertTrue(all(container["memory"]["workingSetBytes"] > 0 for container in one["containers"]), one)

    def host_folder(self) -> pathlib.Path:
        folder = self.kubelet.path / "of-host"
        folder.mkdir(exist_ok=True)
        (folder / "file").write_text("of the host\n")
        return folder

    def test_restart_policies(self):
        self.kubelet.apply(pod("never", shell("fails", "exit 7"), shell("ends", "exit 0"), restartPolicy="Never"))
        self.kubelet.apply(pod("on-failure", shell("once", "test -e /state/seen || { touch /state/seen; echo no; exit 3; }; echo yes",
                                                   volumeMounts=[{"name": "state", "mountPath": "/state"}]),
                               restartPolicy="OnFailure", volumes=[{"name": "state", "emptyDir": {}}]))
        failed = self.wait_for("never", lambda one: one["status"]["phase"] == "Failed", "Failed")
        codes = {name: one["state"]["terminated"]["exitCode"] for name, one in statuses(failed).items()}
        self.assertEqual(codes, {"fails": 7, "ends": 0})
        ended = self.wait_for("on-failure", lambda one: one["status"]["phase"] == "Succeeded", "Succeeded")
        self.assertEqual(statuses(ended)["once"]["restartCount"], 1)
        self.assertEqual(statuses(ended)["once"]["lastState"]["terminated"]["exitCode"], 3)

    def test_what_probes_find_dead_is_started_again(self):
        self.kubelet.apply(pod("dies", shell("dies", f"echo life; (sleep 3; rm -f /alive) & touch /alive; {SLEEP}",
                                             livenessProbe={"exec": {"command": ["cat", "/alive"]}, "periodSeconds": 1, "failureThreshold": 1,
                                                            "initialDelaySeconds": 1}),
                               shell("lives", SLEEP)))
        again = self.wait_for("dies", lambda one: statuses(one).get("dies", {}).get("restartCount", 0) >= 1, "a restart")
        self.assertEqual(statuses(again)["lives"]["restartCount"], 0)
        self.assertEqual(self.kubelet.container_log("dies", "dies", previous="true"), "life\n")

    def test_memory_is_limited_and_its_end_is_said(self):
        self.kubelet.apply(pod("eats", shell("eats", "a=x; while :; do a=$a$a; done", resources={"limits": {"memory": "24Mi"}}), shell("beside", SLEEP),
                               restartPolicy="Never"))
        killed = self.wait_for("eats", lambda one: "terminated" in statuses(one).get("eats", {}).get("state", {}), "its end")
        end = statuses(killed)["eats"]["state"]["terminated"]
        self.assertEqual((end["reason"], end["exitCode"]), ("OOMKilled", 137))
        self.assertIn("running", statuses(killed)["beside"]["state"])

    def test_a_pod_ends_gracefully(self):
        folder = self.host_folder()
        volume = {"volumeMounts": [{"name": "host", "mountPath": "/host"}]}
        self.kubelet.apply(pod("ends", shell("main", "trap 'echo term >> /host/order; exit 0' TERM; while :; do sleep 0.2; done", **volume,
                                             lifecycle={"preStop": {"exec": {"command": ["sh", "-c", "sleep 1; echo stop >> /host/order"]}},
                                                        "postStart": {"exec": {"command": ["sh", "-c", "echo start > /host/order"]}}}),
                               volumes=[{"name": "host", "hostPath": {"path": str(folder)}}], terminationGracePeriodSeconds=20))
        self.wait_until_ready("ends")
        self.kubelet.delete("ends")
        wait_until(lambda: "ends" not in self.kubelet.running(), "the pod's end", BOOT_S)
        self.assertEqual((folder / "order").read_text(), "start\nstop\nterm\n")

    def test_pods_outlive_kubelet_and_server(self):
        self.kubelet.apply(pod("stays", shell("counts", "i=0; while :; do i=$((i + 1)); echo $i; sleep 0.2; done"),
                               {"name": "server", "image": NGINX, "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1}}))
        before = statuses(self.wait_until_ready("stays"))
        self.kubelet.stop()
        self.kubelet.node.stop(signal.SIGKILL)
        self.kubelet.node.start()
        self.kubelet.start()
        after = statuses(self.wait_until_ready("stays"))
        self.assertEqual({name: (one["containerID"], one["restartCount"]) for name, one in before.items()},
                         {name: (one["containerID"], one["restartCount"]) for name, one in after.items()})
        self.kubelet.node.stop(signal.SIGKILL)
        self.kubelet.node.start()
        seen = len(self.kubelet.container_log("stays", "counts").splitlines())
        wait_until(lambda: len(self.kubelet.container_log("stays", "counts").splitlines()) > seen + 5, "more of the log")
        lines = self.kubelet.container_log("stays", "counts").splitlines()
        self.assertEqual(lines, [str(number) for number in range(1, len(lines) + 1)])
        self.assertEqual(self.container("stays", "counts")["restartCount"], 0)

    def test_a_sandbox_that_dies_is_replaced(self):
        self.kubelet.apply(pod("falls", shell("main", SLEEP)))
        before = statuses(self.wait_until_ready("falls"))["main"]["containerID"]
        machines = [pid for pid, name in cri_host.descendants().items() if name.startswith(("qemu-system", "pepita-vmm"))]
        self.assertTrue(machines)
        for machine in machines:
            os.kill(machine, signal.SIGKILL)
        again = self.wait_for("falls", lambda one: is_ready(one) and statuses(one)["main"]["containerID"] != before, "a new container")
        self.assertEqual(statuses(again)["main"]["restartCount"], 1)

    def test_logs_are_rotated(self):
        self.kubelet.apply(pod("talks", shell("main", f"i=0; while [ $i -lt 4000 ]; do i=$((i + 1)); echo line $i of many; done; {SLEEP}")))
        self.wait_until_ready("talks")
        folder = next(self.kubelet.logs.glob("default_talks-*/main"))
        wait_until(lambda: len(list(folder.iterdir())) > 1, "a rotated log", 60)


if __name__ == "__main__":
    build = pathlib.Path(sys.argv.pop(1)).resolve()
    data = pathlib.Path(os.environ.get("PEPITA_DATA", build / "data"))
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(cri_host.start(build, data, os.environ.get("PEPITA_ISOLATION", "tcg")))
        OfKubelet.kubelet = Kubelet(node, containerLogMaxSize="16Ki", containerLogMaxFiles=2, containerLogMonitorInterval="3s")
        OfKubelet.kubelet.start()
        test = unittest.main(exit=False, verbosity=2)
    sys.exit(0 if test.result.wasSuccessful() else 1)

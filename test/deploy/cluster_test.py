#!/usr/bin/python3
"""A cluster of one node whose kubelet runs its pods on pepita-cri, under a released kubectl.
Usage: cluster_test.py BUILD [unittest's arguments]

Environment: as crictl_test.py's. Kubernetes, etcd and helm are built once, which takes about 1300 s of processor time, so
this test is run by hand.
"""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import cluster as clusters  # noqa: E402
from cri_host import PATIENCE_S, POD_CGROUP  # noqa: E402

BUSYBOX = "registry.k8s.io/e2e-test-images/busybox:1.29-2"
NGINX = "registry.k8s.io/e2e-test-images/nginx:1.14-2"
SLEEP = "trap 'exit 0' TERM; while :; do sleep 1; done"


def shell(name: str, script: str, **more) -> dict:
    return {"name": name, "image": BUSYBOX, "command": ["sh", "-c", script]} | more


def template(name: str, *containers: dict, **more) -> dict:
    return {"metadata": {"labels": {"app": name}},
            "spec": {"containers": list(containers), "terminationGracePeriodSeconds": 2, "enableServiceLinks": False} | more}


def pod(name: str, *containers: dict, **more) -> dict:
    made = template(name, *containers, **more)
    made["metadata"]["name"] = name
    return {"apiVersion": "v1", "kind": "Pod"} | made


class OfCluster(unittest.TestCase):
    cluster: clusters.Cluster
    maxDiff = None

    def setUp(self):
        self.kubectl = self.cluster.kubectl
        self.addCleanup(self.remove_all)

    def remove_all(self):
        self.kubectl("delete", "deployments,jobs,pods,configmaps,secrets", "--wait=true", "--ignore-not-found",
                     "--field-selector=metadata.name!=kube-root-ca.crt", timeout=PATIENCE_S * 2)

    def apply(self, *objects: dict):
        self.cluster.apply(*objects)

    def wait_ready(self, name: str):
        self.kubectl("wait", f"pod/{name}", "--for=condition=Ready", f"--timeout={PATIENCE_S}s", timeout=PATIENCE_S + 10)

    def wait_text(self, what: str, claim):
        self.cluster.wait(claim, what)


class Workloads(OfCluster):
    def test_a_deployment_becomes_available_and_rolls(self):
        def deployment(version: str) -> dict:
            return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
                    "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
                             "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                             "template": template("web", {"name": "server", "image": NGINX, "env": [{"name": "VERSION", "value": version}],
                                                          "ports": [{"containerPort": 80}],
                                                          "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1},
                                                          "livenessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 2}})}}

        self.apply(deployment("1"))
        self.kubectl("rollout", "status", "deployment/web", f"--timeout={PATIENCE_S}s", timeout=PATIENCE_S + 10)
        first = {one["metadata"]["name"] for one in self.cluster.get("pods")["items"]}
        self.assertEqual(len(first), 2)
        self.apply(deployment("2"))
        self.kubectl("rollout", "status", "deployment/web", f"--timeout={PATIENCE_S}s", timeout=PATIENCE_S + 10)
        self.wait_text("the old pods' end", lambda: not first & {one["metadata"]["name"] for one in self.cluster.get("pods")["items"]})
        name = self.cluster.get("pods")["items"][0]["metadata"]["name"]
        self.assertIn("VERSION=2\n", self.kubectl("exec", name, "--", "env"))

    def test_jobs(self):
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "sums"},
               "spec": {"completions": 3, "parallelism": 3, "completionMode": "Indexed",
                        "template": template("sums", shell("sum", "echo $((JOB_COMPLETION_INDEX * 2))"), restartPolicy="Never")}}
        self.apply(job)
        self.kubectl("wait", "job/sums", "--for=condition=Complete", f"--timeout={PATIENCE_S}s", timeout=PATIENCE_S + 10)
        pods = self.cluster.get("pods", "--selector=app=sums")["items"]
        said = {one["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]: self.kubectl("logs", one["metadata"]["name"]).strip()
                for one in pods}
        self.assertEqual(said, {"0": "0", "1": "2", "2": "4"})

    def test_init_and_sidecar_containers(self):
        self.apply(pod("order", shell("main", f"cat /shared/log; {SLEEP}", volumeMounts=[{"name": "shared", "mountPath": "/shared"}]),
                       initContainers=[shell("first", "echo first >> /shared/log", volumeMounts=[{"name": "shared", "mountPath": "/shared"}]),
                                       shell("side", f"echo side >> /shared/log; {SLEEP}", restartPolicy="Always",
                                             startupProbe={"exec": {"command": ["grep", "-q", "side", "/shared/log"]}, "periodSeconds": 1,
                                                           "failureThreshold": 60},
                                             volumeMounts=[{"name": "shared", "mountPath": "/shared"}])],
                       volumes=[{"name": "shared", "emptyDir": {}}]))
        self.wait_ready("order")
        self.assertEqual(self.kubectl("logs", "order", "-c", "main"), "first\nside\n")


class Clients(OfCluster):
    def test_a_client_reaches_into_a_pod(self):
        self.apply(pod("tool", {"name": "server", "image": NGINX}, shell("tool", f"echo hello; {SLEEP}")))
        self.wait_ready("tool")
        self.assertEqual(self.kubectl("exec", "tool", "-c", "tool", "--", "wget", "-qO-", "http://127.0.0.1/"), "Welcome to nginx!\n")
        self.assertEqual(self.kubectl("exec", "-i", "tool", "-c", "tool", "--", "cat", input="through\n"), "through\n")
        failed = self.cluster.call("kubectl", "exec", "tool", "-c", "tool", "--", "sh", "-c", "echo no >&2; exit 9")
        self.assertEqual(failed.returncode, 9)
        self.assertIn("no\n", failed.stderr)
        self.assertEqual(self.kubectl("logs", "tool", "-c", "tool"), "hello\n")
        payload = self.cluster.path / "payload"
        payload.write_bytes(os.urandom(3_000_000))
        self.kubectl("cp", payload, "tool:/tmp/payload", "-c", "tool")
        back = self.cluster.path / "back"
        self.kubectl("cp", "tool:/tmp/payload", back, "-c", "tool")
        self.assertEqual(back.read_bytes(), payload.read_bytes())

    def test_ports_are_forwarded(self):
        self.apply(pod("server", {"name": "server", "image": NGINX, "readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 1}}))
        self.wait_ready("server")
        with subprocess.Popen([self.cluster.bin / "kubectl", f"--kubeconfig={self.cluster.kubeconfig}", "port-forward", "pod/server", ":80"],
                              stdout=subprocess.PIPE, text=True) as forward:
            try:
                port = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())[1]
                for _ in range(3):
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE_S) as answer:
                        self.assertEqual(answer.read(), b"Welcome to nginx!\n")
            finally:
                forward.terminate()

    def test_logs_are_followed(self):
        self.apply(pod("talks", shell("talks", "for i in 1 2 3 4 5; do echo $i; sleep 1; done"), restartPolicy="Never"))
        self.wait_text("a start", lambda: self.cluster.get("pod", "talks")["status"]["phase"] in ("Running", "Succeeded"))
        self.assertEqual(self.kubectl("logs", "-f", "talks"), "1\n2\n3\n4\n5\n")

    def test_attach(self):
        self.apply(pod("asks", shell("asks", "read word; echo got $word", stdin=True, stdinOnce=True), restartPolicy="Never"))
        self.wait_ready("asks")
        self.assertIn("got it", self.kubectl("attach", "-i", "asks", input="it\n"))

    def test_a_pod_is_debugged(self):
        self.apply(pod("plain", shell("main", SLEEP), shareProcessNamespace=True))
        self.wait_ready("plain")
        self.kubectl("debug", "plain", f"--image={BUSYBOX}", "--container=looks", "--profile=general", "--", "sh", "-c", "ps; echo seen")
        self.wait_text("what the ephemeral container saw", lambda: "seen" in self.cluster.call("kubectl", "logs", "plain", "-c", "looks").stdout)
        self.assertIn("sleep 1", self.kubectl("logs", "plain", "-c", "looks"))


class Volumes(OfCluster):
    def test_config_maps_and_secrets_follow_their_objects(self):
        def objects(value: str) -> tuple[dict, dict]:
            return ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"key": value}},
                    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hidden"}, "stringData": {"word": value}})

        self.apply(*objects("one"))
        self.apply(pod("reads", shell("reads", SLEEP, env=[{"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "key"}}}],
                                      volumeMounts=[{"name": "settings", "mountPath": "/settings"}, {"name": "hidden", "mountPath": "/hidden"},
                                                    {"name": "all", "mountPath": "/all"}]),
                       volumes=[{"name": "settings", "configMap": {"name": "settings"}},
                                {"name": "hidden", "secret": {"secretName": "hidden", "defaultMode": 0o400}},
                                {"name": "all", "projected": {"sources": [{"configMap": {"name": "settings"}}, {"secret": {"name": "hidden"}}]}}]))
        self.wait_ready("reads")

        def seen() -> list[str]:
            return self.kubectl("exec", "reads", "--", "sh", "-c",
                                "cat /settings/key; echo; cat /hidden/word; echo; cat /all/key; echo; cat /all/word; echo").split()

        self.assertEqual(seen(), ["one"] * 4)
        self.assertIn("KEY=one\n", self.kubectl("exec", "reads", "--", "env"))
        self.assertEqual(self.kubectl("exec", "reads", "--", "stat", "-Lc", "%a", "/hidden/word"), "400\n")
        self.assertTrue(self.kubectl("exec", "reads", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token"))
        self.apply(*objects("two"))
        self.wait_text("the new values", lambda: seen() == ["two"] * 4)


class Resources(OfCluster):
    def test_a_container_is_resized_in_place(self):
        def limits(memory: str, cpu: str) -> dict:
            return {"resources": {"requests": {"memory": memory, "cpu": cpu}, "limits": {"memory": memory, "cpu": cpu}}}

        self.apply(pod("grows", shell("main", SLEEP, **limits("64Mi", "500m"))))
        self.wait_ready("grows")
        read = ("exec", "grows", "--", "cat", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/cpu.max")
        self.assertEqual(self.kubectl(*read), "67108864\n50000 100000\n")
        self.kubectl("patch", "pod", "grows", "--subresource=resize", "-p",
                     json.dumps({"spec": {"containers": [{"name": "main"} | limits("96Mi", "700m")]}}))
        self.wait_text("the new limits", lambda: self.kubectl(*read) == "100663296\n70000 100000\n")
        status = self.cluster.get("pod", "grows")["status"]["containerStatuses"][0]
        self.assertEqual(status["restartCount"], 0)

    def test_pods_outlive_the_server_while_a_client_counts(self):
        self.apply(pod("server", {"name": "server", "image": NGINX, "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1}}))
        self.wait_ready("server")
        address = self.cluster.get("pod", "server")["status"]["podIP"]

        def answers() -> bool:
            with contextlib.closing(socket.create_connection((address, 80), PATIENCE_S)) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return client.makefile("rb").read().endswith(b"Welcome to nginx!\n")

        before = self.cluster.get("pod", "server")["status"]["containerStatuses"][0]
        for _ in range(3):
            self.cluster.node.stop(signal.SIGKILL)
            for _ in range(20):
                self.assertTrue(answers())
            self.cluster.node.start()
            for _ in range(20):
                self.assertTrue(answers())
        self.wait_ready("server")
        after = self.cluster.get("pod", "server")["status"]["containerStatuses"][0]
        self.assertEqual((after["containerID"], after["restartCount"]), (before["containerID"], 0))


class Chart(OfCluster):
    CHART = pathlib.Path(__file__).resolve().parents[2] / "deploy/helm/pepita"

    def setUp(self):
        super().setUp()
        self.addCleanup(lambda: self.cluster.call("helm", "uninstall", "pepita", "--wait"))

    def helm(self, *arguments) -> str:
        done = self.cluster.call("helm", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        return done.stdout

    def classes(self) -> dict[str, dict]:
        return {one["metadata"]["name"]: one for one in self.cluster.get("runtimeclasses")["items"]}

    def test_a_release_from_its_lint_to_its_end(self):
        self.helm("lint", "--strict", self.CHART)
        self.assertIn("pepita-kvm", self.helm("install", "pepita", self.CHART, "--wait"))
        self.assertEqual(set(self.classes()), {"pepita", "pepita-kvm", "pepita-tcg"})
        self.assertIn("Succeeded", self.helm("test", "pepita", "--timeout", f"{PATIENCE_S}s"))
        self.helm("upgrade", "pepita", self.CHART, "--set", "nodeSelector.pepita=yes", "--wait")
        self.assertEqual(self.classes()["pepita"]["scheduling"]["nodeSelector"], {"pepita": "yes"})
        self.helm("rollback", "pepita", "1", "--wait")
        self.assertNotIn("scheduling", self.classes()["pepita"])
        twice = self.cluster.call("helm", "install", "pepita", self.CHART)
        self.assertIn("cannot re-use a name that is still in use", twice.stderr)
        self.helm("uninstall", "pepita", "--wait")
        self.assertEqual(self.classes(), {})

    def test_values_that_cannot_be_are_named(self):
        for value, complaint in (("runtimeClasses[0].overhead.memory=lots", "/runtimeClasses/0/overhead/memory"),
                                 ("runtimeClasses[0].name=No Name", "/runtimeClasses/0"), ("nodeselector.a=b", "nodeselector"),
                                 ("test.image=", "/test/image")):
            refused = self.cluster.call("helm", "install", "pepita", self.CHART, "--set", value)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn(complaint, refused.stderr)
        self.assertEqual(self.classes(), {})

    def test_an_idle_pod_stays_within_its_overhead(self):
        self.helm("install", "pepita", self.CHART, "--wait")
        self.apply(pod("idle", shell("main", SLEEP, resources={"limits": {"memory": "32Mi", "cpu": "1"}}), runtimeClassName="pepita"))
        self.wait_ready("idle")
        seen = self.cluster.get("pod", "idle")
        self.assertEqual(seen["spec"]["overhead"], {"memory": "256Mi", "cpu": "100m"})
        counted = [pathlib.Path(folder) / "memory.max_usage_in_bytes" for folder, _, _ in os.walk("/sys/fs/cgroup/memory")
                   if POD_CGROUP.search(folder) and seen["metadata"]["uid"] in folder]
        self.assertEqual(len(counted), 1, "the microVM is not in the pod's cgroup")
        used = int(counted[0].read_text())
        print(f"an idle pod's microVM: {used >> 20} MiB at most", file=sys.stderr)
        self.assertLess(used, 256 << 20)


if __name__ == "__main__":
    build = pathlib.Path(sys.argv.pop(1)).resolve()
    data = pathlib.Path(os.environ.get("PEPITA_DATA", build / "data"))
    with clusters.start(build, data, os.environ.get("PEPITA_ISOLATION", "tcg")) as OfCluster.cluster:
        test = unittest.main(exit=False, verbosity=2)
    sys.exit(0 if test.result.wasSuccessful() else 1)

#!/usr/bin/python3
"""The node agent on a cluster whose kubelet is on Debian's containerd: a release of the chart from its installation to its
end, and nodes where it cannot be installed. Usage: agent_test.py BUILD PACKAGE.deb [unittest's arguments]

PACKAGE.deb: what deploy/deb/build makes. Needs mmdebstrap, umoci, skopeo and docker-registry. Environment: as
cluster_test.py's. By hand.
"""
import contextlib
import json
import os
import pathlib
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import cluster as clusters  # noqa: E402
import go_programs  # noqa: E402
from cri_host import PATIENCE_S  # noqa: E402
from kubelet import NODE  # noqa: E402

SOURCE = pathlib.Path(__file__).resolve().parents[2]
CHART = SOURCE / "deploy/helm/pepita"
IMAGE = "docker.io/pepita/agent"
NGINX = "registry.k8s.io/e2e-test-images/nginx:1.14-2"
PREFIX = pathlib.Path("/opt/pepita")
LONG_S = 2 * PATIENCE_S


def make_images(package: pathlib.Path, folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Two versions of the agent's image, by tag."""
    subprocess.run(["dpkg-deb", "-R", package, folder / "next"], check=True)
    control = folder / "next/DEBIAN/control"
    control.write_text(re.sub(r"^(Version: .*)$", r"\1+1", control.read_text(), flags=re.M))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", folder / "next", folder / "next.deb"], check=True, stdout=subprocess.DEVNULL)
    made = {}
    for tag, deb in (("1", package), ("2", folder / "next.deb")):
        made[tag] = folder / f"image-{tag}"
        subprocess.run([SOURCE / "deploy/image/build", deb, made[tag]], check=True, stdout=subprocess.DEVNULL)
    return made


def listing() -> dict[str, str]:
    """All that the agent may touch on the node, with its content."""
    found = {}
    for root in clusters.ContainerdNode.FOLDERS:
        for path in pathlib.Path(root).rglob("*"):
            if not str(path).startswith("/run/containerd/"):
                found[str(path)] = os.readlink(path) if path.is_symlink() else path.read_text(errors="replace") if path.is_file() else str(path.stat().st_mode)
    return found


def web(runtime_class: str) -> dict:
    container = {"name": "server", "image": NGINX, "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}},
                     "template": {"metadata": {"labels": {"app": "web"}},
                                  "spec": {"runtimeClassName": runtime_class, "containers": [container], "terminationGracePeriodSeconds": 2,
                                           "enableServiceLinks": False}}}}


class Client(threading.Thread):
    """Asks a server for its page, again and again, until the block ends. `failures`: what went wrong."""

    def __init__(self, address: str):
        super().__init__()
        self.address, self.answers, self.failures, self.ends = address, 0, [], threading.Event()

    def run(self):
        while not self.ends.wait(0.05):
            try:
                with contextlib.closing(socket.create_connection((self.address, 80), PATIENCE_S)) as connection:
                    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    if connection.makefile("rb").read().endswith(b"Welcome to nginx!\n"):
                        self.answers += 1
                    else:
                        self.failures.append("another page")
            except OSError as error:
                self.failures.append(str(error))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.join()


class OfAgent(unittest.TestCase):
    cluster: clusters.Cluster
    maxDiff = None

    def setUp(self):
        self.kubectl = self.cluster.kubectl
        self.before = listing()
        self.addCleanup(self.remove_all)

    def remove_all(self):
        self.kubectl("delete", "deployments,pods", "--all", "--ignore-not-found", timeout=LONG_S)
        if self.cluster.call("helm", "status", "pepita").returncode == 0:
            done = self.uninstall()
            if done.returncode:
                self.cluster.call("helm", "uninstall", "pepita", "--no-hooks", "--wait", timeout=LONG_S)
        self.kubectl("delete", "jobs,pods", "--all", "--ignore-not-found", timeout=LONG_S)

    def flags(self, *more: str, tag: str = "1") -> list[str]:
        node = self.cluster.node
        overhead = {"memory": "256Mi", "cpu": "100m"}
        values = {"runtimeClasses": [{"name": "pepita", "handler": "pepita", "isolation": "tcg", "overhead": overhead}],
                  "agent": {"mode": "containerd", "image": f"{IMAGE}:{tag}", "memory": 256, "cniConfig": str(node.path / "net.d"),
                            "cniPlugins": "/usr/lib/cni", "containerd": {"restart": node.restart}}}
        path = node.path / f"values-{tag}.json"
        path.write_text(json.dumps(values))
        return ["pepita", str(CHART), "--values", str(path), *more]

    def helm(self, *arguments) -> str:
        done = self.cluster.call("helm", *arguments, timeout=LONG_S)
        self.assertEqual(done.returncode, 0, f"{shlex.join(map(str, arguments))}: {done.stderr}{done.stdout}{self.agent_says()}")
        return done.stdout

    def install(self, *more: str):
        return self.helm("install", *self.flags(*more), "--wait", "--timeout", f"{PATIENCE_S}s")

    def uninstall(self) -> subprocess.CompletedProcess:
        return self.cluster.call("helm", "uninstall", "pepita", "--wait", "--timeout", "120s", timeout=LONG_S)

    def agent_says(self) -> str:
        logs = self.cluster.call("kubectl", "logs", "--selector=app.kubernetes.io/component in (agent,retire)", "--tail=30", "--prefix").stdout
        return logs + self.cluster.call("kubectl", "get", "pods", "-o", "wide").stdout + self.cluster.call("kubectl", "get", "events").stdout[-3000:]

    def labels(self) -> dict[str, str]:
        labels = self.cluster.get("node", NODE)["metadata"]["labels"]
        return {name: value for name, value in labels.items() if name.startswith("pepita.io/")}

    def pod(self) -> dict:
        found, = self.cluster.get("pods", "--selector=app=web")["items"]
        return found

    def version(self) -> str:
        return os.readlink(PREFIX / "current")

    def wait_available(self):
        self.kubectl("rollout", "status", "deployment/web", f"--timeout={PATIENCE_S}s", timeout=PATIENCE_S + 10)

    def reason(self) -> str:
        """Why the agent could not install, as the node says it."""
        return self.cluster.wait(lambda: self.cluster.get("node", NODE)["metadata"].get("annotations", {}).get("pepita.io/reason"),
                                 "the agent's failure")


class Release(OfAgent):
    def test_from_its_installation_to_its_end(self):
        self.install()
        labels = self.labels()
        self.assertEqual(labels["pepita.io/node"], "containerd")
        self.assertEqual(labels["pepita.io/tcg"], "true")
        self.cluster.apply(web("pepita"))
        self.wait_available()
        pod = self.pod()
        self.assertIn("Linux", self.kubectl("exec", pod["metadata"]["name"], "--", "uname", "-a"))
        self.assertNotEqual(self.kubectl("exec", pod["metadata"]["name"], "--", "uname", "-r").strip(), os.uname().release)

        first = self.version()
        with Client(pod["status"]["podIP"]) as client:
            self.helm("upgrade", *self.flags(tag="2"), "--wait", "--timeout", f"{PATIENCE_S}s")
            second = self.version()
            self.assertTrue((PREFIX / first / "bin/pepita-vmm").exists(), "the running pod's version is gone")
            self.helm("rollback", "pepita", "--wait", "--timeout", f"{PATIENCE_S}s")
        self.assertEqual(client.failures, [])
        print(f"{client.answers} answers, no failure during upgrade and rollback", file=sys.stderr)
        self.assertNotEqual(first, second)
        self.assertEqual(self.version(), first)
        self.assertFalse((PREFIX / second).exists(), "an unused version is kept")
        after = self.pod()
        self.assertEqual((after["metadata"]["uid"], after["status"]["containerStatuses"][0]["restartCount"]), (pod["metadata"]["uid"], 0))

        refused = self.uninstall()
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("1 pods run on pepita, such as default/web-", self.agent_says())
        self.assertEqual(self.labels(), labels)
        # So Helm calls a release whose end was refused. It is there, and rolled back or uninstalled as before.
        self.assertIn("STATUS: uninstalling", self.helm("status", "pepita"))
        self.helm("rollback", "pepita", "3", "--wait", "--timeout", f"{PATIENCE_S}s")
        self.assertIn("STATUS: deployed", self.helm("status", "pepita"))
        self.kubectl("delete", "deployment/web", "--wait", "--cascade=foreground", timeout=LONG_S)
        self.cluster.wait(lambda: not self.cluster.get("pods", "--selector=app=web")["items"], "the pod's end")
        self.helm("uninstall", "pepita", "--wait", "--timeout", "120s")
        self.assertEqual(self.labels(), {})
        self.assertEqual(listing(), self.before)


class Force(OfAgent):
    def remove_all(self):
        """Nothing is there to clear what this pod's end leaves."""
        super().remove_all()
        subprocess.run(["find", "/run/pepita", "-xdev", "-mindepth", "1", "-delete"], check=True)

    def test_uninstalled_with_a_pod_running(self):
        self.install("--set", "agent.force=true")
        self.cluster.apply(web("pepita"))
        self.wait_available()
        pod = self.pod()
        self.helm("uninstall", "pepita", "--wait", "--timeout", "120s")
        self.assertEqual(self.labels(), {})
        self.assertFalse(PREFIX.exists())
        with Client(pod["status"]["podIP"]) as client:
            self.cluster.wait(lambda: client.answers >= 5 or client.failures, "answers")
        self.assertEqual(client.failures, [])


class Cri(OfAgent):
    UNIT = pathlib.Path("/etc/systemd/system/pepita-cri.service")

    def test_a_service_that_a_kubelet_could_use(self):
        """There is no systemd here: the restart command notes that it was called, and the test runs what the unit says."""
        called, stopped, state = (self.cluster.node.path / name for name in ("called", "stopped", "cri-of-agent.sock"))
        self.install("--set-string", f"agent.mode=cri,agent.cri.restart=echo >> {called},agent.cri.stop=touch {stopped},agent.cri.socket={state}")
        self.assertEqual(self.labels()["pepita.io/node"], "cri")
        self.assertEqual(called.read_text(), "\n")
        verified = subprocess.run(["systemd-analyze", "verify", self.UNIT], capture_output=True, text=True)
        self.assertEqual(verified.returncode, 0, verified.stderr)
        members = dict(line.split("=", 1) for line in self.UNIT.read_text().splitlines() if "=" in line)
        name, _, value = members["Environment"].partition("=")
        with open(self.cluster.node.path / "cri-of-agent.log", "wb") as log:
            server = subprocess.Popen(members["ExecStart"].split(), env=os.environ | {name: value}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            asked = ["crictl", "--runtime-endpoint", f"unix://{state}", "--image-endpoint", f"unix://{state}", "version"]
            asked[0] = go_programs.crictl()
            self.cluster.wait(lambda: subprocess.run(asked, capture_output=True, text=True).stdout.count("RuntimeName:  pepita"), "pepita-cri")
        finally:
            server.terminate()
            server.wait(PATIENCE_S)
        self.helm("uninstall", "pepita", "--wait", "--timeout", "120s")
        self.assertTrue(stopped.exists())
        with contextlib.suppress(FileNotFoundError):
            state.unlink()
        self.assertEqual(listing(), self.before)


class Nodes(OfAgent):
    """On which it cannot be installed, or looks otherwise."""

    def refused(self, *more: str) -> str:
        """The reason that the agent of a release gives. The release ends, and the node is as it was."""
        self.helm("install", *self.flags(*more))
        reason = self.reason()
        self.assertEqual(self.labels(), {"pepita.io/node": "failed"})
        self.helm("uninstall", "pepita", "--wait", "--timeout", "120s")
        self.assertEqual(self.labels(), {})
        return reason

    def configure(self, text: str):
        """containerd's configuration as the agent finds it; containerd itself is not told."""
        was = self.cluster.node.CONFIG.read_text()
        self.cluster.node.CONFIG.write_text(text)
        self.addCleanup(self.cluster.node.CONFIG.write_text, was)
        self.before = listing()

    def test_configurations_that_cannot_be_merged(self):
        was = self.cluster.node.CONFIG.read_text()
        foreign = '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.pepita]\n  runtime_type = "io.containerd.other.v1"\n'
        for text, reason in ((was.replace("version = 2", "version = 1"), "its version is '1', and must be 2 or 3"),
                             ("disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n" + was, "its disabled_plugins has cri"),
                             (was + foreign, "pepita"), (was + "[plugins", "toml")):
            with self.subTest(reason):
                self.configure(text)
                said = self.refused()
                self.assertIn("containerd's '/etc/containerd/config.toml' cannot be merged", said)
                self.assertIn(reason, said)
                self.assertEqual(listing(), self.before)

    def test_a_folder_that_is_read_only(self):
        subprocess.run(["mount", "-o", "remount,ro", "/opt"], check=True)
        self.addCleanup(lambda: subprocess.run(["mount", "-o", "remount,rw", "/opt"], check=True))
        self.assertIn("the node's '/opt/pepita' cannot be written (Read-only file system): choose another folder by agent.prefix", self.refused())
        self.assertEqual(listing(), self.before)

    def test_a_containerd_that_does_not_start(self):
        """The restart command fails while our handlers are in the configuration: that is put back."""
        restart = f"! grep -q 'pepita: begin' {self.cluster.node.CONFIG} && {self.cluster.node.restart}"
        self.assertIn("containerd did not start with our handlers", self.refused("--set-string", f"agent.containerd.restart={restart}"))
        self.assertEqual(listing(), self.before)

    @unittest.skipUnless(os.path.exists("/dev/kvm"), "this machine has no /dev/kvm to hide; each other test shows the same")
    def test_one_without_kvm(self):
        """In place of its /dev/kvm is a file that cannot be opened to be written."""
        other = self.cluster.node.path / "no-kvm"
        other.touch()
        subprocess.run(["mount", "--bind", other, "/dev/kvm"], check=True)
        self.addCleanup(lambda: subprocess.run(["umount", "--lazy", "/dev/kvm"], check=True))
        subprocess.run(["mount", "-o", "remount,bind,ro", "/dev/kvm"], check=True)
        self.install()
        self.assertNotIn("pepita.io/kvm", self.labels())
        self.assertEqual(self.labels()["pepita.io/tcg"], "true")

    def test_installed_twice(self):
        self.install()
        log = self.cluster.node.said().count("containerd successfully booted")
        twice = self.cluster.call("helm", "install", *self.flags())
        self.assertIn("cannot re-use a name that is still in use", twice.stderr)
        self.kubectl("rollout", "restart", "daemonset/pepita-agent")
        self.kubectl("rollout", "status", "daemonset/pepita-agent", f"--timeout={PATIENCE_S}s", timeout=PATIENCE_S + 10)
        self.assertEqual(self.cluster.node.said().count("containerd successfully booted"), log, "containerd was restarted for nothing")

    def test_values_that_cannot_be_are_named(self):
        for value, complaint in (("agent.mode=docker", "/agent/mode"), ("agent.image=", "/agent/image"), ("agent.prefix=opt", "/agent/prefix"),
                                 ("agent.memory=lots", "/agent/memory"), ("agent.containerd.restrat=x", "restrat")):
            refused = self.cluster.call("helm", "install", *self.flags("--set", value))
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn(complaint, refused.stderr)

    def test_rights(self):
        """The agent's account patches its own node's labels, and nothing else."""
        self.install()
        account = "system:serviceaccount:default:pepita-agent"
        for verb, what, answer in (("patch", "nodes", "yes"), ("delete", "nodes", "no"), ("list", "pods", "no"), ("get", "secrets", "no")):
            self.assertEqual(self.cluster.call("kubectl", "auth", "can-i", verb, what, f"--as={account}").stdout.strip(), answer, f"{verb} {what}")
        alien = self.cluster.call("kubectl", "label", "node", NODE, "pepita.io/kvm=false", "--overwrite", f"--as={account}")
        self.assertIn("an agent changes its own node alone", alien.stderr)


if __name__ == "__main__":
    build, package = (pathlib.Path(sys.argv.pop(1)).resolve() for _ in range(2))
    data = pathlib.Path(os.environ.get("PEPITA_DATA", build / "data"))
    with tempfile.TemporaryDirectory(prefix="pepita-agent-") as made:
        images = make_images(package, pathlib.Path(made))
        with clusters.start(build, data, os.environ.get("PEPITA_ISOLATION", "tcg"), clusters.ContainerdNode) as OfAgent.cluster:
            for tag, layout in images.items():
                OfAgent.cluster.node.registry.registry.push(layout, f"pepita/agent:{tag}")
            test = unittest.main(exit=False, verbosity=2)
    sys.exit(0 if test.result.wasSuccessful() else 1)

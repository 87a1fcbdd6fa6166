"""A kubelet on a node of cri_host.py. Without a kubeconfig it runs the pods whose manifests lie in its folder."""
import contextlib
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import cri_host  # noqa: E402
import go_programs  # noqa: E402
from cri_host import PATIENCE_S, wait_until  # noqa: E402

NODE = "node1"
PORT, READ_ONLY_PORT, HEALTH_PORT = 10250, 10255, 10248


def programs(folder: pathlib.Path) -> pathlib.Path:
    """`folder` with Kubernetes' programs by their names."""
    program = go_programs.kubernetes()
    folder.mkdir(exist_ok=True)
    for name in ("kubelet", "kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        with contextlib.suppress(FileExistsError):
            (folder / name).symlink_to(program)
    return folder


class CgroupRoot:
    """A cgroup of the same name in each hierarchy, for a kubelet to put its own under."""

    def __init__(self, name: str):
        self.name = name
        mounts = [line.split() for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
        self.folders = [pathlib.Path(mount[1]) / name for mount in mounts if mount[2] in ("cgroup", "cgroup2")]
        for folder in self.folders:
            folder.mkdir()
            if (folder / "cpuset.cpus").exists():
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (folder / file).write_text((folder.parent / file).read_text())

    def paths(self) -> list[pathlib.Path]:
        """From the innermost outwards."""
        found = [path for folder in self.folders if folder.exists() for path in (folder, *folder.rglob("*")) if path.is_dir()]
        return sorted(found, key=lambda path: -len(path.parts))

    def remove(self):
        for path in self.paths():
            path.rmdir()


class Kubelet:
    """`more`: members of KubeletConfiguration beside those here."""

    def __init__(self, node: cri_host.Node, **more):
        self.node, self.more = node, more
        self.path = node.path / "kubelet"
        self.manifests, self.logs, self.log = self.path / "manifests", self.path / "logs", self.path / "log"
        for folder in (self.manifests, self.logs):
            folder.mkdir(parents=True)
        self.bin = programs(node.path / "bin")
        self.cgroups = CgroupRoot(f"pepita-kubelet-{os.getpid()}")
        self.arguments: list[str] = []
        self.process = None
        node.at_end.callback(self.clean_up)

    def configuration(self) -> dict:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": self.node.endpoint, "staticPodPath": str(self.manifests), "podLogsDir": str(self.logs),
            "address": "127.0.0.1", "port": PORT, "readOnlyPort": READ_ONLY_PORT,
            "healthzBindAddress": "127.0.0.1", "healthzPort": HEALTH_PORT,
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}}, "authorization": {"mode": "AlwaysAllow"},
            "failSwapOn": False, "failCgroupV1": False, "cgroupRoot": f"/{self.cgroups.name}", "cgroupsPerQOS": True,
            "enforceNodeAllocatable": [], "evictionHard": {}, "imageGCHighThresholdPercent": 100,
            "localStorageCapacityIsolation": False, "makeIPTablesUtilChains": False, "registerNode": False,
            "enableControllerAttachDetach": False, "resolvConf": "/etc/resolv.conf", "clusterDomain": "cluster.local",
            "clusterDNS": ["10.10.10.10"], "syncFrequency": "2s", "fileCheckFrequency": "1s",
            # A guest that QEMU only translates takes some seconds to boot, and kubelet gives up on a request after 2 minutes.
            "runtimeRequestTimeout": "5m",
        } | self.more

    def start(self):
        configuration = self.path / "config.yaml"
        configuration.write_text(json.dumps(self.configuration()))
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.bin / "kubelet", f"--config={configuration}", f"--root-dir={self.path / 'root'}", f"--cert-dir={self.path / 'pki'}",
                 f"--hostname-override={NODE}", "--v=2", *self.arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: self.healthy() or self.process.poll() is not None, "kubelet's start", PATIENCE_S)
        self.node.others["kubelet"] = self.process.pid
        if self.process.poll() is not None:
            raise RuntimeError(f"kubelet ended: {self.said()[-4000:]}")

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE_S)

    def clean_up(self):
        """What a kubelet that was ended leaves."""
        mounts = [line.split()[1] for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
        for mount in reversed([one for one in mounts if one.startswith(f"{self.path}/")]):
            subprocess.run(["umount", mount], check=True)
        self.cgroups.remove()

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def healthy(self) -> bool:
        with contextlib.suppress(OSError):
            return self.get(f"http://127.0.0.1:{HEALTH_PORT}/healthz") == b"ok"
        return False

    @staticmethod
    def get(url: str, method: str = "GET") -> bytes:
        unverified = ssl.create_default_context()
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        with urllib.request.urlopen(urllib.request.Request(url, method=method), context=unverified, timeout=PATIENCE_S) as answer:
            return answer.read()

    def pods(self) -> dict[str, dict]:
        """Of the namespace default, by the names of their manifests."""
        items = json.loads(self.get(f"http://127.0.0.1:{READ_ONLY_PORT}/pods"))["items"] or []
        return {pod["metadata"]["name"].removesuffix(f"-{NODE}"): pod for pod in items}

    def running(self) -> set[str]:
        """Pods that the runtime has, as kubelet sees them, whether or not it still wants them."""
        items = json.loads(self.get(f"https://127.0.0.1:{PORT}/runningpods/"))["items"] or []
        return {pod["metadata"]["name"].removesuffix(f"-{NODE}") for pod in items}

    def run(self, pod: str, container: str, *command: str) -> str:
        """What a command in it wrote, by ExecSync. Words are what blanks separate."""
        words = urllib.parse.urlencode({"cmd": " ".join(command)})
        return self.get(f"https://127.0.0.1:{PORT}/run/default/{pod}-{NODE}/{container}?{words}", "POST").decode()

    def container_log(self, pod: str, container: str, **query) -> str:
        return self.get(f"https://127.0.0.1:{PORT}/containerLogs/default/{pod}-{NODE}/{container}?{urllib.parse.urlencode(query)}").decode()

    def apply(self, manifest: dict):
        """Writes it whole at once, as kubelet reads whatever it finds."""
        path = self.manifests / f"{manifest['metadata']['name']}.json"
        fresh = self.path / path.name
        fresh.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod"} | manifest))
        shutil.move(fresh, path)

    def delete(self, name: str):
        (self.manifests / f"{name}.json").unlink()


def statuses(pod: dict) -> dict[str, dict]:
    """Of its containers, by name."""
    status = pod.get("status", {})
    return {one["name"]: one for kind in ("initContainerStatuses", "containerStatuses") for one in status.get(kind, [])}


def is_ready(pod: dict) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod.get("status", {}).get("conditions", []))

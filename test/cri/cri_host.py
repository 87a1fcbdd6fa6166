"""A node for clients of CRI: pepita-cri in a network namespace of its own, with a pod network and a registry there.

The process that imports it enters that namespace by start(), so that its clients are there too. Usable by hand:

    cri_host.py BUILD COMMAND...    runs COMMAND in it, with CRI_ENDPOINT and CRI_CONFIG (crictl's) in its environment

$PEPITA_LOGS is a directory that keeps the logs of its programs.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import images  # noqa: E402
import own_network  # noqa: E402

CNI_PLUGINS = pathlib.Path("/usr/lib/cni")
NETWORK = {"cniVersion": "1.0.0", "name": "pods", "plugins": [
    {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False,
     "ipam": {"type": "host-local", "subnet": "10.88.9.0/24", "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}]}
PATIENCE_S = 180
POD_CGROUP = re.compile("/pepita-[0-9a-f]{32}$")


def wait_until(claim, what: str, patience_s: float = 60):
    """Polls a claim about the outside world that nothing announces."""
    deadline = time.monotonic() + patience_s
    while not (value := claim()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {patience_s} s")
        select.select([], [], [], 0.05)
    return value


def adopt_orphans():
    """Processes whose parents have ended become children of this one, whatever they have done to be alone."""
    pr_set_child_subreaper = 36
    if ctypes.CDLL(None, use_errno=True).prctl(pr_set_child_subreaper, 1, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")


def descendants() -> dict[int, str]:
    """Processes below this one that have not ended, with their names."""
    parents, names = {}, {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            head, _, rest = (entry / "stat").read_text().rpartition(")")
            state, parent = rest.split()[:2]
            if state not in "ZX":
                parents[int(entry.name)], names[int(entry.name)] = int(parent), head.partition("(")[2]
    found, ring = {}, {os.getpid()}
    while ring:
        ring = {pid for pid, parent in parents.items() if parent in ring}
        found |= {pid: names[pid] for pid in ring}
    return found


class Node:
    """`build`: the build folder. `isolation`: as pepita-cri's option."""

    def __init__(self, build: pathlib.Path, data: pathlib.Path, isolation: str):
        self.build, self.isolation = build, isolation
        self.folder = tempfile.TemporaryDirectory(prefix="pepita-cri-")
        self.path = pathlib.Path(self.folder.name)
        for name in ("net.d", "registry", "logs", "data", "root", "state", "cni"):
            (self.path / name).mkdir()
        (self.path / "net.d/10-pods.conflist").write_text(json.dumps(NETWORK))
        (self.path / "data/guest").symlink_to((data / "guest").resolve())
        self.socket = self.path / "cri.sock"
        self.endpoint = f"unix://{self.socket}"
        self.config = self.path / "crictl.yaml"
        self.config.write_text(f"runtime-endpoint: {self.endpoint}\nimage-endpoint: {self.endpoint}\ntimeout: {PATIENCE_S}\n")
        self.registry = images.TestRegistry.start(build / "test/cri", self.path / "registry")
        self.metrics = self.path / "metrics.sock"
        self.configuration = self.path / "pepita.json"
        self.configure(isolation=isolation)
        self.server = None
        self.log = self.path / "pepita-cri.log"
        self.others: dict[str, int] = {}  # processes that are no part of a pod, by a name
        # What is undone once no process is left, and before the folder goes.
        self.at_end = contextlib.ExitStack()

    def configure(self, **members):
        self.configuration.write_text("// what the test says\n" + json.dumps(members))

    def start(self):
        with open(self.log, "ab") as log:
            self.server = subprocess.Popen(
                [self.build / "cri/pepita-cri", "--socket", self.socket, "--state", self.path / "state", "--root",
                 self.path / "root", "--data", self.path / "data", "--images", self.path / "images", "--registry-hosts",
                 self.registry.hosts, "--cni-config", self.path / "net.d", "--cni-plugins", CNI_PLUGINS, "--cni-cache",
                 self.path / "cni", "--host-namespaces", "process", "--config", self.configuration, "--metrics", self.metrics, "--shim", self.build / "shim/pepita-shim", "--vmm",
                 self.build / "vmm/pepita-vmm"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: "CRI is served" in self.said() or self.server.poll() is not None, "pepita-cri's start")
        if self.server.poll() is not None:
            raise RuntimeError(f"pepita-cri ended: {self.said()}")

    def said(self) -> str:
        """By the server that runs now, and by those before."""
        text = self.log.read_text(errors="replace")
        return text[getattr(self, "log_seen", 0):]

    def stop(self, how: int = signal.SIGTERM) -> int:
        self.server.send_signal(how)
        status = self.server.wait(PATIENCE_S)
        self.log_seen = len(self.log.read_text(errors="replace"))
        return status

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.server.pid}/fd"))

    def left(self) -> set[str]:
        """What pods could leave behind."""
        known = {self.server.pid, self.registry.registry.server.pid, *self.others.values()}
        found = {f"process {pid} {name}" for pid, name in descendants().items() if pid not in known}
        found |= {f"mount {line.split()[4]}" for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()}
        links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout)
        found |= {f"link {link['ifname']}" for link in links}
        found |= {f"rule {line}" for line in subprocess.run(["iptables-save", "-t", "nat"], capture_output=True, text=True,
                                                            check=True).stdout.splitlines() if "10.88.9." in line}
        found |= {f"cgroup {folder}" for folder, _, _ in os.walk("/sys/fs/cgroup") if POD_CGROUP.search(folder)}
        for folder in (self.path / "root", self.path / "state", self.path / "data/tmp", self.path / "cni/results",
                       pathlib.Path("/run/netns")):
            found |= {f"file {path}" for path in folder.rglob("*")}
        found |= {f"lease {path}" for path in pathlib.Path("/var/lib/cni/networks").glob("*/10.*")}
        return found

    def close(self):
        """Ends what a failed test left, too."""
        if self.server and self.server.poll() is None:
            self.stop()
        self.registry.close()
        for pid in descendants():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        self.at_end.close()
        if keep := os.environ.get("PEPITA_LOGS"):
            for log in self.path.rglob("*log"):
                if log.is_file():
                    shutil.copy(log, pathlib.Path(keep) / "-".join(log.relative_to(self.path).parts))
        self.folder.cleanup()


@contextlib.contextmanager
def start(build: pathlib.Path, data: pathlib.Path, isolation: str = "tcg", kind: type = Node):
    """`kind`: Node, or a class derived from it."""
    own_network.enter()
    adopt_orphans()
    node = kind(build, data, isolation)
    try:
        node.start()
        yield node
    finally:
        node.close()


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1]).resolve()
    with start(folder, pathlib.Path(os.environ.get("PEPITA_DATA", folder / "data")), os.environ.get("PEPITA_ISOLATION", "tcg")) as here:
        status = subprocess.run(sys.argv[2:], env=os.environ | {"CRI_ENDPOINT": here.endpoint, "CRI_CONFIG": str(here.config)}).returncode
        print(here.said(), file=sys.stderr)
    sys.exit(status)

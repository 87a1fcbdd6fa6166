#!/usr/bin/python3
"""Debian's containerd with containerd-shim-pepita-v2, in a network namespace of its own, with a pod network there.

The process that imports it enters that namespace by start(), so that its clients are there too. Usable by hand:

    containerd_host.py BUILD COMMAND...    runs COMMAND in it, with CONTAINERD_ADDRESS and CRI_CONFIG in its environment

Environment: PEPITA_DATA (with guest/ in it; default BUILD/data), PEPITA_ISOLATION (tcg or kvm; default tcg),
PEPITA_SNAPSHOTTER (native or overlayfs; default native).
"""
import contextlib
import glob
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
for place in ("cri", "support", "integration"):
    sys.path.insert(0, str(HERE.parent / place))
import own_network  # noqa: E402
from cri_host import CNI_PLUGINS, NETWORK, PATIENCE_S, adopt_orphans, descendants, wait_until  # noqa: E402
from oci import Image  # noqa: E402
from support import busybox_root  # noqa: E402

RUNTIME = "io.containerd.pepita.v2"
BUSYBOX = "test.local/busybox:latest"
PAUSE = "test.local/pause:latest"
CONFIG = """version = 2
root = "{path}/root"
state = "{path}/state"
[grpc]
  address = "{path}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{path}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  disable_tcp_service = true
  sandbox_image = "{pause}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{path}/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "pepita"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.pepita]
      runtime_type = "{runtime}"
      pod_annotations = ["io.pepita.*"]
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.pepita.options]
        ConfigPath = "{path}/shim.json"
"""


def is_here() -> bool:
    return bool(shutil.which("containerd") and shutil.which("ctr"))


def layer_of(folder: pathlib.Path) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(folder, arcname=".")
    return data.getvalue()


class Host:
    def __init__(self, build: pathlib.Path, data: pathlib.Path, isolation: str):
        self.build = build
        self.folder = tempfile.TemporaryDirectory(prefix="pepita-ctr-")
        self.path = pathlib.Path(self.folder.name)
        self.snapshotter = os.environ.get("PEPITA_SNAPSHOTTER", "native")
        for name in ("net.d", "logs", "bin", "data"):
            (self.path / name).mkdir()
        (self.path / "data/guest").symlink_to((data / "guest").resolve())
        (self.path / "net.d/10-pods.conflist").write_text(json.dumps(NETWORK))
        (self.path / "bin/containerd-shim-pepita-v2").symlink_to(build / "shim/containerd-shim-pepita-v2")
        (self.path / "config.toml").write_text(CONFIG.format(path=self.path, pause=PAUSE, plugins=CNI_PLUGINS, runtime=RUNTIME,
                                                             snapshotter=self.snapshotter))
        self.shim_config = self.path / "shim.json"
        self.shim_config.write_text(json.dumps({"data": str(self.path / "data"), "isolation": isolation,
                                                "vmm": str(build / "vmm/pepita-vmm"), "memory-mib": 256}))
        self.address = self.path / "containerd.sock"
        self.config = self.path / "crictl.yaml"
        self.config.write_text(f"runtime-endpoint: unix://{self.address}\nimage-endpoint: unix://{self.address}\n"
                               f"timeout: {PATIENCE_S}\n")
        self.log = self.path / "containerd.log"
        self.log.touch()
        self.server = None

    def start(self):
        environment = os.environ | {"PATH": f"{self.path}/bin:{os.environ['PATH']}"}
        with open(self.log, "ab") as log:
            self.server = subprocess.Popen(["containerd", "--config", self.path / "config.toml"], env=environment,
                                           stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: self.ctr("version").returncode == 0 or self.server.poll() is not None, "containerd's start")
        if self.server.poll() is not None:
            raise RuntimeError(f"containerd ended: {self.said()}")

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def ctr(self, *arguments, namespace="k8s.io", **how) -> subprocess.CompletedProcess:
        return subprocess.run(["ctr", "--address", self.address, "-n", namespace, *map(str, arguments)], capture_output=True,
                              timeout=PATIENCE_S, **({} if "input" in how else {"stdin": subprocess.DEVNULL}) | how)

    def import_images(self):
        root = self.path / "busybox"
        busybox_root(root)
        image = Image([layer_of(root)], Cmd=["/bin/sh"], Env=["PATH=/bin"])
        for name in (BUSYBOX, PAUSE):
            layout = image.write_layout(self.path / "layout")
            with tarfile.open(self.path / "layout.tar", "w") as tar:
                tar.add(layout, arcname=".")
            shutil.rmtree(layout)
            done = self.ctr("images", "import", "--snapshotter", self.snapshotter, "--base-name", name.partition(":")[0],
                            self.path / "layout.tar")
            if done.returncode:
                raise RuntimeError(f"ctr images import: {done.stderr}")
        shutil.rmtree(root)

    def kill(self):
        """As a node's crash has it: containers live on."""
        self.server.kill()
        self.server.wait()

    def left(self) -> set[str]:
        """What pods could leave behind."""
        found = {f"process {pid} {name}" for pid, name in descendants().items() if pid != self.server.pid}
        mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
        found |= {f"mount {line.split()[4]}" for line in mounts}
        links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout)
        found |= {f"link {link['ifname']}" for link in links if link["ifname"] != "cni0"}
        for group in ("k8s.io", "default"):
            found |= {f"cgroup {path}" for path in pathlib.Path("/sys/fs/cgroup").glob(f"*/{group}/*") if path.is_dir()}
        for pattern in ("/run/pepita/containerd/*/*", "/run/containerd/s/*", "/run/netns/*", f"{self.path}/data/tmp/*",
                        f"{self.path}/state/io.containerd.runtime.v2.task/*/*"):
            found |= {f"file {path}" for path in glob.glob(pattern)}
        return found

    def close(self):
        """Ends what a failed test left, too."""
        if self.server and self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
            self.server.wait(PATIENCE_S)
        for pid in descendants():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        self.folder.cleanup()


@contextlib.contextmanager
def start(build: pathlib.Path, data: pathlib.Path, isolation: str = "tcg"):
    own_network.enter()
    for folder in ("/run/containerd", "/run/pepita"):
        os.makedirs(folder, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
    adopt_orphans()
    host = Host(build, data, isolation)
    try:
        host.start()
        host.import_images()
        yield host
    finally:
        host.close()


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1]).resolve()
    with start(folder, pathlib.Path(os.environ.get("PEPITA_DATA", folder / "data")),
               os.environ.get("PEPITA_ISOLATION", "tcg")) as here:
        status = subprocess.run(sys.argv[2:], env=os.environ | {
            "CONTAINERD_ADDRESS": str(here.address), "CONTAINERD_NAMESPACE": "k8s.io", "CRI_CONFIG": str(here.config),
            "SHIM_CONFIG": str(here.shim_config), "HOST": str(here.path)}).returncode
        print(here.said(), file=sys.stderr)
    sys.exit(status)

"""A Kubernetes cluster of one node on the loopback: etcd, API server, controller manager, scheduler, and a kubelet on the
pepita-cri of a cri_host.Node, or on the containerd of a ContainerdNode. It lives in that node's network namespace.
"""
import contextlib
import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "cri"))
import cri_host  # noqa: E402
import go_programs  # noqa: E402
from cri_host import PATIENCE_S, wait_until  # noqa: E402
from kubelet import NODE, Kubelet, programs  # noqa: E402

# The node's own address, which API server and kubelet tell one another.
ADDRESS = "10.99.0.1"
SERVICES = "10.96.0.0/16"
SERVER = "https://127.0.0.1:6443"


@functools.cache
def etcd() -> pathlib.Path:
    """About 70 s of processor time."""
    return go_programs.build("etcd", HERE / "tools/etcd", "build", "-trimpath", "-ldflags", "-s -w", "go.etcd.io/etcd/server/v3")


@functools.cache
def helm() -> pathlib.Path:
    """About 165 s of processor time."""
    return go_programs.build("helm", HERE / "tools/helm", "build", "-trimpath", "-ldflags",
                             "-s -w -X helm.sh/helm/v3/internal/version.version=v3.22.0", "helm.sh/helm/v3/cmd/helm")


class Certificates:
    """One authority and who it vouches for: NAME.crt and NAME.key in `folder`."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        folder.mkdir()
        self.openssl("req", "-x509", *self.new_key("ca"), "-subj", "/CN=pepita-tests", "-days", "2", "-out", folder / "ca.crt")
        self.openssl("genrsa", "-out", folder / "accounts.key", "2048")
        self.openssl("rsa", "-in", folder / "accounts.key", "-pubout", "-out", folder / "accounts.pub")

    @staticmethod
    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def new_key(self, name: str) -> tuple:
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.folder / f"{name}.key")

    def make(self, name: str, subject: str, *names: str):
        """`names`: as subjectAltName has them."""
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extensions.write_text("keyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n" +
                              (f"subjectAltName={','.join(names)}\n" if names else ""))
        self.openssl("req", *self.new_key(name), "-subj", subject, "-out", request)
        self.openssl("x509", "-req", "-in", request, "-CA", self.folder / "ca.crt", "-CAkey", self.folder / "ca.key", "-CAcreateserial",
                     "-days", "2", "-extfile", extensions, "-out", self.folder / f"{name}.crt")

    def kubeconfig(self, name: str) -> pathlib.Path:
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": {"server": SERVER, "certificate-authority": str(self.folder / "ca.crt")}}],
            "users": [{"name": name, "user": {"client-certificate": str(self.folder / f"{name}.crt"), "client-key": str(self.folder / f"{name}.key")}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": name}}]}))
        return path


class ContainerdNode(cri_host.Node):
    """A node as a cluster has it before pepita is there: Debian's containerd with runc. It reads /etc/containerd/config.toml,
    and that folder, /opt and /run are this test's own. Something restarts it when it ends, as systemd does.
    """
    CONFIG = pathlib.Path("/etc/containerd/config.toml")
    FOLDERS = ("/etc/containerd", "/opt", "/run/containerd", "/run/pepita", "/etc/systemd/system")

    def __init__(self, build: pathlib.Path, data: pathlib.Path, isolation: str):
        super().__init__(build, data, isolation)
        for folder in self.FOLDERS:
            os.makedirs(folder, exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
        subprocess.run(["mount", "--make-rshared", "/"], check=True)  # as systemd has it
        self.socket = self.path / "containerd.sock"
        self.endpoint = f"unix://{self.socket}"
        self.pid_file = self.path / "containerd.pid"
        self.log = self.path / "containerd.log"
        self.supervisor: threading.Thread | None = None
        self.ends = threading.Event()
        self.CONFIG.write_text(f"""version = 2
root = "{self.path}/containerd"
state = "{self.path}/containerd-state"

[grpc]
  address = "{self.socket}"

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    restrict_oom_score_adj = true
    sandbox_image = "registry.k8s.io/pause:3.9"
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "{cri_host.CNI_PLUGINS}"
      conf_dir = "{self.path}/net.d"
    [plugins."io.containerd.grpc.v1.cri".containerd]
      snapshotter = "{os.environ.get("PEPITA_SNAPSHOTTER", "native")}"
    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = "{self.registry.hosts}"
""")

    @property
    def restart(self) -> str:
        """A command that is over when the next containerd has been started."""
        return f'old=$(cat {self.pid_file}) && kill $old && while [ "$(cat {self.pid_file})" = $old ]; do sleep 0.1; done'

    def spawn(self):
        with open(self.log, "ab") as log:
            self.server = subprocess.Popen(["containerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        fresh = self.pid_file.with_suffix(".new")
        fresh.write_text(str(self.server.pid))
        fresh.rename(self.pid_file)

    def start(self):
        def supervise():
            while not self.ends.is_set():
                self.server.wait()
                if not self.ends.wait(0.2):
                    self.spawn()

        self.spawn()
        self.supervisor = threading.Thread(target=supervise)
        self.supervisor.start()
        wait_until(lambda: self.ctr("version").returncode == 0, "containerd's start")

    def ctr(self, *arguments) -> subprocess.CompletedProcess:
        return subprocess.run(["ctr", "--address", self.socket, "-n", "k8s.io", *arguments], capture_output=True, text=True, timeout=PATIENCE_S)

    def stop(self, how: int = signal.SIGTERM) -> int:
        self.ends.set()
        self.server.send_signal(how)
        self.supervisor.join()
        return self.server.returncode


class Cluster:
    """`endpoint`: the kubelet's, where that is not the node's."""

    def __init__(self, node: cri_host.Node, endpoint: str | None = None):
        self.node, self.path = node, node.path / "cluster"
        self.path.mkdir()
        self.bin = programs(node.path / "bin")
        for program in (etcd(), helm()):
            (self.bin / program.name.partition("-")[0]).symlink_to(program)
        for command in (("link", "add", "node0", "type", "bridge"), ("address", "add", f"{ADDRESS}/24", "dev", "node0"),
                        ("link", "set", "node0", "up"), ("route", "add", "default", "via", ADDRESS)):
            subprocess.run(["ip", *command], check=True)
        # What kube-proxy would do for the one Service that pods need here.
        subprocess.run(["iptables", "-t", "nat", "-A", "PREROUTING", "-d", "10.96.0.1", "-p", "tcp", "--dport", "443", "-j", "DNAT",
                        "--to-destination", f"{ADDRESS}:6443"], check=True)
        self.keys = keys = Certificates(self.path / "pki")
        keys.make("apiserver", "/CN=kube-apiserver", "DNS:kubernetes.default.svc", "DNS:kubernetes.default", "DNS:localhost", "IP:127.0.0.1",
                  "IP:10.96.0.1", f"IP:{ADDRESS}")
        keys.make("admin", "/O=system:masters/CN=admin")
        keys.make("node", f"/O=system:nodes/CN=system:node:{NODE}", f"DNS:{NODE}", "IP:127.0.0.1", f"IP:{ADDRESS}")
        keys.make("manager", "/CN=system:kube-controller-manager")
        keys.make("scheduler", "/CN=system:kube-scheduler")
        self.kubeconfig = keys.kubeconfig("admin")
        self.processes: dict[str, subprocess.Popen] = {}
        self.kubelet = Kubelet(
            node, address="0.0.0.0", registerNode=True, tlsCertFile=self.key("node.crt"), tlsPrivateKeyFile=self.key("node.key"),
            authentication={"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": self.key("ca.crt")}},
            authorization={"mode": "Webhook"}, **({"containerRuntimeEndpoint": endpoint} if endpoint else {}))
        self.kubelet.arguments = [f"--kubeconfig={keys.kubeconfig('node')}", f"--node-ip={ADDRESS}"]

    def key(self, name: str) -> str:
        return str(self.keys.folder / name)

    def run(self, name: str, *arguments):
        with open(self.path / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen([self.bin / name, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self):
        self.run("etcd", "--data-dir", self.path / "etcd", "--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
                 "--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
                 "--initial-cluster=default=http://127.0.0.1:2380", "--unsafe-no-fsync")
        self.run("kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", "--authorization-mode=Node,RBAC",
                 "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true", f"--tls-cert-file={self.key('apiserver.crt')}",
                 f"--tls-private-key-file={self.key('apiserver.key')}", f"--client-ca-file={self.key('ca.crt')}",
                 f"--kubelet-client-certificate={self.key('admin.crt')}", f"--kubelet-client-key={self.key('admin.key')}",
                 f"--kubelet-certificate-authority={self.key('ca.crt')}", "--kubelet-preferred-address-types=InternalIP",
                 "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={self.key('accounts.pub')}",
                 f"--service-account-signing-key-file={self.key('accounts.key')}", f"--service-cluster-ip-range={SERVICES}",
                 f"--advertise-address={ADDRESS}")
        self.wait(lambda: self.kubectl_answers("get", "--raw", "/readyz"), "the API server")
        self.run("kube-controller-manager", f"--kubeconfig={self.keys.kubeconfig('manager')}", "--leader-elect=false", "--bind-address=127.0.0.1",
                 "--use-service-account-credentials", f"--root-ca-file={self.key('ca.crt')}",
                 f"--service-account-private-key-file={self.key('accounts.key')}")
        self.run("kube-scheduler", f"--kubeconfig={self.keys.kubeconfig('scheduler')}", "--leader-elect=false", "--bind-address=127.0.0.1")
        self.kubelet.start()
        self.wait(lambda: self.is_ready("node", NODE), "the node")
        self.wait(lambda: self.kubectl_answers("get", "serviceaccount", "default"), "the service account")

    def wait(self, claim, what: str, patience_s: float = PATIENCE_S):
        def held():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended: {(self.path / f'{name}.log').read_text()[-3000:]}")
            return claim()

        return wait_until(held, what, patience_s)

    def call(self, program: str, *arguments, **how) -> subprocess.CompletedProcess:
        home = {"HOME": str(self.path), "KUBECONFIG": str(self.kubeconfig), "PATH": f"{self.bin}:{os.environ['PATH']}"}
        return subprocess.run([self.bin / program, *map(str, arguments)], text=True, capture_output=True, env=os.environ | home,
                              **({} if "input" in how else {"stdin": subprocess.DEVNULL}) | {"timeout": PATIENCE_S} | how)

    def kubectl_answers(self, *arguments) -> bool:
        return self.call("kubectl", *arguments).returncode == 0

    def kubectl(self, *arguments, **how) -> str:
        done = self.call("kubectl", *arguments, **how)
        if done.returncode:
            raise AssertionError(f"kubectl {' '.join(map(str, arguments))}: {done.stderr}{done.stdout}")
        return done.stdout

    def get(self, kind: str, *name: str) -> dict:
        """One object, or a list's items under "items"."""
        return json.loads(self.kubectl("get", kind, *name, "-o", "json"))

    def apply(self, *objects: dict):
        self.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def is_ready(self, kind: str, name: str) -> bool:
        done = self.call("kubectl", "get", kind, name, "-o", "json")
        conditions = json.loads(done.stdout).get("status", {}).get("conditions", []) if done.returncode == 0 else []
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


@contextlib.contextmanager
def start(build: pathlib.Path, data: pathlib.Path, isolation: str = "tcg", kind: type = cri_host.Node):
    """`kind`: of node."""
    for program in (go_programs.kubernetes, etcd, helm):
        program()
    with cri_host.start(build, data, isolation, kind) as node:
        cluster = Cluster(node)
        cluster.start()
        yield cluster

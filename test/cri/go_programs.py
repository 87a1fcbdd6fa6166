"""Programs in Go that tests need as real clients. Each is built once into a cache outside the tree ($PEPITA_GO_CACHE,
else /var/cache/pepita/go), under a name that holds the digest of what it is made from.
"""
import functools
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("PEPITA_GO_CACHE", "/var/cache/pepita/go"))
ENVIRONMENT = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}


def skip(reason: str):
    print(f"{pathlib.Path(sys.argv[0]).name}: {reason}", flush=True)
    sys.exit(77)  # Meson's word for it


def build(name: str, folder: pathlib.Path, *command: str) -> pathlib.Path:
    """What `go COMMAND -o PROGRAM` makes in `folder`, whose go.sum pins all modules. Ends the test as skipped if this
    machine has no Go, or no module proxy gives the modules.
    """
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        skip(f"needs Go 1.26 or later in PATH (https://go.dev/dl) to build {name}")
    # The compiler that go.mod's `toolchain` and `go` lines choose.
    version = subprocess.run([go, "version"], cwd=folder, env=ENVIRONMENT, capture_output=True)
    if version.returncode:
        skip(f"go does not start in {folder}: {version.stderr.decode().strip()}")
    digest = hashlib.sha256(version.stdout)
    for path in sorted(folder.iterdir()):
        digest.update(path.read_bytes())
    digest.update("\0".join(command).encode())
    built = CACHE / f"{name}-{digest.hexdigest()[:16]}"
    if not built.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        if subprocess.run([go, "mod", "download"], cwd=folder, env=ENVIRONMENT).returncode:
            skip(f"the Go module proxy does not give what {name} is built from")
        fresh = built.with_suffix(f".{os.getpid()}")
        subprocess.run([go, command[0], "-o", fresh, *command[1:]], cwd=folder, env=ENVIRONMENT, check=True)
        fresh.rename(built)
    return built


@functools.cache
def streaming_client() -> pathlib.Path:
    """test/cri/client; about 40 s on two processors."""
    return build("streaming-client", HERE / "client", "build", "-trimpath")


CRI_TOOLS = "sigs.k8s.io/cri-tools"
CRI_TOOLS_VERSION = "1.37.0"
CRI_TOOLS_FLAGS = ("-trimpath", "-ldflags", f"-s -w -X {CRI_TOOLS}/pkg/version.Version={CRI_TOOLS_VERSION}")


@functools.cache
def crictl() -> pathlib.Path:
    """The command line of CRI, as released; about 135 s of processor time."""
    return build("crictl", HERE / "tools", "build", *CRI_TOOLS_FLAGS, f"{CRI_TOOLS}/cmd/crictl")


@functools.cache
def critest() -> pathlib.Path:
    """The validation suite of CRI, as released; about 60 s of processor time after crictl."""
    return build("critest", HERE / "tools", "test", "-c", *CRI_TOOLS_FLAGS, f"{CRI_TOOLS}/cmd/critest")


KUBERNETES = "k8s.io/component-base/version"
KUBERNETES_VERSION = (1, 36, 3)


@functools.cache
def kubernetes() -> pathlib.Path:
    """kubelet, kubectl, kube-apiserver, kube-controller-manager and kube-scheduler: one program, which is what its name
    says; about 1000 s of processor time.
    """
    major, minor, patch = KUBERNETES_VERSION
    flags = f"-s -w -X {KUBERNETES}.gitVersion=v{major}.{minor}.{patch} -X {KUBERNETES}.gitMajor={major} -X {KUBERNETES}.gitMinor={minor}"
    return build("kubernetes", HERE / "kubernetes", "build", "-trimpath", "-ldflags", flags)


if __name__ == "__main__":
    for program in (streaming_client, crictl, critest, kubernetes):
        print(program())

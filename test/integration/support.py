"""What the end-to-end tests stand on: bundles, a pepita-run to call, and a census of what is left.

Environment: PEPITA_BUILD (build folder), PEPITA_ISOLATION (tcg, kvm or process), PEPITA_DATA (data directory
with guest/ in it; default <build>/data).
"""
import contextlib
import json
import os
import pathlib
import select
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = SOURCE / os.environ.get("PEPITA_BUILD", "build")
DATA = pathlib.Path(os.environ.get("PEPITA_DATA", BUILD / "data"))
ISOLATION = os.environ.get("PEPITA_ISOLATION", "tcg")
CACHE = pathlib.Path(os.environ.get("PEPITA_TEST_CACHE", "/var/cache/pepita/test"))
HAS_MACHINE = ISOLATION != "process"
needs_machine = unittest.skipUnless(HAS_MACHINE, "it is about the microVM, and there is none")
PEPITA_RUN = BUILD / "runtime/pepita-run"
SHIM = BUILD / "shim/pepita-shim"
BUSYBOX = "/bin/busybox"
FIRST_MACHINE_USER = 0x70000000  # shim/jail.cc
# Far beyond what any step takes on a busy machine: only a hang gets here.
PATIENCE_S = 120
BLOCK_COUNT = 100


def has_controllers():
    """Whether containers of the host can be limited."""
    controllers = pathlib.Path("/sys/fs/cgroup/cgroup.controllers")
    return controllers.exists() and {"cpu", "memory", "pids"} <= set(controllers.read_text().split())


def wait_until(claim, what: str, patience_s: float = 60):
    """Polls a claim about the outside world that nothing announces."""
    deadline = time.monotonic() + patience_s
    while True:
        value = claim()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {patience_s} s")
        select.select([], [], [], 0.05)


def busybox_root(directory: pathlib.Path):
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "root", "run"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(BUSYBOX, directory / "bin/busybox")
    for applet in subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split():
        link = directory / "bin" / applet
        if not link.exists():
            link.symlink_to("busybox")
    (directory / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n")
    (directory / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
    (directory / "bin/notexec").write_text("data\n")
    # 1 MiB that no compression and no repetition hides errors in.
    (directory / "block").write_bytes(os.urandom(1 << 20))


def debian_root() -> pathlib.Path:
    """A minimal Debian, made once by mmdebstrap and kept in the cache."""
    root = CACHE / "debian-bookworm"
    if root.exists():
        return root
    if "PEPITA_IN_LAB" in os.environ:
        raise unittest.SkipTest(f"{root} is missing, and the lab has no network: run stage integration first")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        made = pathlib.Path(scratch) / "root"
        subprocess.run(["mmdebstrap", "--quiet", "--variant=essential", "bookworm", str(made)], check=True,
                       stdin=subprocess.DEVNULL)
        made.rename(root)
    return root


class Census:
    """Everything of ours that the machine has: processes, mounts, sockets, files, cgroups."""

    def __init__(self, root):
        self.root = root
        self.left = (self.processes() | self.mounts() | self.sockets() | self.cgroups() |
                     {f"file {path}" for directory in (root, DATA / "tmp")
                      for path in pathlib.Path(directory).rglob("*")})

    def processes(self):
        """pepita-run by its --root, shims by their open files below it, and the machines' processes by
        the users that nobody else has, and by the name that is virtiofsd's."""
        found = set()
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                if process_is_gone(int(entry.name)):
                    continue  # its parent has yet to reap it, and that is not ours
                name = (entry / "comm").read_text().strip()
                is_ours = name.startswith("pepita") and (
                    str(self.root).encode() in (entry / "cmdline").read_bytes() or
                    any(os.readlink(file).startswith(f"{self.root}/") for file in (entry / "fd").iterdir()))
                if is_ours or entry.stat().st_uid >= FIRST_MACHINE_USER or name == "virtiofsd":
                    found.add(f"process {entry.name} {name}")
        return found

    @staticmethod
    def mounts():
        lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
        return {f"mount {line.split()[4]}" for line in lines}

    @staticmethod
    def sockets():
        lines = pathlib.Path("/proc/net/unix").read_text().splitlines()
        return {f"socket {line.split()[7]}" for line in lines if len(line.split()) > 7 and
                ("shim.sock" in line or "vsock" in line)}

    @staticmethod
    def cgroups():
        root = pathlib.Path("/sys/fs/cgroup")
        patterns = ["*pepita*"] + ([] if HAS_MACHINE else ["*/pepita-c[0-9]*", "*/*/shim~"])
        return {f"cgroup {path}" for pattern in patterns for path in root.glob(pattern)}


class NodeTest(unittest.TestCase):
    """One test: its own --root and bundles, and a census that nothing of it is left."""

    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        for program in (PEPITA_RUN, SHIM):
            if not program.exists():
                raise unittest.SkipTest(f"{program} is not built")
        if HAS_MACHINE and not (DATA / "guest/vmlinuz").exists():
            raise AssertionError(f"no guest in {DATA}/guest: deploy/guest/build makes one")

    def setUp(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="pepita-it-"))
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)
        self.root = self.scratch / "state"
        self.root.mkdir()
        (DATA / "tmp").mkdir(exist_ok=True)
        self.before = Census(self.root).left
        self.addCleanup(self.check_census)
        self.addCleanup(self.delete_all)

    def check_census(self):
        # What was killed from outside is collected by the kernel a moment later.
        def extra():
            return Census(self.root).left - self.before
        try:
            wait_until(lambda: not extra(), "clean-up", 15)
        except AssertionError:
            self.fail("left behind: " + ", ".join(sorted(extra())))

    def delete_all(self):
        """Ends what a failed test left running. A test that passes deletes its own."""
        for name in self.ids():
            subprocess.run(self.command("delete", "-f", name), capture_output=True, check=False,
                           timeout=PATIENCE_S, stdin=subprocess.DEVNULL)

    def ids(self):
        return [path.name for path in self.root.iterdir()] if self.root.exists() else []

    def command(self, *arguments, data=None, options=()):
        return [str(PEPITA_RUN), "--root", str(self.root), "--data", str(data or DATA), "--isolation", ISOLATION,
                "--shim", str(SHIM), *options, *map(str, arguments)]

    def call(self, *arguments, stdin=b"", expect=None, data=None, options=()):
        """Runs pepita-run to its end; stdout and stderr come back as bytes."""
        done = subprocess.run(self.command(*arguments, data=data, options=options), input=stdin,
                              capture_output=True, timeout=PATIENCE_S, check=False)
        if expect is not None:
            self.assertEqual(done.returncode, expect, f"{arguments}: {done.stderr.decode(errors='replace')}")
        return done

    def open_files(self, name):
        """How many descriptors the shim of a container has, and each process of its machine."""
        shim = self.state_file(name)["shim"]["pid"]
        children = pathlib.Path(f"/proc/{shim}/task/{shim}/children").read_text().split()
        return {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in [str(shim), *children]}

    def detached(self, *arguments):
        """A call whose container lives on with its output, so that its end cannot be waited for."""
        with open(self.scratch / "detached.log", "ab") as log:
            done = subprocess.run(self.command(*arguments), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                  timeout=PATIENCE_S, check=False)
        self.assertEqual(done.returncode, 0, (self.scratch / "detached.log").read_text(errors="replace"))

    def refused(self, *arguments, status=1, words=(), **more):
        """A call that must fail with one line that holds all of `words`."""
        done = self.call(*arguments, **more)
        said = done.stderr.decode(errors="replace").rstrip("\n")
        self.assertEqual(done.returncode, status, said)
        self.assertEqual(len(said.splitlines()), 1, said)
        for word in words:
            self.assertIn(word, said)
        return said

    def bundle(self, args, root=None, edit=None, name="bundle"):
        """A bundle that runs `args`; `edit` may change the configuration."""
        directory = self.scratch / name
        directory.mkdir()
        if root is None:
            busybox_root(directory / "rootfs")
        subprocess.run([str(PEPITA_RUN), "spec", "-b", str(directory)], check=True)
        config = json.loads((directory / "config.json").read_text())
        config["process"]["args"] = list(args)
        config["process"]["terminal"] = False
        config["root"]["readonly"] = False
        if root is not None:
            config["root"]["path"] = str(root)
        if edit:
            edit(config)
        (directory / "config.json").write_text(json.dumps(config))
        return directory

    def run_bundle(self, args, name="c1", expect=0, stdin=b"", **more):
        return self.call("run", "-b", self.bundle(args, **more), name, expect=expect, stdin=stdin)

    def started(self, args, name="c1", **more):
        """A detached container, running."""
        bundle = self.bundle(args, name=f"bundle-{name}", **more)
        self.detached("run", "-d", "-b", bundle, name)
        return name

    def state(self, name):
        return json.loads(self.call("state", name, expect=0).stdout)

    def state_file(self, name):
        return json.loads((self.root / name / "state.json").read_text())

    def child_of_shim(self, name, comm):
        """The pid of a process of this container's machine, by the name of its program."""
        return self.descendant(self.state_file(name)["shim"]["pid"], comm)

    @staticmethod
    def descendant(pid, comm):
        def walk(parent):
            with contextlib.suppress(OSError):
                children = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
                for child in children:
                    with contextlib.suppress(OSError):
                        if pathlib.Path(f"/proc/{child}/comm").read_text().startswith(comm):
                            return int(child)
                    found = walk(child)
                    if found:
                        return found
            return None
        return walk(pid)


class Console:
    """Takes the pty master that a runtime hands over (OCI --console-socket)."""

    def __init__(self, directory):
        self.path = pathlib.Path(directory) / "console.sock"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(self.path))
        self.listener.listen(1)
        self.listener.settimeout(PATIENCE_S)
        self.master = None

    def receive(self):
        client, _ = self.listener.accept()
        with client:
            _, fds, _, _ = socket.recv_fds(client, 256, 1)
        self.master = fds[0]
        return self.master

    def close(self):
        self.listener.close()
        if self.master is not None:
            os.close(self.master)


def read_until(fd, wanted: bytes, patience_s=60) -> bytes:
    """Reads a terminal until it has shown `wanted`."""
    text = b""
    deadline = time.monotonic() + patience_s
    while wanted not in text:
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise AssertionError(f"{wanted!r} did not come; the terminal shows {text!r}")
        try:
            data = os.read(fd, 65536)
        except OSError:
            data = b""
        if not data:
            raise AssertionError(f"the terminal ended at {text!r}")
        text += data
    return text


def process_is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return state == "Z"

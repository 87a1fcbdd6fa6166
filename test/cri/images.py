#!/usr/bin/python3
"""The images that crictl's test and critest pull, made here of Debian's busybox and two programs of our own, and a
registry on the loopback that has them.

Usage: images.py PROGRAMS FOLDER   serves until its standard input ends; prints the directory of hosts.toml files
"""
import dataclasses
import pathlib
import subprocess
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "support"), str(HERE.parent / "storage/image")]
from layers import Layer  # noqa: E402
from oci import DebianRegistry, Image  # noqa: E402

BUSYBOX = pathlib.Path("/bin/busybox")
# Those that critest's names begin with. Pulls of theirs go to our registry by hosts.toml, so that the names in the
# store are the ones that critest compares with; --registry-prefix would change them.
HOSTS = ("registry.k8s.io", "k8s.gcr.io", "gcr.io", "docker.io")
E2E = "e2e-test-images/"
STAGING = "k8s-staging-cri-tools/"
ENVIRONMENT = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]

PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
GROUP = """root:x:0:
daemon:x:1:
bin:x:2:
www-data:x:33:
nobody:x:65534:
"""
# What Debian's busybox has not. Of ipcs the table of shared memory: key, id, owner, mode, bytes, attached.
PGREP = """#!/bin/sh
found=1
for process in /proc/[0-9]*; do
    read -r name < $process/comm 2>/dev/null || continue
    case $name in *"$1"*) echo ${process#/proc/}; found=0;; esac
done
exit $found
"""
IPCS = """#!/bin/sh
echo "------ Shared Memory Segments --------"
echo "key        shmid      owner      perms      bytes      nattch"
sed 1d /proc/sysvipc/shm | while read -r key id perms size creator last attached uid rest; do
    printf '0x%08x %-10s %-10s %-10s %-10s %-6s\\n' $((key & 0xffffffff)) "$id" "$uid" "$perms" "$size" "$attached"
done
"""


def shell() -> bytes:
    """Debian's busybox runs its applets whatever /bin holds, and critest masks /bin/ls: here the applet has another
    name, at the same place of the sorted table.
    """
    applets = BUSYBOX.read_bytes()
    made = applets.replace(b"\0losetup\0ls\0lsmod\0", b"\0losetup\0lr\0lsmod\0")
    assert made != applets, f"{BUSYBOX} has another table of applets"
    return made


def busybox_layer(passwd: str = PASSWD, group: str = GROUP) -> bytes:
    """A root with busybox; its applets are hard links, so that one of them can be masked alone."""
    layer = Layer()
    for name in ("bin", "dev", "etc", "home", "proc", "sys", "usr", "usr/bin", "usr/sbin", "var", "var/run", "var/www"):
        layer.directory(name)
    layer.directory("root", mode=0o700)
    layer.directory("tmp", mode=0o1777)
    layer.add("bin/busybox", data=BUSYBOX.read_bytes(), mode=0o755)
    for applet in subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if applet not in ("busybox", "sh"):
            layer.add("bin/" + applet, tarfile.LNKTYPE, link="bin/busybox", mode=0o755)
    layer.add("bin/sh", data=shell(), mode=0o755)
    layer.add("bin/pgrep", data=PGREP.encode(), mode=0o755)
    layer.add("bin/ipcs", data=IPCS.encode(), mode=0o755)
    layer.add("usr/bin/env", tarfile.SYMTYPE, link="/bin/env")
    layer.add("etc/passwd", data=passwd.encode())
    layer.add("etc/group", data=group.encode())
    return layer.bytes()


def one_file(name: str, data: bytes, mode: int = 0o644) -> bytes:
    layer = Layer()
    layer.add(name, data=data, mode=mode)
    return layer.bytes()


def image(*layers: bytes, **config) -> Image:
    return Image(list(layers), **{"Env": ENVIRONMENT, "Cmd": ["sh"]} | config)


def all_images(programs: pathlib.Path) -> dict[str, Image]:
    """By repository and tag. `programs` has web_server and effective_uid, both static."""
    base = busybox_layer()
    server = (programs / "web_server").read_bytes()
    nginx = one_file("usr/sbin/nginx", server, 0o755)
    httpd = one_file("usr/local/bin/httpd", server, 0o755)
    setuid = one_file("nnp", (programs / "effective_uid").read_bytes(), 0o4755)
    made = {
        "library/busybox:latest": image(base),
        E2E + "busybox:1.29-2": image(base),
        E2E + "nginx:1.14-2": image(base, nginx, Cmd=["nginx", "80"], ExposedPorts={"80/tcp": {}}),
        E2E + "httpd:2.4.39-4": image(base, httpd, Cmd=["httpd", "80"], ExposedPorts={"80/tcp": {}}),
        E2E + "nonewprivs:1.3": image(base, setuid, Entrypoint=["/nnp"], Cmd=None),
        "pause:3.9": image(base, User="65535:65535", Entrypoint=["tail", "-f", "/dev/null"], Cmd=None),
        STAGING + "hostnet-nginx-amd64:latest": image(base, nginx, Cmd=["nginx", "12003"]),
        STAGING + "test-image-predefined-group:latest": image(
            busybox_layer(PASSWD + "default-user:x:1000:1000::/home/default-user:/bin/sh\n",
                          GROUP + "default-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n"), User="1000"),
    }
    for name, user in {"uid": "1002", "username": "www-data", "uid-group": "1003:1004", "username-group": "www-data:1004"}.items():
        made[f"{STAGING}test-image-user-{name}:latest"] = image(base, User=user)
    for name in ("test-image-1", "test-image-2", "test-image-3", "test-image-latest", "test-image-digest"):
        made[f"{STAGING}{name}:latest"] = image(base, one_file(name, b""))
    for tag in ("test", "all"):
        made[f"{STAGING}test-image-tag:{tag}"] = image(base, one_file(tag, b""))
    same = image(base, one_file("same-image", b""))
    for tag in ("1", "2", "3"):
        made[f"{STAGING}test-image-tags:{tag}"] = same
    return made


@dataclasses.dataclass
class TestRegistry:
    """All images in Debian's registry. `hosts`: a directory as containerd's certs.d, by which HOSTS are this registry;
    each file says so twice, since containerd 1.6 does not read a `server` alone.
    """
    registry: DebianRegistry
    images: dict[str, Image]
    hosts: pathlib.Path

    @classmethod
    def start(cls, programs: pathlib.Path, folder: pathlib.Path) -> "TestRegistry":
        made = all_images(programs)
        registry = DebianRegistry(folder)
        try:
            for number, (name, made_image) in enumerate(made.items()):
                registry.push(made_image.write_layout(folder / f"layout-{number}"), name)
            for host in HOSTS:
                (folder / "hosts" / host).mkdir(parents=True)
                (folder / "hosts" / host / "hosts.toml").write_text(
                    f'server = "http://{registry.address}"\n[host."http://{registry.address}"]\n  capabilities = ["pull", "resolve"]\n')
        except BaseException:
            registry.close()
            raise
        return cls(registry, made, folder / "hosts")

    def close(self):
        self.registry.close()


if __name__ == "__main__":
    running = TestRegistry.start(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
    print(running.hosts, flush=True)
    sys.stdin.read()
    running.close()

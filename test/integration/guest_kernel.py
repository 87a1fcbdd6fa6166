"""The kernels of guests: stock ones carry a pod, and ours has what pods need."""
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import support
from support import NodeTest

# Runs as the guest's init, and says on the console what there is: "check NAME ok" or "check NAME FAILED: why".
CHECKS = r"""#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
exec > /dev/ttyS0 2>&1 < /dev/null
check() {
    name=$1
    shift
    if "$@" > /said 2>&1; then echo "check $name ok"; else echo "check $name FAILED: $(tr '\n' ' ' < /said)"; fi
}
for name in autofs bpf cgroup2 erofs ext4 fuse mqueue overlay tmpfs virtiofs; do
    check "file system $name" grep -qw $name /proc/filesystems
done
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for name in cpuset cpu io memory hugetlb pids rdma misc; do
    check "controller $name" grep -qw $name /sys/fs/cgroup/cgroup.controllers
done
for name in cpu io memory; do check "pressure $name" grep -q some /proc/pressure/$name; done
for name in cgroup ipc mnt net pid time user uts; do check "namespace $name" test -e /proc/self/ns/$name; done
for name in balloon blk console mem net rng; do
    check "driver virtio_$name" test -d /sys/bus/virtio/drivers/virtio_$name
done
for name in virtiofs vmw_vsock_virtio_transport; do check "driver $name" test -d /sys/bus/virtio/drivers/$name; done
for name in fs/aio-max-nr fs/fanotify fs/inotify fs/binfmt_misc kernel/core_pattern kernel/io_uring_disabled \
        kernel/shmmax kernel/seccomp kernel/unprivileged_bpf_disabled vm/nr_hugepages vm/unprivileged_userfaultfd; do
    check "$name" test -e /proc/sys/$name
done
check "PCI hot-plug" test -d /sys/bus/pci/slots
check "vmgenid" test -d /sys/bus/platform/drivers/vmgenid
check "entropy of the host" grep -q virtio_rng /sys/class/misc/hw_random/rng_current
check "no modules" test ! -e /proc/modules
check "Spectre v2 mitigated" grep -q Mitigation /sys/devices/system/cpu/vulnerabilities/spectre_v2
check "project quota" mount -t ext4 -o loop,prjquota /quota.ext4 /mnt
check "project quota on" grep -q 'ext4.*prjquota' /proc/mounts
check "lz4" sh -c 'echo lz4 > /sys/block/zram0/comp_algorithm'
check "zstd" sh -c 'echo zstd > /sys/block/zram0/comp_algorithm'
check "zram" sh -c 'echo 16M > /sys/block/zram0/disksize && mkswap /dev/zram0 && swapon /dev/zram0'
ip link set lo up
for kind in bridge dummy; do check "link $kind" ip link add $kind-link type $kind; done
check "link veth" ip link add veth-link type veth peer name veth-peer
check "link macvlan" ip link add link dummy-link name macvlan-link type macvlan
check "link vlan" ip link add link dummy-link name vlan-link type vlan id 5
check "link tun" tunctl -t tun-link
check "nftables" nft -f /rules.nft
check "nftables keeps them" sh -c 'nft list ruleset | grep -q "masquerade"'
for tables in iptables-nft ip6tables-nft iptables-legacy ip6tables-legacy; do
    check "$tables nat" $tables -t nat -A POSTROUTING -m comment --comment pod -j MASQUERADE
    check "$tables filter" $tables -A INPUT -p tcp -m multiport --dports 80,443 -m conntrack --ctstate NEW -j REJECT
    check "$tables owner" $tables -t nat -A OUTPUT -p tcp -m owner --uid-owner 1337 -j REDIRECT --to-ports 15001
    check "$tables mangle" $tables -t mangle -A PREROUTING -p tcp -m mark --mark 1 -j TPROXY --on-port 15006
done
echo "check end"
poweroff -f
"""
RULES = """
table inet pod {
    set ports { type inet_service; elements = { 80, 443 } }
    chain input {
        type filter hook input priority 0; policy accept;
        ct state established,related accept
        tcp dport @ports limit rate 10/second counter log prefix "pod " accept
        meta l4proto tcp reject with tcp reset
        fib daddr type local jhash ip saddr mod 2 vmap { 0 : accept, 1 : drop }
    }
    chain out { type nat hook postrouting priority 100; oifname "eth0" masquerade; }
    chain in { type nat hook prerouting priority -100; tcp dport 8080 redirect to :80; ip daddr 10.0.0.1 dnat ip to 10.0.0.2; }
}
"""
PROGRAMS = ("nft", "xtables-nft-multi", "xtables-legacy-multi")
XTABLES = pathlib.Path("/usr/lib/x86_64-linux-gnu/xtables")


def add_with_libraries(root: pathlib.Path, program: pathlib.Path):
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for path in (program, *map(pathlib.Path, re.findall(r"(/\S+) \(0x", said))):
        to = root / path.relative_to("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        if not to.exists():
            shutil.copy(path, to)


def initramfs_of_checks(directory: pathlib.Path) -> pathlib.Path:
    root = directory / "root"
    for name in ("bin", "dev", "mnt", "proc", "run", "sys"):
        (root / name).mkdir(parents=True)
    shutil.copy(support.BUSYBOX, root / "bin/busybox")
    (root / "init").write_text(CHECKS)
    (root / "init").chmod(0o755)
    (root / "rules.nft").write_text(RULES)
    for name in PROGRAMS:
        add_with_libraries(root, pathlib.Path("/usr/sbin") / name)
    for kind in ("nft", "legacy"):
        for family in ("iptables", "ip6tables"):
            (root / f"usr/sbin/{family}-{kind}").symlink_to(f"xtables-{kind}-multi")
    shutil.copytree(XTABLES, root / XTABLES.relative_to("/"), dirs_exist_ok=True)
    image = root / "quota.ext4"
    with image.open("wb") as file:
        file.truncate(4 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota", image], check=True)
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    archive = directory / "initramfs.cpio"
    with archive.open("wb") as file:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=names.encode(), cwd=root, stdout=file, check=True)
    return archive


class OwnKernel(NodeTest):
    def test_has_what_pods_need(self):
        missing = [name for name in PROGRAMS if not (pathlib.Path("/usr/sbin") / name).exists()]
        if missing:
            raise unittest.SkipTest(f"missing: {', '.join(missing)}; install what deploy/packages-test lists")
        if not (support.DATA / "guest/kernel-release").read_text().endswith("-pepita\n"):
            raise unittest.SkipTest("the guest's kernel is not our own: deploy/guest/build --kernel source")
        data = self.scratch / "data"
        (data / "guest").mkdir(parents=True)
        for name in ("vmlinuz", "command-line"):
            shutil.copy(support.DATA / "guest" / name, data / "guest")
        with tempfile.TemporaryDirectory(dir=self.scratch) as scratch:
            initramfs_of_checks(pathlib.Path(scratch)).rename(data / "guest/initramfs.cpio")
        console = self.scratch / "console"
        console.touch()
        console.chmod(0o666)  # on tcg QEMU opens it again, as a user of its own
        self.refused("run", "--memory", "1024", "--guest-console", console, "-b", self.bundle(["true"]), "c1", status=125,
                     data=data)
        said = console.read_text(errors="replace").replace("\r", "")
        self.assertIn("check end\n", said)
        self.assertEqual(re.findall(r"^check .* FAILED.*$", said, re.M), [])
        self.assertGreater(len(re.findall(r"^check .* ok$", said, re.M)), 60, said)


class StockKernels(NodeTest):
    """A Debian kernel boots a pod that runs and execs; all else is tested with our own kernel."""

    def check(self, data: pathlib.Path, series: str):
        release = (data / "guest/kernel-release").read_text().strip()
        self.assertTrue(release.startswith(series), release)
        (data / "tmp").mkdir(exist_ok=True)
        bundle = self.bundle(["sh", "-c", "uname -r > /seen; while :; do sleep 1; done"])
        with open(self.scratch / "log", "wb") as log:
            self.assertEqual(subprocess.run(self.command("run", "-d", "-b", bundle, "c1", data=data), check=False, stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL, timeout=support.PATIENCE_S).returncode,
                             0, (self.scratch / "log").read_text())
        self.assertEqual(self.call("exec", "c1", "uname", "-r", expect=0).stdout.decode().strip(), release)
        support.wait_until(lambda: self.call("exec", "c1", "cat", "/seen").stdout.decode().strip() == release, "/seen")
        self.call("delete", "-f", "c1", expect=0)

    def test_debian_6_12(self):
        self.check(support.BUILD / "data-6.12", "6.12.")

    def test_debian_6_1(self):
        self.check(support.BUILD / "data-6.1", "6.1.")

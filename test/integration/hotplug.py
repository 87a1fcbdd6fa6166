"""Disks that come, grow and go while a Linux guest runs, on the isolation that PEPITA_ISOLATION names.

Environment, beside support.py's: PEPITA_HOTPLUG, a program of this folder, and PEPITA_VMM.
"""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import support

HOTPLUG = os.environ.get("PEPITA_HOTPLUG", support.BUILD / "test/integration/hotplug")
VMM = os.environ.get("PEPITA_VMM", support.BUILD / "vmm/pepita-vmm")

# An agent in shell: the disk "orders" has in its first sector the number of an order and what to do.
INIT = r"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
export PATH=/bin
fail() { echo "FAILED: $*"; }
disk() {
    for found in /sys/block/vd*; do
        [ "$(cat $found/serial 2>/dev/null)" = $1 ] && { echo ${found##*/}; return; }
    done
}
rescan() { echo 1 > /sys/bus/pci/rescan; }
# Writes to the last sector and reads it back, past the page cache.
check() {
    name=$(disk $1); size=$(cat /sys/block/$name/size)
    printf '%-512s' "written by $1" | dd of=/dev/$name bs=512 seek=$((size - 1)) oflag=direct 2>/dev/null || fail write $1
    dd if=/dev/$name bs=512 skip=$((size - 1)) count=1 iflag=direct 2>/dev/null | grep -q "written by $1" || fail read $1
    echo "$1 has $size sectors"
}
# /sys/block/vda/device is the virtio device; its parent is the PCI function.
release() {
    name=$(disk $1)
    echo 1 > $(readlink -f /sys/block/$name/device)/../remove || fail remove $1
    [ ! -e /sys/block/$name ] || fail $1 is still there
}
absent() { [ -z "$(disk $1)" ] || fail $1 was found again; }
[ ! -e /virtio_blk.ko ] || insmod /virtio_blk.ko || fail insmod
last=0
echo READY
while :; do
    read number order <<END
$(dd if=/dev/$(disk orders) bs=512 count=1 iflag=direct 2>/dev/null | head -n 1)
END
    if [ "${number:-0}" != $last ]; then
        eval "$order"
        last=$number
        echo "DONE $number."
    fi
    echo -n .
done
"""


def make_initramfs(directory: pathlib.Path) -> pathlib.Path:
    root = directory / "root"
    for name in ("bin", "dev"):
        (root / name).mkdir(parents=True)
    shutil.copy(support.BUSYBOX, root / "bin/busybox")
    module = subprocess.run(["cpio", "-i", "--quiet", "--to-stdout", "modules/virtio_blk.ko"], check=True,
                            stdin=open(support.DATA / "guest/initramfs.cpio", "rb"), capture_output=True).stdout
    if module:  # else it is built in
        (root / "virtio_blk.ko").write_bytes(module)
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    image = directory / "initramfs.cpio"
    with open(image, "wb") as out:
        names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=names.encode(), stdout=out, check=True)
    return image


class Hotplug(unittest.TestCase):
    def test_disks_come_grow_and_go_while_the_guest_runs(self):
        if not (support.DATA / "guest/vmlinuz").exists():
            raise AssertionError(f"no guest in {support.DATA}/guest: deploy/guest/build makes one")
        with tempfile.TemporaryDirectory(prefix="pepita-hotplug-") as name:
            directory = pathlib.Path(name)
            directory.chmod(0o755)
            (directory / "jail").mkdir()
            (directory / "kernels").mkdir(mode=0o700)
            done = subprocess.run([HOTPLUG, support.ISOLATION, VMM, support.DATA / "guest",
                                   make_initramfs(directory), directory], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

#!/usr/bin/env python3
"""Makes what a node's memory holds: the RAM of four virtual machines, one behind the other.

Usage: make_machines.py FILE --kernel build/data/guest/vmlinuz [--machines N] [--mib N]

Each boots the same kernel (which chooses its own addresses) and the same initramfs of busybox, fills 4 MiB with
random bytes of its own, and is stopped then.
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /dev
/bin/busybox mount -t devtmpfs none /dev
/bin/busybox dd if=/dev/urandom of=/private bs=1M count=4 2> /dev/null
/bin/busybox echo READY > /dev/ttyS0
exec /bin/busybox tail -f /dev/null
"""


def make_initramfs(folder: pathlib.Path) -> pathlib.Path:
    root = folder / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    image = folder / "initramfs"
    with open(image, "wb") as out:
        subprocess.run("find . | LC_ALL=C sort | cpio -o -H newc --quiet", shell=True, cwd=root, stdout=out, check=True)
    return image


def start(memory: pathlib.Path, mib: int, kernel: pathlib.Path, initramfs: pathlib.Path) -> subprocess.Popen:
    return subprocess.Popen(
        ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
         "-machine", "q35,accel=tcg,memory-backend=ram", "-cpu", "max", "-m", str(mib),
         "-object", f"memory-backend-file,id=ram,size={mib}M,mem-path={memory},share=on",
         "-kernel", str(kernel), "-initrd", str(initramfs), "-append", "console=ttyS0 quiet panic=-1"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


def wait_until_ready(machine: subprocess.Popen) -> None:
    said = b""
    while b"READY" not in said:
        more = os.read(machine.stdout.fileno(), 4096)
        said += more
        if not more:
            sys.exit(f"make_machines.py: a machine ended before it was ready: {said.decode(errors='replace')}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--kernel", type=pathlib.Path, required=True)
    parser.add_argument("--machines", type=int, default=4)
    parser.add_argument("--mib", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        folder = pathlib.Path(scratch)
        initramfs = make_initramfs(folder)
        memories = [folder / f"ram{number}" for number in range(options.machines)]
        machines = []
        try:
            for memory in memories:
                machines.append(start(memory, options.mib, options.kernel, initramfs))
            for machine in machines:
                wait_until_ready(machine)
        finally:
            for machine in machines:
                machine.kill()
                machine.wait()
        with open(options.file, "wb") as out:
            for memory in memories:
                with open(memory, "rb") as ram:
                    shutil.copyfileobj(ram, out, 1 << 20)
                memory.unlink()


main()

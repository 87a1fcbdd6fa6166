#!/usr/bin/python3
"""Tells what a boot costs: instructions, processor time of the host before them, and memory while the pod runs.

Usage: test/bench/vmm/boot.py [--build DIR] [--guest NAME=DIR]... [--append WORDS] [TABLE...]

The tables, all where none is named; each container is one of `pepita-run --isolation tcg`, as root:
  instructions  of the guest from reset to init's first one, and until the shim says that the guest answers ("ready"),
                counted by a plugin in QEMU. The anchor is the same boot of the guest's own bzImage with an empty
                command line; a guest whose kernel is no bzImage has the anchor of the guest before it. Counts repeat
                to a hundredth, those of a bzImage, which moves itself about, to 3 %. An uncompressed kernel is also
                counted to init on QEMU's microvm, without devices.
  host          processor time: to find the kernel, to copy it (kernel_load.cc), and all that the shim itself has
                used when QEMU begins; without the mkfs programs
  memory        resident, of the pod's processes, without the guest's own memory

The guests are those that test/run makes: `debian-6.1`, `debian` (6.12) and `own`; --guest adds or replaces one.
--append adds words to the kernel's command line, but not to the anchor's.
"""
import argparse
import dataclasses
import json
import mmap
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[3]
GUESTS = {"debian-6.1": "data-6.1", "debian": "data-6.12", "own": "data"}
DEADLINE_SECONDS = 300
MEMORY_KIB = 512 << 10  # of a guest, where --memory says nothing
COUNTS = struct.Struct("=3Q")  # InstructionCounts of instruction_count.h
# In the place of QEMU: notes what the shim has used, and changes arguments.
QEMU = """#!/usr/bin/python3
import os, sys
with open(f"/proc/{{os.getppid()}}/schedstat") as used, open("{directory}/shim-used", "w") as file:
    file.write(used.read())
words = sys.argv[1:]
with open("{directory}/argv", "w") as file:
    file.write("\\0".join(words))
for option, value in {replaced!r}.items():
    words[words.index(option) + 1] = value
words[words.index("-append") + 1] += {append!r}
os.execv("{real}", ["qemu", *words, "-plugin", "{directory}/plugin.so,output={directory}/counts"])
"""
PROGRAM = pathlib.Path("/usr/bin/qemu-system-x86_64")  # PodSpec::qemu
REAL = PROGRAM.with_name("qemu-system-i386")  # of the same package; QEMU finds its files from its own folder
ALONE = "PEPITA_BENCH_ALONE"  # set in the mount namespace where PROGRAM is ours
MICROVM = ("-machine", "microvm,accel=tcg,x-option-roms=off", "-cpu", "max", "-smp", "1", "-m", "512M", "-nodefaults",
           "-no-user-config", "-display", "none", "-no-reboot")


class Failure(Exception):
    """One line for the user."""


@dataclasses.dataclass
class Boot:
    firmware: int  # instructions before the kernel runs at its own addresses
    init: int
    ready: int
    shim_us: float
    command_line: str
    resident_kib: dict[str, int]


def executable(path: pathlib.Path, text: str):
    path.write_text(text)
    path.chmod(0o755)


def make_bundle(directory: pathlib.Path, build: pathlib.Path):
    (directory / "rootfs/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", directory / "rootfs/bin/sh")
    for name in ("dev", "proc", "sys", "tmp"):
        (directory / "rootfs" / name).mkdir()
    spec = subprocess.run([build / "runtime/pepita-run", "spec"], cwd=directory, capture_output=True, text=True,
                          check=False)
    if spec.returncode:
        raise Failure(spec.stderr.strip())
    config = directory / "config.json"
    config.write_text(config.read_text().replace('"terminal": true', '"terminal": false'))


class Bench:
    """Containers, created and deleted, in a directory that the user of the jail can read."""

    def __init__(self, directory: pathlib.Path, build: pathlib.Path):
        self.directory = directory
        self.build = build
        directory.chmod(0o755)
        shutil.copy(build / "test/bench/vmm/libinstruction_count_plugin.so", directory / "plugin.so")
        executable(directory / "qemu", "#!/bin/false\n")
        for source, target in ((PROGRAM, REAL), (directory / "qemu", PROGRAM)):
            subprocess.run(["mount", "--bind", source, target], check=True)
        make_bundle(directory / "bundle", build)
        self.log = directory / "log"
        self.data = directory / "data"
        self.command = [build / "runtime/pepita-run", "--root", directory / "root", "--data", self.data,
                        "--isolation", "tcg", "--log", self.log]

    def use(self, guest: pathlib.Path):
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir()
        (self.data / "guest").symlink_to(guest.resolve())

    def boot(self, replaced: dict[str, str], append: str) -> Boot:
        executable(self.directory / "qemu", QEMU.format(directory=self.directory, real=REAL, replaced=replaced, append=append))
        for name in ("counts", "argv", "shim-used"):
            path = self.directory / name
            path.write_bytes(bytes(COUNTS.size))
            path.chmod(0o666)
        self.log.write_text("")
        with (self.directory / "counts").open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as counts:
            create = subprocess.Popen([*self.command, "create", "--boot-deadline", str(DEADLINE_SECONDS),
                                       "--bundle", self.directory / "bundle", "bench"], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            try:
                ready = self.wait_for_guest(create, counts)
                create.wait()
                resident = self.resident()
            finally:
                create.wait()
                subprocess.run([*self.command, "delete", "-f", "bench"], capture_output=True, check=False)
            _, firmware, init = COUNTS.unpack(counts[:])
        words = (self.directory / "argv").read_text().split("\0")
        return Boot(firmware, init, ready, int((self.directory / "shim-used").read_text().split()[0]) / 1000,
                    words[words.index("-append") + 1] + append, resident)

    def wait_for_guest(self, create: subprocess.Popen, counts: mmap.mmap) -> int:
        """The count when the shim says that the guest answers."""
        while "guest is up" not in self.log.read_text():
            if create.poll() is not None:
                raise Failure(f"create: {create.stderr.read().strip()}")
            time.sleep(0.001)
        return COUNTS.unpack(counts[:])[0]

    def resident(self) -> dict[str, int]:
        """KiB by process. The proxy's pid is the container's; pepita-vmm is a child of the shim."""
        state = subprocess.run([*self.command, "state", "bench"], capture_output=True, text=True, check=True)
        shim = json.loads((self.directory / "root/bench/state.json").read_text())["shim"]["pid"]
        children = pathlib.Path(f"/proc/{shim}/task/{shim}/children").read_text().split()
        pids = {"proxy": json.loads(state.stdout)["pid"], "shim": shim}
        pids |= {"vmm": child for child in children if command_of(child)[0].endswith("pepita-vmm")}
        return {name: resident_kib(pid) for name, pid in pids.items()}


def command_of(pid: str) -> list[str]:
    return pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def resident_kib(pid: int | str) -> int:
    """Without mappings as large as the guest's memory."""
    total = 0
    smaps = pathlib.Path(f"/proc/{pid}/smaps").read_text()
    for mapping in re.finditer(r"^Size: +(\d+) kB$.*?^Rss: +(\d+) kB$", smaps, re.M | re.S):
        size, resident = map(int, mapping.groups())
        total += resident if size < MEMORY_KIB // 2 else 0
    return total


def init_on_microvm(bench: Bench, guest: pathlib.Path) -> int:
    """Instructions to init on a machine with less firmware and ACPI than q35, and no device, so that init ends it."""
    mhz = re.search(r"^cpu MHz\s*: ([\d.]+)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M).group(1)
    line = f"quiet panic=-1 cryptomgr.notests random.trust_cpu=on tsc_early_khz={int(float(mhz) * 1000)}"
    line += " " + (guest / "command-line").read_text().strip()
    counts = bench.directory / "counts"
    counts.write_bytes(bytes(COUNTS.size))
    subprocess.run([REAL, *MICROVM, "-kernel", guest / "vmlinuz", "-initrd", guest / "initramfs.cpio",
                    "-append", line, "-plugin", f"{bench.directory}/plugin.so,output={counts}"],
                   capture_output=True, timeout=DEADLINE_SECONDS, check=False)
    return COUNTS.unpack(counts.read_bytes())[2]


def ratio_columns(pairs: list[tuple[float, float | None]]) -> str:
    return " ".join(f"{ours / 1e6:9.1f} " + (f"{anchor / 1e6:9.1f} {ours / anchor:7.3f}" if anchor else f"{'-':>9} {'-':>7}")
                    for ours, anchor in pairs)


def instructions(bench: Bench, guests: dict[str, pathlib.Path], append: str):
    print("\nmillions of instructions since reset")
    print(f"{'guest':12} {'firmware':>9} {'to init':>9} {'anchor':>9} {'ratio':>7} {'to ready':>9} {'anchor':>9} "
          f"{'ratio':>7}  command line")
    anchor = None
    for name, guest in guests.items():
        bench.use(guest)
        if (guest / "vmlinuz").read_bytes()[:4] != b"\x7fELF":
            bzimage = str(shutil.copy(guest / "vmlinuz", bench.directory))
            anchor = bench.boot({"-kernel": bzimage, "-append": ""}, "")
        ours = bench.boot({}, append)
        columns = ratio_columns([(ours.init, anchor and anchor.init), (ours.ready, anchor and anchor.ready)])
        print(f"{name:12} {ours.firmware / 1e6:9.1f} {columns}  {ours.command_line}", flush=True)
        if anchor and (guest / "vmlinuz").read_bytes()[:4] == b"\x7fELF":
            there = init_on_microvm(bench, guest)
            print(f"{'  microvm':12} {'':9} {there / 1e6:9.1f} {anchor.init / 1e6:9.1f} {there / anchor.init:7.3f}", flush=True)


def host(bench: Bench, guests: dict[str, pathlib.Path], _append: str):
    print("\nmilliseconds of processor time per container, before the guest's first instruction")
    print(f"{'guest':12} {'find kernel':>12} {'copy kernel':>12} {'shim, all':>12}")
    for name, guest in guests.items():
        bench.use(guest)
        told = subprocess.run([bench.build / "test/bench/vmm/kernel_load", guest / "vmlinuz", bench.data / "kernels"],
                              capture_output=True, text=True, check=False)
        if told.returncode:
            raise Failure(told.stderr.strip())
        find, copy = (int(word) / 1000 for word in told.stdout.split())
        shim = sorted(bench.boot({}, "").shim_us for _ in range(3))[1]
        print(f"{name:12} {find:12.3f} {copy:12.3f} {shim / 1000:12.3f}", flush=True)


def memory(bench: Bench, guests: dict[str, pathlib.Path], _append: str):
    bench.use(list(guests.values())[-1])
    print("\nKiB resident while a container waits for its start")
    for name, kib in bench.boot({}, "").resident_kib.items():
        print(f"{name:12} {kib:9}")


TABLES = {"instructions": instructions, "host": host, "memory": memory}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=SOURCE / "build", metavar="DIR")
    parser.add_argument("--guest", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--append", default="", metavar="WORDS")
    parser.add_argument("table", nargs="*", choices=[*TABLES, []], metavar="TABLE")
    options = parser.parse_args()
    if ALONE not in os.environ:
        os.environ[ALONE] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])
    build = options.build.resolve()
    guests = {name: build / data / "guest" for name, data in GUESTS.items()}
    for word in options.guest:
        name, _, path = word.partition("=")
        guests[name] = pathlib.Path(path).resolve()
    there = {name: guest for name, guest in guests.items() if (guest / "vmlinuz").exists()}
    for name in guests.keys() - there.keys():
        print(f"no guest '{name}' in {guests[name]}: deploy/guest/build makes one", file=sys.stderr)
    try:
        with tempfile.TemporaryDirectory(prefix="pepita-bench-") as scratch:
            bench = Bench(pathlib.Path(scratch), build)
            for table in options.table or TABLES:
                TABLES[table](bench, there, options.append and " " + options.append)
    except Failure as failure:
        print(f"boot.py: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""4 KiB random reads of ublk devices beside the kernel's own, in one run, rounds interleaved.

Usage: test/lab/run [--kernel newest] -- test/bench/storage/ublk_iops.py build/test/lab/ublk_disk
         [--size MIB] [--rounds N] [--seconds N] [--depth N]

Prints the median IOPS of each, and what they are of kernel zram's and of loop's on tmpfs. All hold the same
data, libraries of this machine, but for null, which holds nothing: the floor of what a request costs.
"""
import argparse
import glob
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

MIB = 1 << 20


def data(size: int) -> bytes:
    parts, left = [], size
    for path in sorted(glob.glob("/usr/lib/x86_64-linux-gnu/*.so*")):
        if left <= 0:
            break
        if os.path.isfile(path) and not os.path.islink(path):
            parts.append(pathlib.Path(path).read_bytes()[:left])
            left -= len(parts[-1])
    return b"".join(parts).ljust(size, b"\0")


class Kernel:
    """zram and loop; taken away at the end."""

    def __init__(self, content: bytes, scratch: str):
        number = pathlib.Path("/sys/class/zram-control/hot_add").read_text().strip()
        settings = pathlib.Path(f"/sys/block/zram{number}")
        (settings / "comp_algorithm").write_text("lz4")
        (settings / "disksize").write_text(str(len(content)))
        file = f"{scratch}/loop"
        pathlib.Path(file).write_bytes(content)
        loop = subprocess.check_output(["losetup", "-f", "--show", file], text=True).strip()
        self.number, self.devices = number, {"kernel zram": f"/dev/zram{number}", "loop on tmpfs": loop}

    def end(self):
        subprocess.run(["losetup", "-d", self.devices["loop on tmpfs"]], check=True)
        pathlib.Path(f"/sys/block/zram{self.number}/reset").write_text("1")
        pathlib.Path("/sys/class/zram-control/hot_remove").write_text(self.number)


class Ublk:
    def __init__(self, program: str, *words: str):
        self.process = subprocess.Popen([program, "serve", *words], stdout=subprocess.PIPE, text=True)
        self.path = f"/dev/ublkb{self.process.stdout.readline().split()[1]}"

    def end(self):
        self.process.terminate()
        self.process.communicate(timeout=60)


def iops(device: str, options) -> float:
    done = subprocess.run(["fio", "--name=job", f"--filename={device}", "--direct=1", "--ioengine=io_uring",
                           "--bs=4k", "--rw=randread", f"--iodepth={options.depth}", "--time_based",
                           f"--runtime={options.seconds}", f"--size={options.size}M", "--output-format=json"],
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["jobs"][0]["read"]["iops"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--depth", type=int, default=32)
    options = parser.parse_args()
    content = data(options.size * MIB)
    features = int(subprocess.check_output([options.program, "features"], text=True), 16)
    modes = [("", ["copy=kernel", "commands=each"])]
    if features >> 15 & 1:
        modes.append((", batches", ["copy=kernel"]))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        kernel = Kernel(content, scratch)
        served, devices = [], dict(kernel.devices)

        def serve(name: str, *words: str):
            served.append(Ublk(options.program, *words))
            devices[name] = served[-1].path

        for name, words in modes:
            number = len(served)
            for file in (f"{scratch}/store{number}", f"{scratch}/ring{number}", f"{scratch}/zero{number}"):
                pathlib.Path(file).touch()
            serve("ublk store" + name, f"store={scratch}/store{number}", f"size={options.size}", *words)
            serve("ublk memory" + name, f"size={options.size}", *words)
            serve("ublk null" + name, f"size={options.size}", "io=null", *words)
            os.truncate(f"{scratch}/ring{number}", len(content))
            serve("ublk file, copied" + name, f"file={scratch}/ring{number}", "io=ring", *words)
            if features >> 11 & 1:
                os.truncate(f"{scratch}/zero{number}", len(content))
                serve("ublk file, not copied" + name, f"file={scratch}/zero{number}", "io=ring", *words[1:])
        for name, device in devices.items():
            with open(device, "r+b", buffering=0) as disk:
                for at in range(0, len(content), MIB):
                    disk.write(content[at:at + MIB])
                os.fsync(disk)
        found = {name: [] for name in devices}
        for _ in range(options.rounds):
            for name, device in devices.items():
                found[name].append(iops(device, options))
        for one in served:
            one.end()
        kernel.end()
    median = {name: statistics.median(values) for name, values in found.items()}
    print(f"{os.uname().release}, {os.cpu_count()} processors, depth {options.depth}")
    for name, value in median.items():
        print(f"{name:36} {value:9.0f} IOPS  {value / median['kernel zram']:5.2f} of zram "
              f"{value / median['loop on tmpfs']:5.2f} of loop")


if __name__ == "__main__":
    main()

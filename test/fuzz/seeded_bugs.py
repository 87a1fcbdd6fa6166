#!/usr/bin/env python3
"""Shows that the fuzz targets find what they are there for: puts one known bug after the other into a copy of
the tree, builds a target, and fuzzes from its corpus until it is found.
Usage: test/fuzz/seeded_bugs.py [--build FOLDER] [--seconds N] [--list] [NAME...]
Exit status 0 where each bug was found, and the tree without a bug was not complained about."""
import argparse
import dataclasses
import pathlib
import shutil
import subprocess
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
NATIVE = "test/fuzz/clang-19.ini"


@dataclasses.dataclass(frozen=True)
class Bug:
    """`right` stands in `file` once, and becomes `wrong`."""
    target: str
    file: str
    right: str
    wrong: str


BUGS = {
    # A chain's next descriptor is taken from behind the table.
    "ring-next": Bug("virtio_ring", "kernel-abi/virtio/ring.cc",
                     "index >= table.size() / sizeof(VirtqDesc)", "index >= abi::kVirtqSizeMax"),
    # A part of a page takes the rest of it along.
    "disk-part": Bug("vhost_user_disk", "storage/zram/volume.cc",
                     "} else if (!domain_->get(entry, whole)) {", "} else if (!domain_->get(Entry(), whole)) {"),
    # The guest may send what the whole buffer holds, however full it is.
    "vsock-credit": Bug("vsock_connection", "vmm/vsock/connection.cc",
                        "packet.length > kBufferSize - (received_ - forwarded_)",
                        "packet.length > kBufferSize"),
    # What a killed process counted is believed.
    "store-count": Bug("zram_open", "storage/zram/shard_recovery.cc", "slot.references = 0;", ""),
    # A match reaches back before the page.
    "lz4-offset": Bug("lz4_page", "storage/zram/lz4_page.cc",
                      "if (length.from == nullptr || offset - 1 >= limits.done(to) ||",
                      "if (length.from == nullptr ||"),
}


def run(command: list, **options) -> subprocess.CompletedProcess:
    return subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", check=False, **options)


class Tree:
    """A copy of the tracked files, built apart: the tree itself is left alone. What build-asan has compiled
    is taken over."""

    def __init__(self, folder: pathlib.Path):
        self.source = folder
        self.build = folder / "build-asan"
        names = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=SOURCE).stdout
        for name in filter(None, names.split("\0")):
            given, to = SOURCE / name, self.source / name
            if given.is_file() and not (to.exists() and to.read_bytes() == given.read_bytes()):
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(given, to)  # as old as it is: what was built of it stays
        if not (self.build / "build.ninja").exists():
            self.take_over(SOURCE / "build-asan")
        made = run(["ninja", "-C", self.build, "-t", "targets"]) if (self.build / "build.ninja").exists() else run(
            ["meson", "setup", self.build, self.source, "--native-file", self.source / NATIVE])
        if made.returncode != 0:
            sys.exit(made.stdout)

    def take_over(self, built: pathlib.Path):
        """By hard links: compilers and linkers replace files. ninja appends to its own two."""
        if (built / "build.ninja").exists():
            run(["cp", "-al", built, self.build])
            for book in (".ninja_log", ".ninja_deps"):
                (self.build / book).unlink(missing_ok=True)
                shutil.copy2(built / book, self.build / book)

    def restore(self, name: str):
        """Anew, so that it is built again."""
        (self.source / name).write_bytes((SOURCE / name).read_bytes())

    def seed(self, bug: Bug):
        text = (SOURCE / bug.file).read_text()
        if text.count(bug.right) != 1:
            sys.exit(f"{bug.file}: {text.count(bug.right)} times instead of once: {bug.right}")
        (self.source / bug.file).write_text(text.replace(bug.right, bug.wrong))

    def compile(self, target: str) -> pathlib.Path:
        program = pathlib.Path("test/fuzz") / f"{target}_fuzz"
        built = run(["ninja", "-C", self.build, program])
        if built.returncode != 0:
            sys.exit(built.stdout)
        return self.build / program

    def fuzz(self, program: pathlib.Path, target: str, seconds: int) -> tuple[bool, float]:
        """Whether it complained, and after how long."""
        found = self.build / "found" / target
        shutil.rmtree(found, ignore_errors=True)
        found.mkdir(parents=True)
        given = SOURCE / "test/fuzz/corpus" / target
        began = time.monotonic()
        ended = run([program, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
                     f"-artifact_prefix={found}/crash-", found, *([given] if given.is_dir() else [])])
        return ended.returncode != 0, time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=SOURCE / "build-seeded")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("names", nargs="*", choices=[[], *BUGS], default=[])
    options = parser.parse_args()
    if options.list:
        print("\n".join(BUGS))
        return 0
    tree = Tree(options.build.resolve())
    missed = 0
    for name in options.names or BUGS:
        bug = BUGS[name]
        sound, _ = tree.fuzz(tree.compile(bug.target), bug.target, 5)
        tree.seed(bug)
        try:
            found, seconds = tree.fuzz(tree.compile(bug.target), bug.target, options.seconds)
        finally:
            tree.restore(bug.file)
        missed += sound or not found
        print(f"{name:14} {bug.target:18} " + ("complains without the bug" if sound else
              f"found after {seconds:.0f} s" if found else f"not found in {seconds:.0f} s"), flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Makes what the storage benchmarks store, from this machine's own files.

Usage: make_data.py FOLDER [--mib N]. Files text, bins, libs, dup4, random and zero, each of N MiB.
"""
import argparse
import pathlib
import random
import sys

PAGE = 4096


def joined(paths, size: int, what: str) -> bytearray:
    data = bytearray()
    for path in paths:
        if len(data) >= size:
            break
        if path.is_file() and not path.is_symlink():
            part = path.read_bytes()
            data += part + bytes(-len(part) % PAGE)  # as files lie on a disk
    if len(data) < size:
        sys.exit(f"make_data.py: this machine has {len(data) >> 20} MiB of {what}, not {size >> 20}")
    return data[:size]


def copies(quarter: bytes) -> bytearray:
    """Four, in which of each page of 20 a few bytes are another's."""
    generator = random.Random(4)
    data = bytearray(quarter * 4)
    pages = len(data) // PAGE
    for page in generator.sample(range(pages), pages // 20):
        at = page * PAGE + generator.randrange(PAGE - 64)
        data[at:at + 64] = generator.randbytes(64)
    return data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--mib", type=int, default=64)
    options = parser.parse_args()
    size = options.mib << 20
    options.folder.mkdir(parents=True, exist_ok=True)
    found = {
        "text": [path for top in ("/usr/include", "/usr/share/doc", "/usr/share/perl", "/usr/lib/python3")
                 for path in sorted(pathlib.Path(top).rglob("*"))
                 if path.suffix not in (".gz", ".pyc", ".so", ".png", ".html")],
        "bins": sorted(pathlib.Path("/usr/bin").glob("*")),
        "libs": sorted(pathlib.Path("/usr/lib").rglob("*.so*")),
    }
    data = {name: joined(paths, size, name) for name, paths in found.items()}
    data["dup4"] = copies(bytes(data["libs"][:size // 4 // PAGE * PAGE]))
    data["random"] = random.Random(5).randbytes(size)
    data["zero"] = bytes(size)
    for name, content in data.items():
        (options.folder / name).write_bytes(content)


main()

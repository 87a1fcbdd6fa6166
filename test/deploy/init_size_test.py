#!/usr/bin/python3
"""Holds pepita-init to its size, without symbols: every pod has it in memory.

Usage: init_size_test.py PEPITA_INIT
"""
import pathlib
import subprocess
import sys
import tempfile

LIMIT = 3 << 20


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        output = pathlib.Path(scratch) / "init"
        subprocess.run(["strip", "-o", output, sys.argv[1]], check=True)
        size = output.stat().st_size
    print(f"pepita-init: {size} of at most {LIMIT} bytes")
    return 0 if size <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""Each header of kernel-abi/uapi compiles alone, without a C library, exceptions or type information.

Usage: freestanding_test.py SOURCE_ROOT COMPILER...
"""
import pathlib
import re
import subprocess
import sys
import unittest

SOURCE, COMPILER = pathlib.Path(sys.argv[1]), sys.argv[2:]
# No code of theirs is in a library.
FREESTANDING = {"array", "bit", "compare", "cstddef", "cstdint", "optional", "span", "string_view", "type_traits"}
FLAGS = ["-std=c++23", "-ffreestanding", "-fno-exceptions", "-fno-rtti", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
         "-fsyntax-only", "-x", "c++", "-"]


class Freestanding(unittest.TestCase):
    def headers(self) -> list[pathlib.Path]:
        headers = sorted((SOURCE / "kernel-abi/uapi").glob("*.h"))
        self.assertGreater(len(headers), 10)
        return headers

    def test_every_header_compiles_alone(self):
        for header in self.headers():
            done = subprocess.run([*COMPILER, "-I", SOURCE, *FLAGS], capture_output=True, text=True, check=False,
                                  input=f'#include "kernel-abi/uapi/{header.name}"\n')
            self.assertEqual(done.returncode, 0, f"{header.name}: {done.stderr}")

    def test_none_needs_more_than_types(self):
        """An installed library would compile in the test above, so what is included is looked at too."""
        for header in self.headers():
            included = set(re.findall(r"^#include <(.*)>$", header.read_text(), re.M))
            self.assertLessEqual(included, FREESTANDING, header.name)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])

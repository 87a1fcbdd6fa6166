#!/usr/bin/python3
"""Each header of kernel-abi/uapi compiles alone, without a C library, exceptions or type information; each of
their structs stands in a table of kernel-abi/abi.

Usage: headers_test.py SOURCE_ROOT COMPILER...
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
# Arms of the union in kvm::Run, whose table has their members by path.
ARM = re.compile(r"\w+Exit")


class Headers(unittest.TestCase):
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

    def test_every_struct_is_in_a_table(self):
        tables = "\n".join(path.read_text() for path in (SOURCE / "kernel-abi/abi").glob("layouts*.cc"))
        listed = set(re.findall(r"\b(?:LAYOUT|BEGINNING)\(([\w:]+),", tables))
        for header in self.headers():
            text = header.read_text()
            part = re.search(r"^namespace pepita::(?:abi::)?(\w+) \{", text, re.M).group(1)
            structs = re.findall(r"^struct (?:\[\[gnu::packed\]\] )?(\w+) \{", text, re.M)
            missing = [name for name in structs if f"{part}::{name}" not in listed and not ARM.fullmatch(name)]
            self.assertEqual(missing, [], header.name)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])

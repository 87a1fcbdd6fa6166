#!/usr/bin/python3
"""pepita-init as a file: small, and in need of no other.

Usage: init_program_test.py PEPITA_INIT
"""
import pathlib
import struct
import sys
import unittest

SIZE_MAX = 3_000_000
PROGRAM_HEADER_SIZE = 56
PT_INTERP = 3


class InitProgram(unittest.TestCase):
    content = b""

    def test_is_no_larger_than_promised(self):
        self.assertLessEqual(len(self.content), SIZE_MAX)

    def test_needs_no_dynamic_linker(self):
        self.assertEqual(self.content[:4], b"\x7fELF")
        offset, = struct.unpack_from("<Q", self.content, 32)
        count, = struct.unpack_from("<H", self.content, 56)
        kinds = [struct.unpack_from("<I", self.content, offset + index * PROGRAM_HEADER_SIZE)[0]
                 for index in range(count)]
        self.assertNotIn(PT_INTERP, kinds)


if __name__ == "__main__":
    InitProgram.content = pathlib.Path(sys.argv.pop()).read_bytes()
    unittest.main(verbosity=2)

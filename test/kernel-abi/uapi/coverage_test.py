#!/usr/bin/python3
"""All that a header of Linux defines is asserted in the tests of our own, or left out with a reason (families.py).

Usage: coverage_test.py SOURCE_ROOT COMPILER...
What is compared is the header that the compiler finds: Debian's, or a newer one with -isystem among COMPILER.
"""
import pathlib
import re
import sys
import unittest

from c_header import Header
from families import FAMILIES, Family

SOURCE, COMPILER = pathlib.Path(sys.argv[1]), sys.argv[2:]
TAGGED = re.compile(r"^(?:inline constexpr [\w:]+ )(k\w+) =[^;]*;(?:\s*// (\d+)\.(\d+)$)?", re.M)
SYMBOL = re.compile(r'"([A-Z]\w+)",\s*(\w+),\s*(\d+),\s*(\d+)\)')


def without_comments(text: str) -> str:
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)


class Asserted:
    """What the tests of a family say: the names in its assertions, and the places of members."""

    def __init__(self, family: Family):
        tests = [SOURCE / f"test/kernel-abi/uapi/{name}_test.cc" for name in family.ours]
        text = without_comments("\n".join(test.read_text() for test in tests))
        places = re.findall(r"\bSAME_(?:PLACE|START)\(\s*[\w:]+,\s*[\w.]+,\s*(\w+),\s*([\w.]+)\s*\)", text)
        self.places = {f"{struct}.{path}" for struct, path in places}
        # A name in a #if is no assertion, nor is one in the body of a test.
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        asserts = re.findall(r"\b(?:static_assert|SAME_\w+)\(.*?\);", "\n".join(lines), re.S)
        self.names = set(re.findall(r"\w+", "\n".join(asserts)))


def left_out(name: str, patterns: dict[str, str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def version_of(compiler: list[str]) -> tuple[int, int]:
    path = Header(compiler, "linux/version.h").path
    code = int(re.search(r"LINUX_VERSION_CODE (\d+)", path.read_text()).group(1))
    return code >> 16, code >> 8 & 0xff


def tags(family: Family) -> dict[str, tuple[int, int]]:
    """Which Linux brought a name, as our headers say beside it or in a table of Symbols. No tag: 3.0 or before."""
    since: dict[str, tuple[int, int]] = {}
    text = "\n".join((SOURCE / f"kernel-abi/uapi/{name}.h").read_text() for name in family.ours)
    for name, major, minor in TAGGED.findall(text):
        since[name] = (int(major or 0), int(minor or 0))
    for _, name, major, minor in SYMBOL.findall(text):
        since[name] = (int(major), int(minor))
    tests = "\n".join((SOURCE / f"test/kernel-abi/uapi/{name}_test.cc").read_text() for name in family.ours)
    pairs = re.findall(r"^static_assert\((k\w+) ==\s+(?:virtio_feature\()?([A-Z]\w+)\)?\);", tests, re.M)
    return {linux: since[ours] for ours, linux in pairs if ours in since}


class Coverage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.all = [(family, Asserted(family), Header(COMPILER, include))
                   for family in FAMILIES for include in family.linux]

    def test_every_macro_and_enumerator_is_asserted(self):
        for family, asserted, header in self.all:
            names = header.macros + header.enumerators
            self.assertTrue(names or header.structs, header.path)
            missing = [name for name in names if name not in asserted.names and not left_out(name, family.macros)]
            self.assertEqual(missing, [], f"{header.path}: {missing}")

    def test_every_member_is_asserted(self):
        for family, asserted, header in self.all:
            missing = []
            for struct, members in header.structs.items():
                if left_out(struct, family.members):
                    continue
                for member in members:
                    missing += [path for path in (f"{struct}.{path}" for path in member.paths())
                                if path not in asserted.places and not left_out(path, family.members)]
            self.assertEqual(missing, [], f"{header.path}: {missing}")

    def test_what_this_header_has_is_tagged_with_its_version_or_an_older_one(self):
        """Debian's header is of a known Linux: a name that it has is not of a later one, nor the other way round."""
        major, minor = version_of(COMPILER)
        for family in FAMILIES:
            known = {name for include in family.linux for header in [Header(COMPILER, include)]
                     for name in header.macros + header.enumerators}
            wrong = [f"{linux} is tagged {since}" for linux, since in tags(family).items()
                     if (linux in known) != (since <= (major, minor))]
            self.assertEqual(wrong, [], f"{family.name} against Linux {major}.{minor}")


class Gate(unittest.TestCase):
    """That the gate itself finds what is missing."""

    def test_what_is_not_asserted_is_missed(self):
        family = FAMILIES[0]
        asserted = Asserted(family)
        header = Header(COMPILER, family.linux[0])
        some = next(name for name in header.macros if name in asserted.names)
        self.assertNotIn(some + "_NOT", asserted.names)
        self.assertFalse(left_out(some + "_NOT", family.macros))

    def test_the_parser_sees_nested_nameless_and_arrays(self):
        members = Header(COMPILER, "linux/kvm.h").structs["kvm_run"]
        paths = [path for member in members for path in member.paths()]
        for path in ("exit_reason", "io", "io.port", "emulation_failure.insn_bytes", "internal.data", "s.regs"):
            self.assertIn(path, paths)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])

#!/usr/bin/python3
"""Every number and every field of a header of kernel-abi/uapi that is made wrong is found by its test, as it compiles.

Usage: mutation_test.py SOURCE_ROOT [--all] [--family NAME] COMPILER...
One in so many mutants is tried, the same ones each time; all of them with --all.

A mutant is the header with one change, in a namespace of its own, and behind it what its test says before the first
TEST: one run of the compiler judges a whole batch. It is found where the compiler has an error in its lines.
"""
import argparse
import concurrent.futures
import dataclasses
import pathlib
import re
import subprocess
import sys
import unittest

from families import FAMILIES

SAMPLE = 48
BATCH = 12

parser = argparse.ArgumentParser()
parser.add_argument("source", type=pathlib.Path)
parser.add_argument("--all", action="store_true")
parser.add_argument("--family")
OPTIONS, COMPILER = parser.parse_known_args()
UAPI = "kernel-abi/uapi/"
INCLUDE = re.compile(r'^#include ([<"][^>"]*[>"]).*$', re.M)
NUMBER = re.compile(r"(?<![\w.\"'])(0x[0-9a-fA-F']+|\d[\d']*)(?=[uUlL]*\b)")
FIELD = re.compile(r"^ +(std::u?int(?:8|16|32|64)_t|std::array<[^;]*>) [\w, \[\]]+;", re.M)
WIDER = {"8": "16", "16": "32", "32": "64", "64": "32"}


@dataclasses.dataclass(frozen=True)
class Mutant:
    what: str  # "kvm_irq.h:12: 24 -> 25"
    header: str
    text: str


def hide_strings_and_comments(text: str) -> str:
    """The same length and lines, without what is no code: it is not to be changed."""
    return re.sub(r"//[^\n]*|\"[^\"\n]*\"", lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def in_union(code: str, at: int) -> bool:
    """Whether the order of what stands there says nothing."""
    depth = 0
    while depth >= 0:
        at = max(code.rfind("{", 0, at), code.rfind("}", 0, at))
        depth += -1 if code[at] == "{" else 1
    return re.search(r"\bunion\s*$", code[:at]) is not None


def changes(code: str) -> list[tuple[int, int, str]]:
    """(from, to, instead) of each change."""
    found = []
    for match in NUMBER.finditer(code):
        line = code[code.rfind("\n", 0, match.start()) + 1:code.find("\n", match.end())]
        statement = code[max(code.rfind(";", 0, match.start()), code.rfind("}", 0, match.start())) + 1:match.start()]
        # Assertions are tests themselves; which Linux brought a thing is coverage_test.py's.
        if "static_assert" in statement or "linux_version(" in line or line.lstrip().startswith("#"):
            continue
        if re.search(r"u?int$", code[:match.start()]) or re.search(r"capability\([^)]*$", statement):
            continue
        found.append((*match.span(), str(int(match.group().replace("'", ""), 0) + 1)))
    fields = list(FIELD.finditer(code))
    for field in fields:
        width = re.search(r"int(8|16|32|64)_t", field.group(1))
        if width:
            start = field.start(1) + width.start(1)
            found.append((start, start + len(width.group(1)), WIDER[width.group(1)]))
    for one, two in zip(fields, fields[1:]):
        between = code[one.end():two.start()]
        if not between.strip() and not in_union(code, one.start()):
            found.append((one.start(), two.end(), two.group() + between + one.group()))
    for field in fields:
        names = re.search(r"(\w+), (\w+)", field.group()[len(field.group(1)):])
        if names and "<" not in field.group(1):
            at = field.start() + field.group().rindex(names.group())
            found.append((at, at + len(names.group()), f"{names.group(2)}, {names.group(1)}"))
    return found


def mutants_of(header: str) -> list[Mutant]:
    text = (OPTIONS.source / f"{UAPI}{header}.h").read_text()
    mutants = []
    for start, end, instead in changes(hide_strings_and_comments(text)):
        line = text.count("\n", 0, start) + 1
        was, now = (" ".join(part.split()) for part in (text[start:end], instead))
        mutants.append(Mutant(f"{header}.h:{line}: {was} -> {now}", header, text[:start] + instead + text[end:]))
    return mutants


class Sources:
    """The header in question and its test, so that they can stand in a namespace."""

    def __init__(self, header: str):
        test = (OPTIONS.source / f"test/kernel-abi/uapi/{header}_test.cc").read_text()
        before = re.split(r"^(?:TEST|TEST_F|class|using \w+ = KvmMachine|struct)\b", test, maxsplit=1, flags=re.M)[0]
        includes = INCLUDE.findall(before)
        own = [name.strip('"') for name in includes if name.startswith('"')]
        self.outside = {name for name in includes if name.startswith("<") and "gtest" not in name}
        self.outside |= {f'"{name}"' for name in own
                         if name.startswith("test/kernel-abi/uapi/") and not name.endswith("kvm_machine.h")}
        body = INCLUDE.sub("", before)
        self.asserts = body + "\n" + "}\n" * (hide_strings_and_comments(body).count("{") - hide_strings_and_comments(body).count("}"))
        self.needed: dict[str, str] = {}  # our headers in the order in which they need each other
        self._collect(header)
        for name in own:
            if name.startswith(UAPI):
                self._collect(pathlib.PurePath(name).stem)

    def _collect(self, header: str) -> None:
        if header in self.needed:
            return
        text = (OPTIONS.source / f"{UAPI}{header}.h").read_text()
        for name in INCLUDE.findall(text):
            if name.startswith('"'):
                self._collect(pathlib.PurePath(name.strip('"')).stem)
            else:
                self.outside.add(name)
        self.needed[header] = text

    def in_namespace(self, namespace: str, mutant: Mutant | None) -> str:
        parts = [f'namespace {namespace} {{\n#line 1 "{namespace}"\n']
        for header, text in self.needed.items():
            if mutant and header == mutant.header:
                text = mutant.text
            parts.append(INCLUDE.sub("", text).replace("#pragma once", ""))
        return "".join(parts) + self.asserts + "\n}\n"


def found_in(batch: list[Mutant], sources: Sources) -> set[int]:
    """Which of the batch have an error. The last one has no change, and must have none."""
    text = "".join(f"#include {name}\n" for name in sorted(sources.outside))
    text += "".join(sources.in_namespace(f"mutant{i}", mutant) for i, mutant in enumerate(batch))
    text += sources.in_namespace("unchanged", None)
    done = subprocess.run([*COMPILER, "-std=c++23", "-D_GNU_SOURCE", "-fsyntax-only", "-fmax-errors=0", "-w",
                           "-fno-diagnostics-show-caret", "-I", OPTIONS.source, "-x", "c++", "-"],
                          input=text, capture_output=True, text=True, check=False)
    if re.search(r"\bunchanged:\d+", done.stderr) or re.search(r"fatal error|^<stdin>:.*error", done.stderr, re.M):
        raise AssertionError(f"{batch[0].header}: without a change it does not compile: {done.stderr[:2000]}")
    return {int(number) for number in re.findall(r"\bmutant(\d+):\d+", done.stderr)}


class Mutation(unittest.TestCase):
    def test_every_mutant_is_found(self):
        everything = []
        for family in FAMILIES:
            if OPTIONS.family in (None, family.name):
                for header in family.ours:
                    mutants = mutants_of(header)
                    self.assertTrue(mutants, header)
                    everything += mutants
        chosen = everything
        if not OPTIONS.all:
            step = max(1, len(everything) // SAMPLE)
            chosen = everything[step // 2::step]
        batches = []
        for header in dict.fromkeys(mutant.header for mutant in chosen):
            mine = [mutant for mutant in chosen if mutant.header == header]
            sources = Sources(header)
            batches += [(mine[at:at + BATCH], sources) for at in range(0, len(mine), BATCH)]
        survivors = []
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for (batch, _), found in zip(batches, pool.map(lambda work: found_in(*work), batches)):
                survivors += [mutant.what for i, mutant in enumerate(batch) if i not in found]
        print(f"{len(chosen)} of {len(everything)} mutants, {len(survivors)} not found", file=sys.stderr)
        self.assertEqual(survivors, [], "\n".join(["no test finds:", *survivors]))

    def test_a_change_that_nothing_asserts_is_not_found(self):
        """That the test above can fail."""
        header = FAMILIES[0].ours[0]
        sources = Sources(header)
        text = sources.needed[header].replace("namespace pepita::abi", "inline constexpr int kNobody = 1;\nnamespace pepita::abi", 1)
        self.assertNotEqual(text, sources.needed[header])
        self.assertEqual(found_in([Mutant("", header, text)], sources), set())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])

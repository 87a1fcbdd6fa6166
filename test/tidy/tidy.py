#!/usr/bin/python3
"""Holds the tree to what a reviewer would otherwise say twice.

Usage: tidy.py SOURCE_ROOT. Exit 1, one line per breach, where a rule is broken.
"""
import fnmatch
import pathlib
import re
import sys

PRODUCT = ("kernel-abi", "compute", "storage", "runtime", "vmm", "shim", "cri")
FOLDERS = PRODUCT + ("deploy", "test")
LINES_MAX = 800
UNTESTED = "test/tidy/untested.txt"
TODO_KINDS = "perf|port|test|security"

# A construct, what takes its place, and the one place (a path's beginning) that may use it, if any.
BANNED = (
    (r"\bstd::j?thread\b", "sys::Thread: the constructor throws", ""),
    (r"\bstd::async\b|\.detach\(\)", "a Thread that is joined", ""),
    (r"#\s*include\s*<(iostream|regex|thread|future)>", "write(2), a parser, sys::Thread", ""),
    (r"\bstd::expected\b", "Result", "kernel-abi/sys/result.h"),
    (r"\bco_(await|return|yield)\b", "a state machine: g++ 12 frees coroutine temporaries twice", ""),
    (r"\b(try|catch|throw)\b(?!\w)", "Result and TRY", ""),
    (r"\bdynamic_cast\b", "a virtual function", ""),
    (r"\bvolatile\b", "std::atomic", "kernel-abi/virtio/guest_memory"),
    (r"(?<![\w.>:])(::|std::)?(strtou?ll?|strto[dlf]|ato[ifl]|sto[ifdlu]l*)\(", "std::from_chars", ""),
    (r"(?<![\w.>])(::|std::)?(u|nano)?sleep\(|\bsleep_(for|until)\b", "a timer of the event loop", ""),
    (r"(?<![\w.>])(::|std::)?(system|popen)\(", "Process", ""),
    (r"(?<![\w.>:])(::)?dup\(", "Fd::duplicate", "kernel-abi/sys/fd"),
    (r"(?<![\w.>])(::|std::)?(strcpy|strcat|sprintf|gets|alloca)\(", "std::string, std::format_to_n", ""),
    (r"\bNOLINT\b(?!(NEXTLINE|BEGIN|END)?\([\w.,*-]+\))", "NOLINT(check-name) and a reason", ""),
)
# Rules whose subject is a comment; the others do not look at comments.
IN_COMMENTS = ("NOLINT",)


def sources(root: pathlib.Path, folders: tuple[str, ...], *suffixes: str):
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in suffixes and path.is_file():
                yield path


def lines_of(path: pathlib.Path) -> list[str]:
    return path.read_text(errors="replace").splitlines()


def code_of(line: str) -> str:
    """The line without string literals and comments."""
    if line.lstrip().startswith(("//", "*", "/*")):
        return ""
    line = re.sub(r'"(\\.|[^"\\])*"', '""', line) if "#include" not in line else line
    return re.sub(r"//.*", "", line)


def readmes(root: pathlib.Path):
    for folder in FOLDERS:
        if (root / folder).is_dir() and not (root / folder / "README.md").is_file():
            yield f"{folder}/: has no README.md"
    for readme in [root / "README.md", root / "CONTRIBUTING.md", *root.glob("*/README.md"), *root.glob("*/*/README.md")]:
        if readme.is_file():
            yield from missing_paths(root, readme)


def missing_paths(root: pathlib.Path, readme: pathlib.Path):
    """Paths in backticks: with a folder of ours in front, or a bare source file of the README's folder."""
    ours = "|".join(FOLDERS)
    named = re.compile(rf"(?:{ours})(?:/[\w.*-]+)*/?|[\w/-]+\.(?:cc|h|py|proto)")
    for number, line in enumerate(lines_of(readme), 1):
        for quoted in re.findall(r"`([^`]+)`", line):
            if not named.fullmatch(quoted) or "*" in quoted:
                continue
            if not (root / quoted).exists() and not (readme.parent / quoted).exists():
                yield f"{readme.relative_to(root)}:{number}: '{quoted}' does not exist"


def tests_exist(root: pathlib.Path):
    """UNTESTED has a path or a pattern a line, then the reason; each must still be needed."""
    listed = {}
    if (root / UNTESTED).is_file():
        for number, line in enumerate(lines_of(root / UNTESTED), 1):
            if line.strip() and not line.startswith("#"):
                pattern, _, reason = line.partition(" ")
                listed[pattern] = f"{UNTESTED}:{number}"
                if not reason.strip():
                    yield f"{listed[pattern]}: '{pattern}' is here without a reason"
    untested = {path.relative_to(root).as_posix() for path in sources(root, PRODUCT, ".cc")
                if not has_test(root, path)}
    for pattern, where in listed.items():
        if not fnmatch.filter(untested, pattern):
            yield f"{where}: '{pattern}' has tests now, or is no more"
    for here in sorted(untested):
        if not any(fnmatch.fnmatchcase(here, pattern) for pattern in listed):
            yield f"{here}: has neither test/{here[:-3]}_test.cc nor a line with a reason in {UNTESTED}"


def has_test(root: pathlib.Path, path: pathlib.Path) -> bool:
    return (root / "test" / path.relative_to(root)).with_name(f"{path.stem}_test.cc").is_file()


def built(root: pathlib.Path):
    """A source that no meson.build names is compiled by nobody."""
    texts = {path.parent: path.read_text() for path in root.glob("**/meson.build") if not in_build_folder(root, path)}
    for path in sources(root, FOLDERS, ".cc"):
        for folder, text in texts.items():
            if folder not in path.parents:
                continue
            name = path.relative_to(folder).as_posix()
            # Tests and fuzzers are listed by subject, from the folder above or from test/ itself.
            names = {name, re.sub(r"_(test|fuzz)\.cc$", "", name)}
            if "test" in path.relative_to(root).parts[:1]:
                names.add(re.sub(r"_test\.cc$", "", path.relative_to(root / "test").as_posix()))
            if any(f"'{each}'" in text for each in names):
                break
        else:
            yield f"{path.relative_to(root)}: no meson.build names it"


def in_build_folder(root: pathlib.Path, path: pathlib.Path) -> bool:
    return path.relative_to(root).parts[0].startswith("build")


def text_rules(root: pathlib.Path):
    for path in sources(root, FOLDERS, ".cc", ".h", ".py", ".proto", ".build"):
        here = path.relative_to(root).as_posix()
        lines = lines_of(path)
        if len(lines) > LINES_MAX:
            yield f"{here}: {len(lines)} lines; at most {LINES_MAX}, so split it"
        for number, line in enumerate(lines, 1):
            if re.search(r"(//|#) *(TODO|FIXME|XXX)\b", line) and not re.search(rf"TODO\(({TODO_KINDS})\): ", line):
                yield f"{here}:{number}: a TODO names its kind: TODO({TODO_KINDS}): text"


def banned(root: pathlib.Path):
    for path in sources(root, PRODUCT, ".cc", ".h"):
        here = path.relative_to(root).as_posix()
        for number, line in enumerate(lines_of(path), 1):
            code = code_of(line)
            for pattern, instead, door in BANNED:
                subject = line if any(word in pattern for word in IN_COMMENTS) else code
                found = re.search(pattern, subject)
                if not found or (door and here.startswith(door)):
                    continue
                yield f"{here}:{number}: '{found.group(0).strip()}' is banned; use {instead}"


RULES = (readmes, tests_exist, built, text_rules, banned)


def main() -> int:
    root = pathlib.Path(sys.argv[1]).resolve()
    found = [breach for rule in RULES for breach in rule(root)]
    print("\n".join(found) if found else "tidy: ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""Counts the tree: files per folder, their median and largest, and the public functions that only tests use.

Usage: census.py SOURCE_ROOT. Exit 1 where a folder of GATED has such a function, or ALLOWED names one in vain.

A heuristic on names, without a compiler: a function that a header of the product declares is used where a source of
the product that includes the header, itself or through others, has its name more often than it declares and defines it.
"""
import collections
import pathlib
import re
import statistics
import sys

PRODUCT = ("kernel-abi", "compute", "storage", "runtime", "vmm", "shim", "cri")
GATED = ("kernel-abi",)
# A function that tests need and the product does not call by its name, and why it stays.
ALLOWED: dict[str, str] = {}

TOKEN = re.compile(r"\w+|::|->|<<=?|[^\w\s]")
NOISE = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|(?<!\w)'(?:\\.|[^'\\\n])+'", re.S)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)
# What stands before a parenthesis and is no function.
NO_NAMES = {"if", "for", "while", "switch", "return", "sizeof", "alignof", "alignas", "decltype", "noexcept", "requires",
            "static_assert", "explicit", "__attribute__", "defined", "catch", "new", "delete", "main"}
# Whose functions are called by the language, or through another declaration.
NAMELESS = {"friend", "operator", "override", "delete", "default"}
# Called by the language: a loop over a range, a tuple that is taken apart.
IMPLICIT = {"begin", "end", "get"}


def function_of(statement: list[str]) -> str | None:
    """The name that a declaration declares: "" where nobody calls it by a name, None where it is no function."""
    if not {"(", ")"} <= set(statement) or {"using", "typedef"} & set(statement):
        return None
    depth = 0
    for before, word, after in zip([""] + statement, statement, statement[1:]):
        depth += (word in ("<", "(", "[")) - (word in (">", ")", "]"))
        if depth == 0 and word == "=":  # a variable and its value
            return None
        if depth == 0 and after == "(" and re.match(r"[A-Za-z_]", word) and word not in NO_NAMES:
            return word if word[0].islower() and before != "~" and not NAMELESS & set(statement) else ""
    return "" if "operator" in statement else None


def functions(code: str) -> tuple[list[str], list[str]]:
    """(declared or defined for everyone to call, likewise but private), at the level of namespaces and classes."""
    tokens = TOKEN.findall(DIRECTIVE.sub("", code))
    public: list[str] = []
    private: list[str] = []
    scopes: list[str] = []  # "namespace", "hidden", or a class: "public", "private" where we are in it
    statement: list[str] = []
    parens = 0
    at = 0
    while at < len(tokens):
        word = tokens[at]
        at += 1
        parens += (word == "(") - (word == ")")
        if parens > 0 or word not in ("{", "}", ";", ":"):
            statement.append(word)
            continue
        if word == ":":
            if statement in (["public"], ["private"], ["protected"]):
                scopes[-1] = "private" if statement == ["private"] else "public"
                statement = []
            else:
                statement.append(word)
            continue
        if word == "}":
            if scopes:
                scopes.pop()
            statement = []
            continue
        name = function_of(statement)
        if name:
            hidden = "private" in scopes or "hidden" in scopes
            (private if hidden else public).append(name)
        if word == "{":
            kinds = set(statement)
            if "namespace" in kinds:
                # One without a name is a file's own.
                scopes.append("hidden" if statement == ["namespace"] else "namespace")
            elif name is None and "enum" not in kinds and kinds & {"class", "struct", "union"} and "=" not in kinds:
                scopes.append("private" if "class" in kinds else "public")
            else:  # a body or an initialiser: nothing in it is declared for others
                depth = 1
                while depth and at < len(tokens):
                    depth += (tokens[at] == "{") - (tokens[at] == "}")
                    at += 1
                if name is None:  # `int x{1};`, a member's initialiser before the body: the statement goes on
                    continue
        statement = []
    return public, private


def included(here: str, texts: dict[str, str]) -> set[str]:
    """`here` and the headers of ours that it includes, itself or through others."""
    found = {here}
    todo = [here]
    while todo:
        for header in re.findall(r'^#include "([^"]+)"', texts[todo.pop()], re.M):
            if header in texts and header not in found:
                found.add(header)
                todo.append(header)
    return found


def unused(root: pathlib.Path) -> list[tuple[str, str]]:
    """(header, function) of each public function that no source of the product uses."""
    texts = {path.relative_to(root).as_posix(): path.read_text(errors="replace")
             for folder in PRODUCT for path in sorted((root / folder).rglob("*")) if path.suffix in (".h", ".cc")}
    left: set[tuple[str, str]] = set()
    used: set[tuple[str, str]] = set()
    for here, text in texts.items():
        code = NOISE.sub(" ", text)
        public, private = functions(code)
        if here.endswith(".h"):
            left |= {(here, name) for name in public if name not in IMPLICIT}
        words = collections.Counter(re.findall(r"\w+", code))
        calls = words - collections.Counter(public + private)
        used |= {(header, name) for header in included(here, texts) for name in calls}
    return sorted(left - used)


def folders(root: pathlib.Path):
    """(folder, files, median, largest, its path) of each folder with sources."""
    by_folder: dict[pathlib.Path, list[tuple[int, str]]] = {}
    for top in PRODUCT + ("test",):
        for path in sorted((root / top).rglob("*")):
            if path.suffix in (".h", ".cc", ".py") and path.is_file():
                lines = len(path.read_text(errors="replace").splitlines())
                by_folder.setdefault(path.parent.relative_to(root), []).append((lines, path.name))
    for folder, files in sorted(by_folder.items()):
        largest, name = max(files)
        yield folder.as_posix(), len(files), int(statistics.median(lines for lines, _ in files)), largest, name


def main() -> int:
    root = pathlib.Path(sys.argv[1]).resolve()
    print(f"{'folder':32} {'files':>5} {'median':>6} {'largest':>7}")
    for folder, files, median, largest, name in folders(root):
        print(f"{folder:32} {files:5} {median:6} {largest:7} {name}")
    found = unused(root)
    counted = [(where, name) for where, name in found if name not in ALLOWED]
    stale = sorted(set(ALLOWED) - {name for _, name in found})
    gated = [where for where, _ in counted if where.split("/")[0] in GATED]
    print(f"\n{len(counted)} public functions that only tests use, {len(gated)} of them in {', '.join(GATED)}")
    for where, name in counted:
        print(f"{where}: {name}()")
    for name in stale:
        print(f"test/tidy/census.py: ALLOWED names {name}(), which is used now, or is no more")
    return 1 if gated or stale else 0


if __name__ == "__main__":
    sys.exit(main())

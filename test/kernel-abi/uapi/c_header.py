"""What a C header of Linux defines: macros, enumerators and members of structs."""
import dataclasses
import pathlib
import re
import subprocess


@dataclasses.dataclass(frozen=True)
class Member:
    type: str  # "" for a struct or union that stands in the struct itself
    name: str  # "" for a nameless struct or union
    extents: tuple[str, ...] = ()
    bits: bool = False
    kind: str = ""  # "struct" or "union" where it has members of its own
    members: tuple["Member", ...] = ()

    def paths(self) -> list[str]:
        """Its own name, and those of what is in it: "io", "io.port". A flexible array has none: it begins where its struct ends."""
        if self.extents and self.extents[0] in ("", "0"):
            return []
        inner = [path for member in self.members for path in member.paths()]
        if not self.name:
            return inner
        return [self.name] + [f"{self.name}.{path}" for path in inner]


class Header:
    """`include` ("linux/kvm.h") as `compiler` (a command) finds it."""

    def __init__(self, compiler: list[str], include: str):
        self.path = self._find(compiler, include)
        self.text = re.sub(r"/\*.*?\*/", " ", self.path.read_text(), flags=re.S)
        defined = re.findall(r"^[ \t]*#[ \t]*define[ \t]+(\w+)(\(?)([^\n]*)", self.text.replace("\\\n", " "), re.M)
        # A guard has no value, and what is like a function has one only where it is called.
        self.macros = list(dict.fromkeys(name for name, call, value in defined if not call and value.strip()))
        self.functions = [name for name, call, _ in defined if call]
        source = f"#include <{include}>\n"
        output = self._preprocess(compiler, source, "-E", "-P")
        self._tokens = re.findall(r"\w+|[^\w\s]", output)
        mine = set(re.findall(r"\w+", self.text))
        self.structs: dict[str, tuple[Member, ...]] = {}
        self.enumerators: list[str] = []
        own_structs = set(re.findall(r"\b(?:struct|union)\s+(\w+)\s*(?:__attribute__\s*\(\(\w+\)\)\s*)?\{", self.text))
        at = 0
        while at < len(self._tokens):
            word = self._tokens[at:at + 3]
            if word[0] in ("struct", "union") and len(word) == 3 and word[2] == "{":
                members, end = self._members(at + 3)
                if word[1] in own_structs:
                    self.structs[word[1]] = members
                at = end
            elif word[0] == "enum" and "{" in word[1:]:
                start = self._tokens.index("{", at)
                end = self._tokens.index("}", start)
                names = re.findall(r"(?:^|, )(\w+)", " ".join(self._tokens[start + 1:end]))
                self.enumerators += [name for name in names if name in mine]
                at = end
            else:
                at += 1

    @staticmethod
    def _preprocess(compiler: list[str], source: str, *flags: str) -> str:
        return subprocess.run([*compiler, *flags, "-x", "c++", "-"], input=source, capture_output=True, text=True,
                              check=True).stdout

    def _find(self, compiler: list[str], include: str) -> pathlib.Path:
        output = self._preprocess(compiler, f"#include <{include}>\n", "-E")
        return pathlib.Path(re.search(rf'^# 1 "([^"]*/{re.escape(include)})"', output, re.M).group(1))

    def _members(self, at: int) -> tuple[tuple[Member, ...], int]:
        """The members from token `at` on; and where the closing brace is."""
        members: list[Member] = []
        while self._tokens[at] != "}":
            words: list[str] = []
            inner: tuple[Member, ...] = ()
            kind = ""
            while self._tokens[at] != ";":
                if self._tokens[at] == "{":
                    kind = next(word for word in words if word in ("struct", "union"))
                    inner, at = self._members(at + 1)
                    words = []
                elif self._tokens[at] == "__attribute__":
                    at = self._closing(at + 1)
                elif self._tokens[at] != "__extension__":
                    words.append(self._tokens[at])
                at += 1
            members += self._declared(words, kind, inner)
            at += 1
        return tuple(members), at

    def _closing(self, at: int) -> int:
        depth = 0
        while True:
            depth += {"(": 1, ")": -1}.get(self._tokens[at], 0)
            if depth == 0:
                return at
            at += 1

    @staticmethod
    def _declared(words: list[str], kind: str, inner: tuple[Member, ...]) -> list[Member]:
        """`u32 a, b[4]` as its members; `inner` are those of the struct that stands before the names."""
        if kind and not words:
            return [Member("", "", kind=kind, members=inner)]
        members = []
        first = ""
        for i, declarator in enumerate(" ".join(words).split(" , ")):
            extents = tuple(extent.strip() for extent in re.findall(r"\[([^\]]*)\]", declarator))
            plain = re.sub(r"\[[^\]]*\]", "", declarator).split(" : ")[0].split()
            name = plain[-1] if plain else ""
            if i == 0:
                first = " ".join(plain[:-1])
            if name and not name.startswith("__empty_"):
                members.append(Member(first, name, extents, " : " in declarator, kind, inner))
        return members

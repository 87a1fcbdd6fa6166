#!/usr/bin/python3
"""Writes a manual page: a frame by hand, and the options and commands as the program's --help has them.

Usage: make_page.py FRAME PROGRAM > PAGE

In the frame the line @OPTIONS@ stands for the options, @COMMANDS@ for the commands with theirs.
"""
import pathlib
import re
import subprocess
import sys


def help_of(*command: str) -> str:
    return subprocess.run([*command, "--help"], check=True, capture_output=True, text=True).stdout


def items(text: str) -> list[tuple[str, str]]:
    """Each line of a help text that names something, with what it is for."""
    parts = (re.split(r" {2,}", line.strip(), maxsplit=1) for line in text.splitlines() if line.startswith("  "))
    return [(part[0], part[1]) for part in parts if len(part) == 2]


def roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def paragraph(name: str, use: str) -> str:
    return f".TP\n.B {roff(name)}\n{roff(use)}.\n"


def options(text: str) -> list[tuple[str, str]]:
    return [item for item in items(text) if item[0].startswith("-")]


def commands(program: str, text: str) -> str:
    common, page = set(options(text)), ""
    for name, use in items(text):
        if name.startswith("-"):
            continue
        page += f".SS {roff(name)}\n{roff(use[:1].upper() + use[1:])}.\n"
        for option in options(help_of(program, name.split()[0])):
            page += "" if option in common else paragraph(*option)
    return page


def main():
    frame, program = pathlib.Path(sys.argv[1]), sys.argv[2]
    text = help_of(program)
    page = frame.read_text()
    page = page.replace("@OPTIONS@\n", "".join(paragraph(*option) for option in options(text)))
    page = page.replace("@COMMANDS@\n", commands(program, text) if "@COMMANDS@" in page else "")
    sys.stdout.write(page)


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Manual pages and completions against the programs. Usage: man_pages_test.py BUILD"""
import pathlib
import re
import subprocess
import sys
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PAGES = {"pepita.1": "cri/cli/pepita", "pepita-cri.8": "cri/pepita-cri", "pepita-run.8": "runtime/pepita-run"}


def said(*command) -> str:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


class ManPages(unittest.TestCase):
    def test_each_has_every_option_and_command(self):
        for page, program in PAGES.items():
            with self.subTest(page):
                shown = re.sub(r"\s+", " ", said("groff", "-man", "-Tascii", "-P-cbou", BUILD / "deploy" / page))
                text = said(BUILD / program, "--help")
                options = re.findall(r"(?<=\s)--[a-z0-9-]+", text)
                self.assertGreater(len(options), 2)
                commands = re.findall(r"^  ([a-z]+)(?: \S+)* {2,}", text, re.MULTILINE)
                for command in commands:
                    options += re.findall(r"(?<=\s)--[a-z0-9-]+", said(BUILD / program, command, "--help"))
                for word in options + commands:
                    self.assertIn(f" {word} ", shown.replace(",", " "))

    def test_groff_has_nothing_to_say(self):
        for page in PAGES:
            done = subprocess.run(["groff", "-man", "-ww", "-z", BUILD / "deploy" / page], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""), page)


class Completion(unittest.TestCase):
    def complete(self, program: str, *words: str) -> set[str]:
        script = f"""source {SOURCE}/deploy/bash/pepita
            COMP_WORDS=({" ".join((program, *words))} ""); COMP_CWORD={len(words)}
            [ {len(words)} = 0 ] || COMP_WORDS[COMP_CWORD]={words[-1] if words else ""}
            _pepita {BUILD / PAGES[program]} "${{COMP_WORDS[COMP_CWORD]}}"; printf '%s\\n' "${{COMPREPLY[@]}}" """
        return set(said("bash", "-c", script).split())

    def test_commands_and_options(self):
        self.assertEqual(self.complete("pepita.1", "do"), {"doctor"})
        self.assertEqual(self.complete("pepita.1", "image", "pu"), {"pull"})
        self.assertEqual(self.complete("pepita.1", "top", "--o"), {"--once"})
        self.assertEqual(self.complete("pepita-run.8", "kil"), {"kill"})
        self.assertEqual(self.complete("pepita-cri.8", "--stream"), {"--stream-address", "--stream-port"})


if __name__ == "__main__":
    BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()

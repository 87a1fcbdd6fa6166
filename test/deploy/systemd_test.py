#!/usr/bin/python3
"""The systemd units by systemd-analyze, offline."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

UNITS = pathlib.Path(__file__).resolve().parents[2] / "deploy/systemd"
EXPOSURE_MAX = {"pepita-cri.service": 95, "pepita-storage.service": 35}  # tenths; the former may have no sandbox


class Units(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.place = self.root / "etc/systemd/system"
        self.place.mkdir(parents=True)
        for unit in UNITS.glob("*.service"):
            shutil.copy(unit, self.place)
            for program in re.findall(r"^Exec\w+=(\S+)", unit.read_text(), re.MULTILINE):
                path = self.root / program.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy("/bin/true", path)

    def analyze(self, *arguments) -> subprocess.CompletedProcess:
        return subprocess.run(["systemd-analyze", f"--root={self.root}", *map(str, arguments)], capture_output=True, text=True)

    def test_they_have_no_mistakes(self):
        for unit in EXPOSURE_MAX:
            done = self.analyze("verify", "--man=no", "--recursive-errors=no", unit)
            ours = [line for line in done.stderr.splitlines() if "pepita" in line]
            self.assertEqual((done.returncode, ours), (0, []), unit)

    def test_a_mistake_would_be_found(self):
        with open(self.place / "pepita-cri.service", "a") as unit:
            unit.write("NoSuchOption=yes\n")
        self.assertIn("NoSuchOption", self.analyze("verify", "--man=no", "--recursive-errors=no", "pepita-cri.service").stderr)

    def test_they_are_as_closed_as_they_can_be(self):
        for unit, most in EXPOSURE_MAX.items():
            done = self.analyze("security", "--offline=true", f"--threshold={most}", "--no-pager", unit)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_pods_outlive_the_service(self):
        text = (UNITS / "pepita-cri.service").read_text()
        self.assertIn("\nKillMode=process\n", text)
        given = re.findall(r"^((?:Protect|Private|Read|TemporaryFileSystem|Bind|Inaccessible|RootDirectory)\w*)=", text, re.MULTILINE)
        self.assertEqual(given, [], "a mount namespace of its own would lose the pods' network namespaces")


if __name__ == "__main__":
    if shutil.which("systemd-analyze") is None:
        print("systemd-analyze is not installed")
        sys.exit(77)
    unittest.main()

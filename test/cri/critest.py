#!/usr/bin/python3
"""critest, unmodified, against pepita-cri; what it may fail, and why, is in critest.md.

Usage: critest.py BUILD [FOCUS [OPTION...]]
    FOCUS: a regular expression of specs' names (default: Conformance; ".": all)
    OPTION: critest's own, "-websocket-exec" say

Environment: as crictl_test.py's. Exit status 0 where nothing failed but what critest.md names.
"""
import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import cri_host  # noqa: E402
import go_programs  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent


def known_failures() -> list[str]:
    """The names in the first column of critest.md's table."""
    return re.findall(r"^\| `([^`]+)` \|", (HERE / "critest.md").read_text(), re.MULTILINE)


def main() -> int:
    build = pathlib.Path(sys.argv[1]).resolve()
    focus = sys.argv[2] if len(sys.argv) > 2 else "Conformance"
    data = pathlib.Path(os.environ.get("PEPITA_DATA", build / "data"))
    program = go_programs.critest()
    with cri_host.start(build, data, os.environ.get("PEPITA_ISOLATION", "tcg")) as node:
        done = subprocess.run([program, "-runtime-endpoint", node.endpoint, "-image-endpoint", node.endpoint,
                               "-ginkgo.no-color", f"-ginkgo.focus={focus}", "-ginkgo.timeout=3h", *sys.argv[3:]],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        print(done.stdout)
    failed = set(re.findall(r"^  \[FAIL\] (.*)$", done.stdout, re.MULTILINE))
    counted = re.search(r"^(?:FAIL|SUCCESS)! -- (\d+) Passed \| (\d+) Failed", done.stdout, re.MULTILINE)
    if counted is None or int(counted[1]) == 0:
        print("critest ran no spec")
        return 1
    unknown = {name for name in failed if not any(known in name for known in known_failures())}
    for name in sorted(unknown):
        print(f"failed, and should not have: {name}")
    print(f"critest: {counted[1]} passed, {counted[2]} failed, {len(failed) - len(unknown)} of them as critest.md says")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())

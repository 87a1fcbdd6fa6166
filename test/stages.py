#!/usr/bin/python3
"""The stages of test/run, which has installed what they need.

Usage: test/stages.py [--build DIR] [STAGE...]. Without a stage, all run, in this order, but that lint
goes on beside integration and lab, which keep one processor busy:
  format       every source is formatted as clang-format 19 does; shellcheck of the scripts
  quickstart   deploy/quickstart: the product, optimized as its users build it, runs a container
  unit         tests of whole programs, tidy tests, and those unit tests that sanitizers break
  asan         the other unit tests, under AddressSanitizer and UndefinedBehaviourSanitizer
  tsan         unit tests of what has threads under ThreadSanitizer
  fuzz         each fuzz target for some seconds, under ASan and UBSan, from its corpus
  lint         clang-tidy 19 over the product's sources
  integration  pods from end to end on this machine, isolation tcg
  lab          the same on real KVM, in the lab (see test/lab/README.md)
Exit status 0 where nothing failed; the last line is `N passed, N failed, N skipped`.
"""
import argparse
import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = ("kernel-abi", "compute", "storage", "runtime", "vmm", "shim", "cri")
FUZZ_SECONDS = int(os.environ.get("PEPITA_FUZZ_SECONDS", "10"))
LOG_LINES = 60
# Folder of the build → the guest's kernel: our own for all tests, stock ones for those about them.
GUESTS = {"data": "source", "data-6.12": "linux-image-6.12-cloud-amd64", "data-6.1": "linux-image-cloud-amd64"}
SCRIPTS = ("deploy/quickstart", "deploy/bash/pepita", "deploy/deb/build", "deploy/deb/show", "deploy/image/agent", "deploy/image/build", "deploy/install-packages", "test/run", "test/lab/init", "test/lab/init2",
           ".ci/run", ".githooks/pre-commit", ".githooks/commit-msg")
JOBS = os.cpu_count() or 1
LINTED = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "pepita/linted"
# One build for both asan and fuzz: compiling takes most of their time.
ASAN = ("--native-file", "test/fuzz/clang-19.ini",
        *(("--native-file", "test/fuzz/ccache.ini") if shutil.which("ccache") else ()))
TSAN = ("-Db_sanitize=thread", "-Db_lundef=false", "-Doptimization=1", "-Dcpp_args=-g1")


@dataclasses.dataclass
class Tally:
    """What the tests said, added up."""
    passed: int = 0
    failed: int = 0
    skipped: list[str] = dataclasses.field(default_factory=list)
    failures: list[tuple[str, str]] = dataclasses.field(default_factory=list)  # name, log

    def one(self, name: str, ok: bool, log: str):
        self.passed += ok
        if not ok:
            self.fail(name, log)

    def fail(self, name: str, log: str, count: int = 1):
        self.failed += count
        self.failures.append((name, log))

    def add(self, other: "Tally"):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures += other.failures


def call(command: list, **more) -> tuple[bool, str]:
    """Runs to the end. Whether it exited with 0, and all that it said."""
    try:
        done = subprocess.run([str(word) for word in command], cwd=SOURCE, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **more)
    except OSError as error:
        return False, f"{command[0]}: {error.strerror}"
    return done.returncode == 0, done.stdout.decode(errors="replace")


def add_log(tally: Tally, stage: str, log: pathlib.Path) -> bool:
    """Adds one of Meson's logs, a JSON object a line. False where there is none."""
    if not log.is_file():
        return False
    for line in log.read_text().splitlines():
        add_entry(tally, stage, json.loads(line))
    return True


def add_entry(tally: Tally, stage: str, entry: dict):
    """One program's result, case by case where it is GoogleTest's or unittest's."""
    text = entry.get("stdout", "") + entry.get("stderr", "")
    name = f"{stage}: {entry['name']}"
    passed, failed, skipped = (gtest_cases(text) or unittest_cases(text) or
                               counted_cases(text) or (0, 0, []))
    result = entry["result"]
    if result == "SKIP":
        last = (text.strip() or "no reason given").splitlines()[-1]
        skipped = skipped or [last]
    elif result in ("OK", "EXPECTEDFAIL"):
        passed = passed or (0 if skipped else 1)
    else:
        failed = failed or 1
    tally.passed += passed
    tally.skipped += [f"{name}: {reason}" for reason in skipped]
    if failed:
        tally.fail(f"{name} ({result.lower()} after {entry['duration']:.0f} s)", text, failed)


def gtest_cases(text: str) -> tuple[int, int, list[str]] | None:
    if "[==========]" not in text:
        return None
    skipped = []
    for found in re.finditer(r"^\[  SKIPPED \] (\S+) \(\d+ ms\)$", text, re.M):
        # GoogleTest prints the reason after "file:line: Skipped", above this line.
        reasons = re.findall(r": Skipped\n(.*)\n", text[:found.start()])
        skipped.append(f"{found.group(1)}: {reasons[-1] if reasons else 'no reason given'}")
    failed = set(re.findall(r"^\[  FAILED  \] ([^\s,]+)(?:, .*)? \(\d+ ms\)$", text, re.M))
    return len(re.findall(r"^\[       OK \] ", text, re.M)), len(failed), skipped


def unittest_cases(text: str) -> tuple[int, int, list[str]] | None:
    ran = re.findall(r"^Ran (\d+) tests? in ", text, re.M)
    if not ran:
        return None
    counts = dict(re.findall(r"(failures|errors|skipped)=(\d+)", text[text.rindex("Ran "):]))
    failed = int(counts.get("failures", 0)) + int(counts.get("errors", 0))
    skipped = re.findall(r"^(.*\.\.\. skipped .*)$", text, re.M)
    skipped += ["no reason given"] * (int(counts.get("skipped", 0)) - len(skipped))
    return max(0, int(ran[-1]) - failed - len(skipped)), failed, skipped


def counted_cases(text: str) -> tuple[int, int, list[str]] | None:
    """test/integration/run.py counts for itself."""
    counts = re.findall(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", text, re.M)
    if not counts:
        return None
    passed, failed, skipped = map(int, counts[-1])
    reasons = [f"{name}: {reason}" for name, reason in
               re.findall(r"^skipped +[\d.]+ s +(\S+)\n +reason: (.*)$", text, re.M)]
    return passed, failed, reasons + ["no reason given"] * (skipped - len(reasons))


def seen_by_lint(source: str, compiled: dict) -> str:
    """A name for all that clang-tidy looks at: text, comments and macros of a source and its headers,
    and its rules. It takes ten times as long as the preprocessor."""
    words = [word for word in shlex.split(compiled["command"]) if word not in ("ccache", "-MD")]
    for option in ("-o", "-MF", "-MQ"):
        at = words.index(option)
        del words[at:at + 2]
    seen = subprocess.run([*words, "-E", "-CC", "-dD"], cwd=compiled["directory"], stdin=subprocess.DEVNULL,
                          capture_output=True, check=False)
    name = hashlib.sha256((SOURCE / ".clang-tidy").read_bytes())
    for part in (call(["clang-tidy-19", "--version"])[1].encode(), source.encode(), str(words).encode(), seen.stdout):
        name.update(part + b"\0")
    return name.hexdigest()


BUILDING = threading.Lock()  # two ninjas in one folder would undo each other's work


class Processors:
    """Those of the machine, shared by stages that run beside each other."""

    def __init__(self, count: int):
        self.count = count
        self.free = threading.Semaphore(count)

    def map(self, work, items) -> list:
        """Each item's result; as many at once as processors are free at the time."""
        def one(item):
            with self.free:
                return work(item)
        with concurrent.futures.ThreadPoolExecutor(self.count) as pool:
            return list(pool.map(one, items))


class Stages:
    """One run of a stage."""

    def __init__(self, build: pathlib.Path, processors: Processors):
        self.build = build
        self.processors = processors
        self.tally = Tally()

    def folder(self, name: str) -> pathlib.Path:
        return self.build if not name else self.build.with_name(f"{self.build.name}-{name}")

    def configured(self, stage: str, folder: pathlib.Path, *options: str) -> bool:
        with BUILDING:
            if (folder / "build.ninja").is_file():
                return True
            ok, log = call(["meson", "setup", *options, folder])
            if not ok:
                shutil.rmtree(folder, ignore_errors=True)
        if not ok:
            self.tally.fail(f"{stage}: meson setup", log)
        return ok

    def compiled(self, stage: str, folder: pathlib.Path, *targets: str) -> bool:
        with BUILDING:
            ok, log = call(["ninja", "-C", folder, *targets])
        if not ok:
            self.tally.fail(f"{stage}: build", log)
        return ok

    def meson_test(self, stage: str, folder: pathlib.Path, *options: str, below: tuple[str, ...] = ()):
        log = folder / f"meson-logs/{stage}.json"
        log.unlink(missing_ok=True)
        _, said = call([*below, "meson", "test", "-C", folder, "--logbase", stage, *options])
        if not add_log(self.tally, stage, log):
            self.tally.fail(f"{stage}: meson test", said)

    def sources(self, *folders: str, suffixes=(".cc", ".h")) -> list[str]:
        return sorted(str(path.relative_to(SOURCE)) for folder in folders
                      for path in (SOURCE / folder).rglob("*") if path.suffix in suffixes)

    def format(self):
        self.tally.one("format", *call(["clang-format-19", "--dry-run", "-Werror",
                                        *self.sources(*FOLDERS, "test")]))
        self.tally.one("format: shellcheck", *call(["shellcheck", *SCRIPTS]))

    def quickstart(self):
        self.tally.one("quickstart", *call(["deploy/quickstart"]))

    def unit(self):
        if self.built_plain("unit"):
            self.meson_test("unit", self.folder(""), "--no-suite", "integration", "--no-suite", "lab",
                            "--no-suite", "names", "--no-rebuild")

    def built_plain(self, stage: str) -> bool:
        """The build without sanitizers, but for the programs of unit tests that asan builds: compiling those
        takes most of the time."""
        folder = self.folder("")
        if not self.configured(stage, folder):
            return False
        _, told = call(["meson", "introspect", "--targets", folder])
        _, tests = call(["meson", "introspect", "--tests", folder])
        sanitized = {test["cmd"][0] for test in json.loads(tests)
                     if "pepita:names" in test["suite"] and not test["cmd"][0].endswith(".py")}
        return self.compiled(stage, folder, *(
            os.path.relpath(target["filename"][0], folder) for target in json.loads(told)
            if target["type"] in ("executable", "custom") and target["filename"][0] not in sanitized))

    def asan(self):
        folder = self.folder("asan")
        if self.configured("asan", folder, *ASAN) and self.compiled("asan", folder):
            self.meson_test("asan", folder, "--suite", "unit", "--no-rebuild")

    def tsan(self):
        folder = self.folder("tsan")
        if self.configured("tsan", folder, *TSAN):
            # Without a random layout: gcc 12's runtime stops where newer kernels put things. Meson builds
            # what these tests need.
            self.meson_test("tsan", folder, "--suite", "threaded", below=("setarch", "-R"))

    def fuzz(self):
        folder = self.folder("asan")
        if not self.configured("fuzz", folder, *ASAN):
            return
        ok, told = call(["meson", "introspect", "--targets", folder])
        targets = [target["filename"][0] for target in json.loads(told)
                   if target["name"].endswith("_fuzz")] if ok else []
        if not targets:
            self.tally.fail("fuzz: no targets", told)
        elif self.compiled("fuzz", folder, *(os.path.relpath(target, folder) for target in targets)):
            for target, (ok, log) in zip(targets, self.processors.map(self.fuzz_one, targets)):
                self.tally.one(f"fuzz: {pathlib.Path(target).name}", ok, log)

    def fuzz_one(self, target: str) -> tuple[bool, str]:
        name = pathlib.Path(target).name.removesuffix("_fuzz")
        found = self.folder("asan") / "corpus" / name  # what this run discovers stays out of the tree
        found.mkdir(parents=True, exist_ok=True)
        given = SOURCE / "test/fuzz/corpus" / name
        return call([target, f"-max_total_time={FUZZ_SECONDS}", "-timeout=10", "-rss_limit_mb=2048",
                     f"-artifact_prefix={self.folder('asan')}/{name}-", found, *([given] if given.is_dir() else [])],
                    timeout=FUZZ_SECONDS * 10 + 120)

    def lint(self):
        # Generated headers have to be there before anything that includes them is read.
        if not (self.configured("lint", self.folder("")) and self.built_plain("lint")):
            return
        commands = json.loads((self.folder("") / "compile_commands.json").read_text())
        compiles = {os.path.relpath(pathlib.Path(entry["directory"]) / entry["file"], SOURCE): entry
                    for entry in commands}
        sources = self.sources(*FOLDERS, suffixes=(".cc",))
        results = self.processors.map(lambda source: self.lint_one(source, compiles.get(source)), sources)
        logs = [log for ok, log in results if not ok]
        self.tally.one("lint", not logs, "\n".join(logs))

    def lint_one(self, source: str, compiled: dict | None) -> tuple[bool, str]:
        command = ["clang-tidy-19", "-p", self.folder(""), "--quiet",
                   "--extra-arg=-Wno-unknown-warning-option", source]
        clean = LINTED / seen_by_lint(source, compiled) if compiled else None
        if clean and clean.exists():
            return True, ""
        ok, log = call(command)
        if ok and clean:
            clean.parent.mkdir(parents=True, exist_ok=True)
            clean.touch()
        return ok, log

    def pods(self, stage: str):
        folder = self.folder("")
        if not self.built_plain(stage):
            return
        for data, kernel in GUESTS.items():
            ok, log = call(["deploy/guest/build", "--init", folder / "runtime/pepita-init",
                            "--output", folder / data / "guest", "--kernel", kernel])
            if not ok:
                self.tally.fail(f"{stage}: guest of kernel {kernel}", log)
                return
        self.meson_test(stage, folder, "--suite", stage, "--num-processes", "1", "--no-rebuild")

    def integration(self):
        self.pods("integration")

    def lab(self):
        self.pods("lab")


def report(tally: Tally):
    for name, log in tally.failures:
        print(f"\n==== failed: {name}")
        print("\n".join(log.splitlines()[-LOG_LINES:]))
    if tally.skipped:
        print("\nskipped:")
        for reason in tally.skipped:
            print(f"  {reason}")
    print(f"\n{tally.passed} passed, {tally.failed} failed, {len(tally.skipped)} skipped", flush=True)


ALL = ("format", "quickstart", "unit", "asan", "tsan", "fuzz", "lint", "integration", "lab")
ON_ONE_PROCESSOR = {"integration", "lab"}


def run_stage(build: pathlib.Path, name: str, processors: Processors) -> Tally:
    stages = Stages(build, processors)
    began = time.monotonic()
    getattr(stages, name)()
    tally = stages.tally
    print(f"{name:12} {tally.passed:5} passed {tally.failed:4} failed {len(tally.skipped):4} skipped "
          f"{time.monotonic() - began:7.0f} s", flush=True)
    return tally


def start_kernel_build():
    """Builds our own kernel into the machine's cache, where it is not there yet, with what processor time the
    stages before the pods' leave. Those wait for it, and say what went wrong."""
    return subprocess.Popen(["nice", "-n", "19", SOURCE / "deploy/guest/build", "--kernel", "source"], cwd=SOURCE,
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run_stages(build: pathlib.Path, names: list[str]) -> Tally:
    """Runs them in turn; lint beside those that leave processors idle, and on all once they have ended."""
    kernel = start_kernel_build() if ON_ONE_PROCESSOR.intersection(names) else None
    beside = "lint" in names and JOBS > 1 and not ON_ONE_PROCESSOR.isdisjoint(names)
    processors = Processors(JOBS)
    total = Tally()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        lint = None
        for name in names:
            if name == "lint" and beside:
                continue
            if name not in ON_ONE_PROCESSOR:
                total.add(run_stage(build, name, processors))
                continue
            if beside and lint is None:
                lint = pool.submit(run_stage, build, "lint", processors)
            with processors.free:
                total.add(run_stage(build, name, processors))
        if lint:
            total.add(lint.result())
    if kernel:
        kernel.wait()
    return total


def main() -> int:
    parser = argparse.ArgumentParser(prog="test/run", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=SOURCE / "build", metavar="DIR")
    parser.add_argument("stage", nargs="*", choices=[*ALL, []], metavar="STAGE")
    options = parser.parse_args()
    os.environ.setdefault("CCACHE_BASEDIR", str(SOURCE))
    os.environ.setdefault("CCACHE_NOHASHDIR", "1")  # or no clone would find what another has compiled
    tally = run_stages(options.build.resolve(), options.stage or ALL)
    report(tally)
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())

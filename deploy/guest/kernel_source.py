"""Builds the kernel of a guest from Debian's package of Linux's source and our list of options.

What is built is kept in a cache, in a folder named by all that it is made of: the package's version, the options,
the compiler and linker, and this file. So it is built once per machine, about ten minutes of two processors.
"""
import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

PACKAGE = "linux-source-6.12"
OPTIONS = pathlib.Path(__file__).with_name("kernel.config")
BEGIN_MITIGATIONS, END_MITIGATIONS = "# begin mitigations\n", "# end mitigations\n"
# The same input gives the same bytes.
FIXED = {"KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 1970", "KBUILD_BUILD_VERSION": "1",
         "KBUILD_BUILD_USER": "pepita", "KBUILD_BUILD_HOST": "pepita", "LC_ALL": "C"}
FILES = ("vmlinux", "config", "kernel-release")


class Failure(Exception):
    """One line for the user."""


def options_text(mitigations: bool) -> str:
    text = OPTIONS.read_text()
    if mitigations:
        return text
    before, rest = text.split(BEGIN_MITIGATIONS)
    return before + rest.split(END_MITIGATIONS)[1]


def settings(text: str) -> dict[str, str]:
    """Option → value, of a list of options or of a .config; what is not set is not in it."""
    return dict(re.findall(r"^CONFIG_(\w+)=(.*)$", text, re.M))


def unmet(wanted: str, config: str) -> list[str]:
    """The options that did not become what they should: another one that they depend on is missing."""
    have = settings(config)
    return [f"{name} is {have.get(name, 'n')}, not {value}" for name, value in settings(wanted).items()
            if have.get(name, "n") != value]


def output_of(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    except OSError as error:
        raise Failure(f"{command[0]}: {error.strerror}; install what deploy/packages-kernel lists") from None
    if done.returncode != 0:
        lines = (done.stderr.strip() or "no message").splitlines()
        raise Failure(f"{' '.join(command[:2])}: {lines[-1]}")
    return done.stdout


def source_version() -> str:
    found = re.search(r"Candidate: (\d\S*)", output_of("apt-cache", "policy", PACKAGE))
    if not found:
        raise Failure(f"package '{PACKAGE}' is not known to apt: run 'apt-get update'")
    return found.group(1)


def cache_name(version: str, options: str) -> str:
    digest = hashlib.sha256()
    for part in (version, options, output_of("gcc", "--version"), output_of("ld", "--version"),
                 pathlib.Path(__file__).read_text()):
        digest.update(part.encode() + b"\0")
    return f"{PACKAGE}-{digest.hexdigest()[:16]}"


def is_whole(folder: pathlib.Path) -> bool:
    return all((folder / name).is_file() for name in FILES)


def cached_kernel(cache: pathlib.Path, mitigations: bool = True) -> pathlib.Path | None:
    """The folder with the kernel, where it was built before; not where it cannot even be named."""
    try:
        folder = cache / cache_name(source_version(), options_text(mitigations))
    except Failure:
        return None
    return folder if is_whole(folder) else None


def built_kernel(cache: pathlib.Path, mitigations: bool, jobs: int) -> pathlib.Path:
    """The folder with FILES, from the cache or built now."""
    version, options = source_version(), options_text(mitigations)
    folder = cache / cache_name(version, options)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with alone(cache / f"{PACKAGE}.lock"):
            if not is_whole(folder):
                build(folder, version, options, jobs)
    except OSError as error:
        raise Failure(f"cache '{cache}': {error.strerror}") from None
    return folder


@contextlib.contextmanager
def alone(path: pathlib.Path):
    """Who comes second waits, and finds what the first has built."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(folder: pathlib.Path, version: str, options: str, jobs: int):
    print(f"guest: building Linux {version} with {jobs} jobs, some {max(1, 20 // jobs)} minutes", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="kernel-", dir=folder.parent) as scratch:
        work = pathlib.Path(scratch)
        source = unpacked_source(work, version)
        (work / "options").write_text(options)
        make(source, work, jobs, "allnoconfig", f"KCONFIG_ALLCONFIG={work}/options")
        config = (source / ".config").read_text()
        if wrong := unmet(options, config):
            raise Failure(f"kernel option {wrong[0]}" + (f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""))
        make(source, work, jobs, "vmlinux")
        result = work / "result"
        result.mkdir()
        output_of("strip", "-o", str(result / "vmlinux"), str(source / "vmlinux"))
        (result / "config").write_text(config)
        shutil.copy(source / "include/config/kernel.release", result / "kernel-release")
        shutil.rmtree(folder, ignore_errors=True)
        result.rename(folder)


def unpacked_source(work: pathlib.Path, version: str) -> pathlib.Path:
    # Root's apt would drop to a user who cannot write to this folder.
    if subprocess.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", f"{PACKAGE}={version}"], cwd=work,
                      capture_output=True, check=False).returncode:
        raise Failure(f"apt-get download {PACKAGE}={version} failed: run 'apt-get update'")
    output_of("dpkg-deb", "-x", str(next(work.glob("*.deb"))), str(work / "package"))
    source = work / "source"
    source.mkdir()
    output_of("tar", "-C", str(source), "--strip-components=1", "-xf", str(work / f"package/usr/src/{PACKAGE}.tar.xz"))
    shutil.rmtree(work / "package")
    return source


def make(source: pathlib.Path, work: pathlib.Path, jobs: int, *goals: str):
    log = work / "make.log"
    with log.open("w") as output:
        try:
            done = subprocess.run(["make", "-C", source, f"-j{jobs}", *goals], stdin=subprocess.DEVNULL, stdout=output,
                                  stderr=subprocess.STDOUT, check=False, env={**os.environ, **FIXED})
        except OSError as error:
            raise Failure(f"make: {error.strerror}; install what deploy/packages-kernel lists") from None
    if done.returncode:
        lines = log.read_text(errors="replace").splitlines()
        said = next((line for line in lines if re.search(r"error|not found", line, re.I)), lines[-1] if lines else "")
        raise Failure(f"make {goals[0]}: {said.strip()}")

"""Kernels for the lab: Debian's packages, unpacked once below the cache."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

STABLE_META_PACKAGE = "linux-image-6.12-amd64"
# The cloud kernel of the same suite has no 9p, which the lab's root comes by.
NEWEST_META_PACKAGE = "linux-image-amd64"
NEWEST_SOURCE = ("deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
                 " http://deb.debian.org/debian trixie-backports main\n")
ASK_AGAIN_S = 24 * 3600
# Newer packages split a kernel; linux-image depends on all of its parts.
PARTS = re.compile(r"^linux-(?:image|base|binary|modules)-\d\S*", re.MULTILINE)


class Failure(Exception):
    """One line for the user."""


class NoArchive(Failure):
    """The archive cannot be reached, and nothing of it is in the cache."""


def cache_directory() -> pathlib.Path:
    default = pathlib.Path(os.environ.get("XDG_CACHE_HOME", "/var/cache")) / "pepita" / "lab"
    return pathlib.Path(os.environ.get("PEPITA_LAB_CACHE", default))


def output_of(*command: str, cwd: pathlib.Path | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Failure(f"{command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise Failure(f"{command[0]} failed: {last}")
    return done.stdout


def need(program: str, package: str) -> str:
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise Failure(f"{program} is missing: apt-get install {package}")
    return path


def kernel_tree(kernel: str) -> pathlib.Path:
    """The unpacked packages of `kernel`, "stable" or "newest"."""
    return newest_tree() if kernel == "newest" else stable_tree()


def kernel_image(tree: pathlib.Path) -> pathlib.Path:
    return next(path for pattern in ("boot/vmlinuz-*", "lib/modules/*/vmlinuz") for path in tree.glob(pattern))


def in_cache(pattern: str) -> pathlib.Path | None:
    ready = sorted(cache_directory().glob(f"{pattern}/ready"), key=lambda path: path.stat().st_mtime)
    return ready[-1].parent if ready else None


def stable_tree() -> pathlib.Path:
    """Of the host's own apt sources; downloaded where no version is in the cache yet."""
    cached = in_cache("linux-image-6.12*")
    if cached:
        return cached
    depends = output_of("apt-cache", "depends", "--important", STABLE_META_PACKAGE)
    found = re.search(r"Depends: (linux-image-6\.12\S+)", depends)
    if not found:
        raise Failure(f"package {STABLE_META_PACKAGE} is unknown: apt-get update")
    return unpacked(found.group(1), [found.group(1)], [])


def newest_tree() -> pathlib.Path:
    """What Debian's backports have today: asked for once a day, in a list of sources of our own."""
    cached = in_cache("newest-*")
    if cached and time.time() - (cached / "ready").stat().st_mtime < ASK_AGAIN_S:
        return cached
    cache_directory().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_directory()) as scratch:
        apt = private_apt(pathlib.Path(scratch))
        try:
            # Without the option an archive that cannot be reached is a warning.
            output_of("apt-get", *apt, "-o", "APT::Update::Error-Mode=any", "update")
        except Failure as failure:
            if cached:
                return cached
            raise NoArchive(f"no newest kernel: {failure}") from None
        depends = output_of("apt-cache", *apt, "depends", "--recurse", "--important", NEWEST_META_PACKAGE)
        packages = sorted(set(PARTS.findall(depends)))
        image = next((name for name in packages if name.startswith("linux-image-")), None)
        if image is None:
            raise Failure(f"package {NEWEST_META_PACKAGE} of trixie-backports names no kernel")
        name = image.replace("linux-image-", "newest-")
        if cached and cached.name == name:
            (cached / "ready").touch()
            return cached
        return unpacked(name, packages, apt)


def private_apt(scratch: pathlib.Path) -> list[str]:
    """Options with which apt neither reads nor changes this machine's sources, lists and packages."""
    (scratch / "sources.list").write_text(NEWEST_SOURCE)
    for folder in ("lists/partial", "archives/partial"):
        (scratch / folder).mkdir(parents=True)
    settings = {"Dir::Etc::SourceList": scratch / "sources.list", "Dir::Etc::SourceParts": "/dev/null",
                "Dir::Etc::Preferences": "/dev/null", "Dir::Etc::PreferencesParts": "/dev/null",
                "Dir::State": scratch, "Dir::State::status": "/dev/null", "Dir::Cache": scratch}
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")] + [
        "-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"]


def unpacked(name: str, packages: list[str], apt: list[str]) -> pathlib.Path:
    """Downloads packages, which apt checks against the archive's signature, and unpacks them."""
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        work = pathlib.Path(scratch)
        tree = work / "tree"
        output_of("apt-get", *apt, "-o", "APT::Sandbox::User=root", "download", *packages, cwd=work)
        for package in work.glob("*.deb"):
            output_of("dpkg-deb", "-x", str(package), str(tree))
        if not (tree / "lib").exists():
            (tree / "lib").symlink_to("usr/lib")
        release = next((tree / "lib/modules").iterdir()).name
        output_of(need("depmod", "kmod"), "-b", str(tree), release)
        (tree / "ready").touch()
        try:
            tree.rename(cache / name)
        except OSError:
            if not (cache / name / "ready").exists():
                raise
    return cache / name

#!/usr/bin/python3
"""Tests of deploy/guest/build, on a kernel that is a few small files."""
import concurrent.futures
import lzma
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "deploy/guest"))
import kernel_source  # noqa: E402

BUILD = pathlib.Path(__file__).resolve().parents[2] / "deploy/guest/build"
RELEASE = "6.99.0-test"
# Programs without symbols, as Debian has them.
INIT = pathlib.Path("/bin/true").read_bytes()
OTHER_INIT = pathlib.Path("/bin/false").read_bytes()
# What a guest needs; libcrc32c below erofs and a dash in a file's name are as Debian has them.
MODULES = {
    "drivers/virtio/virtio_pci": "virtio",
    "drivers/virtio/virtio": "",
    "drivers/block/virtio_blk": "",
    "net/vmw_vsock/vmw_vsock_virtio_transport": "vmw-vsock-common,vsock",
    "net/vmw_vsock/vmw-vsock-common": "vsock",
    "net/vmw_vsock/vsock": "",
    "fs/erofs/erofs": "libcrc32c",
    "lib/libcrc32c": "crc32c_generic",
    "fs/ext4/ext4": "jbd2",
    "fs/jbd2/jbd2": "",
    "fs/overlayfs/overlay": "",
    "fs/fuse/virtiofs": "fuse,virtio",
    "fs/fuse/fuse": "",
    "drivers/net/virtio_net": "net_failover,virtio",
    "drivers/net/net_failover": "",
    "fs/unwanted/unwanted": "",
}


def module(depends: str) -> bytes:
    return b"\x7fELF\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0"


def entries(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Names, modes and contents of a newc archive, read as Linux does (initramfs buffer format)."""
    found, at = {}, 0
    while True:
        fields = [int(archive[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13)]
        assert archive[at:at + 6] == b"070701"
        name = archive[at + 110:at + 110 + fields[11] - 1].decode()
        data_at = (at + 110 + fields[11] + 3) & ~3
        if name == "TRAILER!!!":
            return found
        found[name] = (fields[1], archive[data_at:data_at + fields[6]])
        at = (data_at + fields[6] + 3) & ~3


class GuestBuild(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = pathlib.Path(scratch.name)
        self.modules = self.root / "lib/modules" / RELEASE
        for path, depends in MODULES.items():
            file = self.modules / "kernel" / f"{path}.ko.xz"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(lzma.compress(module(depends)))
        (self.modules / "modules.builtin").write_text("kernel/crypto/crc32c_generic.ko\n")
        (self.root / "vmlinuz").write_bytes(b"kernel image")
        (self.root / "pepita-init").write_bytes(INIT)
        self.output = self.root / "guest"

    def build(self, *more: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [BUILD, "--init", self.root / "pepita-init", "--vmlinuz", self.root / "vmlinuz",
             "--modules", self.modules, "--output", self.output, *more],
            capture_output=True, text=True, check=False)

    def archive(self) -> dict[str, tuple[int, bytes]]:
        return entries((self.output / "initramfs.cpio").read_bytes())

    def refused(self, *words: str, arguments=()):
        done = self.build(*arguments)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertFalse((self.output / "initramfs.cpio").exists())

    def test_holds_kernel_init_and_console(self):
        self.assertEqual(self.build().returncode, 0)
        self.assertEqual((self.output / "vmlinuz").read_bytes(), b"kernel image")
        self.assertEqual((self.output / "kernel-release").read_text(), f"{RELEASE}\n")
        self.assertEqual(self.archive()["init"], (0o100755, INIT))
        self.assertEqual(self.archive()["dev/console"][0], 0o020600)

    def test_a_stock_kernel_gets_words_for_its_command_line(self):
        self.build()
        few = (self.output / "command-line").read_text()
        self.assertRegex(few, r"^initcall_blacklist=jent_mod_init,\S+ init_on_alloc=0\n$")
        for kept in ("init_kprobes", "event_trace_init", "tracer_init_tracefs", "btf_module_init"):
            self.assertNotIn(kept, few)
        self.build("--initcalls", "all")
        self.assertEqual((self.output / "command-line").read_text(), "\n")

    def test_takes_symbols_and_debug_information_off_init(self):
        init = self.root / "pepita-init"
        subprocess.run(["objcopy", "--add-section", f".debug_info={self.root / 'vmlinuz'}", init], check=True)
        self.assertIn(b"kernel image", init.read_bytes())
        self.assertEqual(self.build().returncode, 0)
        self.assertNotIn(b"kernel image", self.archive()["init"][1])

    def test_refuses_an_init_that_cannot_be_stripped(self):
        (self.root / "pepita-init").write_bytes(b"\x7fELF and more")
        self.refused("strip", "pepita-init")

    def test_lists_each_module_after_what_it_needs(self):
        self.build()
        listed = self.archive()["etc/pepita/modules"][1].decode().splitlines()
        self.assertEqual(listed, [f"/modules/{name}.ko" for name in (
            "virtio", "virtio_pci", "virtio_blk", "vsock", "vmw_vsock_common",
            "vmw_vsock_virtio_transport", "libcrc32c", "erofs", "jbd2", "ext4", "overlay", "fuse",
            "virtiofs", "net_failover", "virtio_net")])
        self.assertEqual(self.archive()["modules/erofs.ko"][1], module("libcrc32c"))

    def test_takes_plain_modules_and_optional_ones(self):
        (self.modules / "kernel/drivers/misc").mkdir()
        (self.modules / "kernel/drivers/misc/virtio-rng.ko").write_bytes(module(""))
        self.build()
        listed = self.archive()["etc/pepita/modules"][1].decode().splitlines()
        self.assertEqual(listed[-1], "/modules/virtio_rng.ko")

    def sign(self, signature: bytes, size: int):
        """As scripts/sign-file does: signature, struct module_signature, the marker."""
        tail = struct.pack(">8BI", 0, 0, 2, 0, 0, 0, 0, 0, size) + b"~Module signature appended~\n"
        file = self.modules / "kernel/fs/overlayfs/overlay.ko.xz"
        file.write_bytes(lzma.compress(module("") + signature + tail))

    def test_takes_the_signature_off_a_module(self):
        self.sign(b"s" * 600, 600)
        self.build()
        self.assertEqual(self.archive()["modules/overlay.ko"][1], module(""))

    def test_refuses_a_signature_longer_than_its_module(self):
        self.sign(b"s" * 600, 60_000)
        self.refused("overlay.ko.xz", "damaged")

    def test_same_input_gives_same_bytes(self):
        self.build()
        first = (self.output / "initramfs.cpio").read_bytes()
        self.output = self.root / "again"
        (self.root / "pepita-init").touch()
        self.build()
        self.assertEqual((self.output / "initramfs.cpio").read_bytes(), first)

    def test_does_nothing_twice_and_everything_after_a_change(self):
        self.build()
        before = (self.output / "initramfs.cpio").stat().st_ino
        self.assertIn("up to date", self.build().stdout)
        self.assertEqual((self.output / "initramfs.cpio").stat().st_ino, before)
        (self.root / "pepita-init").write_bytes(OTHER_INIT)
        self.build()
        self.assertEqual(self.archive()["init"][1], OTHER_INIT)

    def test_refuses_a_kernel_without_a_needed_module(self):
        (self.modules / "kernel/lib/libcrc32c.ko.xz").unlink()
        self.refused(RELEASE, "'libcrc32c'", "'erofs'")

    def test_refuses_a_damaged_module(self):
        (self.modules / "kernel/fs/erofs/erofs.ko.xz").write_bytes(b"not xz")
        self.refused("erofs.ko.xz", "damaged")

    def test_refuses_a_compression_it_cannot_read(self):
        (self.modules / "kernel/fs/erofs/erofs.ko.xz").rename(self.modules / "kernel/fs/erofs/erofs.ko.zst")
        self.refused("erofs.ko.zst", "'.zst'")

    def test_refuses_an_init_that_is_no_program(self):
        (self.root / "pepita-init").write_text("#!/bin/sh\n")
        self.refused("pepita-init", "not a program")

    def test_refuses_missing_files_by_name(self):
        (self.root / "vmlinuz").unlink()
        self.refused(str(self.root / "vmlinuz"))
        (self.root / "pepita-init").unlink()
        self.refused(str(self.root / "pepita-init"), "No such file")

    def test_refuses_a_package_that_is_no_kernel(self):
        done = subprocess.run([BUILD, "--init", self.root / "pepita-init", "--output", self.output,
                               "--kernel", "pepita-no-such-package"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^guest: package 'pepita-no-such-package' is not known to apt.*\n$")

    def test_needs_both_init_and_output(self):
        for arguments in (["--init", self.root / "pepita-init"], ["--output", self.output], []):
            done = subprocess.run([BUILD, *arguments], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 2, done.stderr)


class KernelOptions(unittest.TestCase):
    """What the build of our own kernel refuses, and what its cache is named by."""

    def test_an_option_that_did_not_become_what_it_should_is_named(self):
        wanted = 'CONFIG_A=y\nCONFIG_B="x"\nCONFIG_C=n\n# CONFIG_D=y\n'
        self.assertEqual(kernel_source.unmet(wanted, 'CONFIG_A=y\nCONFIG_B="x"\n# CONFIG_C is not set\n'), [])
        self.assertEqual(kernel_source.unmet(wanted, 'CONFIG_A=m\nCONFIG_C=y\n'),
                         ["A is m, not y", 'B is n, not "x"', "C is y, not n"])

    def test_mitigations_are_left_out_as_a_whole_and_only_on_demand(self):
        with_them = kernel_source.settings(kernel_source.options_text(True))
        without = kernel_source.settings(kernel_source.options_text(False))
        left_out = with_them.keys() - without.keys()
        self.assertLessEqual({"CPU_MITIGATIONS", "MITIGATION_RETPOLINE", "MITIGATION_RETHUNK"}, left_out)
        self.assertTrue(all("MITIGATION" in name for name in left_out), left_out)
        self.assertTrue(all(with_them[name] == "y" for name in left_out))

    def test_no_option_stands_twice(self):
        lines = [line.split("=")[0] for line in kernel_source.options_text(True).splitlines() if line.startswith("CONFIG_")]
        self.assertEqual(len(lines), len(set(lines)))

    def test_no_option_is_a_module(self):
        self.assertNotIn("m", kernel_source.settings(kernel_source.options_text(True)).values())

    def test_another_version_or_option_is_another_place_in_the_cache(self):
        names = {kernel_source.cache_name(version, options) for version in ("6.12.1", "6.12.2")
                 for options in ("CONFIG_A=y\n", "CONFIG_A=n\n")}
        self.assertEqual(len(names), 4)


# A source of Linux that is a Makefile: allnoconfig takes the options that are wanted, but for those it is told to lose.
MAKEFILE = """
allnoconfig:
\tgrep -v -e '^#' -e CONFIG_VMGENID $(KCONFIG_ALLCONFIG) > .config || true
\t[ -e keep-all ] && cp $(KCONFIG_ALLCONFIG) .config || true
\tmkdir -p include/config && echo 6.12.99-pepita > include/config/kernel.release
vmlinux:
\techo built >> "$(BUILDS)"
\tcp /bin/true vmlinux
"""
APT_CACHE = """#!/bin/sh
echo "  Candidate: 6.12.99-1"
"""
APT_GET = """#!/bin/sh
cp {package} linux-source-6.12_6.12.99-1_all.deb
"""


class SourceKernel(unittest.TestCase):
    """The whole way from a package to a guest, with an apt and a Linux that are a few lines."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = pathlib.Path(scratch.name)
        (self.root / "pepita-init").write_bytes(INIT)
        self.output = self.root / "guest"
        self.builds = self.root / "builds"
        self.make_package(MAKEFILE, "keep-all")
        (self.root / "bin").mkdir()
        for name, text in (("apt-cache", APT_CACHE), ("apt-get", APT_GET.format(package=self.root / "package.deb"))):
            (self.root / "bin" / name).write_text(text)
            (self.root / "bin" / name).chmod(0o755)

    def make_package(self, makefile: str, *files: str):
        source = self.root / "linux-source-6.12"
        source.mkdir(exist_ok=True)
        (source / "Makefile").write_text(makefile)
        for name in files:
            (source / name).touch()
        package = self.root / "package"
        (package / "usr/src").mkdir(parents=True, exist_ok=True)
        (package / "DEBIAN").mkdir(exist_ok=True)
        (package / "DEBIAN/control").write_text("Package: linux-source-6.12\nVersion: 6.12.99-1\nArchitecture: all\n"
                                                "Maintainer: a <a@b>\nDescription: test\n")
        subprocess.run(["tar", "-C", self.root, "-cJf", package / "usr/src/linux-source-6.12.tar.xz", source.name],
                       check=True)
        subprocess.run(["dpkg-deb", "-b", package, self.root / "package.deb"], check=True, capture_output=True)

    def build(self, *more: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [BUILD, "--init", self.root / "pepita-init", "--output", self.output, *more], capture_output=True, text=True,
            check=False, env=os.environ | {"PATH": f"{self.root}/bin:{os.environ['PATH']}", "BUILDS": str(self.builds),
                                           "XDG_CACHE_HOME": str(self.root / "cache")})

    def count_builds(self) -> int:
        return len(self.builds.read_text().splitlines()) if self.builds.exists() else 0

    def test_builds_once_and_needs_no_module(self):
        done = self.build("--kernel", "source")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((self.output / "vmlinuz").read_bytes()[:4], b"\x7fELF")
        self.assertEqual((self.output / "kernel-release").read_text(), "6.12.99-pepita\n")
        self.assertEqual((self.output / "command-line").read_text(), "\n")
        archive = entries((self.output / "initramfs.cpio").read_bytes())
        self.assertEqual(archive["etc/pepita/modules"][1], b"")
        self.assertEqual([name for name in archive if name.startswith("modules/")], [])
        self.assertIn("up to date", self.build("--kernel", "source").stdout)
        self.assertEqual(self.count_builds(), 1)
        kept = [path.name for path in (self.root / "cache/pepita/guest").iterdir()]
        self.assertEqual(len(kept), 2, kept)  # the kernel and the lock

    def test_other_mitigations_are_another_kernel(self):
        self.build("--kernel", "source")
        self.build("--kernel", "source", "--mitigations", "off")
        self.build("--kernel", "source")
        self.assertEqual(self.count_builds(), 2)

    def test_cached_is_ours_only_where_it_was_built(self):
        done = self.build("--kernel", "cached")
        self.assertEqual(self.count_builds(), 0)
        self.assertIn("'linux-image-6.12-cloud-amd64' is not known to apt", done.stderr)  # to the one above
        self.build("--kernel", "source")
        done = self.build("--kernel", "cached")
        self.assertEqual((done.returncode, self.count_builds()), (0, 1))
        self.assertIn("-pepita", done.stdout)

    def test_two_at_once_build_one(self):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for done in pool.map(lambda _: self.build("--kernel", "source"), range(3)):
                self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.count_builds(), 1)

    def test_an_option_that_linux_did_not_take_is_named_and_nothing_kept(self):
        (self.root / "linux-source-6.12/keep-all").unlink()
        self.make_package(MAKEFILE)
        done = self.build("--kernel", "source")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.splitlines()[-1], "guest: kernel option VMGENID is n, not y")
        self.assertEqual([path.name for path in (self.root / "cache/pepita/guest").iterdir()], ["linux-source-6.12.lock"])

    def test_a_build_that_fails_says_why(self):
        self.make_package(MAKEFILE.replace("cp /bin/true vmlinux", "@echo 'a.c:1: error: no luck'; false"))
        done = self.build("--kernel", "source")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.splitlines()[-1], "guest: make vmlinux: a.c:1: error: no luck")


if __name__ == "__main__":
    unittest.main()

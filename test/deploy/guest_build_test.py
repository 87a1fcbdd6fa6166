#!/usr/bin/python3
"""Tests of deploy/guest/build, on a kernel that is a few small files."""
import lzma
import pathlib
import subprocess
import tempfile
import unittest

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
            "vmw_vsock_virtio_transport", "libcrc32c", "erofs", "jbd2", "ext4", "overlay")])
        self.assertEqual(self.archive()["modules/erofs.ko"][1], module("libcrc32c"))

    def test_takes_plain_modules_and_optional_ones(self):
        (self.modules / "kernel/drivers/misc").mkdir()
        (self.modules / "kernel/drivers/misc/virtio-rng.ko").write_bytes(module(""))
        self.build()
        listed = self.archive()["etc/pepita/modules"][1].decode().splitlines()
        self.assertEqual(listed[-1], "/modules/virtio_rng.ko")

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
                               "--kernel-package", "pepita-no-such-package"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^guest: package 'pepita-no-such-package' is not known to apt.*\n$")


if __name__ == "__main__":
    unittest.main()

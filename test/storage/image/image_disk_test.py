#!/usr/bin/env python3
"""Holds an image's disk to the tree that its layers come to: image_disk_test.py IMAGE_DISK.

The kernel's own erofs mounts it where it can, and fsck.erofs looks at it.
"""
import gzip
import io
import mmap
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import layers as made  # noqa: E402

IMAGE_DISK = sys.argv.pop(1)


def can_mount() -> bool:
    subprocess.run(["modprobe", "erofs"], capture_output=True)
    return os.geteuid() == 0 and "\terofs\n" in pathlib.Path("/proc/filesystems").read_text()


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_tool(self, *layers: bytes) -> subprocess.CompletedProcess:
        paths = []
        for number, layer in enumerate(layers):
            paths.append(self.folder / f"{number}.tar")
            paths[-1].write_bytes(layer)
        return subprocess.run([IMAGE_DISK, self.folder / "disk", *paths], capture_output=True, text=True, timeout=250)

    def make(self, *layers: bytes):
        done = self.run_tool(*layers)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        fsck = subprocess.run(["fsck.erofs", self.folder / "disk"], capture_output=True, text=True)
        self.assertEqual((fsck.returncode, fsck.stdout + fsck.stderr), (0, ""))

    def refused(self, *layers: bytes) -> str:
        done = self.run_tool(*layers)
        self.assertEqual(done.returncode, 1, done)
        return done.stderr

    def mounted(self) -> str:
        if not can_mount():
            self.skipTest("the kernel has no erofs, or this is not root")
        point = self.folder / "mounted"
        point.mkdir()
        subprocess.run(["mount", "-t", "erofs", "-o", "loop,ro", self.folder / "disk", point], check=True)
        self.addCleanup(subprocess.run, ["umount", point], check=True)
        return str(point)

    def same(self, found: dict, expected: dict):
        self.assertEqual(sorted(found), sorted(expected))
        differ = [(path, key, found[path][key], expected[path][key])
                  for path in expected for key in expected[path] if found[path][key] != expected[path][key]]
        self.assertEqual(differ[:5], [])


class WholeImage(Case):
    def test_shows_what_the_layers_come_to(self):
        all_layers = made.everything()
        model = made.Model()
        for layer in all_layers:
            model.apply(layer)
        self.make(*[layer.bytes() for layer in all_layers])
        expected = model.listing()
        self.assertGreater(len(expected), 1100)
        self.assertNotIn("/dev", expected)
        self.same(made.mounted_listing(self.mounted()), expected)

    def test_shows_nothing_behind_the_end_of_a_file(self):
        layer = made.Layer()
        layer.add("a", data=b"x" * 5000)
        layer.add("b", data=b"y" * 5000)
        self.make(layer.bytes())
        with open(self.mounted() + "/a", "rb") as file:
            with mmap.mmap(file.fileno(), 5000, prot=mmap.PROT_READ) as mapped:
                self.assertEqual(mapped[:], b"x" * 5000)
        disk = (self.folder / "disk").read_bytes()
        at = disk.index(b"x" * 5000)
        self.assertEqual(at % 4096, 0)
        self.assertEqual(disk[at + 5000:at + 8192], bytes(3192))

    def test_empty_image(self):
        self.make()
        self.assertEqual(os.listdir(self.mounted()), [])

    def test_is_the_same_every_time(self):
        layer = made.everything()[0].bytes()
        self.make(layer)
        first = (self.folder / "disk").read_bytes()
        self.make(layer)
        self.assertEqual(first, (self.folder / "disk").read_bytes())


class Archives(Case):
    """What GNU tar writes, in all its formats."""

    def source(self) -> pathlib.Path:
        folder = self.folder / "source"
        (folder / ("d" * 120) / ("e" * 120)).mkdir(parents=True)
        (folder / ("d" * 120) / ("e" * 120) / "file").write_bytes(b"far below")
        (folder / "link").symlink_to("t" * 150)
        with open(folder / "sparse", "wb") as file:
            for i in range(60):  # more pieces than one header has room for
                file.seek(i * 1_000_000)
                file.write(bytes([i + 1]) * 5000)
            file.truncate(70_000_001)
        with open(folder / "hole", "wb") as file:
            file.truncate(10_000_000)
        return folder

    def archived(self, *options: str):
        folder = self.source()
        tar = subprocess.run(["tar", "-cf", "-", "-C", folder, *options, "."], check=True, capture_output=True).stdout
        self.make(tar)
        point = self.mounted()
        found, expected = made.mounted_listing(point), made.mounted_listing(str(folder))
        for path in expected:
            expected[path]["names"] = found[path]["names"] if path in found else None  # hard links: none here
            if "--format=pax" not in options:
                expected[path]["mtime"] -= expected[path]["mtime"] % 10**9
            if expected[path]["names"] is None:  # the host's own file system may count its directories otherwise
                expected[path]["links"] = found[path]["links"]
        self.same(found, expected)
        return len(tar)

    def test_gnu(self):
        self.archived("--format=gnu")

    def test_pax(self):
        self.archived("--format=pax")

    def test_gnu_sparse(self):
        self.assertLess(self.archived("--format=gnu", "--sparse"), 1_000_000)

    def test_pax_sparse(self):
        for version in ("0.0", "0.1", "1.0"):
            with self.subTest(version):
                self.setUp()
                self.assertLess(self.archived("--format=pax", "--sparse", "--sparse-version=" + version), 1_000_000)

    def test_compressed(self):
        layer = made.everything()[0].bytes()
        self.make(layer)
        plain = (self.folder / "disk").read_bytes()
        half = len(layer) // 2
        self.make(gzip.compress(layer[:half], 1) + gzip.compress(layer[half:], 1))
        self.assertEqual((self.folder / "disk").read_bytes(), plain)
        self.make(subprocess.run(["zstd", "-q"], input=layer, stdout=subprocess.PIPE, check=True).stdout)
        self.assertEqual((self.folder / "disk").read_bytes(), plain)


class Hostile(Case):
    def one(self, name: str, **more) -> bytes:
        layer = made.Layer()
        layer.add(name, **more)
        return layer.bytes()

    def header(self, name: str) -> bytes:
        return tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT)

    def test_names_that_lead_out(self):
        self.assertEqual(self.refused(self.one("../etc/passwd")), "layer entry '../etc/passwd': the name has '..' in it\n")
        self.assertIn("'..'", self.refused(self.one("a/../../b")))
        self.assertIn("'..'", self.refused(self.one("a", kind=tarfile.LNKTYPE, link="../b")))

    def test_an_absolute_name_is_of_the_image(self):
        self.make(self.one("/etc/passwd", data=b"x"))
        self.assertEqual(os.listdir(self.mounted()), ["etc"])

    def test_links_as_parents_stay_inside(self):
        layer = made.Layer()
        layer.add("out", tarfile.SYMTYPE, link="../../../../tmp")
        layer.add("out/file", data=b"inside")
        layer.add("abs", tarfile.SYMTYPE, link="/var/lib")
        layer.add("abs/file", data=b"inside")
        self.make(layer.bytes())
        point = self.mounted()
        self.assertTrue(os.path.isfile(point + "/tmp/file") and os.path.isfile(point + "/var/lib/file"))

    def test_loops(self):
        layer = made.Layer()
        layer.add("a", tarfile.SYMTYPE, link="b")
        layer.add("b", tarfile.SYMTYPE, link="a")
        layer.add("a/file")
        self.assertIn("loop", self.refused(layer.bytes()))

    def test_a_file_as_a_parent(self):
        layer = made.Layer()
        layer.add("a")
        layer.add("a/b")
        self.assertIn("no directory", self.refused(layer.bytes()))

    def test_hard_links_to_nothing(self):
        self.assertIn("does not exist", self.refused(self.one("a", kind=tarfile.LNKTYPE, link="b")))
        self.assertIn("does not exist", self.refused(self.one("a", kind=tarfile.LNKTYPE, link="a")))
        layer = made.Layer()
        layer.directory("d")
        layer.add("a", tarfile.LNKTYPE, link="d")
        self.assertIn("is a directory", self.refused(layer.bytes()))

    def test_limits_of_names(self):
        self.make(self.one("/".join("d" * 511) + "/f"))
        self.assertIn("more than 512 parts", self.refused(self.one("/".join("d" * 512) + "/f")))
        self.assertIn("longer than 255", self.refused(self.one("x" * 256)))
        self.assertIn("longer than 4096", self.refused(self.one("/".join(["x" * 200] * 21))))

    def test_truncated_and_damaged(self):
        tar = made.everything()[0].bytes()
        packed = gzip.compress(tar, 1)
        self.assertIn("truncated", self.refused(packed[:-100000]))
        self.assertIn("truncated", self.refused(tar[:5000]))
        self.assertIn("truncated", self.refused(tar[:-2_000_000]))
        damaged = bytearray(packed)
        damaged[len(packed) // 2] ^= 0xff
        self.assertRegex(self.refused(bytes(damaged)), "damaged")
        self.assertIn("checksum", self.refused(b"no tar at all" * 100))

    def test_devices_out_of_range(self):
        self.assertIn("out of range", self.refused(self.one("d", kind=tarfile.CHRTYPE, device=(4096, 0))))

    def test_attributes_beyond_linux(self):
        self.assertIn("more than Linux takes", self.refused(self.one("f", xattrs={"user.x": b"x" * 65536})))
        self.assertIn("more than Linux takes", self.refused(self.one("f", xattrs={f"user.{i}": b"x" * 60000 for i in range(2)})))

    def test_what_overlayfs_would_act_on_is_left_out(self):
        self.make(self.one("f", xattrs={"trusted.overlay.redirect": b"/x", "user.kept": b"1"}))
        self.assertEqual(os.listxattr(self.mounted() + "/f"), ["user.kept"])

    def test_a_bomb_of_zeros(self):
        head = tarfile.TarInfo("zeros")
        head.size = 10_000 << 20
        bomb = gzip.compress(head.tobuf()) + gzip.compress(bytes(1 << 20)) * 10_000
        self.assertLess(len(bomb), 11_000_000)
        self.assertIn("expands more than 200 times", self.refused(bomb))

    def test_a_sparse_file_of_no_end(self):
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as archive:
            info = tarfile.TarInfo("huge")
            info.pax_headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(1 << 62), "GNU.sparse.name": "huge"}
            archive.addfile(info)
        self.assertIn("larger than a layer", self.refused(tar.getvalue()))

    def test_two_million_entries(self):
        # Random names keep it below the limit on expansion.
        packed = gzip.compress(b"".join(self.header(os.urandom(30).hex()) for _ in range(1000)), 1) * 2000
        self.assertIn("the layer has more than 1048576 entries", self.refused(packed))


if __name__ == "__main__":
    unittest.main()

"""Files of the host in a container: its root, which it writes in place, and bind mounts."""
import hashlib
import os
import pathlib
import signal
import socket
import stat
import subprocess
import unittest

import support
from support import NodeTest


class Files(NodeTest):
    def setUp(self):
        super().setUp()
        self.shared = self.scratch / "shared"
        self.shared.mkdir()
        (self.shared / "file").write_text("content\n")

    def bind(self, source, destination, *options):
        def edit(config):
            config["mounts"].append({"destination": destination, "type": "bind", "source": str(source),
                                     "options": ["rbind", *options]})
        return edit

    def run_script(self, script, *edits, expect=0, **more):
        def edit(config):
            for one in edits:
                one(config)
        return self.run_bundle(["sh", "-c", script], edit=edit, expect=expect, **more)


class Root(Files):
    def root_of(self, bundle="bundle"):
        return self.scratch / bundle / "rootfs"

    def test_what_is_written_is_in_the_bundle(self):
        def edit(config):
            config["process"]["capabilities"] = {name: ["CAP_CHOWN", "CAP_FOWNER", "CAP_FSETID"] for name in
                                                 ("bounding", "effective", "permitted")}
        self.run_script("echo x > /written && mkdir /d && ln -s x /d/link && mkfifo /d/fifo && chown 7:8 /d && "
                        "chmod 4755 /written", edit)
        root = self.root_of()
        self.assertEqual((root / "written").read_text(), "x\n")
        self.assertEqual(stat.S_IMODE((root / "written").stat().st_mode), 0o4755)
        self.assertEqual(((root / "d").stat().st_uid, (root / "d").stat().st_gid), (7, 8))
        self.assertEqual(os.readlink(root / "d/link"), "x")
        self.assertTrue(stat.S_ISFIFO((root / "d/fifo").stat().st_mode))

    def test_what_the_host_writes_is_in_the_container(self):
        self.started(["sleep", "1000"])
        root = self.root_of("bundle-c1")
        for number in range(20):
            (root / "new").write_text(f"{number}\n")
            (root / "other").write_text(f"other {number}\n")
            os.rename(root / "other", root / "renamed")
            done = self.call("exec", "c1", "cat", "/new", "/renamed", expect=0)
            self.assertEqual(done.stdout.decode(), f"{number}\nother {number}\n")
        self.call("delete", "-f", "c1", expect=0)

    def test_a_read_only_root(self):
        def edit(config):
            config["root"]["readonly"] = True
        done = self.run_script("touch /x; grep -c '^[^ ]* / [^ ]* ro' /proc/mounts", edit)
        self.assertEqual(done.stdout, b"1\n")
        self.assertIn(b"Read-only file system", done.stderr)
        self.assertFalse((self.root_of() / "x").exists())

    def test_R25_a_name_of_255_bytes(self):
        bundle = self.bundle(["sh", "-c", "cat /" + "n" * 255])
        (bundle / "rootfs" / ("n" * 255)).write_text("long\n")
        self.assertEqual(self.call("run", "-b", bundle, "c1", expect=0).stdout, b"long\n")

    def test_R26_a_device_of_number_0_0(self):
        bundle = self.bundle(["sh", "-c", "stat -c '%F %t:%T' /white; ls /"])
        os.mknod(bundle / "rootfs/white", stat.S_IFCHR | 0o600, os.makedev(0, 0))
        done = self.call("run", "-b", bundle, "c1", expect=0)
        self.assertEqual(done.stdout.splitlines()[0], b"character special file 0:0")

    def test_R29_holes_stay_holes(self):
        bundle = self.bundle(["sh", "-c", "stat -c %s /hole; echo x | dd of=/hole bs=1 seek=1000 conv=notrunc 2>/dev/null"])
        with open(bundle / "rootfs/hole", "wb") as hole:
            hole.truncate(3 << 30)
        self.assertEqual(self.call("run", "-b", bundle, "c1", expect=0).stdout.strip(), str(3 << 30).encode())
        self.assertLess((bundle / "rootfs/hole").stat().st_blocks * 512, 1 << 20)

    def test_R29_a_root_that_is_a_link(self):
        bundle = self.bundle(["true"])
        (bundle / "rootfs").rename(bundle / "real")
        (bundle / "rootfs").symlink_to("real")
        self.refused("run", "-b", bundle, "c1", status=125, words=["root.path", "symbolic link"])

    def test_debian_and_its_locks(self):
        root = self.scratch / "debian"
        subprocess.run(["cp", "-a", "--reflink=auto", str(support.debian_root()), str(root)], check=True)
        script = ("exec 9>/lock; flock 9; (flock -n /lock true || echo held); exec 9>&-; flock /lock echo free; "
                  "dpkg --audit && dpkg --add-architecture i386 && echo dpkg")
        done = self.run_bundle(["bash", "-c", script], root=root)
        self.assertEqual(done.stdout, b"held\nfree\ndpkg\n")
        self.assertEqual((root / "var/lib/dpkg/arch").read_text(), "amd64\ni386\n")


class Binds(Files):
    def test_directories_files_and_what_is_mounted_below(self):
        below = self.shared / "below"
        below.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "small", str(below)], check=True)
        self.addCleanup(subprocess.run, ["umount", str(below)], check=True)
        (below / "deep").write_text("deep\n")
        done = self.run_script("cat /vol/file /one /vol/below/deep; echo back > /vol/made; echo back > /vol/below/made",
                               self.bind(self.shared, "/vol"), self.bind(self.shared / "file", "/one"))
        self.assertEqual(done.stdout, b"content\ncontent\ndeep\n")
        self.assertEqual((self.shared / "made").read_text(), "back\n")
        self.assertEqual((below / "made").read_text(), "back\n")

    def test_read_only(self):
        below = self.shared / "below"
        below.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "small", str(below)], check=True)
        self.addCleanup(subprocess.run, ["umount", str(below)], check=True)
        done = self.run_script("for f in /ro/x /rro/below/x /one; do (echo x > $f) 2> /dev/null || echo $f; done; cat /one",
                               self.bind(self.shared, "/ro", "ro"), self.bind(self.shared, "/rro", "rro"),
                               self.bind(self.shared / "file", "/one", "ro"))
        self.assertEqual(done.stdout, b"/ro/x\n/rro/below/x\n/one\ncontent\n")

    def test_flags(self):
        done = self.run_script("grep ' /vol ' /proc/mounts; cp /bin/busybox /vol/true; /vol/true",
                               self.bind(self.shared, "/vol", "nosuid", "nodev", "noexec"), expect=126)
        for flag in (b"nosuid", b"nodev", b"noexec"):
            self.assertIn(flag, done.stdout)

    def test_pipes_are_the_guests_and_sockets_are_the_hosts(self):
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(str(self.shared / "socket"))
        listener.listen()
        os.mkfifo(self.shared / "fifo")
        done = self.run_script("stat -c %F /vol/socket; (echo through > /vol/fifo &); cat /vol/fifo",
                               self.bind(self.shared, "/vol"))
        self.assertEqual(done.stdout, b"socket\nthrough\n")

    def test_what_cannot_be_is_named(self):
        loop = self.scratch / "loop"
        loop.symlink_to(loop)
        cases = [(self.scratch / "nowhere", ["nowhere" if support.HAS_MACHINE else "/vol", "ENOENT"]),
                 (loop, ["loop" if support.HAS_MACHINE else "/vol", "ELOOP"])]
        if support.HAS_MACHINE:
            cases.append(("/dev/null", ["'/dev/null'", "device"]))
        for number, (source, words) in enumerate(cases):
            with self.subTest(str(source)):
                bundle = self.bundle(["true"], edit=self.bind(source, "/vol"), name=f"bundle-{number}")
                self.refused("run", "-b", bundle, "c1", status=125, words=words)

    def test_a_link_leads_where_it_leads_on_the_host(self):
        (self.scratch / "link").symlink_to(self.shared)
        (self.shared / "out").symlink_to("/etc/passwd")
        done = self.run_script("cat /vol/file; grep -c user /vol/out", self.bind(self.scratch / "link", "/vol"))
        self.assertEqual(done.stdout, b"content\n1\n")  # the second one in the container

    def test_a_slave_follows_the_host(self):
        place = self.scratch / "place"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "small", str(place)], check=True)
        self.addCleanup(subprocess.run, ["umount", "-R", str(place)], check=True)
        subprocess.run(["mount", "--make-shared", str(place)], check=True)
        (place / "later").mkdir()
        self.started(["sleep", "1000"], edit=self.bind(place, "/vol", "rslave"))
        subprocess.run(["mount", "-t", "tmpfs", "later", str(place / "later")], check=True)
        (place / "later/file").write_text("later\n")
        self.assertEqual(self.call("exec", "c1", "cat", "/vol/later/file", expect=0).stdout, b"later\n")
        self.call("delete", "-f", "c1", expect=0)


class Server(Files):
    def test_its_death_ends_the_container_and_is_said(self):
        bundle = self.bundle(["sleep", "1000"])
        with open(self.scratch / "log", "w+b") as log, \
                subprocess.Popen(self.command("run", "-b", bundle, "c1"), stderr=log, stdin=subprocess.DEVNULL) as run:
            support.wait_until(lambda: "c1" in self.ids() and self.state_file("c1")["status"] == "running", "the start")
            server, words = ("virtiofsd", b"virtiofsd") if support.HAS_MACHINE else ("pepita-agent", b"engine ended")
            os.kill(self.child_of_shim("c1", server), signal.SIGKILL)
            self.assertEqual(run.wait(support.PATIENCE_S), 125)
            log.seek(0)
            self.assertIn(words + b": killed by signal 9", log.read())

    def test_nothing_is_left_of_a_shim_that_is_killed(self):
        self.started(["sleep", "1000"], edit=self.bind(self.shared, "/vol"))
        os.kill(self.state_file("c1")["shim"]["pid"], signal.SIGKILL)
        support.wait_until(lambda: not any("virtiofsd" in line for line in support.Census(self.root).processes()),
                           "the end of virtiofsd", 15)
        self.call("delete", "-f", "c1", expect=0)


def checksum(directory: pathlib.Path) -> str:
    total = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            total.update(str(path.relative_to(directory)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


class ManyFiles(Files):
    COUNT = int(os.environ.get("PEPITA_MANY_FILES", "500"))

    def test_a_tree_is_copied_in_and_out(self):
        source, copy = self.shared / "source", self.shared / "copy"
        for number in range(self.COUNT):
            directory = source / f"{number % 64}"
            if number < 64:
                directory.mkdir(parents=True)
            (directory / f"{number}").write_bytes(f"{number}\n".encode() * (number % 97))
        self.run_script("cp -r /vol/source /tmp/inside && cp -r /tmp/inside /vol/copy", self.bind(self.shared, "/vol"))
        self.assertEqual(checksum(copy), checksum(source))


if __name__ == "__main__":
    unittest.main()

"""Tar layers with all that layers may hold, and the tree that they come to, worked out here once more."""
import io
import os
import random
import stat
import struct
import tarfile

CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service=ep


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, perm, who) for tag, perm, who in entries)


class Layer:
    """Writes a layer's tar with Python's own tarfile (PAX), and keeps what it wrote."""

    def __init__(self):
        self.buffer = io.BytesIO()
        # surrogateescape lets names be any bytes.
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape")
        self.entries = []

    def add(self, name: str, kind=tarfile.REGTYPE, data: bytes = b"", mode: int = 0o644, uid: int = 0, gid: int = 0,
            mtime="1700000000", link: str = "", device=(0, 0), xattrs=None):
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.uid, info.gid, info.size = kind, mode, uid, gid, len(data)
        info.linkname, (info.devmajor, info.devminor) = link, device
        info.mtime = 0
        info.pax_headers = {"mtime": mtime}
        for key, value in (xattrs or {}).items():
            info.pax_headers["SCHILY.xattr." + key] = value.decode("utf-8", "surrogateescape")
        self.tar.addfile(info, io.BytesIO(data))
        self.entries.append(dict(name=name, kind=kind, data=data, mode=mode, uid=uid, gid=gid, mtime=nanoseconds(mtime),
                                 link=link, device=device, xattrs=dict(xattrs or {})))

    def directory(self, name: str, **more):
        self.add(name, tarfile.DIRTYPE, mode=more.pop("mode", 0o755), **more)

    def bytes(self) -> bytes:
        self.tar.close()
        return self.buffer.getvalue()


def nanoseconds(text: str) -> int:
    whole, _, fraction = text.partition(".")
    value = abs(int(whole)) * 10**9 + int((fraction + "0" * 9)[:9])
    return -value if whole.startswith("-") else value


class Model:
    """What the layers come to, by the rules of OCI's layer.md, on dictionaries."""

    def __init__(self):
        self.root = dict(kind=tarfile.DIRTYPE, mode=0o755, uid=0, gid=0, mtime=0, xattrs={}, children={})

    def parent_of(self, name: str, make: bool):
        parts = [part for part in name.split("/") if part not in ("", ".")]
        here = self.root
        for part in parts[:-1]:
            if part not in here["children"]:
                if not make:
                    return None, None
                here["children"][part] = dict(kind=tarfile.DIRTYPE, mode=0o755, uid=0, gid=0, mtime=0, xattrs={}, children={})
            here = here["children"][part]
            while here["kind"] == tarfile.SYMTYPE:  # of the test's own: absolute, one level
                here = self.find(here["link"])
        return here, parts[-1] if parts else None

    def find(self, name: str):
        parent, last = self.parent_of(name, False)
        return parent["children"][last]

    def apply(self, layer: Layer):
        for entry in layer.entries:
            parent, name = self.parent_of(entry["name"], False)
            if parent is None or not name or not name.startswith(".wh."):
                continue
            if name == ".wh..wh..opq":
                parent["children"].clear()
            else:
                parent["children"].pop(name[4:], None)
        for entry in layer.entries:
            if entry["name"].rpartition("/")[2].startswith(".wh."):
                continue
            parent, name = self.parent_of(entry["name"], True)
            node = dict(entry)
            if node["kind"] == tarfile.LNKTYPE:
                parent["children"][name] = self.find(node["link"])
                continue
            if node["kind"] == tarfile.DIRTYPE:
                old = self.root if name is None else parent["children"].get(name)
                is_directory = old is not None and old["kind"] == tarfile.DIRTYPE
                node["children"] = old["children"] if is_directory else {}
            if name is None:
                self.root = node
            else:
                parent["children"][name] = node

    def listing(self) -> dict:
        """Path: what a file system shows of it."""
        names, found = {}, {}

        def walk(path, node):
            names.setdefault(id(node), []).append(path)
            found[path] = node
            for name, child in node.get("children", {}).items():
                walk(path + "/" + name, child)

        walk("", self.root)
        return {path: describe(node, sorted(names[id(node)])) for path, node in found.items()}


KINDS = {tarfile.REGTYPE: stat.S_IFREG, tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK,
         tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK, tarfile.FIFOTYPE: stat.S_IFIFO}


def describe(node: dict, names: list) -> dict:
    kind = node["kind"]
    is_directory = kind == tarfile.DIRTYPE
    return dict(mode=KINDS[kind] | node["mode"], uid=node["uid"], gid=node["gid"], mtime=node["mtime"],
                links=2 + sum(child["kind"] == tarfile.DIRTYPE for child in node["children"].values()) if is_directory else len(names),
                names=None if is_directory else names, data=node["data"] if kind == tarfile.REGTYPE else None,
                target=node["link"] if kind == tarfile.SYMTYPE else None,
                device=node["device"] if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE) else None,
                xattrs=node["xattrs"])


def mounted_listing(root: str) -> dict:
    """The same of a mounted file system, as the kernel shows it."""
    paths, names = [""], {}
    for folder, folders, files in os.walk(root):
        paths += [os.path.join(folder, name)[len(root):] for name in folders + files]
    status = {path: os.lstat(root + path) for path in paths}
    for path in paths:
        names.setdefault(status[path].st_ino, []).append(path)
    found = {}
    for path in paths:
        s, full = status[path], root + path
        kind = stat.S_IFMT(s.st_mode)
        if kind == stat.S_IFREG:
            with open(full, "rb") as file:
                data = file.read()
        found[path] = dict(
            mode=s.st_mode, uid=s.st_uid, gid=s.st_gid, mtime=s.st_mtime_ns, links=s.st_nlink,
            names=None if kind == stat.S_IFDIR else sorted(names[s.st_ino]), data=data if kind == stat.S_IFREG else None,
            target=os.readlink(full) if kind == stat.S_IFLNK else None,
            device=(os.major(s.st_rdev), os.minor(s.st_rdev)) if kind in (stat.S_IFCHR, stat.S_IFBLK) else None,
            xattrs={key: os.getxattr(full, key, follow_symlinks=False) for key in os.listxattr(full, follow_symlinks=False)})
    return found


def everything() -> list[Layer]:
    """Three layers that hold what is hard, and hide what is hard to hide."""
    rng = random.Random(14)
    base = Layer()
    base.directory("./", mode=0o755, uid=3, gid=4, mtime="1600000000.123456789")
    for size in (0, 1, 511, 512, 513, 4095, 4096, 4097, 8192, 10_000_001):
        base.add(f"sizes/{size}", data=rng.randbytes(size))
    base.directory("sizes", mode=0o1777, mtime="-86400.5")
    base.add("times/before", mtime="-1.25")
    base.add("times/long-before", mtime="-5000000000.000000001")
    base.add("times/just-before", mtime="-0.5")
    base.add("times/after", mtime="5000000000.999999999")
    base.add("ids", uid=70000, gid=4294967294, mode=0o6755)
    base.add("mode0", mode=0)
    for name in ("!", "#a", "-", " ", "..x", "...", "a\nb", b"\xff\xfe".decode("utf-8", "surrogateescape"), "ü", "x" * 255):
        base.add("names/" + name, data=name.encode("utf-8", "surrogateescape"))
    for i in range(700):
        base.add(f"many/{'n' * (i % 200)}{i}", data=str(i).encode())
    for i in range(260):
        base.directory(f"folders/{i}")
    base.add("/".join(str(i) for i in range(60)) + "/deep", data=b"deep")
    for length in (1, 60, 4000, 4031, 4032, 4033, 4095):
        base.add(f"links/{length}", tarfile.SYMTYPE, link="t" * length, mode=0o777)
    base.add("hard/a", data=b"hard")
    base.add("hard/b", tarfile.LNKTYPE, link="hard/a")
    base.add("elsewhere/c", tarfile.LNKTYPE, link="./hard/a")
    base.add("hard/cut", tarfile.LNKTYPE, link="/hard/a")
    base.add("dev/null", tarfile.CHRTYPE, device=(1, 3), mode=0o666)
    base.add("dev/large", tarfile.BLKTYPE, device=(4095, 1048575))
    base.add("dev/fifo", tarfile.FIFOTYPE)
    base.add("xattr/cap", data=b"program", mode=0o755, xattrs={"security.capability": CAPABILITY})
    base.add("xattr/user", xattrs={"user.empty": b"", "user.binary": bytes(range(256)), "user." + "n" * 200: b"v", "user.long": b"w" * 1500})
    base.add("xattr/trusted", xattrs={"trusted.t": b"1", "security.foo": b"2"})
    base.directory("xattr/acl", xattrs={
        "system.posix_acl_access": acl((1, 7, 0xffffffff), (2, 5, 1000), (4, 5, 0xffffffff), (16, 5, 0xffffffff), (32, 5, 0xffffffff)),
        "system.posix_acl_default": acl((1, 7, 0xffffffff), (4, 5, 0xffffffff), (32, 0, 0xffffffff))}, mode=0o755)
    base.add("xattr/link", tarfile.SYMTYPE, link="cap", mode=0o777, xattrs={"trusted.l": b"on a link"})
    for i in range(80):
        base.add(f"xattr/many/{i}", xattrs={"user.x": b"x" * (i * 11)}, data=b"d" * i)
    for name in ("file", "tree/a/b", "to-dir", "opq/old", "opq/sub/old", "again", "kept/below", "usr/lib/so", "to-link"):
        base.add("upper/" + name, data=name.encode())
    base.directory("upper/to-file/x")
    base.add("upper/lib", tarfile.SYMTYPE, link="/upper/usr/lib", mode=0o777)

    upper = Layer()
    upper.add("upper/opq/new", data=b"before its marker")
    upper.add("upper/opq/.wh..wh..opq")
    upper.add("upper/opq/later", data=b"behind it")
    upper.add("upper/.wh.file")
    upper.add("upper/.wh.tree")
    upper.add("upper/.wh.absent")
    upper.add("nowhere/at/.wh.all")
    upper.add("upper/.wh.again")
    upper.add("upper/again", data=b"new")
    upper.add("hard/.wh.cut")
    upper.directory("upper/to-dir")
    upper.add("upper/to-dir/inside", data=b"inside")
    upper.directory("upper/kept", mode=0o700, uid=9, mtime="1500000000")
    upper.add("upper/to-file", data=b"a file now")
    upper.add("upper/to-link", tarfile.SYMTYPE, link="kept", mode=0o777)
    upper.add("upper/lib/through-a-link", data=b"usr-merge")
    upper.add("linked", tarfile.LNKTYPE, link="ids")

    top = Layer()
    top.add("upper/.wh.opq")
    top.add("upper/opq/third", data=b"third")
    top.add("sizes/4096", data=rng.randbytes(5000))
    top.add(".wh.dev")
    return [base, upper, top]

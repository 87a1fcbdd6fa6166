#!/usr/bin/env python3
"""First import of this host's own programs as an image of gzip layers, durable, beside umoci's unpacking of the
same: import.py PEPITA READY_BENCH [FOLDER...]. Prints seconds, seconds of CPU and sizes; nothing is asserted.
"""
import gzip
import hashlib
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

PEPITA, READY, *FOLDERS = sys.argv[1:]
FOLDERS = FOLDERS or ["/usr/bin", "/usr/lib/x86_64-linux-gnu", "/usr/share"]
SIZE_MAX = 200 << 20  # of one layer, uncompressed


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def measured(*command) -> str:
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{time.monotonic() - begin:6.2f} s, {cpu:6.2f} s of CPU"


def layer_of(folder: str) -> bytes:
    """As much of the folder as one layer shall have."""
    files, size = [], 0
    for path in sorted(pathlib.Path(folder).rglob("*")):
        size += path.lstat().st_size if path.is_file() and not path.is_symlink() else 0
        if size > SIZE_MAX:
            break
        files.append(str(path))
    return subprocess.run(["tar", "-c", "-f", "-", "--no-recursion", "--format=pax", "-T", "-"], input="\n".join(files).encode(),
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout


with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as name:
    work = pathlib.Path(name)
    blobs = work / "layout/blobs/sha256"
    blobs.mkdir(parents=True)
    put = lambda data: (blobs / digest(data)[7:]).write_bytes(data) and dict(digest=digest(data), size=len(data))  # noqa: E731
    layers, ids, plain = [], [], 0
    for folder in FOLDERS:
        tar = layer_of(folder)
        plain += len(tar)
        ids.append(digest(tar))
        layers.append(dict(put(gzip.compress(tar, 6)), mediaType="application/vnd.oci.image.layer.v1.tar+gzip"))
    config = json.dumps(dict(os="linux", architecture="amd64", rootfs=dict(type="layers", diff_ids=ids))).encode()
    manifest = json.dumps(dict(schemaVersion=2, layers=layers, config=dict(
        put(config), mediaType="application/vnd.oci.image.config.v1+json"))).encode()
    (work / "layout/oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (work / "layout/index.json").write_text(json.dumps(dict(schemaVersion=2, manifests=[dict(
        put(manifest), mediaType="application/vnd.oci.image.manifest.v1+json",
        annotations={"org.opencontainers.image.ref.name": "bench"})])))
    print(f"{plain >> 20} MiB in {len(layers)} layers, {sum(layer['size'] for layer in layers) >> 20} MiB compressed")
    print("pepita, one thread   ", measured(PEPITA, "image", "import", work / "layout", "--name=bench", "--root", work / "one", "--parallel=1"))
    print("pepita, three threads", measured(PEPITA, "image", "import", work / "layout", "--name=bench", "--root", work / "images"))
    if shutil.which("umoci"):
        print("umoci                ", measured("umoci", "raw", "unpack", "--image", f"{work}/layout:bench", work / "unpacked"))
    for what in ("layers/*/data", "layers/*/headers", "images/*/metadata"):
        print(f"{what:21} {sum(path.stat().st_blocks for path in (work / 'images').glob(what)) * 512 >> 10} KiB")
    subprocess.run([READY, work / "images", "docker.io/library/bench:latest"], check=True)

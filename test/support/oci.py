"""Images in memory, and Debian's registry on the loopback that they are pushed to."""
import gzip
import hashlib
import json
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.request

OCI = "application/vnd.oci.image."


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Image:
    """Its blobs by digest, and its manifest."""

    def __init__(self, layers: list[bytes], pack=gzip.compress, kind="tar+gzip", architecture="amd64", **config):
        packed = [pack(layer) for layer in layers]
        self.config = json.dumps(dict(os="linux", architecture=architecture, config=config or {"Cmd": ["/bin/sh"]},
                                      rootfs=dict(type="layers", diff_ids=[digest(layer) for layer in layers]))).encode()
        self.blobs = {digest(data): data for data in packed + [self.config]}
        self.manifest = json.dumps(dict(
            schemaVersion=2, mediaType=OCI + "manifest.v1+json",
            config=dict(mediaType=OCI + "config.v1+json", digest=digest(self.config), size=len(self.config)),
            layers=[dict(mediaType=OCI + "layer.v1." + kind, digest=digest(data), size=len(data)) for data in packed])).encode()
        self.id = digest(self.config)

    def write_layout(self, path: pathlib.Path) -> pathlib.Path:
        """An OCI layout, in which the image is "latest"."""
        (path / "blobs/sha256").mkdir(parents=True)
        for data in [*self.blobs.values(), self.manifest]:
            (path / "blobs/sha256" / digest(data)[7:]).write_bytes(data)
        (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (path / "index.json").write_text(json.dumps(dict(schemaVersion=2, manifests=[dict(
            mediaType=OCI + "manifest.v1+json", digest=digest(self.manifest), size=len(self.manifest),
            annotations={"org.opencontainers.image.ref.name": "latest"})])))
        return path


def skopeo(*arguments):
    subprocess.run(["skopeo", "--insecure-policy", *map(str, arguments)], check=True, capture_output=True)


class DebianRegistry:
    """docker-registry on a port of the loopback."""

    is_here = bool(shutil.which("docker-registry") and shutil.which("skopeo"))

    def __init__(self, folder: pathlib.Path):
        """Keeps its files in `folder`. In the network namespace of the caller."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        config = folder / "registry.yml"
        config.write_text(f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
                          f"storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\nhttp: {{addr: {self.address}}}\n")
        self.server = subprocess.Popen(["docker-registry", "serve", config], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://{self.address}/v2/").close()
                break
            except OSError:
                if time.monotonic() > deadline or self.server.poll() is not None:
                    self.close()
                    raise
                time.sleep(0.05)

    def push(self, layout: pathlib.Path, name: str, form: str = "oci"):
        """`name`: "repository:tag"."""
        skopeo("copy", "--dest-tls-verify=false", "--format", form, f"oci:{layout}:latest", f"docker://{self.address}/{name}")

    def close(self):
        self.server.kill()
        self.server.wait()

"""Containers whose roots are images of the image store, in a pod that is driven by the Sandbox and Task APIs."""
import hashlib
import io
import json
import os
import pathlib
import subprocess
import tarfile
import unittest

import sandbox_client
import support

PEPITA = os.environ.get("PEPITA", support.BUILD / "storage/cli/pepita")


def layer_of(folder) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(folder, arcname=".")
    return out.getvalue()


def make_layout(folder: pathlib.Path, layers: list) -> pathlib.Path:
    """An image in OCI's layout of directories."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}
    parts = [put(layer, "layer.v1.tar") for layer in layers]
    config = {"os": "linux", "architecture": "amd64",
              "rootfs": {"type": "layers", "diff_ids": [part["digest"] for part in parts]}}
    manifest = {"schemaVersion": 2, "layers": parts, "config": put(json.dumps(config).encode(), "config.v1+json")}
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
        put(json.dumps(manifest).encode(), "manifest.v1+json")]}))
    return folder


class Images(sandbox_client.SandboxTest):
    def setUp(self):
        super().setUp()
        self.store = self.scratch / "images"
        lower, upper = self.scratch / "lower", self.scratch / "upper"
        support.busybox_root(lower)
        (upper / "etc").mkdir(parents=True)
        (upper / "etc/image").write_text("from the upper layer\n")
        self.layers = [layer_of(lower), layer_of(upper)]
        self.image = self.imported("busybox:1", self.layers)

    def imported(self, name, layers):
        layout = make_layout(self.scratch / f"layout-{name}", layers)
        return self.pepita("import", layout, "--name", name).stdout.decode().split()[0]

    def pepita(self, verb, *words, expect=0):
        done = subprocess.run([str(PEPITA), "image", verb, *map(str, words), "--root", str(self.store)],
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=support.PATIENCE_S, check=False)
        self.assertEqual(done.returncode, expect, done.stderr.decode(errors="replace"))
        return done

    def create(self, name, script, image=None, store=None, kind="pepita-image", pod=None):
        """A container whose bundle has an empty root; gives a descriptor of its output."""
        output, reader = self.fifo(f"output-{name}")
        empty = self.scratch / f"empty-{name}"
        empty.mkdir()
        bundle = self.bundle(["sh", "-c", script], root=empty, name=f"bundle-{name}")
        options = {10: {1: "pepita.CreateOptions", 2: {4: pod}}} if pod else {}
        rootfs = {1: kind, 2: image or self.image, 4: [f"store={store or self.store}"]}
        self.task("Create", name, f2=str(bundle), f3=rootfs, f5="", f6=output, f7=output,
                  **{f"f{number}": value for number, value in options.items()})
        return reader

    def end(self, name):
        self.task("Kill", name, f3=9)
        self.task("Wait", name)
        self.task("Delete", name)

    def disks(self, name):
        """The guest's disks as a container sees them; on the host, the loop devices that the shim has."""
        if not support.HAS_MACHINE:
            files = pathlib.Path(f"/proc/{self.shim.pid}/fd")
            return [file for file in files.iterdir() if os.readlink(file).startswith("/dev/loop")]
        return [disk for disk in self.output_of(name, "echo $(ls /sys/block)").split() if disk.startswith("vd")]

    def output_of(self, name, script):
        """What a new process in the container writes: a line."""
        self.execs = getattr(self, "execs", 0) + 1
        exec_id = f"exec-{self.execs}"
        output, reader = self.fifo(exec_id)
        process = {"args": ["sh", "-c", script], "cwd": "/", "user": {"uid": 0, "gid": 0},
                   "env": ["PATH=/bin"]}
        self.task("Exec", name, f2=exec_id, f3=0, f5=output, f6=output,
                  f7={1: "types.containerd.io/opencontainers/runtime-spec/1/Process", 2: json.dumps(process)})
        self.task("Start", name, f2=exec_id)
        text = support.read_until(reader, b"\n").decode()
        self.task("Wait", name, f2=exec_id)
        self.task("Delete", name, f2=exec_id)
        return text

    def test_containers_of_an_image_share_its_disk(self):
        self.create_sandbox()
        self.sandbox("StartSandbox")
        script = "cat /etc/image; echo %s > /etc/own; cat /etc/own; exec sleep 1000"
        readers = {name: self.create(name, script % name) for name in ("a", "b")}
        for name, reader in readers.items():
            self.task("Start", name)
            written = b"from the upper layer\n" + name.encode() + b"\n"
            self.assertEqual(support.read_until(reader, written), written)
        self.assertEqual(len(self.disks("a")), 2, "scratch and the image")
        self.create("other", "exec sleep 1000", image=self.imported("other:1", self.layers[:1]))
        self.task("Start", "other")
        self.assertEqual(len(self.disks("other")), 3)
        self.assertEqual(self.output_of("a", "cat /etc/own"), "a\n")
        self.assertIn("is in use", self.pepita("remove", "busybox:1", expect=1).stderr.decode())

        self.end("a")
        self.assertEqual(len(self.disks("other")), 3)
        self.assertEqual(self.output_of("b", "cat /etc/own"), "b\n")
        self.assertEqual(self.output_of("b", "md5sum < /block").split()[0],
                         hashlib.md5((self.scratch / "lower/block").read_bytes()).hexdigest())
        self.end("b")
        self.assertEqual(len(self.disks("other")), 2)
        self.pepita("remove", "busybox:1")
        words = self.refusal(self.create, "c", "true")
        self.assertIn(f"there is no image {self.image}", words)
        self.sandbox("ShutdownSandbox")
        self.shim.wait(support.PATIENCE_S)

    def test_what_is_no_image_is_refused_by_name(self):
        self.create_sandbox()
        self.sandbox("StartSandbox")
        none = "sha256:" + "0" * 64
        for number, (words, more) in enumerate(((f"there is no image {none}", {"image": none}),
                                                 ("image 'sha256:xyz'", {"image": "sha256:xyz"}),
                                                 ("image store '/no/such'", {"store": "/no/such"}),
                                                 ("type 'overlay'", {"kind": "overlay"}))):
            self.assertIn(words, self.refusal(self.create, f"bad-{number}", "true", **more))
        self.assertFalse(pathlib.Path("/no/such").exists())
        reader = self.create("good", "cat /etc/image; touch /etc/more; exec sleep 1000")
        self.task("Start", "good")
        support.read_until(reader, b"from the upper layer\n")
        self.end("good")
        self.sandbox("ShutdownSandbox")
        self.shim.wait(support.PATIENCE_S)

    def test_a_pod_may_begin_with_a_container_of_an_image(self):
        pod = self.pod_spec({13: 1})
        readers = {"a": self.create("a", "cat /etc/image; exec sleep 1000", pod=pod)}
        readers["b"] = self.create("b", "cat /etc/image; exec sleep 1000")
        for name, reader in readers.items():
            self.task("Start", name)
            support.read_until(reader, b"from the upper layer\n")
        self.assertEqual(len(self.disks("b")), 2)
        self.end("a")
        self.assertEqual(self.output_of("b", "cat /etc/image"), "from the upper layer\n")
        self.end("b")
        self.pepita("remove", "busybox:1")
        self.client.connection.close()
        self.shim.wait(support.PATIENCE_S)


if __name__ == "__main__":
    unittest.main()

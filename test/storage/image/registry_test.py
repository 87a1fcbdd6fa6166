#!/usr/bin/env python3
"""`pepita image` against Debian's docker-registry with images that skopeo put there, against registries of
bad will, and against other tools' archives: registry_test.py PEPITA.
"""
import base64
import gzip
import http.server
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "support")]
import layers as made  # noqa: E402
from oci import OCI, DebianRegistry, Image, digest, skopeo  # noqa: E402

PEPITA = sys.argv.pop(1)


def small_layer(text: str = "hello") -> bytes:
    layer = made.Layer()
    layer.add("etc/motd", data=text.encode())
    return layer.bytes()


class Registry:
    """A registry of ours: `answer(handler, path)` may answer in its own way, and returns True then."""

    def __init__(self, image: Image | None = None, answer=None):
        registry = self
        self.image, self.answer, self.requests, self.headers = image, answer, [], []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def send(self, status: int, body: bytes = b"", **headers):
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                self.do_GET()

            def do_GET(self):
                registry.requests.append(self.path)
                registry.headers.append(dict(self.headers))
                if registry.answer and registry.answer(self, self.path):
                    return
                name = self.path.partition("?")[0].rsplit("/", 1)[1]
                if "/manifests/" in self.path and registry.image:
                    self.send(200, registry.image.manifest, Content_Type=OCI + "manifest.v1+json")
                elif "/blobs/" in self.path and registry.image and name in registry.image.blobs:
                    body = registry.image.blobs[name]
                    begin = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-")
                    if int(begin):
                        self.send(206, body[int(begin):], Content_Range=f"bytes {begin}-{len(body) - 1}/{len(body)}")
                    else:
                        self.send(200, body)
                else:
                    self.send(404, b"{}")

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):  # a client that hangs up is what some tests are about
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.root = self.folder / "images"
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}

    def registry(self, image=None, answer=None) -> Registry:
        registry = Registry(image, answer)
        self.addCleanup(registry.close)
        return registry

    def pepita(self, *arguments) -> subprocess.CompletedProcess:
        return subprocess.run([PEPITA, "image", *map(str, arguments), "--root", str(self.root)], capture_output=True, text=True,
                              timeout=200, env=self.environment)

    def good(self, *arguments) -> str:
        done = self.pepita(*arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)
        return done.stdout

    def bad(self, *arguments) -> str:
        done = self.pepita(*arguments)
        self.assertEqual((done.returncode, done.stdout), (1, ""), arguments)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        return done.stderr

    def refused(self, registry: Registry) -> str:
        """A pull that fails leaves nothing."""
        message = self.bad("pull", registry.address + "/a:1")
        self.assertEqual(json.loads(self.good("list", "--format=json")), [])
        for name in ("layers", "images", "temporary", "making"):
            self.assertEqual(os.listdir(self.root / name), [], name)
        return message

    def disk_of(self, name: str) -> pathlib.Path:
        """The disk that the image is, put together from the store's files."""
        info = json.loads(self.good("inspect", name))
        parts = [self.root / "images" / info["id"][7:] / "metadata"]
        parts += [self.root / "layers" / layer[7:] / "data" for layer in info["layers"]]
        disk = self.folder / "disk"
        disk.write_bytes(b"".join(part.read_bytes() for part in parts))
        return disk

    def mounted(self, name: str) -> str:
        subprocess.run(["modprobe", "erofs"], capture_output=True)
        if os.geteuid() != 0 or "\terofs\n" not in pathlib.Path("/proc/filesystems").read_text():
            self.skipTest("the kernel has no erofs, or this is not root")
        point = self.folder / "mounted"
        point.mkdir()
        subprocess.run(["mount", "-t", "erofs", "-o", "loop,ro", self.disk_of(name), point], check=True)
        self.addCleanup(subprocess.run, ["umount", point], check=True)
        return str(point)


class Ours(Case):
    """What a registry of ours can show: logins, redirects, resumption, platforms."""

    def test_pulls_and_names(self):
        image = Image([small_layer(), small_layer("more")])
        registry = self.registry(image)
        name = registry.address + "/team/a"
        self.assertEqual(self.good("pull", name + ":1"), image.id + "\n")
        listed = json.loads(self.good("list", "--format=json"))
        self.assertEqual([(entry["id"], entry["names"]) for entry in listed],
                         [(image.id, [f"{name}:1", f"{name}@{digest(image.manifest)}"])])
        before = len(registry.requests)
        self.good("pull", f"{name}@{digest(image.manifest)}")
        self.assertEqual([path for path in registry.requests[before:] if "blobs" in path],
                         [f"/v2/team/a/blobs/{image.id}"])  # of cached layers nothing
        self.assertIn(f"{name}:1", self.good("list"))
        self.good("remove", image.id[7:19])
        self.assertEqual(os.listdir(self.root / "layers"), [])

    def test_all_compressions(self):
        zstd = lambda data: subprocess.run(["zstd", "-q"], input=data, stdout=subprocess.PIPE, check=True).stdout  # noqa: E731
        ids = {self.good("pull", self.registry(Image([small_layer()], *form)).address + "/a") for form in
               ((gzip.compress, "tar+gzip"), (zstd, "tar+zstd"), (bytes, "tar"))}
        self.assertEqual(len(ids), 1)

    def test_picks_its_platform(self):
        images = {architecture: Image([small_layer(architecture)], architecture=architecture) for architecture in ("arm64", "amd64")}
        index = json.dumps(dict(schemaVersion=2, mediaType=OCI + "index.v1+json", manifests=[
            dict(mediaType=OCI + "manifest.v1+json", digest=digest(image.manifest), size=len(image.manifest),
                 platform=dict(os="linux", architecture=architecture)) for architecture, image in images.items()])).encode()

        def answer(handler, path):
            contents = {digest(image.manifest): image.manifest for image in images.values()} | {"1": index}
            for image in images.values():
                contents |= image.blobs
            handler.send(200, contents[path.rsplit("/", 1)[1]])
            return True

        registry = self.registry(None, answer)
        name = registry.address + "/a:1"
        self.assertEqual(self.good("pull", name, "--platform=linux/arm64"), images["arm64"].id + "\n")
        self.assertEqual(self.good("pull", name), images["amd64"].id + "\n")
        self.assertIn("there is no image for linux/s390x, but for linux/arm64, linux/amd64", self.bad("pull", name, "--platform=linux/s390x"))

    def login(self, entry: dict, registry: Registry):
        (self.folder / ".docker").mkdir()
        (self.folder / ".docker/config.json").write_text(json.dumps({"auths": {registry.address: entry}}))

    def test_basic_login(self):
        image = Image([small_layer()])
        right = "Basic " + base64.b64encode(b"user:secret").decode()

        def answer(handler, path):
            if handler.headers.get("Authorization") != right:
                handler.send(401, WWW_Authenticate='Basic realm="r"')
                return True
            return False

        registry = self.registry(image, answer)
        self.assertIn("asks for a login", self.refused(registry))
        self.login({"auth": base64.b64encode(b"user:secret").decode()}, registry)
        self.good("pull", registry.address + "/a:1")

    def token_registry(self, image, login):
        def answer(handler, path):
            if path.startswith("/token"):
                handler.send(200 if handler.headers.get("Authorization") == login else 403, b'{"token":"tok"}')
                return True
            if handler.headers.get("Authorization") != "Bearer tok":
                realm = f"http://{handler.headers['Host']}/token"
                handler.send(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s",scope="repository:a:pull"')
                return True
            return False

        return self.registry(image, answer)

    def test_anonymous_token(self):
        registry = self.token_registry(Image([small_layer()]), None)
        self.good("pull", registry.address + "/a:1")
        self.assertIn("/token?service=s&scope=repository%3Aa%3Apull", registry.requests)

    def test_token_with_login(self):
        registry = self.token_registry(Image([small_layer()]), "Basic " + base64.b64encode(b"u:p").decode())
        self.assertIn("HTTP 403", self.refused(registry))
        self.login({"username": "u", "password": "p"}, registry)
        self.good("pull", registry.address + "/a:1")

    def test_a_redirect_elsewhere_gets_no_credentials(self):
        image = Image([small_layer()])
        other = self.registry(image)

        def answer(handler, path):
            if handler.headers.get("Authorization") is None:
                handler.send(401, WWW_Authenticate='Basic realm="r"')
                return True
            if "/blobs/" in path:
                handler.send(307, Location=f"http://{other.address}/other{path}")
                return True
            return False

        registry = self.registry(image, answer)
        self.login({"username": "u", "password": "p"}, registry)
        self.good("pull", registry.address + "/a:1")
        self.assertEqual(len(other.requests), 2)
        self.assertFalse([headers for headers in other.headers if "Authorization" in headers])

    def test_goes_on_after_a_broken_connection(self):
        body = os.urandom(3_000_000)
        layer = made.Layer()
        layer.add("large", data=body)
        image = Image([layer.bytes()], bytes, "tar")
        sent = []

        def answer(handler, path):
            data = image.blobs.get(path.rsplit("/", 1)[1])
            if data is None or len(data) < 1_000_000:
                return False
            begin = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            sent.append(begin)
            handler.send_response(206 if begin else 200)
            if begin:
                handler.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
            handler.send_header("Content-Length", str(len(data) - begin))
            handler.end_headers()
            handler.wfile.write(data[begin:begin + 700_000])
            handler.wfile.flush()
            handler.connection.shutdown(socket.SHUT_RDWR)
            return True

        self.good("pull", self.registry(image, answer).address + "/a:1")
        self.assertEqual(sent[0], 0)
        self.assertGreater(len(sent), 3)
        self.assertEqual(sent, sorted(sent))

    def hosts(self, registry: str, text: str) -> list:
        folder = self.folder / "certs.d" / registry
        folder.mkdir(parents=True)
        (folder / "hosts.toml").write_text(text)
        return ["--hosts", self.folder / "certs.d"]

    def test_mirrors_stand_for_a_registry(self):
        image = Image([small_layer()])
        mirror, broken = self.registry(image), self.registry(None)
        hosts = self.hosts("registry.invalid", f"""
            [host."http://{broken.address}"]
            [host."http://{mirror.address}"]
              capabilities = ["pull", "resolve"]
              [host."http://{mirror.address}".header]
                x-who = "pepita"
            """)
        self.good("pull", "registry.invalid/a:1", *hosts)
        self.assertIn("registry.invalid/a:1", self.good("list"))
        self.assertIn("/v2/a/manifests/1?ns=registry.invalid", mirror.requests)
        self.assertEqual({headers["x-who"] for headers in mirror.headers}, {"pepita"})
        self.assertEqual(len(broken.requests), 3)  # manifest, config, layer: each was asked for there first

    def test_https_trusts_what_hosts_toml_says(self):
        key, certificate = self.folder / "key.pem", self.folder / "ca.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
        registry = self.registry(Image([small_layer()]))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        registry.server.socket = context.wrap_socket(registry.server.socket, server_side=True)
        name = "localhost:" + registry.address.partition(":")[2]
        hosts = self.hosts(name, f'server = "https://{name}"\n')
        self.assertIn("certificate", self.bad("pull", name + "/a:1", *hosts).lower())
        toml = self.folder / "certs.d" / name / "hosts.toml"
        toml.write_text(toml.read_text() + f'ca = "{certificate}"\n')
        self.good("pull", name + "/a:1", *hosts)

    def test_waits_when_it_is_told_to(self):
        told = []

        def answer(handler, path):
            if "/manifests/" in path and len(told) < 2:
                told.append(time.monotonic())
                handler.send(429, Retry_After="1")
                return True
            return False

        self.good("pull", self.registry(Image([small_layer()]), answer).address + "/a:1")
        self.assertGreaterEqual(told[1] - told[0], 0.9)

    def test_two_pulls_share_a_download(self):
        image = Image([small_layer()])
        began = threading.Event()
        downloads = []

        def answer(handler, path):
            if "/blobs/" in path and image.id not in path:
                downloads.append(path)
                began.set()
                time.sleep(1)  # the second pull comes to the layer meanwhile
            return False

        registry = self.registry(image, answer)
        first = threading.Thread(target=self.good, args=("pull", registry.address + "/a:1"))
        first.start()
        began.wait(60)
        self.good("pull", registry.address + "/b:2")
        first.join()
        self.assertEqual(len(downloads), 1)
        self.assertEqual(len(json.loads(self.good("list", "--format=json"))[0]["names"]), 4)


class Hostile(Case):
    def blob_answers(self, body: bytes, layers=None, **more) -> str:
        image = Image(layers or [small_layer()])

        def answer(handler, path):
            if "/blobs/" not in path or image.id in path:
                return False
            handler.send(200, body, **more)
            return True

        return self.refused(self.registry(image, answer))

    def test_wrong_digest(self):
        image = Image([small_layer()])
        wrong = bytearray(image.blobs[json.loads(image.manifest)["layers"][0]["digest"]])
        wrong[4] ^= 1  # gzip's time: the content is the same
        self.assertIn("was asked for, and", self.blob_answers(bytes(wrong)))

    def test_too_long_and_too_short(self):
        self.assertIn("has more than", self.blob_answers(gzip.compress(os.urandom(100000))))
        image = Image([small_layer()])
        blob = image.blobs[json.loads(image.manifest)["layers"][0]["digest"]]
        self.assertRegex(self.blob_answers(blob[:-9]), "truncated|has only")

    def test_wrong_diff_id(self):
        image = Image([small_layer()])
        other = json.dumps(json.loads(image.config) | {"rootfs": {"type": "layers", "diff_ids": [digest(b"other")]}}).encode()
        manifest = json.loads(image.manifest)
        manifest["config"] |= {"digest": digest(other), "size": len(other)}
        image.manifest, image.blobs[digest(other)] = json.dumps(manifest).encode(), other
        self.assertIn("and its image says", self.refused(self.registry(image)))

    def test_wrong_manifest_for_its_digest(self):
        registry = self.registry(Image([small_layer()]))
        self.assertIn("was asked for", self.bad("pull", f"{registry.address}/a@{digest(b'x')}"))

    def test_endless_body(self):
        image = Image([small_layer()])

        def answer(handler, path):
            handler.send_response(200)
            handler.end_headers()
            while True:
                handler.wfile.write(bytes(65536))

        self.assertIn("more than 4194304 bytes", self.refused(self.registry(image, answer)))

        def endless_blob(handler, path):
            return "/blobs/" in path and image.id not in path and answer(handler, path)

        self.assertRegex(self.refused(self.registry(image, endless_blob)), "has more than|damaged|checksum")

    def test_manifest_of_100_mb(self):
        body = b'{"schemaVersion":2,"x":"' + b"x" * (100 << 20) + b'"}'
        self.assertIn("more than 4194304 bytes", self.refused(self.registry(None, lambda handler, path: handler.send(200, body) or True)))

    def test_redirect_loop(self):
        self.assertIn("more than 10 redirects", self.refused(self.registry(None, lambda handler, path: handler.send(302, Location=path) or True)))

    def test_redirect_to_a_file(self):
        message = self.refused(self.registry(None, lambda handler, path: handler.send(302, Location="file:///etc/passwd") or True))
        self.assertIn("is not followed", message)

    def test_truncated_gzip_with_its_right_digest(self):
        cut = lambda data: gzip.compress(data)[:-20]  # noqa: E731
        self.assertIn("truncated", self.refused(self.registry(Image([small_layer()], cut))))

    def test_bomb(self):
        layer = made.Layer()
        layer.add("x", data=b"x")
        bomb = lambda data: gzip.compress(data) + gzip.compress(bytes(1 << 20)) * 10_000  # noqa: E731
        self.assertIn("expands more than 200 times", self.refused(self.registry(Image([layer.bytes()], bomb))))

    def test_layer_that_leads_out(self):
        layer = made.Layer()
        layer.add("../../etc/passwd", data=b"x")
        # The layer itself is kept until the image is refused, and goes with the next prune.
        self.assertIn("'..'", self.bad("pull", self.registry(Image([layer.bytes()])).address + "/a:1"))
        self.assertEqual(os.listdir(self.root / "images"), [])
        self.good("prune")
        self.assertEqual(os.listdir(self.root / "layers"), [])

    def test_wrong_media_types(self):
        image = Image([small_layer()], kind="zip")
        self.assertIn("media type", self.refused(self.registry(image)))
        self.assertIn("no JSON", self.refused(self.registry(None, lambda handler, path: handler.send(200, b"<html>") or True))
                      .replace("manifest: ", "no JSON "))
        foreign = Image([small_layer()])
        foreign.manifest = foreign.manifest.replace(b"image.layer.v1", b"image.layer.nondistributable.v1")
        self.assertIn("is a foreign one", self.refused(self.registry(foreign)))

    def test_nobody_and_nothing(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.assertIn("Couldn't connect", self.bad("pull", f"127.0.0.1:{port}/a:1"))
        self.assertIn("HTTP 404, not found", self.refused(self.registry()))

    def test_a_killed_pull_leaves_nothing_behind_the_next_open(self):
        reached = threading.Event()

        def answer(handler, path):
            if "/blobs/" in path and image.id not in path:
                handler.send_response(200)
                handler.send_header("Content-Length", "100000")
                handler.end_headers()
                handler.wfile.write(bytes(1))
                reached.set()
                time.sleep(60)
            return False

        image = Image([small_layer()])
        pull = subprocess.Popen([PEPITA, "image", "pull", self.registry(image, answer).address + "/a:1", "--root", self.root])
        self.assertTrue(reached.wait(60))
        self.assertEqual(len(os.listdir(self.root / "temporary")), 1)
        self.good("list")
        self.assertEqual(len(os.listdir(self.root / "temporary")), 1)  # it is in use
        pull.kill()
        pull.wait()
        self.good("list")
        self.assertEqual(os.listdir(self.root / "temporary"), [])


@unittest.skipUnless(DebianRegistry.is_here, "docker-registry or skopeo is missing")
class Debians(Case):
    def setUp(self):
        super().setUp()
        self.debians = DebianRegistry(self.folder)
        self.addCleanup(self.debians.close)
        self.address = self.debians.address
        self.image = Image([layer.bytes() for layer in made.everything()])

    def test_pulls_what_skopeo_pushed_and_gives_it_back(self):
        layout = self.image.write_layout(self.folder / "layout")
        for form in ("oci", "v2s2"):
            self.debians.push(layout, f"made:{form}", form)
            self.good("pull", f"{self.address}/made:{form}")
        pulled = json.loads(self.good("list", "--format=json"))
        self.assertEqual(len(pulled), 1)  # the same config, so the same image
        self.assertEqual(pulled[0]["id"], self.image.id)

        # The tree, file by file, against umoci's.
        subprocess.run(["umoci", "raw", "unpack", "--image", f"{layout}:latest", self.folder / "unpacked"], check=True, capture_output=True)
        found = made.mounted_listing(self.mounted(f"{self.address}/made:oci"))
        expected = made.mounted_listing(str(self.folder / "unpacked"))
        self.assertEqual(sorted(found), sorted(expected))
        for node in found.values():  # what Go's archive/tar and ext4 cannot read or hold
            node["xattrs"] = {name: value for name, value in node["xattrs"].items() if value}
            node["mtime"] = max(node["mtime"], -(2**31) * 10**9)
        differ = [(path, key, found[path][key], expected[path][key]) for path in expected for key in expected[path]
                  if found[path][key] != expected[path][key] and
                  # The host's file system counts directories in its own way, and umoci gives those
                  # that no entry made, and the root, the time of now.
                  not (expected[path]["names"] is None and key in ("links", "mtime"))]
        self.assertEqual([str(one)[:300] for one in differ], [])

        # What was stored comes out again, and other tools take it.
        archive = self.folder / "archive.tar"
        self.good("export", f"{self.address}/made:oci", "-o", archive)
        skopeo("copy", f"docker-archive:{archive}", f"oci:{self.folder}/from-docker:latest")
        skopeo("copy", f"oci-archive:{archive}:{self.address}/made:oci", f"oci:{self.folder}/from-oci:latest")
        for name in ("from-docker", "from-oci"):
            index = json.loads((self.folder / name / "index.json").read_text())
            manifest = json.loads((self.folder / name / "blobs/sha256" / index["manifests"][0]["digest"][7:]).read_text())
            config = json.loads((self.folder / name / "blobs/sha256" / manifest["config"]["digest"][7:]).read_text())
            self.assertEqual(config["rootfs"], json.loads(self.image.config)["rootfs"], name)
        self.assertEqual(manifest["config"]["digest"], self.image.id)  # skopeo writes docker's config anew
        self.root = self.folder / "other"
        self.assertIn(self.image.id, self.good("import", archive))

    def test_imports_layouts_and_archives(self):
        layout = self.image.write_layout(self.folder / "layout")
        self.assertEqual(self.good("import", layout, "--name", "made:1"), self.image.id + "\n")
        self.assertEqual(json.loads(self.good("inspect", "made:1"))["names"], ["docker.io/library/made:1"])
        for form in ("docker-archive", "oci-archive"):
            with self.subTest(form):
                archive = self.folder / (form + ".tar")
                skopeo("copy", f"oci:{layout}:latest", f"{form}:{archive}:docker.io/library/{form}:2")
                self.assertEqual(self.good("import", archive), self.image.id + "\n")
                self.assertIn(f"docker.io/library/{form}:2", json.loads(self.good("inspect", self.image.id))["names"])


if __name__ == "__main__":
    unittest.main()

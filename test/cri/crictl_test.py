#!/usr/bin/python3
"""pepita-cri under a released crictl: images, pods and containers from their begin to their end, and nothing of them
left. Usage: crictl_test.py BUILD

Environment: PEPITA_DATA (with guest/ in it; default BUILD/data), PEPITA_ISOLATION (tcg, kvm or process; default tcg).
test/cri/go_programs.py builds crictl once, which takes about 135 s of processor time.
"""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import cri_host  # noqa: E402
import go_programs  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402
from cri_host import PATIENCE_S, wait_until  # noqa: E402
from oci import DebianRegistry, digest  # noqa: E402

BUSYBOX = "registry.k8s.io/e2e-test-images/busybox:1.29-2"
NGINX = "registry.k8s.io/e2e-test-images/nginx:1.14-2"


class WithNode(unittest.TestCase):
    node: cri_host.Node
    maxDiff = None

    def setUp(self):
        self.folder = self.node.path / "logs" / self.id().rpartition(".")[2]
        self.folder.mkdir()
        self.crictl("info")
        self.before, self.files = self.node.left(), self.node.open_files()
        self.addCleanup(self.check_that_nothing_is_left)

    def check_that_nothing_is_left(self):
        if self.has_failed():
            self.remove_all()
            return

        def extra():
            return {one for one in self.node.left() - self.before if one != "link cni0"}

        with contextlib.suppress(AssertionError):  # what was killed is collected by the kernel a moment later
            wait_until(lambda: not extra(), "clean-up", 15)
        self.assertEqual(extra(), set())
        with contextlib.suppress(AssertionError):
            wait_until(lambda: self.node.open_files() <= self.files, "descriptors", 15)
        self.assertLessEqual(self.node.open_files(), self.files)

    def has_failed(self) -> bool:
        result = self._outcome.result  # unittest says it nowhere else
        return any(getattr(test, "test_case", test) is self for test, _ in result.failures + result.errors)

    def remove_all(self):
        print(self.node.said(), file=sys.stderr)
        for arguments in (("rmp", "--all", "--force"), ("rmi", "--all")):
            self.call(*arguments)

    def call(self, *arguments, **how) -> subprocess.CompletedProcess:
        return subprocess.run([go_programs.crictl(), "--config", self.node.config, *map(str, arguments)], text=True,
                              capture_output=True, timeout=PATIENCE_S, **({} if "input" in how else {"stdin": subprocess.DEVNULL}) | how)

    def crictl(self, *arguments, **how) -> str:
        done = self.call(*arguments, **how)
        self.assertEqual(done.returncode, 0, f"{arguments}: {done.stderr}")
        return done.stdout

    def line(self, *arguments) -> str:
        out = self.crictl(*arguments)
        self.assertEqual(out.count("\n"), 1, out)
        return out.rstrip("\n")

    def json(self, verb: str, *arguments) -> dict:
        return json.loads(self.crictl(verb, "-o", "json", *arguments))

    def exec_sync(self, container: str, *command: str) -> str:
        """What it wrote; crictl adds a line's end to each of both outputs."""
        return self.crictl("exec", "-s", container, *command).rstrip("\n")

    def refused(self, *arguments, **how) -> str:
        done = self.call(*arguments, **how)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        return done.stderr

    def write(self, name: str, **content) -> pathlib.Path:
        path = self.folder / name
        path.write_text(json.dumps(content))
        return path

    def pod_config(self, name: str, **more) -> pathlib.Path:
        return self.write(f"pod-{name}.json", metadata={"name": name, "namespace": "tests", "uid": f"uid-{name}", "attempt": 0},
                          hostname=name, log_directory=str(self.folder), labels={"app": name}, annotations={"note": "of a pod"},
                          **{"linux": {}} | more)

    def run_pod(self, name: str, **more) -> tuple[str, pathlib.Path]:
        config = self.pod_config(name, **more)
        return self.line("runp", config), config

    def create(self, pod: tuple[str, pathlib.Path], name: str, *command: str, image: str = BUSYBOX, **more) -> str:
        config = self.write(f"container-{name}.json", metadata={"name": name}, image={"image": image}, log_path=f"{name}.log",
                            labels={"role": name}, **({"command": command} if command else {}), **{"linux": {}} | more)
        return self.line("create", pod[0], config, pod[1])

    def start(self, pod: tuple[str, pathlib.Path], name: str, *command: str, **more) -> str:
        container = self.create(pod, name, *command, **more)
        self.assertEqual(self.line("start", container), container)
        return container

    def status(self, container: str) -> dict:
        return self.json("inspect", container)["status"]

    def wait_for_exit(self, container: str) -> dict:
        wait_until(lambda: self.status(container)["state"] == "CONTAINER_EXITED", "the container's exit")
        return self.status(container)

    def remove_pod(self, pod: tuple[str, pathlib.Path]):
        self.crictl("stopp", pod[0])
        self.crictl("rmp", pod[0])

    def remove_images(self):
        self.crictl("rmi", "--all")
        self.assertEqual(self.crictl("images", "-q"), "")


class Images(WithNode):
    def test_the_server_names_itself(self):
        version = dict(line.split(":", 1) for line in self.crictl("version").splitlines())
        self.assertEqual(version["Version"].strip(), "0.1.0")
        self.assertEqual(version["RuntimeName"].strip(), "pepita")
        self.assertEqual(version["RuntimeApiVersion"].strip(), "v1")
        conditions = {one["type"]: one["status"] for one in json.loads(self.crictl("info"))["status"]["conditions"]}
        self.assertEqual((conditions["RuntimeReady"], conditions["NetworkReady"]), (True, True))

    def test_an_image_from_its_pull_to_its_removal(self):
        image = self.node.registry.images["e2e-test-images/busybox:1.29-2"]
        manifest = "registry.k8s.io/e2e-test-images/busybox@" + digest(image.manifest)
        self.assertIn(image.id, self.crictl("pull", BUSYBOX))
        listed, = self.json("images")["images"]
        self.assertEqual((listed["id"], listed["repoTags"], listed["repoDigests"]), (image.id, [BUSYBOX], [manifest]))
        self.assertGreater(int(listed["size"]), 1_000_000)
        self.assertIn(image.id[7:20], self.crictl("images", BUSYBOX))
        self.assertEqual(self.crictl("images", "-q", "registry.k8s.io/pause:3.9"), "")
        for reference in (BUSYBOX, manifest, image.id, image.id[7:20]):
            inspected = self.json("inspecti", reference)
            self.assertEqual(inspected["status"], listed)
            self.assertEqual(inspected["info"]["imageSpec"], json.loads(image.config))
        self.assertIn("Deleted: " + BUSYBOX, self.crictl("rmi", BUSYBOX))
        self.assertIn("no such image", self.refused("inspecti", BUSYBOX))
        self.assertIn("no such image", self.refused("rmi", BUSYBOX))
        self.remove_images()

    def test_names_of_one_image_go_together(self):
        names = [f"gcr.io/k8s-staging-cri-tools/test-image-tags:{tag}" for tag in "123"] + ["docker.io/library/busybox:latest"]
        for name in (*names[:3], "busybox"):
            self.crictl("pull", name)
        tags = sorted((image["repoTags"] for image in self.json("images")["images"]), key=len)
        self.assertEqual(tags, [names[3:], names[:3]])
        self.assertEqual(sorted(line.removeprefix("Deleted: ") for line in self.crictl("rmi", names[1]).splitlines()), names[:3])
        self.crictl("rmi", "busybox")
        self.remove_images()

    def test_pulls_that_fail_say_why(self):
        self.assertIn("NotFound", self.refused("pull", "registry.k8s.io/no/such/image:1"))
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            self.assertIn("RegistryUnavailable", self.refused("pull", f"127.0.0.1:{port}/image:1"))

    def test_users_of_images(self):
        staging = "gcr.io/k8s-staging-cri-tools/test-image-user-"
        for name, wanted in {"uid": ("1002", ""), "username": (None, "www-data"), "uid-group": ("1003", ""),
                             "username-group": (None, "www-data")}.items():
            with self.subTest(name):
                self.crictl("pull", staging + name)
                status = self.json("inspecti", staging + name)["status"]
                uid = status["uid"]["value"] if status.get("uid") else None
                self.assertEqual((uid, status["username"]), wanted)
        self.remove_images()

    def test_the_file_system_of_images(self):
        self.crictl("pull", BUSYBOX)
        usage, = self.json("imagefsinfo")["status"]["imageFilesystems"]
        self.assertEqual(usage["fsId"]["mountpoint"], str(self.node.path / "images"))
        self.assertGreater(int(usage["usedBytes"]["value"]), 1_000_000)
        self.remove_images()


class Pods(WithNode):
    def setUp(self):
        super().setUp()
        self.crictl("pull", BUSYBOX)

    def tearDown(self):
        if not self.has_failed():
            self.remove_images()

    def test_a_pods_whole_life(self):
        pod = self.run_pod("web")
        listed, = self.json("pods")["items"]
        self.assertEqual((listed["id"], listed["state"], listed["metadata"]["name"], listed["labels"]["app"]),
                         (pod[0], "SANDBOX_READY", "web", "web"))
        status = self.json("inspectp", pod[0])["status"]
        self.assertEqual((status["state"], status["annotations"]), ("SANDBOX_READY", {"note": "of a pod"}))
        self.assertTrue(status["network"]["ip"].startswith("10.88.9."), status["network"])

        container = self.create(pod, "main", "sh", "-c", "trap 'exit 5' TERM; echo to out; echo to err >&2; hostname; sleep 1000 & wait",
                                envs=[{"key": "GREETING", "value": "hello"}])
        self.assertEqual(self.status(container)["state"], "CONTAINER_CREATED")
        self.assertEqual(self.crictl("ps", "-q"), "")
        self.crictl("start", container)
        running, = self.json("ps")["containers"]
        image = self.node.registry.images["e2e-test-images/busybox:1.29-2"].id
        self.assertEqual((running["id"], running["podSandboxId"], running["state"], running["imageId"]),
                         (container, pod[0], "CONTAINER_RUNNING", image))
        status = self.status(container)
        self.assertEqual((status["metadata"]["name"], status["imageId"], status["labels"]), ("main", image, {"role": "main"}))
        self.assertGreaterEqual(status["startedAt"], status["createdAt"])

        self.assertEqual(self.exec_sync(container, "sh", "-c", "echo $GREETING; hostname"), "hello\nweb")
        self.assertEqual(self.crictl("exec", "-i", container, "cat", input="through\n"), "through\n")
        self.assertIn("exited with 7: why", self.refused("exec", "-s", container, "sh", "-c", "echo why >&2; exit 7"))
        self.assertIn("exit code 7", self.refused("exec", container, "sh", "-c", "exit 7"))
        self.assertIn("DeadlineExceeded", self.refused("exec", "-s", "--timeout", "1", container, "sleep", "1000"))

        wait_until(lambda: "web" in self.crictl("logs", container), "its output")
        logged = self.call("logs", container)
        self.assertEqual((logged.stdout, logged.stderr), ("to out\nweb\n", "to err\n"))
        self.exec_sync(container, "sh", "-c", "i=0; while [ $i -lt 10000 ]; do i=$((i + 1)); done")
        used, = self.json("stats")["stats"]
        self.assertEqual(used["attributes"]["id"], container)
        # A host with cgroup v1 has no v2 to count memory in.
        if self.node.isolation != "process" or pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists():
            self.assertGreater(int(used["memory"]["workingSetBytes"]["value"]), 0)
        self.assertGreater(int(used["cpu"]["usageCoreNanoSeconds"]["value"]), 0)

        self.assertIn("in use", self.refused("rmi", BUSYBOX))
        self.assertEqual(self.line("stop", "--timeout", "60", container), container)
        status = self.wait_for_exit(container)
        self.assertEqual(status["exitCode"], 5)
        self.assertEqual(self.crictl("ps", "-q"), "")
        self.assertEqual(self.line("ps", "-a", "-q"), container)
        self.assertEqual(self.line("rm", container), container)
        self.assertEqual(self.crictl("ps", "-a", "-q"), "")
        self.crictl("stopp", pod[0])
        self.assertEqual(self.json("pods")["items"][0]["state"], "SANDBOX_NOTREADY")
        self.crictl("rmp", pod[0])
        self.assertEqual(self.crictl("pods", "-q"), "")

    def test_containers_of_a_pod_come_and_go_alone(self):
        pod = self.run_pod("several")
        first = self.start(pod, "first", "sh", "-c", "exit 3")
        second = self.start(pod, "second", "sh", "-c", "trap '' TERM; while :; do sleep 1000; done")
        status = self.wait_for_exit(first)
        self.assertEqual((status["exitCode"], status["reason"]), (3, "Error"))
        third = self.start(pod, "third", "true")
        status = self.wait_for_exit(third)
        self.assertEqual((status["exitCode"], status["reason"]), (0, "Completed"))
        self.assertEqual(self.status(second)["state"], "CONTAINER_RUNNING")
        self.crictl("rm", first)
        self.assertEqual(set(self.crictl("ps", "-a", "-q").split()), {second, third})
        folder = self.folder / "of-host"
        folder.mkdir()
        for name in ("reads", "reads-too"):
            (folder / "text").write_text(name)
            reads = self.start(pod, name, "cat", "/host/text", mounts=[{"host_path": str(folder), "container_path": "/host"}])
            self.assertEqual(self.wait_for_exit(reads)["exitCode"], 0)
            self.assertEqual(self.crictl("logs", reads), name)
        self.crictl("stop", "--timeout", "1", second)
        self.assertEqual(self.wait_for_exit(second)["exitCode"], 137)
        self.crictl("rmp", "--force", pod[0])
        self.assertEqual(self.crictl("ps", "-a", "-q"), "")

    def test_a_pod_grows_with_its_container(self):
        pod = self.run_pod("growing")
        container = self.start(pod, "one", "sleep", "1000")
        self.assertEqual(self.exec_sync(container, "nproc"), "1")
        self.crictl("update", "--memory", 700 << 20, "--cpu-period", 100000, "--cpu-quota", 250000, container)
        self.assertEqual(self.exec_sync(container, "nproc"), "3")
        self.assertEqual(self.exec_sync(container, "cat", "/sys/fs/cgroup/memory.max"), str(700 << 20))
        self.assertIn("--memory-max", self.refused("update", "--memory", 4 << 30, container))
        self.remove_pod(pod)

    def test_a_server_in_a_pod_is_reached(self):
        self.crictl("pull", NGINX)
        pod = self.run_pod("server", port_mappings=[{"container_port": 80, "host_port": 12000}])
        container = self.start(pod, "nginx", image=NGINX)
        wait_until(lambda: "serving port 80" in self.crictl("logs", container), "the server's start")
        address = self.json("inspectp", pod[0])["status"]["network"]["ip"]
        for url in (f"http://{address}/", "http://127.0.0.1:12000/"):
            with urllib.request.urlopen(url, timeout=30) as page:
                self.assertEqual(page.read(), b"Welcome to nginx!\n", url)
        forward = subprocess.Popen([go_programs.crictl(), "--config", self.node.config, "port-forward", pod[0], "0:80"],
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            port = forward.stdout.readline().split(" -> ")[0].rpartition(":")[2]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as page:
                self.assertEqual(page.read(), b"Welcome to nginx!\n")
        finally:
            forward.send_signal(signal.SIGINT)
            forward.communicate(timeout=30)
        self.remove_pod(pod)

    def test_users_are_mapped_for_all_that_a_container_has(self):
        self.crictl("pull", NGINX)
        mapping = [{"container_id": 0, "host_id": 100_000, "length": 65_536}]
        security = {"security_context": {"namespace_options": {"userns_options": {"uids": mapping, "gids": mapping}}}}
        data = self.folder / "data"
        data.mkdir()
        (data / "file").touch()
        pod = self.run_pod("mapped", linux=security)
        container = self.start(pod, "nginx", image=NGINX, linux=security, mounts=[
            {"container_path": "/data", "host_path": str(data), "uidMappings": mapping, "gidMappings": mapping},
            {"container_path": "/image", "image": {"image": BUSYBOX}, "image_sub_path": "etc", "readonly": True}])
        wait_until(lambda: "serving port 80" in self.crictl("logs", container), "the server's start")
        address = self.json("inspectp", pod[0])["status"]["network"]["ip"]
        with urllib.request.urlopen(f"http://{address}/", timeout=30) as page:  # a low port of a network that is not its own
            self.assertEqual(page.read(), b"Welcome to nginx!\n")
        self.assertEqual(self.exec_sync(container, "cat", "/proc/self/uid_map").split(), ["0", "100000", "65536"])
        owners = self.exec_sync(container, "stat", "-c", "%u:%g", "/", "/bin/sh", "/data/file", "/image/passwd", "/etc/hosts")
        self.assertEqual(owners.split(), ["0:0"] * 5)
        self.exec_sync(container, "sh", "-c", "echo mine > /data/new && echo mine > /new && chown 7 /data/new")
        self.assertEqual((data / "new").stat().st_uid, 7)
        self.assertIn("Read-only", self.refused("exec", "-s", container, "touch", "/image/new"))
        status = self.status(container)
        self.assertEqual((status["user"]["linux"]["uid"], status["mounts"][1]["image"]["imageRef"]),
                         ("0", self.node.registry.images["e2e-test-images/busybox:1.29-2"].id))
        config = self.write("bad.json", metadata={"name": "bad"}, image={"image": BUSYBOX}, linux=security, mounts=[
            {"container_path": "/image", "image": {"image": BUSYBOX}, "image_sub_path": "no/such", "readonly": True}])
        self.assertIn("ImageVolumeMountFailed: mount '/image': image: open 'no/such'", self.refused("create", pod[0], config, pod[1]))
        self.remove_pod(pod)

    def test_attach_reaches_the_first_process(self):
        pod = self.run_pod("attached")
        container = self.start(pod, "main", "sh", "-c", "read line; echo got $line; exit 4", stdin=True, stdin_once=True)
        self.assertEqual(self.crictl("attach", "-i", container, input="this\n"), "got this\n")
        self.assertEqual(self.wait_for_exit(container)["exitCode"], 4)
        self.remove_pod(pod)

    def test_what_is_not_there_is_refused(self):
        self.assertIn("handler", self.refused("runp", "--runtime", "no-such-handler", self.pod_config("refused")))
        pod = self.run_pod("errors")
        config = self.write("no-image.json", metadata={"name": "a"}, image={"image": "registry.k8s.io/no-such:1"}, linux={})
        self.assertIn("no-such", self.refused("create", pod[0], config, pod[1]))
        config = self.write("broken.json", metadata={"name": "b"}, image={"image": BUSYBOX}, command=["/no/such/program"], linux={})
        self.assertIn("/no/such/program", self.refused("create", pod[0], config, pod[1]))
        unknown = "0" * 32
        for arguments in (("exec", "-s", unknown, "true"), ("inspect", unknown), ("inspectp", unknown), ("start", unknown)):
            self.assertIn("NotFound", self.refused(*arguments), arguments)
        for arguments in (("stop", unknown), ("rm", unknown), ("stopp", unknown), ("rmp", unknown)):  # all is done already
            self.call(*arguments)
        self.remove_pod(pod)

    def test_metrics_of_pods_and_of_the_node(self):
        pod = self.run_pod("measured", linux={"resources": {}})
        container = self.start(pod, "main", "sh", "-c", "exec 7< /dev/null; while :; do :; done",
                               linux={"resources": {"cpu_period": 100000, "cpu_quota": 20000, "memory_limit_in_bytes": 64 << 20}})
        self.exec_sync(container, "sh", "-c", "echo x > /x; sync; ping -c 1 10.88.9.1")
        descriptors = {one["name"]: one["labelKeys"] for one in json.loads(self.crictl("metricdescs"))["descriptors"]}
        self.assertEqual(len(descriptors), 55)

        def series():
            metrics, = json.loads(self.crictl("metricsp"))["podMetrics"]
            self.assertEqual((metrics["podSandboxId"], metrics["containerMetrics"][0]["containerId"]), (pod[0], container))
            return {one["name"]: (dict(zip(descriptors[one["name"]], one["labelValues"], strict=True)), int(one["value"]["value"]))
                    for one in metrics["metrics"] + metrics["containerMetrics"][0]["metrics"]}

        wait_until(lambda: series()["container_cpu_cfs_throttled_periods_total"][1] > 0, "a period in which it was throttled")
        found = series()
        self.assertEqual(set(found), set(descriptors))
        labels = found["container_memory_rss"][0]
        self.assertEqual((labels["pod"], labels["namespace"], labels["container"]), ("measured", "tests", "main"))
        self.assertEqual(found["container_network_receive_packets_total"][0]["interface"], "eth0")
        for name, (_, value) in found.items():
            if re.search("network_(receive|transmit)_(bytes|packets)_total|memory_(usage|working|rss)|processes|threads$|descriptors|fs_(limit|usage|inodes)"
                         "|writes|pgfault|_limit_bytes$|start_time|ulimits|last_seen", name) and "swap" not in name and "reservation" not in name:
                self.assertGreater(value, 0, name)
        self.assertEqual(found["container_spec_memory_limit_bytes"][1], 64 << 20)
        self.assertLess(found["container_fs_usage_bytes"][1], found["container_fs_limit_bytes"][1])
        stats, = json.loads(self.crictl("statsp", "-o", "json"))["stats"]
        self.assertGreater(int(stats["linux"]["network"]["defaultInterface"]["rxBytes"]["value"]), 0)
        self.assertGreater(int(stats["linux"]["cpu"]["psi"]["Some"]["Total"]), 0)
        shown = subprocess.run([self.node.build / "cri/cli/pepita", "top", "--once", "--socket", self.node.socket], check=True,
                               capture_output=True, text=True).stdout
        self.assertRegex(shown, r"tests/measured +\d+\.\d % ")
        self.assertRegex(shown, r" main +[1-9]\d*\.\d % ")

        node = self.scrape()
        self.assertEqual(node["pepita_pods", ("state", "ready")], 1)
        self.assertEqual(node["pepita_containers", ("state", "running")], 1)
        self.assertGreaterEqual(node["pepita_pod_boot_seconds_count"], 1)
        self.assertGreaterEqual(node["pepita_cri_requests_total", ("code", "OK"), ("method", "RunPodSandbox")], 1)
        self.assertGreater(node["pepita_image_bytes"], 0)
        self.remove_pod(pod)
        self.assertEqual(self.scrape()["pepita_pods", ("state", "ready")], 0)

    def scrape(self) -> dict:
        """What Prometheus would read, by its own parser: (name, label...) or name, and the value."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.node.metrics))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")
            head, _, body = b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")
        self.assertIn(b"200 OK", head)
        self.assertLess(len(body), 200_000)
        samples = [sample for family in text_string_to_metric_families(body.decode()) for sample in family.samples]
        return {(one.name, *sorted(one.labels.items())) if one.labels else one.name: one.value for one in samples}

    def test_the_configuration_is_read_again(self):
        self.addCleanup(self.reload, isolation=self.node.isolation)
        members = {"isolation": self.node.isolation, "memory": 200, "memory-max": 300}
        self.assertRegex(self.reload(**members), 'changed="memory, memory-max"')
        pod = self.run_pod("small")
        container = self.start(pod, "main", "sleep", "1000")
        total = int(self.exec_sync(container, "awk", "/MemTotal/ { print $2 }", "/proc/meminfo"))
        self.assertLess(total, 400 << 10)  # the largest size, and the guest's own
        self.remove_pod(pod)
        self.assertIn("stream-port", self.reload(**{"isolation": self.node.isolation, "stream-port": 1}))
        self.assertIn("member 'memry': is unknown", self.reload(memry=1))

    def reload(self, **members) -> str:
        """What the server says of it."""
        self.node.configure(**members)
        before = len(self.node.said())
        self.node.server.send_signal(signal.SIGHUP)
        return wait_until(lambda: re.search("level=(info|error) msg=\"the configuration.*", self.node.said()[before:]) and self.node.said()[before:],
                          "the configuration")

    def test_pods_outlive_the_server(self):
        pod = self.run_pod("staying")
        container = self.start(pod, "main", "sh", "-c", "while read line; do echo $line; done < /dev/zero & exec sleep 1000")
        self.node.stop(signal.SIGKILL)
        self.node.start()
        wait_until(lambda: self.call("exec", "-s", container, "true").returncode == 0, "the pod's return")
        self.assertEqual(self.line("pods", "-q", "--state", "ready"), pod[0])
        self.assertEqual(self.line("ps", "-q"), container)
        self.assertEqual(self.exec_sync(container, "hostname"), "staying")
        self.remove_pod(pod)

    def test_a_killed_shim_leaves_nothing(self):
        pod = self.run_pod("lost")
        created, running = self.create(pod, "created", "true"), self.start(pod, "running", "sleep", "1000")
        shims = [pid for pid, name in cri_host.descendants().items() if name == "pepita-shim"]
        self.assertEqual(len(shims), 1)
        os.kill(shims[0], signal.SIGKILL)
        wait_until(lambda: self.json("inspectp", pod[0])["status"]["state"] == "SANDBOX_NOTREADY", "the pod's end")
        self.assertEqual((self.status(running)["state"], self.status(running)["exitCode"]), ("CONTAINER_EXITED", 255))
        self.crictl("rm", created)
        self.remove_pod(pod)


class OnTheHost(WithNode):
    """Pods without a microVM: those of the handler pepita-process, and those that ask for namespaces of the host."""

    def setUp(self):
        super().setUp()
        self.crictl("pull", BUSYBOX)

    def tearDown(self):
        if not self.has_failed():
            self.remove_images()

    @staticmethod
    def options(**modes) -> dict:
        """A `linux` with these namespaces: 0 the pod's, 1 the container's, 2 the node's."""
        return {"security_context": {"namespace_options": modes}}

    @staticmethod
    def here(namespace: str) -> str:
        return os.readlink(f"/proc/self/ns/{namespace}")

    def seen(self, container: str, namespace: str) -> str:
        return self.exec_sync(container, "readlink", f"/proc/self/ns/{namespace}")

    def test_a_pod_in_the_hosts_namespaces(self):
        linux = self.options(network=2, pid=2, ipc=2)
        pod = self.run_pod("agent", linux=linux)
        info = self.json("inspectp", pod[0])["status"]
        self.assertEqual((info["network"] or {}).get("ip", ""), "")
        container = self.start(pod, "main", "sh", "-c", "echo to out; echo to err >&2; sleep 1000", linux=linux)
        for namespace in ("net", "pid", "ipc"):
            self.assertEqual(self.seen(container, namespace), self.here(namespace), namespace)
        for namespace in ("mnt", "uts", "cgroup"):
            self.assertNotEqual(self.seen(container, namespace), self.here(namespace), namespace)
        self.assertEqual(set(self.exec_sync(container, "ls", "/sys/class/net").split()), {name for _, name in socket.if_nameindex()})
        self.assertEqual(self.exec_sync(container, "cat", f"/proc/{self.node.server.pid}/comm"), "pepita-cri")
        self.assertEqual(self.exec_sync(container, "sh", "-c", "(echo x > /sys/made) 2>&1; id -u").split()[-1], "0")
        reader = self.start(pod, "reader", "sh", "-c", "read line; echo got $line; exit 4", stdin=True, stdin_once=True, linux=linux)
        self.assertEqual(self.crictl("attach", "-i", reader, input="this\n"), "got this\n")
        self.assertEqual(self.wait_for_exit(reader)["exitCode"], 4)
        wait_until(lambda: "to err" in self.call("logs", container).stderr, "its output")
        self.assertIn("to out\n", self.call("logs", container).stdout)
        used, = self.json("stats", container)["stats"]
        self.assertGreater(int(used["cpu"]["usageCoreNanoSeconds"]["value"]), 0)
        self.forwarded(pod)
        self.crictl("stop", "--timeout", "60", container)
        self.assertEqual(self.wait_for_exit(container)["exitCode"], 143)  # it is not the first of its pid namespace
        self.remove_pod(pod)

    def forwarded(self, pod):
        """A port of such a pod is the host's."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(30)
            forward = subprocess.Popen([go_programs.crictl(), "--config", self.node.config, "port-forward", pod[0],
                                        f"0:{server.getsockname()[1]}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            try:
                port = forward.stdout.readline().split(" -> ")[0].rpartition(":")[2]
                with socket.create_connection(("127.0.0.1", int(port)), timeout=30) as client:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(b"hello")
                    self.assertEqual(client.recv(5), b"hello")
            finally:
                forward.send_signal(signal.SIGINT)
                forward.communicate(timeout=30)

    def test_a_pod_by_its_handler(self):
        config = self.pod_config("handled")
        pod = (self.line("runp", "--runtime", "pepita-process", config), config)
        address = self.json("inspectp", pod[0])["status"]["network"]["ip"]
        self.assertTrue(address.startswith("10.88.9."), address)
        first = self.start(pod, "first", "sleep", "1000")
        second = self.start(pod, "second", "sleep", "1001")
        self.assertIn(address, self.exec_sync(first, "ip", "addr"))
        self.assertEqual(self.exec_sync(first, "uname", "-r"), os.uname().release)
        self.assertEqual(self.exec_sync(first, "hostname"), "handled")
        for namespace in ("net", "pid", "ipc"):  # the pod's
            self.assertEqual(self.seen(first, namespace), self.seen(second, namespace), namespace)
            self.assertNotEqual(self.seen(first, namespace), self.here(namespace), namespace)
        self.assertIn("sleep 1001", self.exec_sync(first, "ps"))
        self.assertEqual(self.exec_sync(first, "sh", "-c", "echo shared > /dev/shm/file && echo written > /file && cat /file"), "written")
        self.assertEqual(self.exec_sync(second, "cat", "/dev/shm/file"), "shared")
        self.refused("exec", "-s", second, "cat", "/file")
        self.refused("exec", "-s", first, "sh", "-c", "exec 3< /dev/loop-control")
        self.remove_pod(pod)

    def test_a_privileged_container(self):
        linux = {"security_context": {"privileged": True, "namespace_options": {"network": 2}}}
        pod = self.run_pod("privileged", linux=linux)
        place = self.folder / "mounts"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "small", place], check=True)
        self.addCleanup(subprocess.run, ["umount", "-R", place], check=True)
        subprocess.run(["mount", "--make-shared", place], check=True)
        container = self.start(pod, "main", "sleep", "1000", linux=linux, mounts=[
            {"container_path": "/vol", "host_path": str(place), "propagation": 2}])  # bidirectional
        self.assertEqual(self.exec_sync(container, "sh", "-c", "mknod /dev/control c 10 237 && exec 3< /dev/control && echo open"), "open")
        self.exec_sync(container, "sh", "-c", "mkdir /vol/below && mount -t tmpfs made /vol/below && echo made > /vol/below/file")
        self.assertEqual((place / "below/file").read_text(), "made\n")
        self.remove_pod(pod)

    def test_a_handler_of_microvms_refuses(self):
        for mode in ("network", "pid", "ipc"):
            config = self.pod_config(f"refused-{mode}", linux=self.options(**{mode: 2}))
            said = self.refused("runp", "--runtime", "pepita-tcg", config)
            self.assertIn(f"namespace_options.{mode}: a microVM cannot be in a namespace of the host", said)

    def test_it_outlives_the_server(self):
        pod = self.run_pod("staying", linux=self.options(network=2))
        container = self.start(pod, "main", "sleep", "1000", linux=self.options(network=2))
        self.node.stop(signal.SIGKILL)
        self.node.start()
        wait_until(lambda: self.call("exec", "-s", container, "true").returncode == 0, "the pod's return")
        later = self.start(pod, "later", "sleep", "1000", linux=self.options(network=2))
        self.assertEqual(self.seen(later, "net"), self.here("net"))
        self.remove_pod(pod)


def main(arguments: list[str]):
    """BUILD, and what unittest is told. The tests are those of the program that runs."""
    build = pathlib.Path(arguments[0]).resolve()
    data = pathlib.Path(os.environ.get("PEPITA_DATA", build / "data"))
    if not DebianRegistry.is_here or not (cri_host.CNI_PLUGINS / "bridge").exists():
        go_programs.skip("docker-registry, skopeo or containernetworking-plugins is missing")
    if os.geteuid() != 0:
        go_programs.skip("needs root")
    if not (data / "guest/vmlinuz").exists():
        sys.exit(f"no guest in {data}/guest: deploy/guest/build makes one")
    go_programs.crictl()  # before the network is away
    with cri_host.start(build, data, os.environ.get("PEPITA_ISOLATION", "tcg")) as WithNode.node:
        program = unittest.main(argv=[sys.argv[0], *arguments[1:]], verbosity=2, exit=False)
    sys.exit(not program.result.wasSuccessful())


if __name__ == "__main__":
    main(sys.argv[1:])

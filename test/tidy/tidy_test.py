#!/usr/bin/python3
"""Tests of tidy.py, layers.py and census.py: each rule breaks on the smallest tree that breaks it, and on no other."""
import pathlib
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import census  # noqa: E402
import layers  # noqa: E402
import tidy  # noqa: E402

TIDY_TREE = {
    "README.md": "See `vmm/machine.cc` and `no path of ours`.\n",
    "vmm/README.md": "`machine.cc` makes the machine.\n",
    "vmm/meson.build": "lib = static_library('vmm', 'machine.cc')\n",
    "vmm/machine.cc": '#include "vmm/machine.h"\n',
    "test/README.md": "",
    "test/vmm/meson.build": "unit_tests += {'vmm/machine' : vmm_dep}\n",
    "test/vmm/machine_test.cc": "",
}


class TreeTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = pathlib.Path(scratch.name)

    def write(self, files: dict[str, str]):
        for name, text in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)


class Tidy(TreeTest):
    def setUp(self):
        super().setUp()
        self.write(TIDY_TREE)

    def breaches(self) -> list[str]:
        return [breach for rule in tidy.RULES for breach in rule(self.root)]

    def assert_one(self, *words: str):
        found = self.breaches()
        self.assertEqual(len(found), 1, found)
        for word in words:
            self.assertIn(word, found[0])

    def test_passes_a_tidy_tree(self):
        self.assertEqual(self.breaches(), [])

    def test_wants_a_readme_in_each_folder(self):
        (self.root / "vmm/README.md").unlink()
        self.assert_one("vmm/:", "README")

    def test_wants_paths_in_readmes_to_exist(self):
        self.write({"vmm/README.md": "\n`vmm/gone.cc`\n"})
        self.assert_one("vmm/README.md:2", "'vmm/gone.cc'")

    def test_wants_a_test_for_each_source(self):
        (self.root / "test/vmm/machine_test.cc").unlink()
        self.assert_one("vmm/machine.cc", "test/vmm/machine_test.cc")

    def test_takes_a_reason_for_no_test(self):
        (self.root / "test/vmm/machine_test.cc").unlink()
        self.write({tidy.UNTESTED: "# comment\nvmm/m*.cc the integration tests boot it\n"})
        self.assertEqual(self.breaches(), [])

    def test_wants_a_reason_where_there_is_no_test(self):
        (self.root / "test/vmm/machine_test.cc").unlink()
        self.write({tidy.UNTESTED: "vmm/machine.cc\n"})
        self.assert_one(f"{tidy.UNTESTED}:1", "without a reason")

    def test_wants_reasons_that_are_still_needed(self):
        self.write({tidy.UNTESTED: "vmm/machine.cc hard to test\n"})
        self.assert_one(f"{tidy.UNTESTED}:1", "has tests now")

    def test_wants_each_source_built(self):
        self.write({"vmm/meson.build": "'other.cc'"})
        self.assert_one("vmm/machine.cc", "no meson.build")

    def test_wants_each_test_built(self):
        self.write({"test/vmm/meson.build": ""})
        self.assert_one("test/vmm/machine_test.cc", "no meson.build")

    def test_knows_sources_that_a_folder_above_lists(self):
        self.write({"vmm/meson.build": "'machine.cc', 'bus/pci.cc'", "vmm/bus/pci.cc": "",
                    "test/vmm/meson.build": "'vmm/machine' 'vmm/bus/pci'", "test/vmm/bus/pci_test.cc": ""})
        self.assertEqual(self.breaches(), [])

    def test_wants_short_files(self):
        self.write({"vmm/machine.h": "\n" * tidy.LINES_MAX})
        self.assertEqual(self.breaches(), [])
        self.write({"vmm/machine.h": "\n" * (tidy.LINES_MAX + 1)})
        self.assert_one("vmm/machine.h", str(tidy.LINES_MAX))

    def test_wants_a_kind_for_each_todo(self):
        self.write({"vmm/machine.h": "// TO" "DO(perf): one copy less\n"})
        self.assertEqual(self.breaches(), [])
        self.write({"vmm/machine.h": "// TO" "DO: later\n"})
        self.assert_one("vmm/machine.h:1", "kind")

    def test_bans_constructs_in_code_only(self):
        self.write({"vmm/machine.h": '// std::thread throws\nlog("std::thread");\nx.sleep(1);\n'})
        self.assertEqual(self.breaches(), [])

    def test_bans_each_construct(self):
        for line in ("std::thread t;", "std::async(f);", "#include <iostream>", "std::expected<int, E> e;",
                     "co_await f();", "try {", "dynamic_cast<T*>(p);", "volatile int x;", "atoi(s);", "std::stoi(s);",
                     "::strtoul(s, &e, 10);", "::usleep(1);", "std::this_thread::sleep_for(s);", "::system(s);",
                     "popen(s, m);", "::dup(fd);", "strcpy(a, b);", "int x;  // NOLINT"):
            with self.subTest(line):
                self.write({"vmm/machine.h": line})
                self.assert_one("vmm/machine.h:1", "is banned; use ")

    def test_lets_a_construct_stand_behind_its_door(self):
        self.write({"kernel-abi/README.md": "", "kernel-abi/sys/result.h": "std::expected<int, E> e;"})
        self.assertEqual(self.breaches(), [])


class Layers(TreeTest):
    def breaches(self, path: str, include: str) -> list[str]:
        self.write({path: f"#include {include}\n"})
        return list(layers.breaches(self.root))

    def test_lets_a_folder_use_its_own_and_the_faces_below(self):
        self.assertEqual(self.breaches("shim/pod.cc", '"vmm/machine.h"'), [])
        self.assertEqual(self.breaches("shim/pod.cc", '"shim/inner/part.h"'), [])
        self.assertEqual(self.breaches("shim/pod.cc", '"kernel-abi/sys/fd.h"'), [])

    def test_refuses_a_folder_above(self):
        self.assertEqual(self.breaches("vmm/machine.cc", '"shim/pod.h"'),
                         ["vmm/machine.cc:1: vmm/ may not include shim/"])

    def test_lets_every_folder_speak_by_rpc_and_only_those_above_use_the_runtime(self):
        self.assertEqual(self.breaches("storage/api/storage_api.cc", '"runtime/rpc/channel.h"'), [])
        self.assertEqual(self.breaches("runtime/oci/bundle.cc", '"runtime/rpc/json.h"'), [])

    def test_refuses_the_runtime_to_the_storage_daemon(self):
        self.assertEqual(self.breaches("storage/daemon/main.cc", '"runtime/state.h"'),
                         ["storage/daemon/main.cc:1: storage/ may not include runtime/"])

    def test_refuses_the_runtime_to_what_is_below_it(self):
        self.assertEqual(self.breaches("runtime/rpc/json.cc", '"runtime/state.h"'),
                         ["runtime/rpc/json.cc:1: runtime/rpc/ may not include runtime/"])

    def test_refuses_what_is_private_below(self):
        self.assertEqual(self.breaches("shim/pod.cc", '"vmm/vsock/muxer.h"'),
                         ["shim/pod.cc:1: vmm/vsock/muxer.h is private to vmm/"])

    def test_lets_others_use_a_subfolder_that_is_a_face(self):
        self.assertEqual(self.breaches("shim/microvm.cc", '"vmm/host/kernel_cache.h"'), [])

    def test_refuses_a_package_past_its_door(self):
        self.assertEqual(self.breaches("kernel-abi/sys/ring.cc", "<liburing.h>"), [])
        self.assertEqual(len(self.breaches("vmm/machine.cc", "<liburing.h>")), 1)


class Census(TreeTest):
    HEADER = """
class Machine : public Device {
public:
    explicit Machine(Fd kvm) : kvm_(kvm) {}
    Result<void> run(int vcpu, std::function<void(int)> done = {});
    std::size_t exits() const { return count(exits_); }
    void on_event() override;
    friend bool operator==(const Machine&, const Machine&) = default;
private:
    void step();
    Fd kvm_{-1};
    std::size_t exits_ = 0;
};
"""

    def unused(self, source: str, header: str = HEADER) -> list[tuple[str, str]]:
        self.write({"vmm/machine.h": header, "vmm/machine.cc": '#include "vmm/machine.h"\n' + source,
                    "test/vmm/machine_test.cc": "machine.run(0); machine.exits();"})
        return census.unused(self.root)

    def test_a_call_in_a_test_is_no_use(self):
        self.assertEqual(self.unused("Result<void> Machine::run(int vcpu) { step(); }\nvoid Machine::step() {}\n"),
                         [("vmm/machine.h", "exits"), ("vmm/machine.h", "run")])

    def test_a_call_in_the_product_is_one(self):
        self.assertEqual(self.unused("int main() { machine.run(0); return machine.exits(); }\n"), [])

    def test_a_comment_or_a_message_is_none(self):
        self.assertEqual(self.unused('int main() { fail("run()"); /* run() */ return exits(); }  // run()\n'),
                         [("vmm/machine.h", "run")])

    def test_a_function_of_that_name_elsewhere_is_none(self):
        self.write({"vmm/other.cc": "int main() { other.run(0); other.exits(); }\n"})
        self.assertEqual([name for _, name in self.unused("")], ["exits", "run"])

    def test_a_header_may_come_through_another(self):
        self.write({"vmm/face.h": '#include "vmm/machine.h"\n',
                    "shim/main.cc": '#include "vmm/face.h"\nint main() { m.run(0); m.exits(); }\n'})
        self.assertEqual(self.unused(""), [])

    def test_functions_outside_of_classes_count_too(self):
        header = "namespace a {\nconstexpr int twice(int x) { return 2 * x; }\nint kLimit = twice(2);\n}  // namespace a\n"
        self.assertEqual(self.unused("", header), [])
        self.assertEqual(self.unused("", header.replace("= twice(2)", "= 4")), [("vmm/machine.h", "twice")])

    def test_folders_have_a_median_and_a_largest(self):
        self.write({"vmm/a.cc": "\n" * 10, "vmm/b.cc": "\n" * 30, "vmm/c.h": "\n" * 12, "vmm/d.txt": "\n" * 99})
        self.assertEqual(list(census.folders(self.root)), [("vmm", 3, 12, 30, "b.cc")])


if __name__ == "__main__":
    unittest.main()

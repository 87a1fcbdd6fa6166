#!/usr/bin/python3
"""Tests of how test/stages.py counts: nothing that failed or was skipped may be lost."""
import pathlib
import sys
import threading
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import stages  # noqa: E402

GTEST = """[==========] Running 4 tests from 1 test suite.
[ RUN      ] Ring.Works
[       OK ] Ring.Works (0 ms)
[ RUN      ] Ring.NeedsKvm
../test/ring_test.cc:7: Skipped
no /dev/kvm here

[  SKIPPED ] Ring.NeedsKvm (0 ms)
[ RUN      ] Ring.Breaks
[  FAILED  ] Ring.Breaks (1 ms)
[ RUN      ] Ring/Sizes.Fit/3
[  FAILED  ] Ring/Sizes.Fit/3, where GetParam() = 4 (0 ms)
[==========] 4 tests from 1 test suite ran. (1 ms total)
[  PASSED  ] 1 test.
[  SKIPPED ] 1 test, listed below:
[  SKIPPED ] Ring.NeedsKvm
[  FAILED  ] 2 tests, listed below:
[  FAILED  ] Ring.Breaks
[  FAILED  ] Ring/Sizes.Fit/3, where GetParam() = 4
"""
UNITTEST = """test_a (__main__.Case.test_a) ... ok
test_b (__main__.Case.test_b) ... skipped 'not root'
----------------------------------------------------------------------
Ran 5 tests in 0.196s

FAILED (failures=1, errors=1, skipped=1)
"""
COUNTED = """ok         3.0 s  lifecycle.Run.test_a
skipped    0.0 s  lifecycle.Run.test_b
        reason: no mmdebstrap
4 tests in 3 s
2 passed, 1 failed, 1 skipped
"""


class Counting(unittest.TestCase):
    def tally(self, result: str, stdout: str = "", stderr: str = "") -> stages.Tally:
        tally = stages.Tally()
        stages.add_entry(tally, "unit", {"name": "ring", "result": result, "duration": 1.5,
                                         "stdout": stdout, "stderr": stderr})
        return tally

    def assert_counts(self, tally: stages.Tally, passed: int, failed: int, skipped: list[str]):
        self.assertEqual((tally.passed, tally.failed, tally.skipped), (passed, failed, skipped))
        self.assertEqual(len(tally.failures), min(failed, 1))

    def test_googletest_by_case(self):
        self.assert_counts(self.tally("FAIL", GTEST), 1, 2, ["unit: ring: Ring.NeedsKvm: no /dev/kvm here"])

    def test_unittest_by_case(self):
        self.assert_counts(self.tally("FAIL", stderr=UNITTEST), 2, 2,
                           ["unit: ring: test_b (__main__.Case.test_b) ... skipped 'not root'"])

    def test_unittest_without_reasons(self):
        self.assert_counts(self.tally("OK", stderr="Ran 2 tests in 1s\n\nOK (skipped=1)\n"), 1, 0,
                           ["unit: ring: no reason given"])

    def test_programs_that_count_themselves(self):
        self.assert_counts(self.tally("FAIL", COUNTED), 2, 1,
                           ["unit: ring: lifecycle.Run.test_b: no mmdebstrap"])

    def test_other_programs_as_one(self):
        self.assert_counts(self.tally("OK", "tidy: ok\n"), 1, 0, [])
        self.assert_counts(self.tally("FAIL", "bad\n"), 0, 1, [])
        self.assert_counts(self.tally("SKIP", "\nno clang\n"), 0, 0, ["unit: ring: no clang"])

    def test_a_crash_after_passing_cases_fails(self):
        self.assert_counts(self.tally("FAIL", "[==========] Running\n[       OK ] A.B (0 ms)\n"), 1, 1, [])
        self.assert_counts(self.tally("TIMEOUT", "[==========] Running\n"), 0, 1, [])


class Order(unittest.TestCase):
    """Each stage that was asked for runs once, and what it counted is in the sum."""

    def ran(self, *names: str, jobs: int, lint=lambda _: None) -> tuple[list[tuple[str, int]], stages.Tally]:
        calls = []

        def run_stage(_, name, processors):
            if name == "lint":
                lint(processors)
            calls.append((name, processors.count))
            return stages.Tally(passed=1, skipped=[name])

        with mock.patch.object(stages, "run_stage", run_stage), mock.patch.object(stages, "JOBS", jobs), \
                mock.patch.object(stages, "start_kernel_build"):
            return calls, stages.run_stages(pathlib.Path("build"), list(names))

    def test_lint_shares_the_processors_with_what_needs_one(self):
        calls, tally = self.ran("unit", "lint", "integration", "lab", jobs=4)
        self.assertCountEqual(calls, [("unit", 4), ("lint", 4), ("integration", 4), ("lab", 4)])
        self.assertEqual((tally.passed, len(tally.skipped)), (4, 4))

    def test_lint_has_all_processors_once_the_others_have_ended(self):
        def take_all(processors):
            self.assertTrue(all(processors.free.acquire(timeout=60) for _ in range(processors.count)))
            processors.free.release(processors.count)  # integration may not have begun

        calls, _ = self.ran("lint", "integration", jobs=2, lint=take_all)
        self.assertCountEqual(calls, [("lint", 2), ("integration", 2)])

    def test_alone_in_turn(self):
        self.assertEqual(self.ran("format", "lint", jobs=4)[0], [("format", 4), ("lint", 4)])

    def test_on_one_processor_all_in_turn(self):
        self.assertEqual(self.ran("lint", "lab", jobs=1)[0], [("lint", 1), ("lab", 1)])


class Shared(unittest.TestCase):
    def test_no_more_at_once_than_processors_are_free(self):
        processors = stages.Processors(3)
        running, most, lock = set(), [], threading.Lock()
        both = threading.Barrier(2, timeout=60)

        def work(item):
            with lock:
                running.add(item)
                most.append(len(running))
            both.wait()
            with lock:
                running.remove(item)
            return item * item

        with processors.free:
            self.assertEqual(processors.map(work, range(50)), [item * item for item in range(50)])
        self.assertLessEqual(max(most), 2)
        self.assertTrue(all(processors.free.acquire(blocking=False) for _ in range(3)))


if __name__ == "__main__":
    unittest.main()

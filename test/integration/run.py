#!/usr/bin/python3
"""Runs the end-to-end tests: test/integration/run.py [MODULE[.CLASS[.TEST]]...]

Prints a line for each test and at the end `N passed, N failed, N skipped`. See support.py for what it
reads from the environment.
"""
import sys
import time
import unittest

MODULES = ["lifecycle", "bad_input"]


class Result(unittest.TextTestResult):
    """One line a test, with the time it took."""

    def startTest(self, test):
        unittest.TestResult.startTest(self, test)
        self.began = time.monotonic()

    def say(self, test, word):
        name = test.id().removeprefix("__main__.")
        self.stream.writeln(f"{word:7} {time.monotonic() - self.began:6.1f} s  {name}")
        self.stream.flush()

    def addSuccess(self, test):
        unittest.TestResult.addSuccess(self, test)
        self.say(test, "ok")

    def addFailure(self, test, err):
        unittest.TestResult.addFailure(self, test, err)
        self.say(test, "FAILED")

    def addError(self, test, err):
        unittest.TestResult.addError(self, test, err)
        self.say(test, "FAILED")

    def addSkip(self, test, reason):
        unittest.TestResult.addSkip(self, test, reason)
        self.say(test, "skipped")
        self.stream.writeln(f"        reason: {reason}")


def main() -> int:
    suite = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:] or MODULES)
    result = Result(unittest.runner._WritelnDecorator(sys.stdout), True, 0)
    began = time.monotonic()
    suite.run(result)
    result.printErrors()
    failed = {test for test, _ in result.failures + result.errors}
    skipped = len(result.skipped)
    print(f"{result.testsRun} tests in {time.monotonic() - began:.0f} s")
    print(f"{result.testsRun - len(failed) - skipped} passed, {len(failed)} failed, {skipped} skipped")
    return 1 if failed or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())

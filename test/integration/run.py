#!/usr/bin/python3
"""Runs the end-to-end tests: test/integration/run.py [MODULE[.CLASS[.TEST]]...]

See support.py for what it reads from the environment. Without a name: those about pods.
vhost_user_block is about a disk for QEMU alone, and always runs on this machine.
"""
import os
import sys
import unittest

MODULES = ["lifecycle", "bad_input", "guest_kernel"]

if __name__ == "__main__":
    os.chdir(os.path.dirname(os.path.abspath(__file__)))
    sys.path.insert(0, os.getcwd())
    # Meson and people alike read one stream in order.
    unittest.main(module=None, argv=[sys.argv[0], *(sys.argv[1:] or MODULES)],
                  testRunner=unittest.TextTestRunner(stream=sys.stdout, verbosity=2))

"""A pod that grows and shrinks while it runs, and gives back to the host what its guest has freed.

test/integration/run.py resize
"""
import os
import pathlib
import unittest

import support

MIB = 1 << 20
OOM_KILLED = 137


@support.needs_machine
class Resize(support.NodeTest):
    def memory(self, name):
        """What the guest's memory takes of the host's: the blocks of its file, which all processes of the
        machine have open."""
        shim = self.state_file(name)["shim"]["pid"]
        files = [os.stat(file)
                 for pid in pathlib.Path(f"/proc/{shim}/task/{shim}/children").read_text().split()
                 for file in pathlib.Path(f"/proc/{pid}/fd").iterdir() if os.path.exists(file)]
        return max((file for file in files), key=lambda file: file.st_size).st_blocks * 512

    def take(self, mib):
        """The exit status of a program that fills so much memory at once."""
        return self.call("exec", "c1", "dd", "if=/dev/zero", "of=/dev/null", f"bs={mib}M", "count=1").returncode

    def cpus(self):
        return int(self.call("exec", "c1", "nproc", expect=0).stdout)

    def test_memory_and_cpus_follow_updates_and_freed_memory_goes_back(self):
        self.detached("run", "-d", "--memory", "96", "-b", self.bundle(["sleep", "1000"]), "c1")
        self.assertEqual(self.take(120), OOM_KILLED)
        self.call("update", "--memory", "260M", "c1", expect=0)
        self.assertEqual(self.take(220), 0)
        # It was there a moment ago, and the guest reports free pages after two seconds.
        used = self.memory("c1")
        self.assertGreater(used, 220 * MIB)
        support.wait_until(lambda: self.memory("c1") < used - 150 * MIB, "the freed memory", patience_s=30)
        self.assertEqual(self.take(280), OOM_KILLED)
        self.call("update", "--memory", "80M", "c1", expect=0)
        self.assertEqual(self.take(90), OOM_KILLED)

        self.assertEqual(self.cpus(), 1)
        self.call("update", "--cpu-quota", "250000", "--cpu-period", "100000", "c1", expect=0)
        self.assertEqual(self.cpus(), 3)
        self.call("update", "--cpu-quota", "100000", "c1", expect=0)
        self.assertEqual(self.cpus(), 1)

        self.refused("update", "--memory", "4G", "c1", words=["4294967296", "2147483648 B", "--memory-max"])
        self.refused("update", "--cpu-quota", "500000", "c1", words=["5 CPUs", "room for 4", "--cpus-max"])
        self.call("delete", "-f", "c1", expect=0)


if __name__ == "__main__":
    unittest.main()

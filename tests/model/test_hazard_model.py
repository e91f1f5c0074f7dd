# SPDX-License-Identifier: Apache-2.0
"""Every interleaving of hazard.pml: the protocol of L1's reads holds, and each way to weaken it is
seen. A stress test proves nothing here: without the barrier billions of reads went well."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import mp_tap

MODEL = pathlib.Path(__file__).with_name("hazard.pml")


@unittest.skipUnless(shutil.which("spin"), "spin is not installed")
class HazardModel(unittest.TestCase):
    def check(self, *flags):
        """What spin's verifier says of the whole state space."""
        with tempfile.TemporaryDirectory() as folder:
            def run(*command):
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, f"{command}: {done.stdout}{done.stderr}")
                return done.stdout

            run("spin", "-a", *flags, str(MODEL))
            run(os.environ.get("COMPILER", "cc"), "-O2", "-w", "-DSAFETY", "-DCOLLAPSE",
                "-DVECTORSZ=2048", "-o", "pan", "pan.c")
            said = run("./pan", "-m1000000")
        self.assertNotIn("max search depth too small", said)
        return said

    def assert_broken(self, flag, by):
        said = self.check(flag)
        self.assertIn("errors: 1", said, said)
        self.assertIn(f"assertion violated {by}", said, said)

    def test_nobody_uses_what_is_freed_and_no_reader_misses_what_is_cached(self):
        said = self.check()
        self.assertIn("errors: 0", said, said)
        self.assertNotIn("Search not completed", said)

    def test_without_the_writers_barrier_it_breaks(self):
        self.assert_broken("-DNO_BARRIER", " !(table_freed[t])")

    def test_without_the_second_look_it_breaks(self):
        self.assert_broken("-DNO_SECOND_LOOK", " !(table_freed[t])")

    def test_with_entries_left_in_the_old_table_it_breaks(self):
        self.assert_broken("-DKEEP_OLD", " !(entry_freed[e])")

    def test_without_looking_for_a_newer_table_a_reader_misses(self):
        self.assert_broken("-DNO_RETRY", "0")


if __name__ == "__main__":
    mp_tap.main()

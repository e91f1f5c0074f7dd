# SPDX-License-Identifier: Apache-2.0
"""Every interleaving of uses.pml: what readers note is reported once and in its order, and each way
to weaken the ring is seen."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import mp_tap

MODEL = pathlib.Path(__file__).with_name("uses.pml")


@unittest.skipUnless(shutil.which("spin"), "spin is not installed")
class UsesModel(unittest.TestCase):
    def check(self, *flags):
        """What spin's verifier says of the whole state space."""
        with tempfile.TemporaryDirectory() as folder:
            def run(*command):
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, f"{command}: {done.stdout}{done.stderr}")
                return done.stdout

            run("spin", "-a", *flags, str(MODEL))
            run(os.environ.get("COMPILER", "cc"), "-O2", "-w", "-DSAFETY", "-o", "pan", "pan.c")
            said = run("./pan", "-m10000")
        self.assertNotIn("max search depth too small", said)
        return said

    def assert_broken(self, flag):
        said = self.check(flag)
        self.assertIn("errors: 1", said, said)
        self.assertIn("assertion violated (what==expected)", said, said)

    def test_every_use_is_reported_once_and_in_its_order(self):
        said = self.check()
        self.assertIn("errors: 0", said, said)
        self.assertNotIn("Search not completed", said)

    def test_with_the_head_before_the_hash_it_breaks(self):
        self.assert_broken("-DHEAD_FIRST")

    def test_without_a_look_for_room_it_breaks(self):
        self.assert_broken("-DNO_ROOM")

    def test_with_one_place_too_many_it_breaks(self):
        self.assert_broken("-DROOM_ONE")

    def test_with_the_place_given_back_before_it_was_read_it_breaks(self):
        self.assert_broken("-DTAIL_FIRST")


if __name__ == "__main__":
    mp_tap.main()

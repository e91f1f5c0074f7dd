# SPDX-License-Identifier: Apache-2.0
"""What spin's verifier says of a model: every interleaving of it, and that each way to weaken the
protocol is seen."""

import os
import shutil
import subprocess
import tempfile
import unittest


@unittest.skipUnless(shutil.which("spin"), "spin is not installed")
class Model(unittest.TestCase):
    model = None  # the path of the .pml
    flags = ()  # for the compiler of the verifier
    depth = 1000000

    def check(self, *flags):
        """What the verifier says of the whole state space."""
        with tempfile.TemporaryDirectory() as folder:
            def run(*command):
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, f"{command}: {done.stdout}{done.stderr}")
                return done.stdout

            run("spin", "-a", *flags, str(self.model))
            run(os.environ.get("COMPILER", "cc"), "-O2", "-w", "-DSAFETY", *self.flags, "-o", "pan", "pan.c")
            said = run("./pan", f"-m{self.depth}")
        self.assertNotIn("max search depth too small", said)
        return said

    def assert_holds(self):
        said = self.check()
        self.assertIn("errors: 0", said, said)
        self.assertNotIn("Search not completed", said)

    def assert_broken(self, flag, by):
        said = self.check(flag)
        self.assertIn("errors: 1", said, said)
        self.assertIn(f"assertion violated {by}", said, said)

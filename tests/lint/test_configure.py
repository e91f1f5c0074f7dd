# SPDX-License-Identifier: Apache-2.0
"""How the scripts make a build folder: what is built does not depend on which door came first."""

import os
import pathlib
import subprocess
import tempfile
import unittest

import mp_tap

ROOT = pathlib.Path(__file__).parents[2]
MESON = """#!/bin/sh
echo "$*" >>"$CALLS"
mkdir -p "$2"
: >"$2/build.ninja"
"""


class Configure(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        meson = self.folder / "bin" / "meson"
        meson.parent.mkdir()
        meson.write_text(MESON, encoding="utf-8")
        meson.chmod(0o755)

    def configure(self, *options):
        """What meson was called with, a line a call."""
        calls = self.folder / "calls"
        calls.unlink(missing_ok=True)
        environment = dict(os.environ, CALLS=str(calls), PATH=f"{self.folder}/bin:{os.environ['PATH']}")
        subprocess.run(["bash", "-c", '. "$0"; configure "$@"', ROOT / "scripts" / "lib.sh",
                        self.folder / "build", *options], env=environment, check=True,
                       capture_output=True)
        return calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []

    def test_the_optimization_is_said_at_first_and_whenever_options_change(self):
        for options in (("-Dbuildtype=release", "-Dtests=false"), ("-Dbuildtype=release", "-Dtests=true")):
            calls = self.configure(*options)
            self.assertEqual(len(calls), 1, calls)
            self.assertTrue(calls[0].endswith(" ".join(options) + " -Doptimization=2"), calls)
            self.assertEqual(self.configure(*options), [])  # nothing changed, nothing costs

    def test_who_says_another_gets_it(self):
        self.assertTrue(self.configure("-Dbuildtype=debug", "-Doptimization=g")[0].endswith(
            "-Dbuildtype=debug -Doptimization=g"))


if __name__ == "__main__":
    mp_tap.main()

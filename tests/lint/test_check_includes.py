# SPDX-License-Identifier: Apache-2.0
"""The include check lets a good tree pass and finds each way of going against the direction."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import mp_tap

SCRIPT = pathlib.Path(__file__).parents[2] / "scripts" / "check-includes.py"

GOOD = {
    "include/marketprism/cache.h": "#include <stddef.h>\n#include <marketprism/str.h>\n",
    "include/marketprism/str.h": "#include <string.h>\n",
    "src/core/buf.h": "#include <marketprism/str.h>\n",
    "src/core/env_real.c": '#include "core/buf.h"\n#include <uv.h>\n',
    "src/cache/cache.h": '#include <marketprism/cache.h>\n#include "core/buf.h"\n',
    "src/cache/l1.h": '#include "cache/cache.h"\n',
    "src/cache/l1.c": '#include "cache/l1.h"\n#include <stdio.h>\n',
    "src/origin/origin.h": '#include "core/buf.h"\n',
    "src/manager/read_path.c": '#include "cache/cache.h"\n#include "origin/origin.h"\n',
    "tests/unit/cache/test_l1.c": '#include "mp_test.h"\n#include "cache/l1.h"\n',
}


def complaints(**changes):
    """What the check says of the good tree with some files put over it; "" when it passes."""
    files = dict(GOOD, **{name.replace("__", "/"): text for name, text in changes.items()})
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = pathlib.Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        done = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True,
                              check=False)
    assert done.returncode == (1 if done.stdout else 0), (done.returncode, done.stderr)
    return done.stdout


class CheckIncludes(unittest.TestCase):
    def refused(self, path, text, expected):
        said = complaints(**{path: text})
        self.assertIn(expected, said)
        self.assertIn(path, said)

    def test_a_good_tree_passes(self):
        self.assertEqual(complaints(), "")

    def test_the_project_itself_passes(self):
        done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_a_call_upward_is_refused(self):
        self.refused("src/cache/bad.c", '#include "manager/manager.h"\n', "cache may not use manager")

    def test_siblings_do_not_know_each_other(self):
        self.refused("src/cache/bad.c", '#include "origin/origin.h"\n', "cache may not use origin")

    def test_the_inside_of_another_module_is_refused(self):
        self.refused("src/manager/bad.c", '#include "cache/l1.h"\n', "is inside cache")

    def test_a_unit_test_may_not_look_upward(self):
        self.refused("tests/unit/cache/test_bad.c", '#include "manager/manager.h"\n',
                     "cache may not use manager")

    def test_a_library_is_included_only_by_its_owner(self):
        self.refused("src/cache/bad.c", "#include <uv.h>\n", "<uv.h> belongs to core")

    def test_a_public_header_stays_public(self):
        self.refused("include/marketprism/bad.h", '#include "core/buf.h"\n', "a public header")

    def test_an_unknown_module_is_refused(self):
        self.refused("src/novel/bad.c", "#include <stdio.h>\n", "not in MAY_USE")

    def test_headers_in_a_circle_are_refused(self):
        self.refused("src/cache/cache.h", '#include "cache/l1.h"\n', "circle:")

    def test_the_place_is_named(self):
        self.refused("src/cache/bad.c", '\n\n#include "manager/manager.h"\n', "src/cache/bad.c:3:")


if __name__ == "__main__":
    mp_tap.main()

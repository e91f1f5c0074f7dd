# SPDX-License-Identifier: Apache-2.0
"""The check of calls finds what is banned, and only that."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import mp_tap

SCRIPT = pathlib.Path(__file__).parents[2] / "scripts" / "check-calls.py"


def complaints(name, text):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, name)
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
        done = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True,
                              check=False)
    assert done.returncode == (1 if done.stdout else 0), (done.returncode, done.stderr)
    return done.stdout


class CheckCalls(unittest.TestCase):
    def test_banned_calls_are_named_with_their_place(self):
        for call in ("strcpy(a, b)", "sprintf(a, b)", "atoi(a)", "alloca(9)", "strtok (a, b)",
                     "sscanf(a, b)", "system(a)"):
            with self.subTest(call=call):
                self.assertIn("src/cache/a.c:2:", complaints("src/cache/a.c", f"\nx = {call};\n"))

    def test_the_heap_is_reached_only_through_alloc(self):
        self.assertIn("malloc", complaints("src/cache/a.c", "p = malloc(3);\n"))
        self.assertEqual(complaints("src/core/alloc.c", "p = malloc(3);\n"), "")
        self.assertEqual(complaints("tests/unit/a.c", "p = malloc(3);\n"), "")

    def test_clock_and_files_are_reached_only_through_the_env(self):
        for call in ("clock_gettime(a, b)", "getrandom(a, b, c)", "open(a, b)", "fsync(a)"):
            with self.subTest(call=call):
                self.assertNotEqual(complaints("src/cache/a.c", f"rc = {call};\n"), "")
                self.assertEqual(complaints("src/core/env_real.c", f"rc = {call};\n"), "")

    def test_longer_names_and_members_are_something_else(self):
        good = "mp__malloc(1); origin->ops->open(x); ops.rename(x); my_strcpy(y); free_all(z);\n"
        self.assertEqual(complaints("src/cache/a.c", good), "")

    def test_comments_and_strings_are_something_else(self):
        good = '/* never\n strcpy() */ // atoi(x)\nputs("sprintf(\\"");\n'
        self.assertEqual(complaints("src/cache/a.c", good), "")

    def test_the_project_itself_passes(self):
        done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))


if __name__ == "__main__":
    mp_tap.main()

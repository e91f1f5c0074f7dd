# SPDX-License-Identifier: Apache-2.0
"""The counted line at the end of `make test` counts every subtest and hides no failure."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import mp_tap

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "test-summary.py"


def summary(*records, arguments=()):
    """(last line, everything, exit status) for a log of these records."""
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder, "testlog.json")
        log.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        done = subprocess.run([sys.executable, SCRIPT, log, *arguments], capture_output=True,
                              text=True, check=False)
    return done.stdout.splitlines()[-1], done.stdout, done.returncode


def program(result, stdout="", returncode=0, name="unit/x"):
    return {"name": name, "result": result, "stdout": stdout, "returncode": returncode}


class Summary(unittest.TestCase):
    def test_every_subtest_counts(self):
        line, _, status = summary(program("OK", "1..2\nok 1 - a\nok 2 - b\n"), program("OK"))
        self.assertEqual((line, status), ("3 passed, 0 failed", 0))

    def test_a_failed_subtest_is_named(self):
        line, text, status = summary(program("FAIL", "1..2\nok 1 - a\nnot ok 2 - b\n", 1))
        self.assertEqual((line, status), ("1 passed, 1 failed", 1))
        self.assertIn("  unit/x: b", text)

    def test_a_crash_after_ok_is_a_failure(self):
        line, text, status = summary(program("ERROR", "1..2\nok 1 - a\nok 2 - b\n", -11))
        self.assertEqual((line, status), ("2 passed, 1 failed", 1))
        self.assertIn("killed by signal 11", text)

    def test_a_time_out_after_ok_is_a_failure(self):
        line, _, status = summary(program("TIMEOUT", "ok 1 - a\n", -15))
        self.assertEqual((line, status), ("0 passed, 1 failed", 1))

    def test_skipped_subtests_are_named_with_the_reason(self):
        line, text, status = summary(
            program("OK", "1..2\nok 1 - a\nok 2 - b # SKIP no Redis\n"))
        self.assertEqual((line, status), ("1 passed, 0 failed, 1 skipped", 0))
        self.assertIn("unit/x: b: no Redis", text)

    def test_the_skips_of_cmocka_are_skips(self):
        line, _, status = summary(program("OK", "1..2\nok 1 - a\nnot ok 2 # SKIP b\n"))
        self.assertEqual((line, status), ("1 passed, 0 failed, 1 skipped", 0))

    def test_a_skipped_program_is_one_skip(self):
        line, text, _ = summary(program("SKIP", "1..0 # SKIP no nginx\n"),
                                program("SKIP", "no peer\n", 77), program("OK"))
        self.assertEqual(line, "1 passed, 0 failed, 2 skipped")
        self.assertIn("no nginx", text)
        self.assertIn("no peer", text)

    def test_a_program_that_ran_no_test_has_failed(self):
        line, _, status = summary(program("SKIP", ""))
        self.assertEqual((line, status), ("0 passed, 1 failed", 1))

    def test_an_empty_log_is_a_failure(self):
        line, _, status = summary()
        self.assertEqual((line, status), ("0 passed, 1 failed", 1))

    def test_a_missing_log_is_a_failure(self):
        done = subprocess.run([sys.executable, SCRIPT, "/nowhere/testlog.json"],
                              capture_output=True, text=True, check=False)
        self.assertEqual((done.stdout.splitlines()[-1], done.returncode),
                         ("0 passed, 1 failed", 1))

    def test_what_a_fuzz_target_finds_is_a_failure_and_no_skip(self):
        with tempfile.TemporaryDirectory() as folder:
            target = pathlib.Path(folder, "fuzz_x")  # finds something, and ends as libFuzzer does
            target.write_text('#!/bin/sh\nfor word; do case $word in -error_exitcode=*)'
                              ' exit "${word#*=}";; esac; done\nexit 77\n', encoding="utf-8")
            target.chmod(0o755)
            run = subprocess.run([ROOT / "fuzz" / "run-one.sh", target, "x", "short", "-runs=1"], check=False)
        self.assertEqual(run.returncode, 1)  # to meson 0 is passed, 77 skipped

    def test_what_happened_outside_counts_too(self):
        line, _, status = summary(program("OK"), arguments=[
            "--failed", "build: broken", "--skipped", "fuzz: no clang"])
        self.assertEqual((line, status), ("1 passed, 1 failed, 1 skipped", 1))


if __name__ == "__main__":
    mp_tap.main()

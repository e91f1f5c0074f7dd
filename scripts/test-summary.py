#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Count tests: every subtest of every program, from the logs that `meson test` leaves.

    test-summary.py [LOG.json ...] [--failed "NAME: WHY"] [--skipped "NAME: WHY"]

Prints what was skipped and what failed, then, alone on the last line,
"N passed, N failed" (", N skipped" where there are some). Exit 1 when something failed.

It reads testlog.json rather than testlog.junit.xml, because the latter forgets three things: that
a program crashed or timed out after it printed "ok", that a subtest was skipped, and why. A program
that went wrong counts as a failure of its own even when each of its subtests said ok; one that ran
no test at all has failed too.
"""

import argparse
import json
import re
import sys

PLAN = re.compile(r"^1\.\.(\d+)\s*(?:#\s*(.*))?$")
# cmocka says "not ok 3 # SKIP name", everybody else "ok 3 - name # SKIP why"
TEST = re.compile(r"^(not )?ok\b\s*(\d+)?\s*(?:- )?\s*(.*?)\s*(?:#\s*(SKIP|TODO)\b[\s:]*(.*))?$", re.I)


class Tally:
    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []

    def line(self):
        text = f"{self.passed} passed, {len(self.failed)} failed"
        return text + (f", {len(self.skipped)} skipped" if self.skipped else "")


def subtests(stdout):
    """(plan's comment or None, [(name, outcome, why)]) of TAP; None when it is no TAP."""
    plan, found = None, []
    for line in stdout.splitlines():
        match = PLAN.match(line)
        if match:
            plan = match
            continue
        match = TEST.match(line)
        if not match:
            continue
        bad, number, name, directive, why = match.groups()
        if directive and directive.upper() == "SKIP":
            found.append((name or why or f"test {number}", "skip", why if name else ""))
        else:
            found.append((name or f"test {number}", "fail" if bad else "pass", ""))
    if not plan:
        return None
    return plan.group(2), found


def count_program(tally, record):
    name, result = record["name"], record["result"]
    tap = subtests(record.get("stdout") or "")
    comment, found = tap if tap else (None, [])
    before = len(tally.failed)

    for test, outcome, why in found:
        if outcome == "pass":
            tally.passed += 1
        elif outcome == "skip":
            tally.skipped.append(f"{name}: {test}" + (f": {why}" if why else ""))
        else:
            tally.failed.append(f"{name}: {test}")
    if result in ("OK", "EXPECTEDFAIL"):
        if not found:
            tally.passed += 1
    elif result == "SKIP":
        if record.get("returncode") == 77 or (tap and not found):
            why = re.sub(r"^SKIP\S*\s*", "", comment or last_line(record), flags=re.I)
            tally.skipped.append(f"{name}: {why}" if why else name)
        elif not found:
            tally.failed.append(f"{name}: it printed no test")
    elif len(tally.failed) == before:
        tally.failed.append(f"{name}: {result.lower()}, {how_it_ended(record)}")


def last_line(record):
    lines = [line for line in (record.get("stdout") or "").splitlines() if line.strip()]
    return lines[-1].strip() if lines and not PLAN.match(lines[-1]) else ""


def how_it_ended(record):
    code = record.get("returncode")
    if code is None:
        return "no exit status"
    return f"killed by signal {-code}" if code < 0 else f"exit status {code}"


def count_log(tally, path):
    programs = 0
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.strip():
                    count_program(tally, json.loads(line))
                    programs += 1
    except (OSError, ValueError, KeyError) as error:
        tally.failed.append(f"{path}: cannot be read: {error}")
        return
    if programs == 0:
        tally.failed.append(f"{path}: no test was run")


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Count the tests of meson's logs.")
    parser.add_argument("logs", nargs="*")
    parser.add_argument("--failed", action="append", default=[])
    parser.add_argument("--skipped", action="append", default=[])
    options = parser.parse_args(arguments)
    tally = Tally()

    for path in options.logs:
        count_log(tally, path)
    tally.failed += options.failed
    tally.skipped += options.skipped
    if not tally.passed and not tally.failed:
        tally.failed.append("no test was run")
    print()
    for title, names in (("Skipped", tally.skipped), ("Failed", tally.failed)):
        if names:
            print(f"{title}:")
            for name in names:
                print(f"  {name}")
    print(tally.line())
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())

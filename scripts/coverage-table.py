#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Print the line coverage of each module and hold the bars: coverage-table.py SUMMARY.json"""

import collections
import fnmatch
import json
import sys

TOTAL_BAR = 80.0
PARSER_BAR = 95.0
# Whatever reads bytes that come from outside.
PARSERS = ["src/protocol/*.c", "src/format/*.c", "src/schema/*.c", "src/core/option*.c", "src/core/address.c",
           "src/cache/l3_format.c"]


def percent(covered, total):
    return 100.0 * covered / total if total else 100.0


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        files = json.load(file)["files"]
    modules = collections.defaultdict(lambda: [0, 0])
    parsers, low = [0, 0], []

    for entry in files:
        name, covered, total = entry["filename"], entry["line_covered"], entry["line_total"]
        module = "/".join(name.split("/")[:2])
        for sums in (modules[module], modules["total"]):
            sums[0] += covered
            sums[1] += total
        if any(fnmatch.fnmatch(name, pattern) for pattern in PARSERS):
            parsers[0] += covered
            parsers[1] += total
        if percent(covered, total) < TOTAL_BAR and total >= 10:
            low.append((percent(covered, total), name, total - covered))

    total = modules.pop("total", [0, 0])
    for module, (covered, lines) in sorted(modules.items()):
        print(f"  {module:<24} {percent(covered, lines):6.1f} %  of {lines}")
    if low:
        print(f"Files under {TOTAL_BAR:.0f} %:")
        for share, name, missing in sorted(low):
            print(f"  {share:5.1f} %  {name} ({missing} lines are never run)")
    print(f"parsers  {percent(*parsers):.1f} % (bar {PARSER_BAR:.0f} %)")
    print(f"total    {percent(*total):.1f} % (bar {TOTAL_BAR:.0f} %)")
    return 0 if percent(*total) >= TOTAL_BAR and percent(*parsers) >= PARSER_BAR else 1


if __name__ == "__main__":
    sys.exit(main())

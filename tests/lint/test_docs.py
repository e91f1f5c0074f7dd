# SPDX-License-Identifier: Apache-2.0
"""Pages that are made from tables are as the tables are, and links lead somewhere.
GEN_DOCS names the generator."""

import os
import pathlib
import re
import subprocess
import unittest

import mp_tap

ROOT = pathlib.Path(__file__).parents[2]


def pages():
    """Every page of the project in Markdown."""
    return [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"),
            *ROOT.glob("fuzz/*.md"), *ROOT.glob("bench/*.md")]


def anchors(path):
    """What GitHub makes of the headings of a page."""
    found = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        match = re.match(r"#+ (.*)", line)
        if match:
            text = re.sub(r"[^\w\- ]", "", match.group(1).lower())
            found.add(text.replace(" ", "-"))
    return found


class Docs(unittest.TestCase):
    def test_generated_pages_are_as_their_tables(self):
        table = re.search(r"<<'PAGES'\n(.*)PAGES\n", (ROOT / "scripts/docs.sh").read_text(
            encoding="utf-8"), re.S).group(1)
        rows = [line.split("|") for line in table.splitlines()]
        self.assertGreaterEqual(len(rows), 3)
        for what, page in rows:
            made = subprocess.run([os.environ["GEN_DOCS"], what], capture_output=True, check=True)
            self.assertEqual((ROOT / page).read_bytes(), made.stdout, f"{page}: type make docs")

    def test_links_lead_somewhere(self):
        for page in pages():
            text = re.sub(r"^( {4}|```).*$", "", page.read_text(encoding="utf-8"), flags=re.M)
            for target in re.findall(r"\]\(([^)\s]+)\)", text):
                if re.match(r"\w+:", target):
                    continue
                name, _, anchor = target.partition("#")
                path = (page.parent / name).resolve() if name else page
                self.assertTrue(path.exists(), f"{page.relative_to(ROOT)}: {target}")
                if anchor:
                    self.assertIn(anchor, anchors(path), f"{page.relative_to(ROOT)}: {target}")

    def test_every_decision_is_in_the_list(self):
        listed = (ROOT / "docs/decisions/README.md").read_text(encoding="utf-8")
        for path in (ROOT / "docs/decisions").glob("[0-9]*.md"):
            self.assertIn(f"({path.name})", listed)

    def test_the_makefile_and_its_help_name_the_same_doors(self):
        made = subprocess.run(["make", "-s", "-C", ROOT, "help"], capture_output=True, text=True,
                              check=True).stdout
        phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
        self.assertEqual(re.findall(r"^  make (\w+)", made, re.M), phony.group(1).split())


if __name__ == "__main__":
    mp_tap.main()

# SPDX-License-Identifier: Apache-2.0
"""README, README.zh, the quick start and the page of RESP tell the truth: every command that they show is run, in order,
against the real binary, and what they say that it prints is what it prints. BINARY names the program.

A block of ```console holds commands ("$ …"; a line that ends in a backslash goes on) and below each
what it prints, "…" standing for anything, alone on a line for any lines. A command must end well unless
its exit code is shown."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

import mp_tap

ROOT = pathlib.Path(__file__).parents[2]
PAGES = ["README.md", "README.zh.md", "docs/quickstart.md", "docs/resp.md"]

# In place of make, in front in PATH: `make run` is what the page means, without the build.
MAKE = """#!/bin/sh
[ "$*" = run ] || { echo "make $*: the test knows only make run" >&2; exit 1; }
DATA_DIR=$PWD/marketprism-data BINARY=$MP_BINARY exec "$MP_ROOT/scripts/run.sh"
"""


def blocks(text):
    return re.findall(r"^```console\n(.*?)^```$", text, re.M | re.S)


def steps(block):
    """[command, lines it prints] of a block."""
    found = []
    lines = iter(block.splitlines())
    for line in lines:
        if not line.startswith("$ "):
            found[-1][1].append(line)
            continue
        command = line[2:]
        while command.endswith("\\"):
            command = command[:-1] + next(lines).lstrip("> ")
        found.append([command, []])
    return found


def pattern(lines):
    parts = []
    for line in lines:
        text = re.escape(line.rstrip()).replace("…", ".*?")
        text = re.sub(r"(\\ )+", " +", text)  # columns
        parts.append(r"(?:.*\n)*?" if line == "…" else f" *{text} *\n")
    return re.compile("".join(parts))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Place:
    """A folder that looks like a clone after a build, and the daemon of `make run` in it."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mp-readme-"))
        (self.folder / "build").mkdir()
        (self.folder / "build/marketprism").symlink_to(pathlib.Path(os.environ["BINARY"]).resolve())
        (self.folder / "examples").symlink_to(ROOT / "examples")
        (self.folder / "bin").mkdir()
        make = self.folder / "bin/make"
        make.write_text(MAKE, encoding="utf-8")
        make.chmod(0o755)
        self.resp, self.http = free_port(), free_port()
        self.environment = dict(
            os.environ, PATH=f"{self.folder / 'bin'}:{os.environ['PATH']}", MP_ROOT=str(ROOT),
            MP_BINARY=str(self.folder / "build/marketprism"), RESP=f"127.0.0.1:{self.resp}",
            HTTP=f"127.0.0.1:{self.http}", MARKETPRISM_ADDR=f"127.0.0.1:{self.resp}", NO_COLOR="1")
        self.runs = []

    def make_run(self):
        for run in self.runs:  # who types it again has seen that the last one ended
            run.wait(20)
        run = subprocess.Popen(["make", "run"], cwd=self.folder, env=self.environment, text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True)
        self.runs.append(run)
        said = ""
        for line in run.stdout:
            said += line
            if "Ctrl-C" in line:
                return
        raise AssertionError("make run ended: " + said)

    def command(self, text):
        """(status, what it printed) as a terminal shows it."""
        here = re.sub(r"\b7480\b", str(self.resp), re.sub(r"\b7481\b", str(self.http), text))
        done = subprocess.run(["bash", "-c", here], cwd=self.folder, env=self.environment, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, timeout=60)
        return done.returncode, done.stdout

    def close(self):
        for run in self.runs:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGTERM)
                try:
                    run.wait(20)
                except subprocess.TimeoutExpired:
                    os.killpg(run.pid, signal.SIGKILL)
                    run.wait()
            run.stdout.close()
        shutil.rmtree(self.folder)


class Readme(unittest.TestCase):
    def missing(self, command):
        """A program that the page uses and this machine has not."""
        return next((word for word in ("redis-cli", "curl", "jq") if word in command.split()
                     and not shutil.which(word)), None)

    def check(self, page):
        place = Place()
        self.addCleanup(place.close)
        found = [step for block in blocks((ROOT / page).read_text(encoding="utf-8"))
                 for step in steps(block)]
        self.assertGreater(len(found), 8)
        for command, lines in found:
            with self.subTest(command=command):
                if command == "make run":
                    place.make_run()
                elif not self.missing(command):
                    status, said = place.command(command)
                    self.assertEqual(status, 0, said)
                    if said and not said.endswith("\n"):
                        said += "\n"
                    if lines:
                        self.assertRegex(said, f"\\A(?:{pattern(lines).pattern})\\Z")

    def test_the_readme(self):
        self.check("README.md")

    def test_the_readme_in_chinese(self):
        self.check("README.zh.md")

    def test_the_quick_start(self):
        self.check("docs/quickstart.md")

    @unittest.skipUnless(shutil.which("redis-cli"), "redis-cli is not installed")
    def test_the_page_of_resp(self):
        self.check("docs/resp.md")

    def test_both_readmes_have_the_same_parts_and_lead_to_the_same_pages(self):
        texts = [(ROOT / page).read_text(encoding="utf-8") for page in PAGES[:2]]
        for what in (r"^#+ ", r"\]\((?!README)([^)]*)\)", r"^- ", r"^\*\*\d"):
            found = [re.findall(what, text, re.M) for text in texts]
            self.assertGreater(len(found[0]), 3, what)
            self.assertEqual(found[0], found[1], what)

    def test_both_readmes_show_the_same_commands_and_figures(self):
        texts = [(ROOT / page).read_text(encoding="utf-8") for page in PAGES[:2]]
        self.assertEqual(blocks(texts[0]), blocks(texts[1]))
        numbers = [re.findall(r"\d[\d.,]*\d", "\n".join(re.findall(r"^\| .*$", text, re.M)))
                   for text in texts]
        self.assertEqual(numbers[0], numbers[1])

    def test_no_page_shows_a_command_that_is_not_run(self):
        for page in PAGES:
            text = (ROOT / page).read_text(encoding="utf-8")
            fences = re.findall(r"^```(\w*)$", text, re.M)
            self.assertEqual(set(fences) - {"console", "text", ""}, set(), page)
            shown = re.findall(r"^    (?:\$ )?(build/\S+|redis-cli|curl) ", text, re.M)
            self.assertEqual(shown, [], page)


if __name__ == "__main__":
    mp_tap.main()

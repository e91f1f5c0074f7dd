# SPDX-License-Identifier: Apache-2.0
"""Manual pages and completions: one for every verb, well-formed, and completing what there is.
BUILD is the build folder, BINARY the program."""

import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import mp_daemon
import mp_tap

PAGES = pathlib.Path(os.environ["BUILD"], "scripts")


def run(*command, **environment):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          check=False, env=dict(os.environ, **environment),
                          stdin=subprocess.DEVNULL)


def verbs():
    return re.findall(r"^  ([a-z][a-z-]*) ", run(mp_daemon.BINARY, "help").stdout, re.M)


def complete(words, address):
    """What bash offers for the last of @words."""
    script = run(mp_daemon.BINARY, "completions", "bash").stdout
    quoted = " ".join(f"'{word}'" for word in words)
    program = (f"{script}\nCOMP_WORDS=({quoted})\nCOMP_CWORD={len(words) - 1}\n"
               "_marketprism\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n")
    path = f"{pathlib.Path(mp_daemon.BINARY).resolve().parent}:{os.environ['PATH']}"
    done = run("bash", "-c", program, PATH=path, MARKETPRISM_ADDR=address)
    return done.stdout.split()


def environment(address):
    path = f"{pathlib.Path(mp_daemon.BINARY).resolve().parent}:{os.environ['PATH']}"
    return {"PATH": path, "MARKETPRISM_ADDR": address}


def complete_in_fish(line, address):
    """What fish offers for the end of @line, as the installed file makes it."""
    done = run("fish", "--no-config", "-c",
               f"source '{PAGES / 'marketprism.fish'}'; complete -C '{line}'", **environment(address))
    return [offer.split("\t")[0] for offer in done.stdout.splitlines()]


class Zsh:
    """An interactive zsh on a terminal, in which the installed completion is loaded."""

    def __init__(self, address, folder):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ.update(environment(address), TERM="dumb", PS1="", ZDOTDIR=folder, HOME=folder)
            os.execvp("zsh", ["zsh", "-f", "-i"])
        self.seen = b""
        self.type(f"unsetopt beep; fpath=('{PAGES}' $fpath); autoload -Uz compinit; "
                  f"compinit -u -d '{folder}/dump'; print re''ady\n", b"ready")

    def type(self, text, until):
        """Type, and wait until it shows @until; what it showed."""
        self.seen = b""
        os.write(self.terminal, text.encode())
        end = time.monotonic() + 20
        while until not in self.seen:
            if not select.select([self.terminal], [], [], end - time.monotonic())[0]:
                raise AssertionError(f"{text!r}: no {until!r} in {self.seen!r}")
            self.seen += os.read(self.terminal, 65536)
        return self.seen

    def complete(self, line, until):
        self.type(line + "\t", until)
        os.write(self.terminal, b"\x15")  # ^U: the line is gone

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


class Pages(unittest.TestCase):
    def test_every_verb_has_its_manual_page_and_no_page_is_left_over(self):
        self.assertGreater(len(verbs()), 15)
        there = {path.name for path in PAGES.glob("*.1")}
        self.assertEqual(there, {f"marketprism-{verb}.1" for verb in verbs()} | {"marketprism.1"})

    def test_a_page_says_every_option_that_the_help_says(self):
        for verb in verbs():
            page = (PAGES / f"marketprism-{verb}.1").read_text(encoding="utf-8").replace("\\-", "-")
            options = set(re.findall(r"(--[a-z][a-z-]+) ", run(mp_daemon.BINARY, "help", verb).stdout))
            missing = {option for option in options if f"{option}\\fR" not in page
                       and option not in page}
            self.assertEqual(missing, set(), verb)

    def test_pages_are_well_formed(self):
        if not shutil.which("groff"):
            self.skipTest("there is no groff")
        for page in PAGES.glob("*.1"):
            done = run("groff", "-ww", "-man", "-Tutf8", "-z", page)
            self.assertEqual((done.returncode, done.stderr), (0, ""), page.name)

    def test_completions_are_well_formed(self):
        for shell, check in (("bash", ["bash", "-n"]), ("zsh", ["zsh", "-n"]),
                             ("fish", ["fish", "--no-execute"])):
            script = PAGES / {"bash": "marketprism", "zsh": "_marketprism",
                              "fish": "marketprism.fish"}[shell]
            said = run(mp_daemon.BINARY, "completions", shell)
            self.assertEqual((said.returncode, said.stdout),
                             (0, script.read_text(encoding="utf-8")))
            if shutil.which(check[0]):
                done = run(*check, script)
                self.assertEqual((done.returncode, done.stderr), (0, ""), shell)

    def test_an_unknown_shell_is_refused_with_the_known_ones(self):
        done = run(mp_daemon.BINARY, "completions", "tcsh")
        self.assertEqual(done.returncode, 2)
        self.assertIn("bash, zsh, fish", done.stderr)

    def test_bash_completes_verbs_options_and_keys(self):
        daemon = mp_daemon.Daemon()
        self.addCleanup(daemon.close)
        daemon.start()
        client = daemon.client()
        self.addCleanup(client.close)
        client("MSET", "feeds/kraken", "1", "feeds/kucoin", "2", "other", "3")
        self.assertEqual(complete(["marketprism", "roll"], daemon.resp), ["rollback"])
        self.assertIn("--dry-run", complete(["marketprism", "import", "--d"], daemon.resp))
        self.assertEqual(complete(["marketprism", "get", "feeds/k"], daemon.resp),
                         ["feeds/kraken", "feeds/kucoin"])
        self.assertEqual(complete(["marketprism", "edit", "feeds/kr"], daemon.resp), ["feeds/kraken"])

    def test_bash_completes_the_values_of_options(self):
        address = self.daemon_with("a", environments=("staging", "standby"))

        def offered(*words):
            return complete(["marketprism", *words], address)

        self.assertEqual(offered("get", "--level", ""), ["strong", "eventual", "weak"])
        self.assertEqual(offered("get", "-l", "w"), ["weak"])
        self.assertEqual(offered("get", "--level", "=", "e"), ["eventual"])
        self.assertEqual(offered("get", "--level", "="), ["strong", "eventual", "weak"])
        self.assertEqual(offered("export", "--format", "to"), ["toml"])
        self.assertEqual(offered("serve", "--log-level", "d"), ["debug"])
        self.assertEqual(offered("get", "a", "--env", "sta"), ["staging", "standby"])
        self.assertEqual(offered("diff", "a", "--to-env", "stag"), ["staging"])
        self.assertEqual(offered("replay", "--policy", "s"), ["s3-fifo", "sieve"])
        self.assertEqual(offered("replay", "--policy", "lru,s3"), ["lru,s3-fifo"])
        self.assertEqual(offered("get", "--timeout", ""), [])  # no value is known, and no key is one
        self.assertEqual(offered("completions", ""), ["bash", "zsh", "fish"])
        self.assertEqual(offered("schema", "ch"), ["check"])
        self.assertEqual(offered("bench", "l1-"), ["l1-get", "l1-mixed"])
        self.assertEqual(offered("help", "resto"), ["restore"])
        self.assertEqual(complete(["marketprism", "get", "--env", ""], "127.0.0.1:1"), [])  # no daemon

    def test_fish_completes_the_values_of_options(self):
        if not shutil.which("fish"):
            self.skipTest("there is no fish")
        address = self.daemon_with("a", environments=("staging", "standby"))

        def offered(line):
            return sorted(complete_in_fish(f"marketprism {line}", address))

        self.assertEqual(offered("get --level "), ["eventual", "strong", "weak"])
        self.assertEqual(offered("get -l w"), ["weak"])
        self.assertEqual(offered("get --env sta"), ["staging", "standby"])
        self.assertEqual(offered("export --format to"), ["toml"])
        self.assertEqual(offered("replay --policy s"), ["s3-fifo", "sieve"])
        self.assertEqual(offered("replay --policy lru,s3"), ["lru,s3-fifo"])
        self.assertEqual(offered("completions z"), ["zsh"])
        self.assertEqual(offered("bench l1-"), ["l1-get", "l1-mixed"])
        self.assertEqual(offered("help resto"), ["restore"])

    def test_zsh_completes_the_values_of_options(self):
        if not shutil.which("zsh"):
            self.skipTest("there is no zsh")
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        zsh = Zsh(self.daemon_with("a", environments=("staging",)), folder)
        self.addCleanup(zsh.close)
        zsh.complete("marketprism get --level ev", b"eventual ")
        zsh.complete("marketprism get -l we", b"weak ")
        zsh.complete("marketprism get --env=stag", b"staging ")
        zsh.complete("marketprism export -f to", b"toml ")
        zsh.complete("marketprism replay --policy lru,si", b"lru,sieve")
        zsh.complete("marketprism schema ch", b"check ")
        zsh.complete("marketprism bench l1-g", b"l1-get ")
        zsh.complete("marketprism help resto", b"restore ")

    def test_fish_completes_verbs_options_and_keys(self):
        if not shutil.which("fish"):
            self.skipTest("there is no fish")
        address = self.daemon_with("feeds/kraken", "feeds/kucoin", "other")
        self.assertEqual(complete_in_fish("marketprism roll", address), ["rollback"])
        self.assertEqual(complete_in_fish("marketprism import --d", address), ["--dry-run"])
        self.assertEqual(complete_in_fish("marketprism get feeds/k", address),
                         ["feeds/kraken", "feeds/kucoin"])

    def test_zsh_completes_verbs_options_and_keys(self):
        if not shutil.which("zsh"):
            self.skipTest("there is no zsh")
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        zsh = Zsh(self.daemon_with("feeds/kraken", "feeds/kucoin", "other"), folder)
        self.addCleanup(zsh.close)
        zsh.complete("marketprism roll", b"rollback ")
        zsh.complete("marketprism import --dry", b"--dry-run ")
        zsh.complete("marketprism get feeds/kr", b"feeds/kraken ")
        zsh.complete("marketprism get --\t\t", b"else 127.0.0.1:7480.")
        zsh.complete("marketprism d\t\t", b"will be: each finding")

    def daemon_with(self, *keys, environments=()):
        daemon = mp_daemon.Daemon()
        self.addCleanup(daemon.close)
        daemon.start()
        client = daemon.client()
        self.addCleanup(client.close)
        client("MSET", *(word for key in keys for word in (key, "v")))
        for name in environments:
            client("MP.ENV", name)
            client("SET", "a", "v")
        return daemon.resp


if __name__ == "__main__":
    mp_tap.main()

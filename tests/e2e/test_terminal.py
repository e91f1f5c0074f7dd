# SPDX-License-Identifier: Apache-2.0
"""Nothing that others chose moves a terminal, whichever verb prints it; files and pipes get every byte."""

import errno
import os
import pathlib
import re
import select
import subprocess
import tempfile
import tty

import mp_daemon
import mp_tap
from mp_daemon import BINARY

# Clear the screen, set a title, ring, overwrite the line, by C0, C1 in UTF-8 and C1 as a single byte.
C1 = "\u009b2J\u0085".encode()
MOVES = b"\x1b[2J\x1b]0;mine\x07\rover\n" + C1 + b"\x9b2J\x7f\x08\x0b"
KEY = b"nasty/k" + C1 + b"x"
# Our colours, and how a line of progress begins and goes.
OWN = re.compile(rb"\x1b\[(31|32|33|0)m|\r\x1b\[K|\r(?=reading |\d+ of )")


def moves(shown):
    """What of it a terminal would obey, but for what is our own."""
    try:
        text = OWN.sub(b"", shown).decode()
    except UnicodeDecodeError as error:
        return repr(error)
    found = re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)
    return found and repr(text[max(0, found.start() - 40):found.end() + 10])


class Terminal(mp_daemon.Served):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        client = cls.daemon.client()
        client("CLIENT", "SETNAME", b"who")
        client("SET", KEY, MOVES)
        client("SET", KEY, MOVES + b"again")
        client("MP.PUT", KEY + b"json", "application/json", '{"a": "' + C1.decode() + '"}')
        client("MP.PUT", "_schema/strict", "application/schema+json",
               '{"additionalProperties": {"maximum": 1}}')
        client("MP.PIN", KEY)
        client.close()

    def file(self, name, data):
        path = os.path.join(os.fsencode(self.folder), name)
        pathlib.Path(os.fsdecode(path)).write_bytes(data)
        return path

    def on_terminal(self, *words, resp=True, env=None):
        """(exit code, what came to the terminal as stdout and stderr), of which nothing is translated."""
        client = self.daemon.client()
        self.addCleanup(client.close)
        terminal, inner = os.openpty()
        tty.setraw(inner)
        words = [BINARY, *words] + (["--resp", self.daemon.resp] if resp else [])
        if b"--" in words:
            at = words.index(b"--")
            words = words[:at] + words[-2:] + words[at:-2]
        process = subprocess.Popen(words, stdout=inner, stderr=inner, stdin=subprocess.DEVNULL,
                                   env=env)
        os.close(inner)
        shown = b""
        while True:
            if not select.select([terminal], [], [], 20)[0]:
                process.kill()
                self.fail(f"no end: {words}")
            try:
                part = os.read(terminal, 65536)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                break
            if not part:
                break
            if not shown and b"--count" in words:  # a change that is watched
                client("SET", KEY, MOVES + b"once more")
            shown += part
        os.close(terminal)
        return process.wait(20), shown

    def test_no_verb_moves_a_terminal(self):
        name = b"f\x1b[2J\r\x07" + C1 + b"\x9b"
        yaml = self.file(name + b".yaml", b'"k\\x9b2J": "\\e[2J\\x07\\r"\n')
        broken = self.file(name + b"b.yaml", b"a: [\x1b[2J\n")
        wrong = self.file(name + b"w.json", b'{"k\\u009b2J": 500}')
        none = b"none\x1b[2J\r" + C1 + b"\x9b"
        template = self.file(name + b".tmpl", b'{{ get "nasty/k\xc2\x9b2J\xc2\x85x" }}\n')
        trace = self.file(name + b".trace", b"a\nb\na\n")
        schema = self.file(name + b"s.json", b'{"additionalProperties": {"maximum": 1, "type": "number"}}')
        odd = self.file(name + b".conf", b"x\x1b[2J: 1\n")
        data, copy = os.fsencode(self.daemon.data), os.path.join(os.fsencode(self.folder), b"backup")
        editor = self.file(b"editor", b"#!/bin/sh\nprintf '\\033\\001: [' >\"$1\"\n")
        os.chmod(editor, 0o755)
        env = dict(os.environ, EDITOR=os.fsdecode(editor))
        table = (
            ("get", KEY), ("get", KEY, "--meta"), ("get", KEY, "--json"), ("get", KEY + b"json"),
            ("get", none), ("get", KEY + b"none"), ("get", KEY, "--env", none),
            ("set", KEY + b"2", "v"), ("set", none, "v"), ("set", KEY, "v", "--type", none),
            ("set", KEY, "v", "--ttl", none), ("del", KEY + b"2"), ("del", none),
            ("ls", "nasty/"), ("ls", b"nasty/k", "--tree"), ("ls", "nasty/", "--long", "--values"),
            ("ls", "nasty/", "--json", "--values"), ("ls", none),
            ("watch", "nasty/", "--initial", "--count", "1"), ("watch", none, "--format", none),
            ("history", KEY), ("history", KEY, "--json"), ("history", none),
            ("rollback", KEY, none), ("rollback", KEY, "999999"), ("rollback", none, "1"),
            ("explain", KEY), ("explain", KEY, "--json"), ("explain", none),
            ("preload", "nasty/*"), ("preload", KEY + b"no"), ("preload", none), ("preload",),
            ("pins",), ("pin", none), ("unpin", none), ("unpin", KEY + b"n"), ("consumers",),
            ("consumers", "--limit", none),
            ("schema", "ls"), ("schema", "get", none), ("schema", "check", "nasty", schema),
            ("schema", "set", none, schema), ("schema", "set", "nasty", broken),
            ("status",), ("status", none), ("import", yaml, "-n", "nasty2"),
            ("import", yaml, "-n", "nasty", "--dry-run", "--prune"), ("import", broken),
            ("import", yaml, "-n", none), ("import", wrong, "-n", "strict"), ("import", none),
            ("import", name), ("import", yaml, "-f", none),
            ("export", "nasty", "--format", "toml"), ("export", "nasty", "--format", "env"),
            ("export", "nasty2", "--format", "toml"), ("export", "nasty2", "--format", "json"),
            ("export", "nasty2", "--format", "yaml"), ("export", "nasty2", "--format", "ini"),
            ("export", "nasty2", "--format", "env"), ("export", "nasty2", "--format", "properties"),
            ("export", none), ("export", "nasty2", "--out", none + b"/no"),
            ("diff", "production", "base", "--prefix", "nasty/"), ("diff", yaml, "-n", "nasty"),
            ("diff", none, "base"), ("diff", broken), ("edit", none), ("edit", "nasty2/"),
            ("validate", broken), ("validate", "--schema", schema, wrong), ("validate", none),
            ("validate", "--schema", broken, yaml), ("render", template), ("render", none),
            ("render", template, "--out", none + b"/no"), ("render", broken),
            ("exec", "--print", "--prefix", KEY), ("exec", "--prefix", KEY, b"--", none),
            ("exec", "--prefix", none, "--print"),
            ("doctor", "--data-dir", data), ("doctor", "--config", odd), ("doctor", none),
            ("doctor", "--data-dir", none),
            ("backup", "--data-dir", data, copy), ("backup", "--data-dir", none, copy + none),
            ("restore", "--data-dir", copy + b"d" + none, copy), ("restore", none),
            ("check-config", odd), ("check-config", none), ("serve", "--config", odd),
            ("serve", "--set", none), ("serve", "--data-dir", b"/dev/null/" + none),
            ("serve", "--resp", none), ("bench", none), ("replay", "--trace", trace, "--capacity", "2"),
            ("replay", "--trace", none, "--capacity", "2"),
            ("replay", "--trace", trace, "--capacity", "2", "--policy", none),
            ("policies",), ("policies", none), ("metrics",), ("metrics", none), ("completions", none),
            ("completions", "bash"), ("version",), ("version", none), ("help",), ("help", none), (none,),
        )
        local = {"validate", "doctor", "backup", "restore", "check-config", "serve", "bench", "replay",
                 "policies", "metrics", "completions", "version", "help", none}
        said = subprocess.run([BINARY, "help"], capture_output=True, text=True, check=True).stdout
        verbs = set(re.findall(r"^  ([a-z-]+) {2,}", said, re.M))
        self.assertEqual(verbs - {words[0] for words in table}, set(), "verbs that are not tried")
        for words in table:
            words = tuple(os.fsencode(word) for word in words)
            with self.subTest(words=words):
                verb = os.fsdecode(words[0])
                code, shown = self.on_terminal(*words, env=env, resp=not (
                    verb in local or words[0] == none))
                self.assertIsNone(moves(shown), words)
                self.assertTrue(code or shown or verb == "set", words)

    def test_a_pipe_and_a_file_get_every_byte(self):
        words = ("--resp", self.daemon.resp)
        def run(*more):
            return subprocess.run([BINARY, *more, *words], capture_output=True, check=True).stdout
        self.assertEqual(run("get", KEY), MOVES + b"again\n")
        self.assertIn(KEY + b"\n", run("ls", "nasty/k"))
        self.assertIn(b"=" + MOVES + b"again\n", run("exec", "--print", "--prefix", KEY))
        out = self.folder / "out"
        with open(out, "wb") as file:
            subprocess.run([BINARY, "get", KEY, *words], stdout=file, check=True)
        self.assertEqual(out.read_bytes(), MOVES + b"again\n")

    def test_lines_tabs_and_letters_are_shown_as_they_are(self):
        client = self.daemon.client()
        self.addCleanup(client.close)
        text = "a:\n\tb: 5 \u20ac \"quoted\" \\ \U0001f600\n"
        client("SET", "plain/text", text)
        self.assertEqual(self.on_terminal("get", "plain/text")[1].decode(), text + "\n")
        client("SET", "plain/long", "\u20ac" * 9000)  # characters cut at the ends of buffers
        self.assertEqual(self.on_terminal("get", "plain/long")[1].decode().strip(), "\u20ac" * 9000)
        client("SET", "plain/cut", b"\xe2\x82")
        self.assertEqual(self.on_terminal("get", "plain/cut")[1].decode().strip(), "\ufffd\ufffd")
        client("SET", "plain/cut", b"x\x1b[2J")
        self.assertEqual(self.on_terminal("get", "plain/cut")[1].decode().strip(), "x\\u001b[2J")


if __name__ == "__main__":
    mp_tap.main()

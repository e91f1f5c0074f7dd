# SPDX-License-Identifier: Apache-2.0
"""What the verbs watch, render and exec promise to scripts and services."""

import json
import os
import pathlib
import resource
import stat
import subprocess
import tempfile
import threading
import time

import mp_daemon
import mp_tap
from mp_daemon import BINARY, Daemon, ReplyError, cpu_of_children, wait_until


class Tools(mp_daemon.Served):
    def setUp(self):
        self.c = self.daemon.client()
        self.addCleanup(self.c.close)
        wait_until(lambda: not self.listeners(), what="the end of the watchers of the test before")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def start(self, *words, **options):
        process = subprocess.Popen([BINARY, *map(str, words), "--resp", self.daemon.resp],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   stdin=subprocess.DEVNULL, text=True, **options)
        def end():
            process.kill()
            process.communicate()
        self.addCleanup(end)
        return process

    def listeners(self):
        return sum(b" sub=1 " in line or b" cmd=mp.watch" in line.lower()
                   for line in self.c("CLIENT", "LIST").splitlines())

    def template(self, text):
        path = self.folder / "template"
        path.write_text(text, encoding="utf-8")
        return path

    # ---- watch ----

    def test_watch_tells_puts_deletes_and_expiries_of_its_prefix(self):
        self.c("SET", "w1/there", "0")
        watch = self.start("watch", "--json", "--count", "4", "--initial", "w1/")
        first = json.loads(watch.stdout.readline())
        self.assertEqual((first["event"], first["key"], first["value"]), ("is", "w1/there", "0"))
        self.c("SET", "w1/a", "1")
        self.c("SET", "w2/a", "not asked for")
        self.c("DEL", "w1/a")
        self.c("SET", "w1/b", "2", "PX", "30")
        lines = [json.loads(line) for line in watch.communicate(timeout=20)[0].splitlines()]
        self.assertEqual(watch.returncode, 0)
        self.assertEqual([line["key"] for line in lines], ["w1/a", "w1/a", "w1/b", "w1/b"])
        self.assertEqual([lines[1]["event"], lines[3]["event"]], ["delete", "delete"])
        self.assertNotIn("value", lines[1])
        for line in lines:  # a deletion has its revision, too
            self.assertEqual(str(line["revision"]), line["position"].rpartition("-")[2], line)

    def test_what_changes_while_a_watch_begins_with_what_is_there_is_told_once(self):
        self.c("SET", "begins/k", 0)
        for how in ([], ["--no-resume"]):
            with self.subTest(how):
                watches = [self.start("watch", "--json", "--initial", "--count", 40, "begins/", *how)
                           for _ in range(4)]
                number = int(self.c("GET", "begins/k"))
                while any(watch.poll() is None for watch in watches):
                    number += 1
                    self.c("SET", "begins/k", number)
                for watch in watches:
                    lines = [json.loads(line) for line in watch.communicate(timeout=20)[0].splitlines()]
                    self.assertEqual([line["event"] for line in lines], ["is"] + 40 * ["put"])
                    self.assert_told_once([line["revision"] for line in lines], lossless=not how)

    def assert_told_once(self, revisions, lossless):
        """Without --no-resume each value is told that was; with it, the one that is there by then."""
        self.assertEqual(revisions, sorted(revisions))
        if lossless:
            self.assertEqual(revisions, list(range(revisions[0], revisions[0] + 41)))

    def test_watch_hears_of_environments_that_have_no_number(self):
        watch = self.start("watch", "--env", "quite-new", "--count", "1")
        wait_until(lambda: self.listeners() or watch.poll() is not None)
        self.daemon.cli("set", "--env", "quite-new", "a", "1", check=True)
        self.assertIn("a = 1", watch.communicate(timeout=20)[0])

    def watching(self, daemon, *words):
        """A watch of @daemon that is listened for: its process, and a list that grows by its lines."""
        watch = subprocess.Popen([BINARY, "watch", "--json", "--resp", daemon.resp, *words], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(json.loads(line) for line in watch.stdout))

        def end():
            watch.kill()
            reader.join()
            watch.wait()
            watch.stdout.close()
            watch.stderr.close()
        reader.start()
        self.addCleanup(end)
        client = daemon.client()
        wait_until(lambda: client("CLIENT", "LIST").lower().count(b"cmd=mp.watch") or watch.poll() is not None)
        client.close()
        return watch, lines

    def test_watch_hears_everything_once_over_a_kill_and_a_restart(self):
        other = Daemon().start()
        self.addCleanup(other.close)
        address = other.resp
        _, lines = self.watching(other, "k/")
        client = other.client()
        for i in range(50):
            client("SET", f"k/{i}", str(i))
        wait_until(lambda: lines)  # it may be anywhere in between
        other.kill()
        other.start("--resp", address)
        client = other.client()
        for i in range(50, 100):
            client("SET", f"k/{i}", str(i))
            client("SET", f"not-asked-for/{i}", str(i))
        client("DEL", "k/7")
        wait_until(lambda: len(lines) >= 101, what="101 events")
        client("SET", "k/last", "1")
        wait_until(lambda: lines[-1]["key"] == "k/last")
        self.assertEqual([line["key"] for line in lines], [f"k/{i}" for i in range(100)] + ["k/7", "k/last"])
        self.assertEqual(lines[100]["event"], "delete")
        revisions = [int(line["position"].rsplit("-", 1)[1]) for line in lines]
        self.assertEqual(revisions, sorted(set(revisions)))
        client.close()

    def test_watch_hears_everything_once_over_broken_connections(self):
        _, lines = self.watching(self.daemon, "cut/")
        for i in range(300):
            self.c("SET", f"cut/{i}", str(i))
            if i % 60 == 30:
                for line in self.c("CLIENT", "LIST").splitlines():
                    if b"cmd=mp.watch" in line.lower():
                        self.c("CLIENT", "KILL", "ID", line.split(b" ")[0].split(b"=")[1])
        wait_until(lambda: lines and lines[-1]["key"] == "cut/299", 30)
        self.assertEqual([line["key"] for line in lines], [f"cut/{i}" for i in range(300)])

    def test_watch_listens_to_what_it_was_asked_for_alone(self):
        _, lines = self.watching(self.daemon, "here/", "there/a")
        asked = []
        for i in range(40):
            for name in (f"here/{i}", f"there/a{i}", f"elsewhere/{i}", f"there/b{i}"):
                self.c("SET", name, str(i))
                asked += [name] if name.startswith(("here/", "there/a")) else []
            if i == 20:
                (one,) = [who for who in json.loads(self.c("MP.CONSUMERS"))["consumers"] if who["protocol"] == "resp"]
                self.assertEqual(sorted(watched.split("/", 1)[1] for watched in one["watches"]), ["here/", "there/a"])
                (line,) = [line for line in self.c("CLIENT", "LIST").splitlines() if b" sub=2 " in line]
                self.c("CLIENT", "KILL", "ID", line.split(b" ")[0].split(b"=")[1])
        wait_until(lambda: len(lines) >= len(asked), 30)
        self.assertEqual([line["key"] for line in lines], asked)

    def test_a_list_moves_no_cursor_and_gives_scripts_the_names_as_they_are(self):
        name = b"listed/k\x9b31m" + "\u009b2J".encode()
        self.c("SET", name, "v")
        words = [BINARY, "ls", "listed/", "--resp", self.daemon.resp]
        self.assertEqual(subprocess.run(words, capture_output=True, check=True).stdout, name + b"\n")
        for more in ([], ["--tree"], ["--long", "--values"]):
            terminal, inner = os.openpty()
            subprocess.run(words + more, stdout=inner, check=True)
            os.close(inner)
            shown = os.read(terminal, 4096)
            os.close(terminal)
            self.assertIn(b"31m", shown)
            self.assertNotIn(b"\x9b", shown)

    def test_no_position_is_past_a_change_that_was_not_told(self):
        def write():
            while not ended:
                for _ in range(8):
                    other.send("SET", "told/k", "v")
                for _ in range(8):
                    other.read()

        other = self.daemon.client()
        self.addCleanup(other.close)
        ended, seen = [], 0
        writer = threading.Thread(target=write)
        writer.start()
        try:
            position = self.c("MP.CHANGES")[0]
            until = time.monotonic() + 2
            while time.monotonic() < until:
                # one that asks where the data are just now asks at the worst moment: three times, since its own
                # answer is of a moment ago
                for asked in (position, *(self.c("MP.CHANGES")[0] for _ in range(2))):
                    position, _, *changes = self.c("MP.CHANGES", "FROM", asked, "COUNT", "10000")
                    told = [int(place.rsplit(b"-", 1)[1]) for place in (asked, position)]
                    self.assertEqual(told[1] - told[0], len(changes))
                    seen += len(changes)
        finally:
            ended.append(True)
            writer.join()
        self.assertGreater(seen, 100)

    def test_watch_hears_of_keys_whose_namespace_is_not_said(self):
        for words, heard in ((["plain.a"], ["plain.a", "plain.ab", "plain.apart/c"]),
                             (["default/plain.a"], ["plain.a", "plain.ab"]),
                             (["plain.a", "--namespace", "default"], ["plain.a", "plain.ab"]),
                             (["plain.a", "--no-resume"], ["plain.a", "plain.ab", "plain.apart/c"]),
                             (["plain.apart/"], ["plain.apart/c"])):
            watch, lines = self.watching(self.daemon, *words)
            for name in ("plain.a", "plain.b", "plain.ab", "plain.apart/c", "plain.b/plain.a"):
                self.c("SET", name, "1")
            wait_until(lambda: len(lines) >= len(heard))
            watch.kill()
            watch.wait()
            self.assertEqual([line["key"] for line in lines], heard)
            wait_until(lambda: not self.listeners())

    def test_watch_begins_where_it_is_told(self):
        self.c("SET", "from/a", "1")
        position = self.c("MP.CHANGES")[0].decode()
        self.c("SET", "from/b", "2")
        self.c("SET", "elsewhere", "2")
        self.c("DEL", "from/a")
        _, lines = self.watching(self.daemon, "from/", "--from", position)
        self.c("SET", "from/c", "3")
        wait_until(lambda: len(lines) == 3)
        self.assertEqual([(line["event"], line["key"]) for line in lines],
                         [("put", "from/b"), ("delete", "from/a"), ("put", "from/c")])
        self.assertEqual([line.get("value") for line in lines], ["2", None, "3"])
        again, rest = self.watching(self.daemon, "from/", "--from", lines[1]["position"], "--count", "1")
        self.assertEqual(again.wait(20), 0)
        wait_until(lambda: rest)
        self.assertEqual([line["key"] for line in rest], ["from/c"])

    def test_watch_tells_each_change_of_the_past_with_its_own_value(self):
        position = self.c("MP.CHANGES")[0].decode()
        for value in ("1", "2", "3"):
            self.c("SET", "past/a", value)
        self.c("SET", "past/b", "x")
        self.c("DEL", "past/b")
        _, lines = self.watching(self.daemon, "past/", "--from", position)
        wait_until(lambda: len(lines) == 5)
        self.assertEqual([(line["event"], line["key"], line.get("value")) for line in lines],
                         [("put", "past/a", "1"), ("put", "past/a", "2"), ("put", "past/a", "3"),
                          ("put", "past/b", "x"), ("delete", "past/b", None)])
        revisions = [line["revision"] for line in lines[:4]]
        self.assertEqual(revisions, list(range(revisions[0], revisions[0] + 4)))

    def test_watch_tells_reset_where_the_past_is_not_known(self):
        for position in ("0123456789abcdef0123456789abcdef-5", self.c("MP.CHANGES")[0].decode() + "0000"):
            _, lines = self.watching(self.daemon, "from/", "--from", position)
            wait_until(lambda: lines)
            self.assertEqual((lines[0]["event"], lines[0]["key"]), ("reset", ""))
            self.c("SET", "from/again", position)
            wait_until(lambda: len(lines) == 2)
            self.assertEqual((lines[1]["key"], lines[1]["value"]), ("from/again", position))
        for wrong in ("x", "-5", "abc-", "abc- 5", "abc-1x"):
            self.assertEqual(self.daemon.cli("watch", "--from", wrong).returncode, 2, wrong)
        self.assertEqual(self.daemon.cli("watch", "--from", "abc-5", "--initial").returncode, 2)
        with self.assertRaisesRegex(ReplyError, "a position is"):
            self.c("MP.CHANGES", "FROM", "x")

    def test_changes_are_told_by_pages_and_as_a_scope_sees_them(self):
        began = self.c("MP.CHANGES")[0]
        for i in range(25):
            self.c("SET", f"page/{i}", "1")
        seen, position = [], began
        while True:
            position, more, *changes = self.c("MP.CHANGES", "FROM", position, "PREFIX", "page/", "COUNT", "10")
            seen += [name for name, _, _ in changes]
            if not more:
                break
        self.assertEqual(seen, [b"page/%d" % i for i in range(25)])
        self.assertEqual(position, self.c("MP.CHANGES")[0])
        scoped = self.daemon.client()
        scoped("MP.ENV", "base")
        scoped("SET", "page/1", "hidden")
        scoped("SET", "page/behind", "shown")
        scoped("MP.ENV", "production")
        self.assertEqual([change[:2] for change in scoped("MP.CHANGES", "FROM", position)[2:]],
                         [[b"page/behind", b"set"]])
        scoped.close()

    def test_watch_says_when_the_daemon_goes(self):
        other = Daemon().start()
        self.addCleanup(other.close)
        watch = subprocess.Popen([BINARY, "watch", "--no-resume", "--resp", other.resp], stderr=subprocess.PIPE,
                                 text=True)
        self.addCleanup(watch.kill)
        client = other.client()
        wait_until(lambda: b"cmd=mp.watch" in client("CLIENT", "LIST").lower() or watch.poll() is not None)
        client.close()
        other.kill()
        self.assertIn("marketprism watch:", watch.communicate(timeout=20)[1])
        self.assertEqual(watch.returncode, 1)

    # ---- render ----

    def test_render_writes_a_file_as_a_whole_and_tells_its_reader(self):
        self.c("MSET", "r1/host", "alpha", "r1/port", "80")
        out = self.folder / "out.conf"
        done = self.daemon.cli("render", str(self.template("{{range r1/}}{{.name}}={{.value}}\n{{end}}")),
                               "--output", str(out), "--mode", "0600",
                               "--reload", f"cp {out} {self.folder}/seen")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(out.read_text(encoding="utf-8"), "host=alpha\nport=80\n")
        self.assertEqual(stat.S_IMODE(out.stat().st_mode), 0o600)
        self.assertEqual((self.folder / "seen").read_bytes(), out.read_bytes())
        self.assertEqual({path.name for path in self.folder.iterdir()}, {"out.conf", "seen", "template"})

    def test_render_reads_a_template_from_standard_input(self):
        self.c("SET", "r2/host", "alpha")
        for text, code, out, said in (("{{r2/host}}!", 0, "alpha!", ""),
                                      ("{{r2/none}}", 3, "", "standard input:1:1: there is no value at r2/none"),
                                      ("{{", 1, "", "standard input:1:1:")):
            done = subprocess.run([BINARY, "render", "-"], input=text, capture_output=True, text=True, check=False,
                                  env={**os.environ, "MARKETPRISM_ADDR": self.daemon.resp})
            self.assertEqual((done.returncode, done.stdout), (code, out), done.stderr)
            self.assertIn(said, done.stderr)

    def test_render_leaves_a_file_alone_that_is_as_it_should_be(self):
        out = self.folder / "out.conf"
        out.write_text("same", encoding="utf-8")
        before = out.stat().st_ino
        done = self.daemon.cli("render", str(self.template("same")), "-o", str(out), "-r", "exit 7")
        self.assertEqual((done.returncode, out.stat().st_ino), (0, before))

    def test_render_keeps_the_mode_of_the_file_that_it_replaces(self):
        out = self.folder / "out.conf"
        out.touch()
        out.chmod(0o640)
        self.daemon.cli("render", str(self.template("x")), "-o", str(out), check=True)
        self.assertEqual(stat.S_IMODE(out.stat().st_mode), 0o640)

    def test_render_beyond_a_limit_of_the_size_of_files_leaves_the_file_and_nothing_beside_it(self):
        out = self.folder / "out.conf"
        out.write_text("before", encoding="utf-8")
        path = self.template("x" * 5000)
        done = subprocess.run([BINARY, "render", str(path), "-o", str(out), "--resp", self.daemon.resp],
                              capture_output=True, text=True, check=False,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))
        self.assertEqual((done.returncode, out.read_text(encoding="utf-8")), (1, "before"), done)
        self.assertIn(f"cannot write {out}: File too large; it is as before", done.stderr)
        self.assertEqual({file.name for file in self.folder.iterdir()}, {"out.conf", "template"})

    def test_render_does_not_write_over_its_template(self):
        path = self.template("{{r2/host}}")
        again = self.folder / "again"
        again.symlink_to(path)
        for out in (path, again):
            done = self.daemon.cli("render", str(path), "--output", str(out))
            self.assertEqual(done.returncode, 2)
            self.assertIn(f"--output: {out} is the template itself", done.stderr)
        self.assertEqual(path.read_text(encoding="utf-8"), "{{r2/host}}")

    def test_render_with_a_missing_key_changes_nothing_and_names_the_place(self):
        out = self.folder / "out.conf"
        out.write_text("before", encoding="utf-8")
        path = self.template("a\n  {{r2/none}}")
        done = self.daemon.cli("render", str(path), "-o", str(out))
        self.assertEqual(done.returncode, 3)
        self.assertIn(f"{path}:2:3: there is no value at r2/none", done.stderr)
        self.assertEqual(out.read_text(encoding="utf-8"), "before")

    def test_render_says_when_the_reload_failed(self):
        done = self.daemon.cli("render", str(self.template("x")), "-o", str(self.folder / "o"),
                               "-r", "exit 7")
        self.assertEqual(done.returncode, 1)
        self.assertIn("ended with 7", done.stderr)

    def test_a_dry_run_changes_nothing(self):
        out = self.folder / "o"
        done = self.daemon.cli("render", str(self.template("x")), "-o", str(out), "--dry-run")
        self.assertEqual((done.returncode, out.exists()), (1, False))
        out.write_text("x", encoding="utf-8")
        done = self.daemon.cli("render", str(self.template("x")), "-o", str(out), "--dry-run")
        self.assertEqual(done.returncode, 0)

    def test_render_follows_changes_also_through_a_restart_of_the_daemon(self):
        other = Daemon().start()
        self.addCleanup(other.close)
        client = other.client()
        client("SET", "r3/a", "1")
        out, count = self.folder / "o", self.folder / "count"
        render = subprocess.Popen([BINARY, "render", str(self.template("{{r3/a}}{{r3/b | default \"\"}}")),
                                   "-o", str(out), "--watch", "-r", f"echo >>{count}", "--resp",
                                   other.resp], stderr=subprocess.DEVNULL)
        self.addCleanup(render.wait)
        self.addCleanup(render.kill)
        def text():
            return out.read_text(encoding="utf-8") if out.exists() else None
        wait_until(lambda: text() == "1")
        client("SET", "r3/a", "2")
        wait_until(lambda: text() == "2")
        client("SET", "r3/b", "!")
        wait_until(lambda: text() == "2!")
        client.close()
        address = other.resp
        other.kill()
        other.start("--set", f"resp.listen={address}", "--resp", address)
        client = other.client()
        client("SET", "r3/a", "3")
        wait_until(lambda: text() == "3!", 30)
        client.close()
        wait_until(lambda: count.read_text(encoding="utf-8") == "\n" * 4)

    # ---- exec ----

    def test_exec_puts_configuration_into_the_environment(self):
        self.c("MSET", "e1/db.host", "alpha", "e1/db.ports[0]", "80", "e1/2fast", "yes")
        done = self.exec("--prefix", "e1/", "--", "env")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        for line in ("DB_HOST=alpha", "DB_PORTS_0=80", "_2FAST=yes"):
            self.assertIn(line, lines)

    def test_exec_makes_one_underscore_of_each_character_that_no_name_can_have(self):
        self.c("MSET", "e1u/straße.ä", "1", "e1u/価格", "2", "e1u/aÿ", "3")
        done = self.exec("--prefix", "e1u/", "--print")
        self.assertEqual(sorted(done.stdout.split()), ["A_=3", "STRA_E__=1", "__=2"], done.stderr)
        self.c("SET", "e1u/通貨", "4")
        done = self.exec("--prefix", "e1u/", "--print")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, "e1u/.* and e1u/.* are both the variable __;")

    def set_many(self, prefix, count, value="v"):
        for part in range(0, count, 500):
            self.c("MSET", *(word for i in range(part, min(part + 500, count))
                             for word in (f"{prefix}k{i}", value)))

    def test_exec_and_render_print_json_where_they_print_what_is_theirs(self):
        self.c("MSET", "e1j/a", "1\n2", "e1j/b", b"\xff")
        done = self.exec("--prefix", "e1j/", "--print", "--json")
        self.assertEqual([(one["name"], one.get("value", one.get("value_base64"))) for one in json.loads(done.stdout)],
                         [("A", "1\n2"), ("B", "/w==")])
        out = self.folder / "out.conf"
        path = str(self.template("x"))
        for code in (1, 0):
            done = self.daemon.cli("render", path, "-o", str(out), "--dry-run", "--json")
            self.assertEqual((done.returncode, json.loads(done.stdout)),
                             (code, {"output": str(out), "would_change": code == 1}))
            out.write_text("x", encoding="utf-8")

    def test_exec_takes_no_word_before_the_dashes_for_a_command(self):
        self.c("SET", "e1/a", "1")
        done = self.exec("e1/", "--", "env")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("'e1/' stands before the -- of the command; a prefix is given with --prefix", done.stderr)
        self.assertIn("A=1\n", self.exec("--prefix", "e1/", "env").stdout)

    def test_exec_gives_a_program_fifty_thousand_variables_in_a_moment(self):
        self.set_many("e9/", 50000)
        spent = cpu_of_children()
        done = self.exec("--prefix", "e9/", "--timeout", "60s", "--", "env")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = set(done.stdout.splitlines())
        self.assertTrue({f"K{i}=v" for i in range(50000)} <= lines)
        self.assertIn("PATH=" + os.environ["PATH"], lines)
        self.assertLess(cpu_of_children() - spent, 2)
        done = self.exec("--prefix", "e9/", "--timeout", "60s", "--print")
        self.assertEqual((done.returncode, done.stdout.count("\n")), (0, 50000), done.stderr)

    def test_exec_tells_of_more_than_the_system_lets_a_program_be_given(self):
        self.set_many("e10/", 500, "v" * 15000)  # 7.5 MB; 6 MiB is the most that Linux knows
        done = self.exec("--prefix", "e10/", "--timeout", "60s", "--", "true")
        self.assertEqual(done.returncode, 126)
        for word in ("500 variables of 75", "longer --prefix", "ulimit -s", "marketprism render"):
            self.assertIn(word, done.stderr)
        self.assertEqual(self.exec("--prefix", "e10/k1", "--", "true").returncode, 0)
        self.c("SET", "e11/long", "v" * 140000)
        done = self.exec("--prefix", "e11/", "--", "true")
        self.assertEqual(done.returncode, 126)
        self.assertIn("e11/long would be a variable of 140005 bytes", done.stderr)

    def exec(self, *words, **options):
        return subprocess.run([BINARY, "exec", "--resp", self.daemon.resp, *words],
                              capture_output=True, text=True, check=False, **options)

    def test_exec_lets_no_configuration_say_which_code_runs(self):
        for number, (key, name) in enumerate((("path", "PATH"), ("ld.preload", "LD_PRELOAD"), ("IFS", "IFS"),
                                              ("ld_library_path", "LD_LIBRARY_PATH"), ("bash-env", "BASH_ENV"))):
            with self.subTest(name):
                prefix = f"unsafe{number}/"
                self.c("SET", prefix + key, "/tmp")
                for words in (("--", "/bin/echo", "ran"), ("--print",)):
                    done = self.exec("-p", prefix, *words)
                    self.assertEqual((done.returncode, done.stdout), (1, ""))
                    self.assertIn(prefix + key, done.stderr)
                    self.assertIn(f"the variable {name},", done.stderr)
                    self.assertIn("--allow-unsafe", done.stderr)
                self.assertEqual(self.exec("-p", prefix, "--allow-unsafe", "--print").stdout, f"{name}=/tmp\n")
                self.assertEqual(self.exec("-p", prefix, "--prepend", "APP_", "--print").stdout,
                                 f"APP_{name}=/tmp\n")

    def test_exec_ends_as_the_program_ends(self):
        self.c("SET", "e2/a", "1")
        self.assertEqual(self.exec("-p", "e2/", "--", "sh", "-c", "exit 9").returncode, 9)
        self.assertEqual(self.exec("-p", "e2/", "--", "/nonexistent").returncode, 127)
        self.assertEqual(self.exec("-p", "e2/", "--", "/etc/passwd").returncode, 126)
        self.assertEqual(self.exec("-p", "e2/none", "--", "true").returncode, 3)
        self.assertEqual(self.exec("-p", "e2/").returncode, 2)

    def test_exec_can_leave_the_rest_of_the_environment_out(self):
        self.c("SET", "e3/a", "1")
        done = self.exec("-p", "e3/", "--prepend", "APP_", "--pristine", "--", "env",
                         env=dict(os.environ, SECRET="x"))
        names = {line.split("=")[0] for line in done.stdout.splitlines()}
        self.assertEqual(names - {"PATH", "HOME", "USER", "LANG", "TERM"}, {"APP_A"})

    def test_exec_puts_nothing_before_names_that_no_name_can_begin_with(self):
        self.c("SET", "e5/a", "1")
        for text in ("1X_", "A-B ", "\u00e9_", "PATH=/tmp:"):
            done = self.exec("-p", "e5/", "--prepend", text, "--print")
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("--prepend", done.stderr)
        self.assertEqual(self.exec("-p", "e5/", "--prepend", "_1", "--print").stdout, "_1A=1\n")

    def test_exec_refuses_two_keys_that_would_be_one_variable(self):
        self.c("MSET", "e4/a.b", "1", "e4/a_b", "2")
        done = self.exec("-p", "e4/", "--print")
        self.assertEqual(done.returncode, 1)
        self.assertIn("e4/a.b and e4/a_b are both the variable A_B", done.stderr)
        self.assertEqual(done.stdout, "")


if __name__ == "__main__":
    mp_tap.main()

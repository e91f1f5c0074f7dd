# SPDX-License-Identifier: Apache-2.0
"""Configuration in and out of the daemon: import, export, diff, edit, validate, MP.STAGE."""

import contextlib
import json
import os
import pathlib
import pty
import socket
import subprocess
import termios
import threading
import time
import tomllib

import mp_daemon
import mp_tap
from mp_daemon import BINARY, Daemon, ReplyError, cpu_of_children
from mp_http import Http

FILES = {  # the same data, as each format says it
    "json": '{"db": {"host": "a b", "ports": [1, 2.5]}, "on": true, "none": {}}',
    "yaml": "db:\n  host: a b\n  ports: [1, 2.5]\non: true\nnone: {}\n",
    "toml": "on = true\nnone = {}\n[db]\nhost = 'a b'\nports = [1, 2.5]\n",
}


class Transfer(mp_daemon.Served):
    def setUp(self):
        self.c = self.daemon.client()
        self.addCleanup(self.c.close)
        self.name = self.id().rsplit(".", 1)[1]
        self.folder = pathlib.Path(self.daemon.folder, self.name)
        self.folder.mkdir()

    def cli(self, *words, code=0, text=None, **environment):
        done = subprocess.run([BINARY, *(str(w) for w in words)], capture_output=True, text=True,
                              input=text, check=False, timeout=60,
                              env={**os.environ, "MARKETPRISM_ADDR": self.daemon.resp, **environment})
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def file(self, name, text):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    # ---- import

    def test_an_import_is_all_or_nothing_even_when_the_daemon_refuses_in_the_middle(self):
        lines = [f"k{i} = {i}" for i in range(3000)]
        path = self.file("big.toml", "\n".join(lines[:2000] + ["bad"] + lines[2000:]))
        said = self.cli("import", path, code=1)
        self.assertIn("big.toml:2001:4: '=' after the name is expected here", said)
        self.assertIn("nothing was imported", said)
        self.assertEqual(self.c("MP.LS", "PREFIX", "big/"), [0, 0])
        # A value that the daemon does not take comes after 2,000 that it does.
        path = self.file("big.toml", "\n".join(lines[:2000] + [f"zz = \"{'x' * (2 << 20)}\"\n"]))
        daemon = Daemon("--set", "resp.value_max=1MiB").start()
        self.addCleanup(daemon.close)
        self.assertEqual(daemon.cli("import", str(path)).returncode, 1)
        client = daemon.client()
        self.addCleanup(client.close)
        self.assertEqual(client("MP.LS", "PREFIX", "big/"), [0, 0])

    def test_ten_thousand_keys_come_in_under_two_seconds_and_are_durable(self):
        path = self.file("many.json", json.dumps({f"k{i}": f"value {i}" for i in range(10000)}))
        daemon = Daemon().start()
        self.addCleanup(daemon.close)
        began, spent = time.monotonic(), daemon.cpu_s() + cpu_of_children()
        done = daemon.cli("import", str(path))
        took, spent = time.monotonic() - began, daemon.cpu_s() + cpu_of_children() - spent
        self.assertIn("imported 10000 keys of 1 file, 10000 of them new", done.stdout)
        # The clock also counts whatever else the machine does; the work itself is what is held down.
        print(f"10,000 keys in {took * 1000:.0f} ms, {spent * 1000:.0f} ms of CPU")
        self.assertLess(spent, 2.0)
        daemon.kill()
        daemon.start()
        client = daemon.client()
        self.addCleanup(client.close)
        self.assertEqual(client("GET", "many/k9999"), b"value 9999")
        self.assertEqual(client("GET", "many/k0"), b"value 0")
        revisions = {client("MP.REV", f"many/k{i}") for i in (0, 5000, 9999)}
        self.assertEqual(len(revisions), 3)  # each key its own, in one transaction

    def test_a_dry_run_says_what_would_change_and_changes_nothing(self):
        path = self.file("dry.yaml", "same: 1\nnew: x\ntype: 5\n")
        self.c("MP.PUT", "dry/same", "application/json", "1", "dry/type", "text/plain", "5",
               "dry/other", "text/plain", "o")
        said = self.cli("import", path, "--dry-run")
        self.assertEqual(said.splitlines()[:3],
                         ["production:", '+ dry/new: "x"', '~ dry/type: "5" (text/plain) -> 5 (application/json)'])
        self.assertIn("1 to add, 1 to change, 0 to remove, 1 the same; nothing was written", said)
        self.assertIn("1 more keys of these namespaces are in no file", said)
        self.assertNotIn("\x1b", said)
        said = self.cli("import", path, "--dry-run", "--prune")
        self.assertIn('- dry/other: "o"', said)
        told = json.loads(self.cli("import", path, "--dry-run", "--json"))
        self.assertEqual((told["added"], told["changed"], told["removed"]), (1, 1, 0))
        self.assertEqual(told["changes"][1], {"change": "change", "key": "dry/type", "from": "5",
                                              "to": 5, "media_type": "application/json"})
        self.assertIsNone(self.c("GET", "dry/new"))

    def test_a_key_that_ends_stays_once_a_file_has_it_and_the_dry_run_says_so(self):
        path = self.file("ending.yaml", "same: 1\nother: x\nlong: 2\n")
        self.c("MP.PUT", "ending/same", "application/json", "1", "ending/other", "text/plain", "y",
               "ending/long", "application/json", "2")
        for key in ("same", "other"):
            self.c("EXPIRE", f"ending/{key}", "3600")
        for said in (self.cli("import", path, "--dry-run"), self.cli("diff", path)):
            self.assertRegex(said, r"~ ending/other: \"y\" \(expires in \d+ min\) -> \"x\" \(stays\)\n")
            self.assertRegex(said, r"~ ending/same: 1 \(expires in \d+ min\) -> 1 \(stays\)\n")
            self.assertNotIn("ending/long", said)
        told = json.loads(self.cli("import", path, "--dry-run", "--json"))
        self.assertEqual((told["added"], told["changed"]), (0, 2))
        ends = self.c("PEXPIRETIME", "ending/same")
        self.assertEqual([change["from_expires_ms"] for change in told["changes"] if change["key"] == "ending/same"], [ends])
        self.assertIn("imported 3 keys of 1 file, 2 of them new or changed", self.cli("import", path))
        self.assertEqual([self.c("TTL", f"ending/{key}") for key in ("same", "other", "long")], [-1] * 3)
        self.assertIn("0 to change, 0 to remove, 3 the same", self.cli("import", path, "--dry-run"))
        self.assertIn("0 of them new or changed", self.cli("import", path))

    def test_prune_deletes_what_is_in_no_file_of_these_namespaces_alone(self):
        path = self.file("pruned.ini", "a = 1\n")
        self.c("MSET", "pruned/b", "2", "prunedelse/c", "3")
        self.assertIn("1 of them new or changed; removed 1", self.cli("import", path, "--prune"))
        self.assertEqual(self.c("MGET", "pruned/a", "pruned/b", "prunedelse/c"), [b"1", None, b"3"])

    def test_prune_deletes_all_of_a_namespace_whose_file_has_no_key_and_is_not_just_empty(self):
        self.c("MP.ENV", "bare")
        self.c("MSET", "anew/a", "1", "bare/a", "1", "bare/b", "2", "twice/a", "1", "zero/c", "3")
        self.file("bare/bare.yaml", "{}\n")
        self.file("bare/anew.ini", "b = 1\n")
        self.file("bare/twice.ini", "; none any more\n")
        folder = self.file("bare/twice.json", '{"a": "1"}').parent
        for words in (("import", "--dry-run", "--prune"), ("diff",)):
            said = self.cli(*words, folder, "--env", "bare")
            for key in ("- anew/a: ", "- bare/a: ", "- bare/b: ", "+ anew/b: "):
                self.assertIn(key, said)
            self.assertIn("1 to add, 1 to change, 3 to remove, 0 the same" if "--prune" in words
                          else "1 added, 1 changed, 3 removed, 0 the same", said)
        for words, text in (((), "\n"), (("--dry-run",), "\n"), ((), "---\nnull\n")):
            zero = self.file("zero.yaml", text)
            said = self.cli("import", "--prune", *words, folder, zero, "--env", "bare", code=1)
            self.assertIn(f"{zero}: is empty, and --prune would delete all keys of zero", said)
        self.assertIn("removed 3", self.cli("import", "--prune", folder, "--env", "bare"))
        self.assertEqual(self.c("KEYS", "*"), [b"anew/b", b"twice/a", b"zero/c"])
        self.assertIn("0 of them new", self.cli("import", zero, "--env", "bare"))  # which deletes nothing

    def test_a_key_in_two_files_of_a_namespace_is_refused_with_both(self):
        self.file("e1/twice.env", "A=1\nB=2\n")
        self.file("e1/twice.ini", "C = 1\nB = 3\n")
        said = self.cli("import", self.folder, code=1)
        self.assertIn("the key 'twice/B' is in", said)
        self.assertIn("twice.env", said)
        self.assertIn("twice.ini", said)
        self.c("MP.ENV", "e1")
        self.assertIsNone(self.c("GET", "twice/A"))

    def test_a_region_is_a_layer_of_its_own(self):
        path = self.file("east/layered.yaml", "a: 1\n")
        for words in (("--env", "production"), ()):
            self.cli("import", path, "--region", "eu", *words)
            self.assertIn("0 added, 0 changed, 0 removed, 1 the same",
                          self.cli("diff", path, "--region", "eu", *words))
            self.assertIn("1 added", self.cli("diff", path, *words))
            self.cli("del", "layered/a", "--region", "eu", *words)
        inside = self.file("production~eu/layered.yaml", "a: 2\n")
        for words in ((inside.parent.parent, "--region", "us"), (inside, "--env", "production~eu", "--region", "us")):
            self.assertIn("leave --region out", self.cli("import", *words, code=2))
        self.assertIsNone(self.c("GET", "layered/a"))

    def test_a_bar_is_drawn_on_a_terminal_only(self):
        path = self.file("bar.json", json.dumps({f"k{i}": i for i in range(5000)}))
        self.assertNotIn("[", self.cli("import", path))
        ours, theirs = pty.openpty()
        subprocess.run([BINARY, "import", str(path), "--resp", self.daemon.resp], stderr=theirs,
                       stdout=subprocess.DEVNULL, check=True, timeout=60)
        os.close(theirs)
        seen = os.read(ours, 65536)
        os.close(ours)
        self.assertIn(b"] 5000 of 5000 keys", seen)
        self.assertIn(b"\rcommitting [####", seen)

    def test_a_bar_keeps_to_one_line_of_a_narrow_terminal(self):
        for columns, last in ((60, f"committing [{27 * '#'}] 5000 of 5000 keys "), (45, "committing [#"),
                              (30, "100 %"), (6, "100 %")):
            path = self.file("narrow.json", json.dumps({f"k{i}": i + columns for i in range(5000)}))
            ours, theirs = pty.openpty()
            termios.tcsetwinsize(theirs, (24, columns))
            subprocess.run([BINARY, "import", str(path), "--resp", self.daemon.resp], stderr=theirs,
                           stdout=subprocess.DEVNULL, check=True, timeout=60)
            os.close(theirs)
            drawn = os.read(ours, 65536).decode().rstrip("\r\n").split("\r")
            os.close(ours)
            self.assertTrue(drawn[-1].startswith(last), drawn)
            self.assertLess(max(map(len, drawn)), columns)

    # ---- export

    def test_every_format_that_has_types_goes_in_and_out_the_same(self):
        for ending, text in FILES.items():
            self.cli("import", self.file(f"io{ending}.{ending}", text))
            for other in FILES:
                out = self.folder / f"io{ending}.{other}"
                self.cli("export", f"io{ending}", "--out", out)
                self.cli("import", out, "--namespace", "back")
                self.assertIn("0 added, 0 changed, 0 removed, 5 the same",
                              self.cli("diff", out, "--namespace", f"io{ending}"))
        data = tomllib.loads(self.cli("export", "iojson", "--format", "toml"))
        self.assertEqual(data, json.loads(FILES["json"]))
        said = self.cli("export", "iojson/", "--format", "properties")
        self.assertIn("db.ports[1]=2.5\n", said)
        self.assertIn("4 values are no text; properties has no types", said)

    def test_a_date_of_toml_is_a_date_again(self):
        path = self.file("dated.toml", "at = 1979-05-27T07:32:00Z\n")
        self.cli("import", path)
        self.assertEqual(self.cli("export", "dated", "--format", "toml"), path.read_text())
        self.assertEqual(self.cli("export", "dated"), '{\n  "at": "1979-05-27T07:32:00Z"\n}\n')

    def test_an_export_replaces_the_file_whole_or_not_at_all(self):
        out = self.file("kept.env", "OLD=1\n")
        out.chmod(0o640)
        self.c("MSET", "kept/a-b", "1", "kept/[x", "2")
        said = self.cli("export", "kept", "--out", out, code=1)
        self.assertIn("'[x' cannot be a name in a .env file", said)
        self.assertEqual(out.read_text(), "OLD=1\n")
        self.c("DEL", "kept/[x")
        self.cli("export", "kept", "--out", out)
        self.assertEqual(out.read_text(), 'a-b="1"\n')
        self.assertEqual(out.stat().st_mode & 0o777, 0o640)
        self.assertEqual([p.name for p in self.folder.iterdir()], ["kept.env"])

    def test_a_value_that_became_a_map_is_told_with_both_keys_and_every_way_out_works(self):
        path = self.file("grown.yaml", "a: 1\nc: 3\n")
        self.cli("import", path)
        path.write_text("a:\n  b: 2\nc: 3\n")
        self.cli("import", path)
        for form in ("json", "yaml", "toml"):
            said = self.cli("export", "grown", "--format", form, code=1)
            self.assertIn(f"grown as {form}: 'a' is a value and 'a.b' stands below it", said)
            self.assertIn("delete one (import --prune deletes what is in no file), or take properties or env", said)
        self.assertIn("a=1\na.b=2\nc=3\n", self.cli("export", "grown", "--format", "properties"))
        self.assertIn("a.b=", self.cli("export", "grown", "--format", "env"))
        self.cli("import", path, "--prune")
        self.assertEqual(json.loads(self.cli("export", "grown")), {"a": {"b": 2}, "c": 3})
        self.c("SET", "grown/a", "1")
        self.c("DEL", "grown/a.b")
        self.assertEqual(json.loads(self.cli("export", "grown")), {"a": "1", "c": 3})

    def test_several_namespaces_need_a_folder(self):
        self.c("MP.ENV", "many")
        self.c("MSET", "one/a", "1", "two/b", "2", "c", "3")
        self.assertIn("name one", self.cli("export", "--env", "many", code=2))
        told = json.loads(self.cli("export", "--env", "many", "-o", f"{self.folder}/", "-f", "yaml", "--json"))
        self.assertEqual([(pathlib.Path(t["file"]).name, t["keys"]) for t in told],
                         [("default.yaml", 1), ("one.yaml", 1), ("two.yaml", 1)])
        self.assertEqual((self.folder / "two.yaml").read_text(), 'b: "2"\n')
        self.assertIn("no key that begins with 'nothing/'", self.cli("export", "nothing", code=3))
        self.assertIn("did you mean 'toml'", self.cli("export", "one", "--format", "tmol", code=2))
        new = self.folder / "new"
        self.cli("export", "nothing", "-o", f"{new}/", code=3)
        self.assertFalse(new.exists())
        self.cli("export", "--env", "many", "-o", f"{new}/")
        self.assertEqual(sorted(p.name for p in new.iterdir()), ["default.json", "one.json", "two.json"])
        self.c("SET", "p/a", "1")
        self.c("SET", "p/a.b", "2")  # which no JSON can be
        said = self.cli("export", "--env", "many", "-o", f"{new}/", code=1)
        self.assertIn("p as json: ", said)
        self.assertIn("neither it nor what comes behind it was written", said)
        self.assertIn("cannot make the folder",
                      self.cli("export", "--env", "many", "-o", f"{new}/one.json/in/", code=1))

    # ---- standard input

    def test_standard_input_is_read_where_a_file_would_be(self):
        self.cli("import", "-", "-f", "yaml", "-n", "piped", text="a: {b: 1}\nc: two\n")
        self.assertEqual(self.c("MGET", "piped/a.b", "piped/c"), [b"1", b"two"])
        self.cli("import", "-", "--format", "env", text="PIPED=1\n")
        self.assertEqual(self.c("GET", "default/PIPED"), b"1")
        self.assertIn('~ piped/c: "two" -> "x"',
                      self.cli("diff", "-", "-f", "json", "-n", "piped", text='{"a": {"b": 1}, "c": "x"}'))
        self.assertIn("1 key in 1 file: good", self.cli("validate", "-", "-f", "toml", text="a = 1\n"))
        self.assertIn("standard input:2:1:", self.cli("validate", "-", "-f", "json", text='{"a":\n}', code=1))
        for verb in ("import", "validate", "diff"):
            self.assertIn("Give --format", self.cli(verb, "-", text="a: 1\n", code=2))
            self.assertIn("only once", self.cli(verb, "-", "-", "-f", "yaml", text="a: 1\n", code=2))
        self.cli("set", "piped/raw", "-", text="line\n")
        self.assertEqual(self.c("GET", "piped/raw"), b"line\n")

    def test_a_pipe_is_read_like_a_file(self):
        pipe = self.folder / "pipe.yaml"
        os.mkfifo(pipe)
        writer = threading.Thread(target=pipe.write_text, args=(f"a: 1\nb: {'x' * 200000}\n",))
        writer.start()
        self.cli("import", pipe)
        writer.join()
        self.assertEqual(self.c("STRLEN", "pipe/b"), 200000)

    def test_a_schema_is_set_from_standard_input(self):
        self.cli("schema", "set", "piped.schema", "-", text='{"type": "object"}')
        self.assertEqual(self.cli("schema", "get", "piped.schema"), '{"type": "object"}')
        self.assertIn("cannot read /nowhere", self.cli("schema", "set", "piped.schema", "/nowhere", code=1))

    # ---- diff

    def test_environments_revisions_and_files_are_compared(self):
        self.c("MP.PUT", "diff/a", "text/plain", "1", "diff/b", "text/plain", "2")
        before = self.c("MP.REV")
        self.c("MP.PUT", "diff/b", "text/plain", "3", "diff/c", "text/plain", "4")
        self.c("DEL", "diff/a")
        want = ['- diff/a: "1"', '~ diff/b: "2" -> "3"', '+ diff/c: "4"',
                "1 added, 1 changed, 1 removed, 0 the same"]
        self.assertEqual(self.cli("diff", "diff/", "--revision", before).splitlines(), want)
        self.cli("diff", "diff/", "--revision", before, "--exit-code", code=1)
        self.cli("diff", "diff/", "--revision", before, "--to-revision", before, "--exit-code")
        self.c("MP.ENV", "other")
        self.c("MP.PUT", "diff/b", "text/plain", "3")
        self.assertEqual(self.cli("diff", "diff/", "--to-env", "other").splitlines(),
                         ['- diff/c: "4"', "0 added, 0 changed, 1 removed, 1 the same"])
        told = json.loads(self.cli("diff", "diff/", "--env", "other", "--to-env", "production", "--json"))
        self.assertEqual(told["changes"], [{"change": "add", "key": "diff/c", "to": "4",
                                            "media_type": "text/plain"}])
        self.assertEqual(self.cli("diff", "diff/", "--revision", before, "--to-revision", before),
                         "0 added, 0 changed, 0 removed, 2 the same\n")
        self.assertIn("that revision is not there yet", self.cli("diff", "--revision", 10**9, code=1))
        path = self.file("diff.yaml", "b: '3'\n")
        self.assertIn('- diff/c: "4"', self.cli("diff", path))
        self.assertIn("compare with what", self.cli("diff", code=2))
        self.assertIn("environments are compared by [PREFIX] --to-env NAME", self.cli("diff", "production", "staging", code=1))
        self.assertIn("no revision", self.cli("diff", "--revision", "x", code=2))

    def test_a_comparison_with_nothing_says_so(self):
        self.c("MP.PUT", "sides/a", "text/plain", "1")
        self.c("MP.ENV", "sideways")
        self.c("MP.PUT", "elsewhere/b", "text/plain", "2")
        said = self.cli("diff", "sides/", "--to-env", "sideways")
        self.assertIn("note: sideways has no key that begins with 'sides/'\n", said)
        self.assertIn("0 added, 0 changed, 1 removed", said)
        self.assertNotIn("no environment", said)
        said = self.cli("diff", "sides/", "--to-env", "sidewasy")
        self.assertIn("there is no environment 'sidewasy' yet; did you mean 'sideways'?", said)
        self.assertIn("neither production nor sideways has a key that begins with 'nosides/'",
                      self.cli("diff", "nosides/", "--to-env", "sideways", code=3))
        said = self.cli("diff", "--env", "sidewasy", "--to-env", "production-at-large", code=3)
        self.assertIn("neither sidewasy nor production-at-large has a key\n", said)
        self.assertEqual(said.count("there is no environment"), 2)
        told = json.loads(self.cli("diff", "nosides/", "--to-env", "sideways", "--json", code=3))
        self.assertEqual(told["changes"], [])
        said = self.cli("diff", "nosides/", "--revision", 1, "--to-revision", 1, code=3)
        self.assertIn("neither production at revision 1 nor production at revision 1", said)

    def test_who_asks_for_a_part_of_a_file_is_told_of_the_keys_below_it(self):
        self.c("MP.PUT", "part/db.host", "text/plain", "h", "part/list[0]", "text/plain", "x",
               "part/dbx", "text/plain", "y", "partial", "text/plain", "z")
        for part in ("part/db", "part/list", "part"):
            self.assertIn(f"note: there are keys below it; see marketprism ls {part}\n",
                          self.cli("get", part, code=3))
        for none in ("part/d", "parti", "part/db.host.x"):
            self.assertNotIn("note:", self.cli("get", none, code=3))
        self.assertIn("marketprism ls part/db\n", self.cli("get", "db", "-n", "part", code=3))
        self.assertEqual(json.loads(self.cli("get", "part/db", "--json", code=3))["state"], "absent")

    def test_a_misspelt_environment_is_noted_and_no_error(self):
        self.c("MP.PUT", "note/a", "text/plain", "1")
        near = "note: there is no environment 'prodcution' yet; did you mean 'production'?"
        for words, code in ((("get", "note/a"), 3), (("ls",), 0), (("ls", "note/"), 3),
                            (("history", "note/a"), 3), (("export", "note/"), 3),
                            (("exec", "--print", "--prefix", "note/"), 3)):
            self.assertIn(near, self.cli(*words, "--env", "prodcution", code=code), words)
        self.assertEqual(json.loads(self.cli("ls", "--json", "--env", "prodcution")), [])
        self.assertIn("note: the environment 'development' has no keys yet",
                      self.cli("get", "note/a", "--env", "development", code=3))
        self.assertRegex(self.cli("get", "note/a", "--env", "xxxxxxxxxxxx", code=3),
                         "no environment 'xxxxxxxxxxxx' yet; there are .*production")
        self.assertEqual(self.cli("set", "note/a", "1", "--env", "development"), "")
        said = self.cli("set", "note/a", "1", "--env", "developmnet")
        self.assertIn("'developmnet' yet: its first key makes it; did you mean 'development'?", said)
        self.assertEqual(self.cli("set", "note/a", "2", "--env", "developmnet"), "")
        self.assertEqual(self.cli("get", "note/b", "--env", "developmnet", code=3).count("note:"), 0)
        tree = self.file("staginn/app.yaml", "a: 1\n").parent.parent
        self.assertIn("'staginn' yet: its first key makes it; did you mean 'staging'?",
                      self.cli("import", tree))
        watch = subprocess.Popen([BINARY, "watch", "--env", "prodcution", "--resp", self.daemon.resp],
                                 stderr=subprocess.PIPE, text=True)
        self.assertIn(near, watch.stderr.readline())
        watch.terminate()
        watch.communicate()

    # ---- edit

    def edit(self, script, *words, answers="", code=0):
        editor = self.file("editor.sh", script)
        return self.cli("edit", *words, code=code, text=answers, VISUAL=f"sh {editor}",
                        TMPDIR=str(self.folder))

    def left_over(self):
        return list(self.folder.glob("marketprism-edit-*"))

    def test_a_value_is_edited_and_keeps_its_type_and_its_end(self):
        self.c("MP.PUT", "edit/v", "text/x-thing", "one", "edit/vv", "text/plain", "other")
        said = self.edit('sed -i s/one/two/ "$1"', "edit/v", answers="y\n")
        self.assertIn('~ edit/v: "one" (text/x-thing) -> "two" (text/x-thing)', said)
        meta = self.c.meta("edit/v")
        self.assertEqual((meta["value"], meta["media_type"]), (b"two", b"text/x-thing"))
        self.assertEqual(self.c("GET", "edit/vv"), b"other")
        self.assertEqual(self.left_over(), [])
        self.assertIn("nothing was changed", self.edit("true", "edit/v"))
        self.assertEqual(self.edit("true", "edit/typo", "--yes").strip(), "nothing was changed")
        self.assertIsNone(self.c("GET", "edit/typo"))  # to look at what is not there does not make it
        self.edit('echo fresh >"$1"', "edit/new", "--yes")
        self.assertEqual(self.c("GET", "edit/new"), b"fresh")

    def test_what_is_edited_ends_when_it_would_have(self):
        self.c("SET", "ending/a", "one", "PX", "7000000")
        self.c("SET", "ending/b", "two", "PX", "9000000")
        ends = [self.c("PEXPIRETIME", key) for key in ("ending/a", "ending/b")]
        self.edit('sed -i s/one/1st/ "$1"', "ending/a", "--yes")
        self.edit('sed -i s/two/2nd/ "$1"', "ending/", "--yes")
        self.assertEqual(self.c("MGET", "ending/a", "ending/b"), [b"1st", b"2nd"])
        self.assertEqual([self.c("PEXPIRETIME", key) for key in ("ending/a", "ending/b")], ends)

    def older_daemon(self):
        """The address of one that is as this one, but does not know MP.STAGE EDIT."""
        listening = socket.create_server(("127.0.0.1", 0))
        host, port = self.daemon.resp.rsplit(":", 1)

        def pump(source, to, back):
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    if back and b"\r\nEDIT\r\n" in data:
                        back.sendall(b"-ERR syntax error\r\n")
                    else:
                        to.sendall(data)
                to.shutdown(socket.SHUT_WR)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    client = listening.accept()[0]
                    inner = socket.create_connection((host, int(port)))
                    threading.Thread(target=pump, args=(client, inner, client), daemon=True).start()
                    threading.Thread(target=pump, args=(inner, client, None), daemon=True).start()

        self.addCleanup(listening.close)
        threading.Thread(target=serve, daemon=True).start()
        return "127.0.0.1:%d" % listening.getsockname()[1]

    def test_what_stays_is_edited_on_an_older_daemon_too_and_what_ends_is_not_made_to_stay(self):
        older, editor = self.older_daemon(), self.file("editor.sh", 'echo two >"$1"')
        self.c("SET", "older/stays", "one")
        self.c("SET", "older/ends", "one", "PX", "7000000")
        for name, code in (("stays", 0), ("ends", 1), ("new", 0)):
            self.cli("edit", "older/" + name, "--yes", code=code, MARKETPRISM_ADDR=older,
                     VISUAL=f"sh {editor}", TMPDIR=str(self.folder))
        self.assertEqual(self.c("MGET", "older/stays", "older/ends", "older/new"), [b"two", b"one", b"two"])
        self.assertEqual(len(self.left_over()), 1)

    def test_many_keys_are_edited_at_once(self):
        self.c("MP.PUT", "manyedit/a", "application/json", "1", "manyedit/b", "text/plain", "x",
               "manyedit/c", "application/toml", "07:32:00")
        self.edit('sed -i -e "s/a: 1/a: 2/" -e /^b:/d "$1"; echo "d: [7]" >>"$1"', "manyedit/", "--yes")
        self.assertEqual(self.c("MGET", "manyedit/a", "manyedit/b", "manyedit/c", "manyedit/d[0]"),
                         [b"2", None, b"07:32:00", b"7"])
        self.assertEqual(self.c.meta("manyedit/c")["media_type"], b"application/toml")

    def test_what_a_schema_refuses_is_told_before_anybody_is_asked_and_can_be_mended(self):
        self.cli("schema", "set", "judged", "-", text='{"properties": {"port": {"type": "integer", "maximum": 99}}}')
        self.c("MP.PUT", "judged/port", "application/json", "80")
        worse_then_good = 'if grep -q 80 "$1"; then echo 100 >"$1"; else echo 81 >"$1"; fi'
        said = self.edit(worse_then_good, "judged/port", answers="n\n", code=1)
        self.assertIn("at most 99", said)
        self.assertNotIn("write this?", said)
        self.assertEqual(len(self.left_over()), 1)
        self.edit(worse_then_good, "judged/port", answers="y\ny\n")
        self.assertEqual(self.c("GET", "judged/port"), b"81")

    def test_a_mistake_can_be_mended_and_nothing_typed_is_lost(self):
        self.c("MP.PUT", "bad/a", "application/json", "1")
        # The first time a mistake, the second time not.
        said = self.edit('if grep -q broken "$1"; then echo "a: 2" >"$1"; else echo "a: [broken" >"$1"; fi',
                         "bad/", answers="y\ny\n")
        self.assertRegex(said, r"marketprism-edit-\w+\.yaml:2:1:")
        self.assertEqual(self.c("GET", "bad/a"), b"2")
        said = self.edit('echo "a: [typed" >"$1"', "bad/", code=1)
        self.assertIn("what you typed is in", said)
        self.assertEqual([p.read_text() for p in self.left_over()], ["a: [typed\n"])

    def test_a_concurrent_change_is_refused_and_the_text_stays(self):
        self.c("MP.PUT", "race/a", "application/json", "1", "race/b", "application/json", "1")
        other = f"{BINARY} set --resp {self.daemon.resp} race/b 9"
        said = self.edit(f'{other}; printf "a: 2\\nb: 2\\n" >"$1"', "race/", answers="y\n", code=1)
        self.assertIn("'race/b' has another revision; nothing was changed", said)
        self.assertEqual(self.c("MGET", "race/a", "race/b"), [b"1", b"9"])
        self.assertEqual([p.read_text() for p in self.left_over()], ["a: 2\nb: 2\n"])

    def test_a_no_and_a_failing_editor_change_nothing(self):
        self.c("MP.PUT", "no/a", "text/plain", "1")
        self.edit('echo 2 >"$1"', "no/a", answers="n\n", code=1)
        kept = self.left_over()
        self.assertEqual([p.read_text() for p in kept], ["2\n"])
        said = self.edit("exit 3", "no/a", code=1)
        self.assertIn("the editor", said)
        self.assertNotIn("what you typed", said)  # nothing was
        self.assertEqual(self.left_over(), kept)
        self.assertEqual(self.c("GET", "no/a"), b"1")
        self.assertIn("no key that begins", self.edit("true", "nosuch/", code=3))
        self.assertIn("no key that begins", self.edit("true", "", code=3))

    # ---- validate

    def test_files_are_checked_without_a_daemon(self):
        good = self.file("v/good.toml", 'port = 80\nname = "x"\n[db]\nport = 1\n')
        bad = self.file("v/bad.ini", "a = 1\nb\n")
        schema = self.file("schema.yaml", "type: object\nrequired: [name, zone]\nproperties:\n"
                                          "  db: {properties: {port: {minimum: 1024}}}\n")
        self.assertIn("3 keys in 1 file: good", self.cli("validate", good, MARKETPRISM_ADDR=""))
        said = self.cli("validate", good.parent, "--schema", schema, code=1)
        self.assertIn(f"{bad}:2:2: '=' after the name", said)
        self.assertIn(f"{good}:4:8: /db/port: 1 is too small", said)
        self.assertIn("'zone' is missing", said)
        told = json.loads(self.cli("validate", good, "--schema", schema, "--json", code=1).split("\n")[0])
        self.assertEqual({(v["line"], v["path"], v["keyword"]) for v in told["violations"]},
                         {(1, "", "required"), (4, "/db/port", "minimum")})
        told = json.loads(self.cli("validate", good.parent, self.folder / "no.yaml", "--json", code=1).split("\n")[0])
        self.assertEqual([(e["file"], e["line"], e["column"]) for e in told["errors"]],
                         [(str(bad), 2, 2), (str(self.folder / "no.yaml"), 0, 0)])
        self.assertEqual((told["files"], told["failed"]), (1, 2))
        self.assertIn("nofile: cannot be read: No such file", self.cli("validate", "nofile", code=1))
        both = self.cli("validate", f"{good.parent}/", self.file("w/worse.ini", "c\n").parent, code=1)
        self.assertIn(f"{bad}:2:2:", both)  # one slash, in order
        self.assertLess(both.index("bad.ini"), both.index("worse.ini"))
        self.assertIn("cannot read the schema", self.cli("validate", good, "-s", "/nowhere.json", code=1))

    def test_a_folder_without_a_configuration_file_is_an_error_that_names_it(self):
        self.file("wrong/read.me", "no configuration\n")
        (self.folder / "wrong/production").mkdir()
        good = self.file("right/one.yaml", "a: 1\n").parent
        for words in (("import",), ("import", "--dry-run"), ("import", "--prune"), ("validate",), ("diff",)):
            with self.subTest(words):
                said = self.cli(*words, good, self.folder / "wrong", code=1)
                self.assertIn(f"{self.folder}/wrong: no file in it ends as one of a format does: json, ", said)
        self.assertIn("1 key of 1 file", self.cli("import", good))

    # ---- one revision

    def test_an_export_over_several_pages_shows_one_moment(self):
        """What is written in one go is seen whole or not at all, however far apart it stands."""
        names = [f"flip/k{i:04}" for i in range(2500)]
        for i in range(0, len(names), 250):
            self.c("MSET", *(word for name in names[i:i + 250] for word in (name, "0")))
        ends, stop = (names[0], names[-1]), threading.Event()

        def flip():
            writer = self.daemon.client()
            n = 0
            while not stop.is_set():
                n += 1
                writer("MSET", ends[0], str(n), ends[1], str(n))
            writer.close()

        thread = threading.Thread(target=flip)
        thread.start()
        try:
            http = Http(self.daemon.http)
            seen = set()
            for _ in range(6):
                files = [http.get("/v1/export/flip", Accept="application/json").json,
                         json.loads(self.cli("export", "flip"))]
                listed = json.loads(self.cli("ls", "flip/", "--values", "--json"))
                files.append({item["key"].split("/")[1]: item["value"] for item in listed})
                for file in files:
                    self.assertEqual(len(file), 2500)
                    self.assertEqual(file["k0000"], file["k2499"])
                    seen.add(file["k0000"])
            http.close()
        finally:
            stop.set()
            thread.join()
        self.assertGreater(len(seen), 1, "nothing was written meanwhile: the test saw nothing")

    # ---- MP.STAGE

    def test_what_is_staged_is_invisible_until_it_is_committed(self):
        c = self.c
        self.assertEqual(c("MP.STAGE", "PUT", "st/a", "text/plain", "1", "st/b", "", "2"), 2)
        self.assertEqual(c("MP.STAGE", "CAS", "st/c", "0", "text/plain", "3"), 3)
        self.assertIsNone(c("GET", "st/a"))
        changed, revision = c("MP.STAGE", "COMMIT")
        self.assertEqual((changed, c("MGET", "st/a", "st/b", "st/c")), (3, [b"1", b"2", b"3"]))
        self.assertEqual(c("MP.REV"), revision)
        with self.assertRaisesRegex(ReplyError, "nothing is staged"):
            c("MP.STAGE", "COMMIT")
        c("MP.STAGE", "PUT", "st/a", "text/plain", "9")
        self.assertEqual(c("MP.STAGE", "DISCARD"), "OK")
        with self.assertRaisesRegex(ReplyError, "nothing is staged"):
            c("MP.STAGE", "COMMIT")
        c("MP.STAGE", "PUT", "st/a", "text/plain", "9")
        c("RESET")
        with self.assertRaisesRegex(ReplyError, "nothing is staged"):
            c("MP.STAGE", "COMMIT")
        self.assertEqual(c("GET", "st/a"), b"1")

    def test_a_condition_that_does_not_hold_refuses_all_and_names_the_key(self):
        c = self.c
        c("MSET", "cond/a", "1", "cond/b", "2")
        old = c("MP.REV", "cond/b")
        c("SET", "cond/b", "3")
        for words in (("CAS", "cond/b", old, "", "4"), ("DEL", "cond/b", old), ("CAS", "cond/b", "0", "", "4")):
            c("MP.STAGE", "PUT", "cond/a", "", "9")
            c("MP.STAGE", *words)
            with self.assertRaisesRegex(ReplyError, "^CONFLICT 'cond/b' has another revision"):
                c("MP.STAGE", "COMMIT")
        self.assertEqual(c("MGET", "cond/a", "cond/b"), [b"1", b"3"])
        c("MP.STAGE", "DEL", "cond/b", c("MP.REV", "cond/b"))
        c("MP.STAGE", "COMMIT")
        self.assertIsNone(c("GET", "cond/b"))

    def test_a_mistake_in_staging_forgets_all_of_it(self):
        c = self.c
        for words in (("PUT", "x/a", "text/plain"), ("PUT",), ("MAKE", "x/a", "b"), ("CAS", "x/a", "no", "", ""),
                      ("PUT", "/x", "", ""), ("PUT", "x/a", "a b", "")):
            with self.assertRaises(ReplyError):
                c("MP.STAGE", *words)
        c("MP.STAGE", "PUT", "x/a", "", "1")
        with self.assertRaisesRegex(ReplyError, "not an integer"):
            c("MP.STAGE", "CAS", "x/b", "-1", "", "1")
        with self.assertRaisesRegex(ReplyError, "nothing is staged"):
            c("MP.STAGE", "COMMIT")

    def test_staged_bytes_have_a_limit_that_a_closed_connection_gives_back(self):
        value = b"x" * (2 << 20)
        other = self.daemon.client()
        with self.assertRaisesRegex(ReplyError, "^OOM more than 256 MiB"):
            for i in range(130):
                other("MP.STAGE", "PUT", f"full/{i}", "", value)
        for i in range(100):
            other("MP.STAGE", "PUT", f"full/{i}", "", value)
        other.close()
        fresh = self.daemon.client()
        self.addCleanup(fresh.close)
        end = time.monotonic() + 10
        while True:
            try:
                for i in range(40):
                    fresh("MP.STAGE", "PUT", f"full/{i}", "", value)
                break
            except ReplyError:
                self.assertLess(time.monotonic(), end)
        fresh("MP.STAGE", "DISCARD")


if __name__ == "__main__":
    mp_tap.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Values that say that they are JSON and are none, which stores of before may hold: whoever meets one
gets its bytes or is told what is wrong with it, and can mend it."""

import json
import os
import pathlib
import subprocess

import mp_tap
from mp_daemon import BINARY, Daemon, Served
from mp_http import Http

CONFIG = "/v1/config/"
JSON = "application/json"
BAD = {"bad": b"{not json", "bytes": b"\xff\xfe\x1b{", "empty": b"", "word": b"abc"}
SAID = "not the JSON that its media type says: line 1, column "


class Claims(Served):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon()
        cls.addClassCleanup(cls.daemon.close)
        cls.daemon.start()
        cls.daemon.stop()
        for key, value in BAD.items():
            cls.put_unchecked("docs/" + key, value)
            cls.put_unchecked("alone/" + key, value)
        cls.put_unchecked("lines/good", b'{\n"a": 1\r\n}')
        cls.put_unchecked("app/doc", b"{worse")
        cls.put_unchecked("app/doc", b"{}")
        cls.daemon.start()
        cls.http = Http(cls.daemon.http)
        cls.addClassCleanup(cls.http.close)

    @classmethod
    def put_unchecked(cls, key, value):
        subprocess.run([os.environ["PUT_UNCHECKED"], str(cls.daemon.data / "origin.db"), "production/" + key, JSON],
                       input=value, check=True)

    def json_of(self, *words):
        done = self.daemon.cli(*words, "--json")
        self.assertEqual(done.returncode, 0, done)
        return json.loads(done.stdout)

    def revisions(self):
        return [r["revision"] for r in self.http.get("/v1/history/app/doc").json["revisions"]]

    # ---- HTTP ----

    def test_a_read_gives_the_bytes_with_the_type_they_were_put_with(self):
        for key, value in BAD.items():
            got = self.http.get(CONFIG + "docs/" + key)
            self.assertEqual((got.status, got.body, got["Content-Type"]), (200, value, JSON))

    def test_lists_batches_and_history_are_json_themselves(self):
        keys = {key["key"]: key for key in self.http.get(CONFIG + "docs").json["keys"]}
        batch = self.http("POST", "/v1/batch-get", {"keys": ["docs/" + key for key in BAD]}).json["values"]
        history = [self.http.get(f"/v1/history/docs/{key}?values").json["revisions"][0] for key in BAD]
        for key, one, past in zip(BAD, batch, history):
            for item in (keys[key], one, past):
                self.assertEqual(item["media_type"], JSON)
                self.assertEqual(item.get("value"), None if key == "bytes" else BAD[key].decode(), item)
                self.assertEqual("value_base64" in item, key == "bytes")

    def test_a_patch_says_where_the_value_is_no_json_and_what_to_do(self):
        for type, patch in (("application/merge-patch+json", '{"a": 1}'),
                            ("application/json-patch+json", '[{"op": "add", "path": "/a", "value": 1}]'),
                            ("application/json-patch+json", '[{"op": "replace", "path": "", "value": 1}]')):
            for key in BAD:
                for query in ("", "?dry_run"):
                    answer = self.http("PATCH", CONFIG + "docs/" + key + query, patch, type)
                    self.assertEqual((answer.status, answer.json["type"]), (409, "/problems/patch-conflict"))
                    self.assertIn("the present value is no JSON", answer.json["detail"])
                    self.assertIn("PUT the whole value", answer.json["remedy"])
                    self.assertEqual(answer.json["line"], 1)
                    self.assertEqual(self.http.get(CONFIG + "docs/" + key).body, BAD[key])

    def test_an_export_names_the_key_and_what_is_wrong(self):
        for accept in (JSON, "application/yaml", "application/toml"):
            answer = self.http.get("/v1/export/docs?prefix=bad", Accept=accept)
            self.assertEqual((answer.status, answer.json["type"]), (422, "/problems/export"), answer)
            self.assertIn("the value of 'bad' is not what its media type says", answer.json["detail"])
        for format in ("json", "yaml", "toml"):
            done = self.daemon.cli("export", "docs/bad", "--format", format)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done)
            self.assertIn("the value of 'bad' is not what its media type says", done.stderr)

    def test_a_rollback_brings_it_back_and_a_write_mends_it(self):
        first = self.revisions()[-1]
        for then in (lambda: self.http("POST", f"/v1/rollback/app/doc?to={first}"),
                     lambda: self.http("POST", "/v1/txn", {"ops": [{"op": "rollback", "key": "app/doc", "to": first}]})):
            self.assertEqual(then().status, 200)
            got = self.http.get(CONFIG + "app/doc")
            self.assertEqual((got.body, got["Content-Type"]), (b"{worse", JSON))
            again = self.http.put(CONFIG + "app/doc", "{worse", JSON)
            self.assertEqual((again.status, again.json["errors"][0]["keyword"]), (422, "json"))
            self.assertEqual(self.http.put(CONFIG + "app/doc", "{}", JSON).status, 200)
        self.assertEqual(self.daemon.cli("rollback", "app/doc", str(first)).returncode, 0)
        self.assertEqual(self.daemon.cli("get", "app/doc").stdout, "{worse\n")
        self.assertEqual(self.http.put(CONFIG + "app/doc", "{}", JSON).status, 200)

    def test_a_diff_over_http_shows_both_sides(self):
        old, new = self.revisions()[-1], self.revisions()[-2]
        answer = self.http.get(f"/v1/diff/app/doc?from={old}&to={new}")
        self.assertEqual((answer.status, answer.json["from"]["value"], answer.json["to"]["value"]), (200, "{worse", "{}"))

    # ---- the command line ----

    def test_get_as_json_tells_text_from_a_value_that_lies(self):
        for key in ("bad", "empty", "word"):
            got = self.json_of("get", "docs/" + key)
            self.assertEqual(got["value"], BAD[key].decode())
            self.assertTrue(got["value_trouble"].startswith(SAID), got)
        self.daemon.cli("set", "docs/text", '"abc"', "--type", JSON, check=True)
        self.assertEqual(self.json_of("get", "docs/text")["value"], "abc")
        self.assertNotIn("value_trouble", self.json_of("get", "docs/text"))
        self.daemon.cli("del", "docs/text", check=True)

    def test_no_byte_is_lost_in_json(self):
        got = self.json_of("get", "docs/bytes")
        self.assertEqual(got["value_base64"], "//4bew==")
        self.assertNotIn("value", got)
        listed = {key["key"]: key for key in self.json_of("ls", "docs/", "--values")}
        self.assertEqual(listed["docs/bytes"]["value_base64"], "//4bew==")
        self.assertTrue(listed["docs/bad"]["value_trouble"].startswith(SAID))

    def test_a_value_of_many_lines_is_one_line_of_json(self):
        done = self.daemon.cli("get", "lines/good", "--json")
        self.assertEqual((done.stdout.count("\n"), json.loads(done.stdout)["value"]), (1, {"a": 1}))

    def test_a_diff_does_not_pass_it_for_json(self):
        old, new = self.revisions()[-1], self.revisions()[-2]
        words = ("diff", "app/doc", "--revision", str(old), "--to-revision", str(new))
        self.assertIn('~ app/doc: "{worse" (application/json, but no JSON) -> {}\n', self.daemon.cli(*words).stdout)
        change = self.json_of(*words)["changes"][0]
        self.assertEqual((change["from"], change["to"]), ("{worse", {}))
        self.assertTrue(change["from_trouble"].startswith(SAID))
        self.assertNotIn("to_trouble", change)

    def edit(self, script, *words, answers=""):
        path = pathlib.Path(self.daemon.folder, "editor")
        path.write_text("#!/bin/sh\n" + script + "\n")
        path.chmod(0o755)
        return subprocess.run([BINARY, "edit", *words, "--resp", self.daemon.resp], input=answers, text=True,
                              capture_output=True, timeout=60, env=dict(os.environ, VISUAL=str(path), TMPDIR=self.daemon.folder))

    def test_edit_mends_it(self):
        done = self.edit("true", "alone/bad")
        self.assertEqual((done.returncode, done.stdout), (0, "nothing was changed\n"), done)
        worse = self.edit('echo "{still" > "$1"', "alone/bad", answers="n\n")
        self.assertEqual(worse.returncode, 1, worse)
        self.assertRegex(worse.stderr, r":1:2: .*is expected here")
        (kept,) = pathlib.Path(self.daemon.folder).glob("marketprism-edit-*")  # what was typed stays
        self.assertIn(str(kept), worse.stderr)
        self.assertEqual(self.daemon.cli("get", "alone/bad").stdout, "{not json\n")
        several = self.edit("true", "alone/")
        self.assertEqual(several.returncode, 1, several)
        self.assertRegex(several.stderr, "is not what its media type says.*one key alone")
        good = self.edit('echo \'{"a": 1}\' > "$1"', "alone/bad", "--yes")
        self.assertEqual(good.returncode, 0, good)
        self.assertIn('"{not json" (application/json, but no JSON) -> {"a": 1}', good.stdout)
        self.assertEqual(self.json_of("get", "alone/bad")["value"], {"a": 1})

    def test_a_template_gets_the_bytes_and_its_json_is_json(self):
        path = pathlib.Path(self.daemon.folder, "template")
        path.write_text("{{docs/bad}}|{{docs/bad | json}}|{{docs/bytes | base64 | json}}\n")
        done = self.daemon.cli("render", str(path))
        self.assertEqual((done.returncode, done.stdout), (0, '{not json|"{not json"|"//4bew=="\n'), done)
        path.write_text("ok\n{{docs/bytes | json}}\n")
        done = self.daemon.cli("render", str(path))
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assertIn("template:2:1: the value is no UTF-8", done.stderr)

    def test_a_document_is_told_which_key_of_it_is_none(self):
        schema = json.dumps({"properties": {"low": {"type": "integer"}}})
        self.daemon.cli("set", "_schema/alone", schema, "--type", "application/schema+json", check=True)
        self.addCleanup(self.daemon.cli, "del", "_schema/alone", check=True)
        done = self.daemon.cli("set", "alone/low", "1")
        self.assertEqual(done.returncode, 1, done)
        self.assertRegex(done.stderr, "the value of '(bad|bytes|empty|word)' is not what its media type says")


if __name__ == "__main__":
    mp_tap.main()

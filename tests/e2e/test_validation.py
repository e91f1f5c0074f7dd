#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Schemas over RESP, HTTP and the command line: what breaks one is refused, wherever it comes from."""

import http.client as http_client
import json
import os
import pathlib
import subprocess
import threading
import time
import unittest

import mp_tap
from mp_daemon import BINARY, Daemon, ReplyError, cpu_of_children, wait_until
from mp_http import Http

CONFIG = "/v1/config/"
LIMITS = {"type": "object", "required": ["low", "high"],
          "properties": {"low": {"type": "integer"},
                         "high": {"type": "integer", "maximum": 100}}}


class Validation(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon().start()
        self.addCleanup(self.daemon.close)
        self.resp = self.daemon.client()
        self.addCleanup(self.resp.close)
        self.http = Http(self.daemon.http)
        self.addCleanup(self.http.close)

    def limits(self):
        self.resp("MP.PUT", "_schema/limits", "application/schema+json", json.dumps(LIMITS))
        self.resp("MSET", "limits/low", "1", "limits/high", "9")

    def file(self, name, text):
        path = pathlib.Path(self.daemon.folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    def test_resp_refuses_by_path_and_text(self):
        self.limits()
        for words in (("SET", "limits/high", "101"), ("MSET", "limits/low", "2", "limits/high", "x"),
                      ("DEL", "limits/low"), ("MP.PUT", "limits/high", "text/plain", "50"),
                      ("MP.MASK", "limits/low"), ("SETEX", "limits/high", "9", "101")):
            with self.assertRaisesRegex(ReplyError, r"^INVALID limits(/\w+)?: ", msg=words):
                self.resp(*words)
        self.assertEqual(self.resp("MGET", "limits/low", "limits/high"), [b"1", b"9"])
        self.assertEqual(self.resp("SET", "limits/high", "100"), "OK")
        with self.assertRaisesRegex(ReplyError, "^INVALID _schema/limits: "):
            self.resp("SET", "_schema/limits", '{"type": 7}')

    def test_a_rollback_is_checked(self):
        self.resp("SET", "limits/high", "500")
        bad = self.resp("MP.REV", "limits/high")
        self.limits()
        with self.assertRaisesRegex(ReplyError, "^INVALID limits/high: "):
            self.resp("MP.ROLLBACK", "limits/high", bad)
        answer = self.http("POST", f"/v1/rollback/limits/high?to={bad}")
        self.assertEqual(answer.status, 422, answer)

    def test_http_tells_every_error_with_its_place(self):
        self.limits()
        answer = self.http.put(CONFIG + "limits/high", "101", "application/json")
        self.assertEqual(answer.status, 422, answer)
        self.assertEqual(answer["Content-Type"], "application/problem+json")
        error = answer.json["errors"][0]
        self.assertEqual((error["where"], error["instance"], error["keyword"]),
                         ("limits", "/high", "maximum"))
        self.assertTrue(error["text"])
        self.assertEqual(self.http("DELETE", CONFIG + "limits/low").status, 422)
        self.assertEqual(self.http.put(CONFIG + "limits/high", "10", "application/json").status,
                         200)

    def test_values_below_a_beginning_are_patched_within_their_schema(self):
        self.resp("MP.PUT", "_schema/app/orders/", "application/schema+json", json.dumps(LIMITS))
        good = self.http.put(CONFIG + "app/orders/1", {"low": 1, "high": 2})
        self.assertEqual(good.status, 201, good)
        bad = self.http("PATCH", CONFIG + "app/orders/1", json.dumps({"high": 101}),
                        "application/merge-patch+json")
        self.assertEqual((bad.status, bad.json["errors"][0]["where"]), (422, "app/orders/1"))

    def test_a_write_to_an_outer_layer_is_refused_for_those_who_would_see_it(self):
        def base(*words):
            return self.daemon.cli(*words, "--env", "base")
        self.resp("SET", "limits/low", "1")
        self.assertEqual(base("set", "limits/high", "9").returncode, 0)
        self.resp("MP.PUT", "_schema/limits", "application/schema+json", json.dumps(LIMITS))
        seen = "as seen in production: limits/high: "
        self.assertEqual(self.resp("MP.ENV", "base"), "OK")
        for words in (("SET", "limits/high", "101"), ("MSET", "limits/x", "2", "limits/high", "x"), ("SETEX", "limits/high", "9", "101")):
            with self.assertRaisesRegex(ReplyError, "^INVALID " + seen, msg=words):
                self.resp(*words)
        with self.assertRaisesRegex(ReplyError, "^INVALID as seen in production: limits: "):
            self.resp("DEL", "limits/high")
        with self.assertRaisesRegex(ReplyError, "^INVALID as seen in production: limits: "):
            self.resp("MP.MASK", "limits/high")
        ops = {"ops": [{"op": "put", "key": "limits/other", "json": 1}, {"op": "put", "key": "limits/high", "json": 101}]}
        answer = self.http("POST", "/v1/txn?env=base", ops)
        self.assertEqual((answer.status, answer.json["errors"][0]["scope"]), (422, "production"), answer)
        for query in ("?env=base", "?env=base&dry_run"):
            answer = self.http.put(CONFIG + "limits/high" + query, "101", "application/json")
            self.assertEqual(answer.status, 422, answer)
            error = answer.json["errors"][0]
            self.assertEqual((error["scope"], error["where"], error["keyword"]), ("production", "limits", "maximum"))
            self.assertTrue(answer.json["detail"].startswith(seen), answer)
        done = base("import", self.file("limits.json", '{"high": 500}'))
        self.assertEqual(done.returncode, 1, done)
        self.assertIn(seen, done.stderr)
        self.assertEqual(base("get", "limits/high").stdout.strip(), "9")
        self.assertEqual(base("set", "limits/high", "100").returncode, 0)

    def test_an_import_that_breaks_a_schema_changes_nothing(self):
        self.limits()
        done = self.daemon.cli("import", self.file("limits.json", '{"low": 5, "high": 500}'))
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("/high", done.stderr)
        self.assertEqual(self.resp("GET", "limits/low"), b"1")

    def test_a_dry_run_is_refused_as_the_write_would_be(self):
        self.resp("SET", "limits/high", "500")
        bad = self.resp("MP.REV", "limits/high")
        self.limits()
        merge = "application/merge-patch+json"
        self.resp("MP.PUT", "_schema/app/", "application/schema+json", json.dumps(LIMITS))
        self.http.put(CONFIG + "app/doc", {"low": 1, "high": 2})
        ops = {"ops": [{"op": "put", "key": "limits/low", "json": 1}, {"op": "put", "key": "limits/high", "json": 101}]}
        back = {"ops": [{"op": "rollback", "key": "limits/high", "to": bad}]}
        for method, path, body, type in (
                ("PUT", CONFIG + "limits/high?", "101", "application/json"),
                ("DELETE", CONFIG + "limits/low?", None, None),
                ("DELETE", CONFIG + "limits/low?mask=true&", None, None),
                ("PATCH", CONFIG + "app/doc?", '{"high": 101}', merge),
                ("POST", "/v1/txn?", ops, None), ("POST", "/v1/txn?", back, None),
                ("POST", f"/v1/rollback/limits/high?to={bad}&", None, None),
                ("POST", "/v1/import/limits?", '{"low": 5, "high": 500}', "application/json")):
            real = self.http(method, path, body, type)
            dry = self.http(method, path + "dry_run", body, type)
            self.assertEqual((real.status, real.json["type"]), (422, "/problems/invalid-value"), (path, real))
            self.assertEqual((dry.status, {**dry.json, "instance": ""}), (422, {**real.json, "instance": ""}), path)
        self.assertEqual(self.resp("MGET", "limits/low", "limits/high"), [b"1", b"9"])
        self.assertEqual(self.http.put(CONFIG + "limits/high?dry_run", "10", "application/json").json["would"], "change")

    def test_a_dry_run_of_a_rollback_to_a_deletion_is_refused_as_the_rollback_would_be(self):
        self.resp("SET", "limits/low", "1")
        self.resp("DEL", "limits/low")
        gone = self.resp("MP.REV")
        self.limits()
        for key, status in (("limits/low", 422), ("limits/none", 404)):
            path = f"/v1/rollback/{key}?to={gone}"
            real, dry = self.http("POST", path), self.http("POST", path + "&dry_run")
            self.assertEqual(real.status, status, real)
            self.assertEqual((dry.status, {**dry.json, "instance": ""}), (status, {**real.json, "instance": ""}))

    def test_a_dry_run_of_an_import_asks_the_schemas(self):
        self.limits()
        path = self.file("limits.json", '{"low": 5, "high": 500}')
        dry, real = (self.daemon.cli("import", path, *more) for more in (("--dry-run",), ()))
        self.assertEqual((dry.returncode, dry.stderr), (real.returncode, real.stderr))
        self.assertIn("/high", dry.stderr)
        good = self.daemon.cli("import", self.file("limits.json", '{"low": 5, "high": 50}'), "--dry-run")
        self.assertEqual(good.returncode, 0, good)
        self.resp("MP.STAGE", "PUT", "limits/high", "application/json", "50")
        self.assertEqual(self.resp("MP.STAGE", "CHECK"), [0, 0])
        with self.assertRaisesRegex(ReplyError, "nothing is staged"):
            self.resp("MP.STAGE", "COMMIT")
        self.assertEqual(self.resp("MGET", "limits/low", "limits/high"), [b"1", b"9"])

    # Text, its Content-Type, and where "high" of the map "pair" stands: the value where values have
    # places, else the name. Of .env, INI and properties all values are text, which is no integer.
    PLACES = {
        "json": ('{"pair":\n {"low": 1,\n  "high": 500}}', "application/json", (3, 11)),
        "yaml": ("pair:\n  low: 1\n  # much\n  high: 500\n", "application/yaml", (4, 9)),
        "toml": ("[pair]\nlow = 1\n\n  high = 500\n", "application/toml", (4, 10)),
        "ini": ("[pair]\nlow = 1\nhigh = 500\n", "text/x-ini", (3, 1)),
        "properties": ("# much\npair.low=1\n pair.high=500\n", "text/x-java-properties", (3, 2)),
        "env": ("pair.low=1\nexport pair.high=500\n", "text/x-shellscript", (2, 8)),
    }
    PAIR = {"properties": {"pair": {"properties": {"high": {"type": "integer", "maximum": 100}}}}}

    def test_an_import_that_breaks_a_schema_says_where_in_the_file(self):
        schema = self.file("pair.schema.json", json.dumps(self.PAIR))
        self.resp("MP.PUT", "_schema/pair", "application/schema+json", json.dumps(self.PAIR))
        for ending, (text, type_, (line, column)) in self.PLACES.items():
            path = self.file(f"pair.{ending}", text)
            with self.subTest(ending):
                for words in (("import", path), ("import", "--dry-run", path)):
                    done = self.daemon.cli(*words)
                    self.assertEqual(done.returncode, 1, done)
                    self.assertIn(f"{path}:{line}:{column}: pair/pair/high: ", done.stderr)
                done = subprocess.run([BINARY, "validate", "--schema", schema, path], check=False,
                                      capture_output=True, text=True)
                self.assertIn(f"{path}:{line}:{column}: /pair/high: ", done.stderr)
                for query in ("", "?dry_run"):
                    answer = self.http("POST", "/v1/import/pair" + query, text, type_)
                    self.assertEqual(answer.status, 422, answer)
                    error = answer.json["errors"][0]
                    self.assertEqual((error["line"], error["column"], error["instance"]),
                                     (line, column, "/pair/high"))
                    self.assertEqual((answer.json["line"], answer.json["column"]), (line, column))
                    self.assertNotIn("octet-stream", answer.json["remedy"])
        self.assertIsNone(self.resp("GET", "pair/pair.low"))

    def test_each_of_several_errors_of_an_import_has_its_own_file_and_place(self):
        schema = {"additionalProperties": {"maximum": 100}}
        for name, env in (("one", "production"), ("two", "production"), ("two", "staging")):
            self.resp("MP.ENV", env)
            self.resp("MP.PUT", f"_schema/{name}", "application/schema+json", json.dumps(schema))
        folder = pathlib.Path(self.daemon.folder, "conf")
        for name, text in (("production/one.yaml", "a: 1\nb: 500\nc: 501\n"),
                           ("production/two.json", '{"a": 1, "b": 2}'),
                           ("staging/two.toml", "a = 1\n\nb = 600\n")):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        done = self.daemon.cli("import", str(folder))
        self.assertEqual(done.returncode, 1, done)
        for said in (f"{folder}/production/one.yaml:2:4: one/b: 500 is too large",
                     f"{folder}/production/one.yaml:3:4: one/c: 501 is too large",
                     f"{folder}/staging/two.toml:3:5: two/b: 600 is too large"):
            self.assertIn(said, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 4, done.stderr)
        self.assertEqual(done.stderr.splitlines()[-1], "marketprism import: nothing was imported")
        self.file("many.json", json.dumps({f"k{i}": 500 for i in range(30)}))
        done = self.daemon.cli("import", str(pathlib.Path(self.daemon.folder, "many.json")),
                               "--namespace", "one", "--env", "production")
        self.assertEqual(len(done.stderr.splitlines()), 22, done.stderr)
        self.assertIn("and 10 more", done.stderr)

    def test_what_an_editor_leaves_is_told_its_place(self):
        self.limits()
        editor = pathlib.Path(self.file("editor", "#!/bin/sh\nprintf 'low: 1\\n\\nhigh: 500\\n' >\"$1\"\n"))
        editor.chmod(0o755)
        done = subprocess.run([BINARY, "edit", "limits/", "--yes", "--resp", self.daemon.resp], check=False,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              env=dict(os.environ, VISUAL=str(editor), TMPDIR=self.daemon.folder))
        self.assertEqual(done.returncode, 1, done)
        self.assertRegex(done.stderr, r"/\S+:3:7: limits/high: 500 is too large")
        self.assertEqual(self.resp("GET", "limits/high"), b"9")

    def test_many_errors_in_a_large_file_cost_little(self):
        self.resp("MP.PUT", "_schema/large", "application/schema+json",
                  '{"additionalProperties": {"maximum": 100}}')
        path = self.file("large.yaml", "".join(f"k{i}: {500 if i > 9900 else 1}\n" for i in range(10000)))
        spent = cpu_of_children()
        done = self.daemon.cli("import", path)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(f"{path}:9902:8: large/k9901: ", done.stderr)
        self.assertIn("and 79 more", done.stderr)
        self.assertLess(cpu_of_children() - spent, 2)

    def test_what_no_file_says_has_no_place(self):
        self.resp("SET", "limits/high", "500")
        self.resp("MP.PUT", "_schema/limits", "application/schema+json", json.dumps(LIMITS))
        done = self.daemon.cli("import", self.file("limits.json", '{"low": 5}'))
        self.assertEqual(done.stderr.count("limits.json:"), 0, done.stderr)
        self.assertIn("import: limits/high: 500 is too large", done.stderr)
        answer = self.http("POST", "/v1/import/limits", '{"low": 5}', "application/json")
        self.assertEqual(answer.status, 422, answer)
        self.assertNotIn("line", answer.json["errors"][0])

    def test_what_sees_the_file_of_base_is_told_of_it_in_that_file(self):
        self.resp("MP.ENV", "production")
        self.resp("SET", "limits/low", "1")
        self.resp("MP.PUT", "_schema/limits", "application/schema+json", json.dumps(LIMITS))
        path = self.file("limits.yaml", "low: 1\nhigh: 500\n")
        done = self.daemon.cli("import", path, "--env", "base")
        self.assertIn(f"{path}:2:7: as seen in production: limits/high: ", done.stderr)

    def test_a_file_of_a_region_is_told_the_place_that_breaks_a_schema(self):
        self.resp("MP.ENV", "production")
        self.resp("SET", "limits/low", "1")
        self.resp("MP.PUT", "_schema/limits", "application/schema+json", json.dumps(LIMITS))
        self.file("near/production~eu/limits.yaml", "low: 1\nhigh: 500\n")
        path = self.file("limits.yaml", "low: 1\nhigh: 500\n")
        folder = os.path.join(os.path.dirname(path), "near")
        for words in ((folder,), (path, "--region", "eu"), (path, "--env", "production~eu"),
                      (path, "--env", "production", "--region", "eu", "--instance", "i7")):
            done = self.daemon.cli("import", *words)
            self.assertRegex(done.stderr, r"limits.yaml:2:7: (as seen in \S+: )?limits/high: ")

    def test_a_value_that_is_put_is_told_its_line(self):
        self.resp("MP.PUT", "_schema/app/", "application/schema+json", json.dumps(LIMITS))
        answer = self.http.put(CONFIG + "app/doc", '{"low": 1,\n "high": 500}', "application/json")
        self.assertEqual(answer.status, 422, answer)
        error = answer.json["errors"][0]
        self.assertEqual((error["instance"], error["line"], error["column"]), ("/high", 2, 10))

    def test_what_is_no_schema_is_told_its_line_and_column(self):
        for text, place in (('{"type": "object",\n "properties": {\n  "a": {"type": "strin"}}}', (3, 17)),
                            ('{"type": "object",\n "required": 5}', (2, 14)), ("7", (1, 1)),
                            ('{"properties": {"a/b~c":\n {"$ref": "#/no"}}}', (2, 11)), ('{"type":\n "object",\n', (3, 1))):
            for answer in (self.http.put(CONFIG + "_schema/placed", text),
                           self.http("POST", "/v1/txn", json.dumps({"ops": [
                               {"op": "put", "key": "_schema/placed", "value": text}]}))):
                self.assertEqual(answer.status, 422, answer)
                error = answer.json["errors"][0]
                self.assertEqual((error["line"], error["column"]), place, text)
            told = self.daemon.cli("schema", "set", "placed", "-", text=text)
            self.assertEqual(told.returncode, 1, told)
            self.assertIn(":%d:%d: " % place, told.stderr)

    def test_what_breaks_schemas_is_told_one_by_one_who_asks_why(self):
        self.limits()
        self.resp("MP.STAGE", "PUT", "limits/high", "application/json", "500", "limits/low",
                  "application/json", "true")
        told = self.resp("MP.STAGE", "CHECK", "WHY")
        self.assertEqual(told[0], 2)
        self.assertEqual(sorted(item[3] for item in told[1:]), [b"/high", b"/low"])
        self.assertEqual(told[1][:3], [b"", b"production", b"limits"])
        self.resp("MP.STAGE", "PUT", "limits/high", "application/json", "50")
        self.assertEqual(self.resp("MP.STAGE", "COMMIT", "WHY")[0], 1)

    def test_a_schema_with_a_mistyped_keyword_is_put_with_a_warning(self):
        typo, good = '{"properties": {"high": {"maxmum": 9}}}', '{"properties": {"high": {"maximum": 9}}}'
        text = "the unknown keyword 'maxmum' is ignored; did you mean 'maximum'?"
        warned = [{"where": "_schema/typed", "schema": "/properties/high/maxmum", "text": text}]
        http, c = Http(self.daemon.http), self.daemon.client()
        self.addCleanup(c.close)
        self.assertEqual(c("MP.SCHEMA", "WARNINGS", "typed", typo), [[b"/properties/high/maxmum", text.encode()]])
        self.assertEqual(c("MP.SCHEMA", "WARNINGS", "typed", good), [])
        path = "/v1/config/_schema/typed"
        for query, status in (("?dry_run", 200), ("", 201)):
            answer = http.put(path + query, typo, "application/schema+json")
            self.assertEqual((answer.status, answer.json["warnings"]), (status, warned), query)
        ops = [{"op": "put", "namespace": "_schema", "key": "typed", "value": typo},
               {"op": "put", "namespace": "else", "key": "a", "value": "1"}]
        for query in ("?dry_run", ""):
            done = http("POST", "/v1/txn" + query, {"ops": ops})
            self.assertEqual((done.status, done.json.get("warnings")), (200, warned), query)
        ops[0]["value"] = good
        self.assertNotIn("warnings", http("POST", "/v1/txn?dry_run", {"ops": ops}).json)
        self.assertNotIn("warnings", http.put(path, good, "application/schema+json").json)
        done = http("POST", "/v1/import/_schema?dry_run", json.dumps({"typed": typo}), "application/json")
        self.assertEqual((done.status, done.json["warnings"]), (200, warned))
        self.assertEqual(http("DELETE", path).status, 200)

    def test_the_command_line_sets_checks_and_lists_schemas(self):
        self.resp("SET", "limits/high", "500")
        path = self.file("schema.json", json.dumps(LIMITS))
        checked = self.daemon.cli("schema", "check", "limits", path)
        self.assertEqual(checked.returncode, 1)
        self.assertIn("limits/high: ", checked.stderr)
        strict = self.daemon.cli("schema", "set", "limits", path, "--strict")
        self.assertEqual(strict.returncode, 1)
        self.assertEqual(self.daemon.cli("schema", "get", "limits").returncode, 3)
        self.assertEqual(self.daemon.cli("schema", "set", "limits", path).returncode, 0)
        self.assertEqual(json.loads(self.daemon.cli("schema", "get", "limits").stdout), LIMITS)
        self.assertIn("limits", self.daemon.cli("schema", "ls").stdout)
        listed = json.loads(self.daemon.cli("schema", "ls", "--json").stdout)
        self.assertEqual([(s["name"], s["layer"]) for s in listed], [("limits", "production")])
        self.assertEqual(self.daemon.cli("set", "limits/low", "1").returncode, 1)
        self.assertEqual(self.daemon.cli("schema", "del", "limits").returncode, 0)
        self.assertEqual(self.daemon.cli("set", "limits/low", "1").returncode, 0)
        broken = self.daemon.cli("schema", "set", "limits", self.file("none.json", '{"type": 7}'))
        self.assertEqual(broken.returncode, 1)
        self.assertIn("none.json:1:10: ", broken.stderr)
        typo = self.file("typo.json", '{"properties": {"high": {"maxmum": 9}}}')
        for words in (("schema", "check", "typos", typo), ("schema", "set", "typos", typo)):
            doubtful = self.daemon.cli(*words)
            self.assertEqual(doubtful.returncode, 0)
            self.assertIn("typo.json: /properties/high/maxmum: the unknown keyword 'maxmum' is ignored; did you mean "
                          "'maximum'?", doubtful.stderr)
        self.daemon.cli("schema", "del", "typos", check=True)
        cut = self.daemon.cli("schema", "set", "limits", self.file("cut.json", '{"type":\n "object",}'))
        self.assertIn("cut.json:2:11: ", cut.stderr)
        self.assertEqual(json.loads(self.daemon.cli("schema", "ls", "--json").stdout), [])
        self.assertEqual(self.daemon.cli("schema", "set", "limits").returncode, 2)

    def test_schemas_outlive_a_kill(self):
        self.limits()
        self.daemon.kill()
        self.daemon.start()
        resp = self.daemon.client()
        self.addCleanup(resp.close)
        with self.assertRaisesRegex(ReplyError, "^INVALID limits/high: "):
            resp("SET", "limits/high", "101")


BIG = "[" + "1," * (2 * 1024 * 1024 - 2) + "1]"  # 4 MiB, the most that a body may have
LARGE = BIG[:1024 * 1024 - 2] + "1]"  # takes 0.2 s to judge


class Large(unittest.TestCase):
    """What takes long to be checked holds nobody up, and no stop."""

    def setUp(self):
        self.daemon = Daemon("--set", "server.workers=1").start()
        self.addCleanup(self.daemon.close)
        self.resp = self.daemon.client()
        self.addCleanup(lambda: self.resp.close())
        self.resp("MP.PUT", "_schema/docs/", "application/schema+json",
                  json.dumps({"type": "array", "items": {"type": "integer"}}))

    def put(self, path, body=BIG):
        """A PUT that is sent, and whoever reads its answer."""
        http = Http(self.daemon.http, timeout=60)
        self.addCleanup(http.close)
        http.connection.request("PUT", CONFIG + path, body=body, headers={"Content-Type": "application/json"})
        return http

    def test_a_neighbour_is_answered_while_a_large_value_is_judged(self):
        calm = False
        for _ in range(3):
            began = time.monotonic()
            http = self.put("docs/big?dry_run")
            done = threading.Event()
            answers = []
            reader = threading.Thread(target=lambda: (answers.append(http.connection.getresponse().read()), done.set()))
            reader.start()
            longest = 0
            while not done.is_set():
                sent = time.monotonic()
                self.assertEqual(self.resp("PING"), "PONG")
                longest = max(longest, time.monotonic() - sent)
            reader.join()
            self.assertEqual(json.loads(answers[0])["would"], "create")
            calm = calm or longest < (time.monotonic() - began) / 3
            if calm:
                break
        self.assertTrue(calm)

    def test_the_loop_does_not_judge_a_large_value_itself(self):
        before = [self.daemon.cpu_of(name) for name in ("mp-loop-0", "mp-slow")]
        for _ in range(3):
            self.assertEqual(self.put("docs/big?dry_run", LARGE).connection.getresponse().status, 200)
        loop, slow = (self.daemon.cpu_of(name) - cpu for name, cpu in zip(("mp-loop-0", "mp-slow"), before))
        self.assertGreater(slow, 4 * loop)

    def test_writes_of_a_connection_keep_their_order_behind_a_large_one(self):
        big = "[" + "1," * 500_000 + "1]"
        for value, then in ((big, "[1]"), (big.replace("1]", '"x"]'), "[2]")):
            refused = "x" in value
            for words in (("SET", "docs/a", value), ("SET", "docs/a", then), ("SET", "free/a", then), ("GET", "docs/a")):
                self.resp.send(*words)
            if refused:
                with self.assertRaisesRegex(ReplyError, "^INVALID docs/a/500000: "):
                    self.resp.read()
            else:
                self.assertEqual(self.resp.read(), "OK")
            self.assertEqual([self.resp.read() for _ in range(3)], ["OK", "OK", then.encode()])
            self.assertEqual(self.resp("GET", "docs/a"), then.encode())

    def test_a_stop_while_large_values_are_checked_is_clean(self):
        for path, body, is_read in (("docs/a", LARGE, True), ("docs/b", LARGE, False),
                                    ("free/a", BIG, True), ("free/b", BIG, False)):
            with self.subTest(path=path, is_read=is_read):
                before = self.daemon.cpu_of("mp-slow")
                sent = [self.put(path + str(i), body) for i in range(3)]
                wait_until(lambda: self.daemon.cpu_of("mp-slow") > before, what="the check")
                if not is_read:
                    for http in sent:
                        http.close()
                self.assertEqual(self.daemon.stop(), 0, self.daemon.log_text()[-2000:])
                stood = []
                for i, http in enumerate(sent if is_read else ()):
                    try:
                        if http.connection.getresponse().status in (200, 201):
                            stood.append(path + str(i))
                    except (ConnectionError, OSError, http_client.HTTPException):
                        pass  # it is not known whether it stands
                self.daemon.start()
                self.resp.close()
                self.resp = self.daemon.client()
                if is_read:
                    self.assertTrue(stood)
                for key in stood:
                    self.assertEqual(self.resp("STRLEN", key), len(body))


if __name__ == "__main__":
    mp_tap.main()

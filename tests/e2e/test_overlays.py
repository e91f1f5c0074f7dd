#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Layers of configuration over RESP, HTTP and the command line, in the real binary."""

import json
import unittest

import mp_tap
from mp_daemon import Daemon, ReplyError, wait_until
from mp_http import Http

CONFIG = "/v1/config/"
HERE = "?env=production&region=eu&instance=i7"


class Overlays(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon().start()
        self.addCleanup(self.daemon.close)
        self.resp = self.daemon.client()
        self.addCleanup(self.resp.close)
        self.http = Http(self.daemon.http)
        self.addCleanup(self.http.close)

    def put(self, scope, key, value):
        self.resp("MP.ENV", scope)
        self.resp("SET", key, value)

    def cli(self, *words, code=0):
        done = self.daemon.cli(*words)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout

    def test_a_connection_reads_and_writes_in_its_scope(self):
        self.put("base", "a", "b")
        self.put("production", "c", "p")
        self.assertEqual(self.resp("MP.SCOPE"), [b"production", b"", b""])
        self.assertEqual(self.resp("MP.SCOPE", "eu", "i7"), "OK")
        self.assertEqual(self.resp("MP.SCOPE"), [b"production", b"eu", b"i7"])
        self.assertEqual(self.resp("MP.ENV"), b"production~eu~i7")
        self.assertIn(b" scope=production~eu~i7", self.resp("CLIENT", "INFO"))
        self.assertEqual(self.resp("HELLO")[-2:], [b"scope", b"production~eu~i7"])
        self.assertEqual(self.resp("MGET", "a", "c", "none"), [b"b", b"p", None])
        self.resp("SET", "a", "mine")
        self.assertEqual(self.resp("GET", "a"), b"mine")
        self.assertEqual(self.resp.meta("a")["layer"], b"production~eu~i7")
        self.assertEqual(self.resp.meta("c")["layer"], b"production")
        self.assertEqual(self.resp.meta("c", "OWN")["state"], b"absent")
        self.resp("MP.SCOPE", "us")
        self.assertEqual(self.resp("GET", "a"), b"b")
        self.resp("MP.SCOPE", "")
        self.assertEqual(self.resp("MP.SCOPE"), [b"production", b"", b""])
        self.assertEqual(self.resp("GET", "a"), b"b")
        self.resp("SELECT", "1")
        self.assertEqual(self.resp("GET", "a"), b"b")
        with self.assertRaisesRegex(ReplyError, "region"):
            self.resp("MP.SCOPE", "", "i7")

    def test_a_list_has_all_up_to_its_revision_also_in_a_scope_that_had_no_keys(self):
        other = Daemon("--set", f"origin.path={self.daemon.data}/origin.db").start()
        self.addCleanup(other.close)
        reader = Http(other.http)
        self.addCleanup(reader.close)
        self.put("base", "app/b", "of all")
        for i in range(10):
            scope, base = f"env=new{i}", self.http.get(CONFIG + "app/?env=base").json["revision"]
            wait_until(lambda: reader.get("/v1/status").json["origin"]["revision"] >= base)
            reader.get(CONFIG + f"app/b?{scope}&region=eu")  # that the scope has no keys is known
            made = self.http.put(CONFIG + f"app/a?{scope}", "own").json["revision"]
            listed = reader.get(CONFIG + f"app/?effective=true&{scope}&region=eu").json
            if listed["revision"] >= made:
                self.assertEqual([key["key"] for key in listed["keys"]], ["a", "b"])

    def test_a_pipeline_of_gets_is_resolved_like_single_ones(self):
        for i in range(100):
            self.put("base", f"k{i}", f"b{i}")
        self.put("production~eu", "k7", "r7")
        self.resp("MP.SCOPE", "eu", "i7")
        for _ in range(3):
            for i in range(200):
                self.resp.send("GET", f"k{i}")
            answers = [self.resp.read() for _ in range(200)]
            self.assertEqual(answers[7], b"r7")
            self.assertEqual(answers[8:100], [b"b%d" % i for i in range(8, 100)])
            self.assertEqual(answers[100:], [None] * 100)

    def test_a_mask_hides_and_its_deletion_shows(self):
        self.put("base", "a", "b")
        self.resp("MP.ENV", "production")
        self.assertEqual(self.resp("MP.MASK", "a"), 1)
        self.assertIsNone(self.resp("GET", "a"))
        self.assertEqual(self.resp("EXISTS", "a"), 0)
        self.assertEqual(self.resp.meta("a")["layer"], b"production")
        self.assertEqual(self.resp("KEYS", "*"), [])
        self.assertEqual(self.resp("DEL", "a"), 1)
        self.assertEqual(self.resp("GET", "a"), b"b")
        self.assertEqual(self.http("DELETE", CONFIG + "default/a?mask=true").status, 201)
        self.assertEqual(self.http.get(CONFIG + "default/a").status, 404)
        self.assertEqual(self.http.get(CONFIG + "default/a?effective=false").status, 404)
        at = self.resp("MP.REV")
        self.assertEqual(self.http.get(CONFIG + f"default/a?at={at}").status, 404)
        self.assertEqual(self.http.get(CONFIG + f"default/a?at={at}&effective=false").status, 404)
        self.assertEqual(self.http("DELETE", CONFIG + "default/a").status, 200)
        self.assertEqual(self.http.get(CONFIG + "default/a").body, b"b")

    def test_http_names_the_layer_and_its_tags_follow_what_is_resolved(self):
        self.put("base", "a", "b")
        first = self.http.get(CONFIG + "default/a" + HERE)
        self.assertEqual((first.status, first.body, first["MarketPrism-Layer"]),
                         (200, b"b", "base"))
        again = self.http.get(CONFIG + "default/a" + HERE, If_None_Match=first["ETag"])
        self.assertEqual(again.status, 304)
        self.put("production~eu", "a", "r")
        other = self.http.get(CONFIG + "default/a" + HERE, If_None_Match=first["ETag"])
        self.assertEqual((other.status, other.body), (200, b"r"))
        self.assertEqual(other["MarketPrism-Layer"], "production~eu")
        own = self.http.get(CONFIG + "default/a?env=production&region=eu")
        self.assertIsNone(own["MarketPrism-Layer"])
        self.assertEqual(own["ETag"], other["ETag"])

    def test_a_conditional_write_goes_to_its_layer_and_is_bound_to_what_was_read(self):
        self.put("base", "a", json.dumps({"x": 1, "y": 2}))
        tag = self.http.get(CONFIG + "default/a" + HERE)["ETag"]
        self.put("base", "a", json.dumps({"x": 9, "y": 2}))
        late = self.http.put(CONFIG + "default/a" + HERE, "mine", If_Match=tag)
        self.assertEqual(late.status, 412)
        patched = self.http("PATCH", CONFIG + "default/a" + HERE, json.dumps({"y": None}),
                            "application/merge-patch+json")
        self.assertEqual(patched.status, 201, patched)
        self.assertEqual(self.http.get(CONFIG + "default/a" + HERE).json, {"x": 9})
        self.assertEqual(self.http.get(CONFIG + "default/a?env=base").json, {"x": 9, "y": 2})
        self.assertEqual(self.http("DELETE", CONFIG + "default/a?env=production").status, 404)

    def test_lists_show_what_a_reader_gets_each_key_once(self):
        for key in ("a", "b", "c", "ns/d"):
            self.put("base", key, "base")
        self.put("production", "b", "env")
        self.put("production~eu", "e", "region")
        self.resp("MP.MASK", "c")
        self.resp("MP.SCOPE", "eu", "i7")
        self.assertEqual(self.resp("KEYS", "*"), [b"a", b"b", b"e", b"ns/d"])
        for count in (1, 2, 100):
            seen, cursor = [], b"0"
            while True:
                cursor, keys = self.resp("SCAN", cursor, "COUNT", count)
                seen += keys
                if cursor == b"0":
                    break
            self.assertEqual(sorted(seen), [b"a", b"b", b"e", b"ns/d"], count)
        pages = [self.http.get(CONFIG + "default/" + HERE + "&effective=true" + more).json["keys"]
                 for more in ("", "&limit=1")]
        self.assertEqual([(key["key"], key["layer"]) for key in pages[0]],
                         [("a", "base"), ("b", "production"), ("e", "production~eu")])
        self.assertEqual(len(pages[1]), 1)
        listed, after = [], ""
        while True:
            page = self.resp("MP.LS", "EFFECTIVE", "VALUES", "COUNT", "2",
                             *(("AFTER", after) if after else ()))
            listed += [(item[0], item[4], item[5]) for item in page[2:]]
            if not page[1]:
                break
            after = page[-1][0]
        self.assertEqual(listed, [(b"a", b"base", b"base"), (b"b", b"env", b"production"),
                                  (b"e", b"region", b"production~eu"),
                                  (b"ns/d", b"base", b"base")])

    def layered(self):
        """a, b: base; b: production, too; c: base, masked in production; own/x: region only."""
        for key in ("default/a", "default/b", "default/c", "sub/d"):
            self.http.put(CONFIG + key + "?env=base", {"of": "base"})
        self.http.put(CONFIG + "default/b?env=production", {"of": "production"})
        self.http("DELETE", CONFIG + "default/c?env=production&mask=true")
        self.http.put(CONFIG + "own/x?env=production&region=eu", {"of": "region"})

    def test_namespaces_are_those_of_the_layer_or_those_a_reader_gets(self):
        self.layered()
        there = "?env=production&region=eu"
        own = self.http.get(CONFIG + there).json
        self.assertEqual(own["namespaces"], ["own"])
        all_of_them = self.http.get(CONFIG + there + "&effective=true").json
        self.assertEqual(all_of_them["namespaces"], ["default", "own", "sub"])
        first = self.http.get(CONFIG + there + "&effective=true&limit=1").json
        more = self.http.get(CONFIG + there + "&effective=true&limit=2&after=" + first["next"]).json
        self.assertEqual(more["namespaces"], ["own", "sub"])
        mixed = self.http.get(CONFIG + there + "&after=" + first["next"])
        self.assertEqual((mixed.status, mixed.json["type"]), (400, "/problems/page-token"))

    def test_one_value_and_many_tell_of_readers_or_of_the_layer(self):
        self.layered()
        there = "?env=production&region=eu"
        self.assertEqual(self.http.get(CONFIG + "default/b" + there).json, {"of": "production"})
        self.assertEqual(self.http.get(CONFIG + "default/b" + there + "&effective=false").status, 404)
        self.assertEqual(self.http.get(CONFIG + "default/b?env=base&effective=false").status, 200)
        keys = {"keys": ["a", "b", "c", "own/x"]}
        got = self.http("POST", "/v1/batch-get" + there, keys).json["values"]
        self.assertEqual([(v["found"], v.get("layer")) for v in got],
                         [(True, "base"), (True, "production"), (False, None), (True, None)])
        own = self.http("POST", "/v1/batch-get" + there, {**keys, "effective": False}).json["values"]
        self.assertEqual([v["found"] for v in own], [False, False, False, True])
        bad = self.http("POST", "/v1/batch-get", {**keys, "effective": "no"})
        self.assertEqual(bad.status, 400)

    def test_the_past_is_resolved_as_the_present_is(self):
        self.layered()
        before = self.resp("MP.REV")
        self.put("production~eu", "a", "7")
        there = f"?env=production&region=eu&at={before}"
        old = self.http.get(CONFIG + "default/a" + there)
        self.assertEqual((old.json, old["MarketPrism-Layer"]), ({"of": "base"}, "base"))
        self.assertEqual(self.http.get(CONFIG + "default/a" + there + "&effective=false").status, 404)
        self.assertEqual(self.http.get(CONFIG + "default/c" + there).status, 404)

    def test_files_and_differences_are_of_readers_or_of_the_layer(self):
        self.layered()
        there = "?env=production&region=eu"
        export = "/v1/export/default" + there
        self.assertEqual(self.http.get(export, Accept="application/json").json, {})
        whole = self.http.get(export + "&effective=true", Accept="application/json").json
        self.assertEqual(whole, {"a": {"of": "base"}, "b": {"of": "production"}})
        listed = self.http.get(CONFIG + "default/" + there + "&effective=true", Accept="application/yaml")
        self.assertIn(b"of: production", listed.body)
        diff = f"/v1/diff/default/{there}&to_env=base&to_region="
        self.assertEqual([(c["key"], c["op"]) for c in self.http.get(diff).json["changes"]],
                         [("a", "add"), ("b", "add"), ("c", "add")])
        self.assertEqual([(c["key"], c["op"]) for c in self.http.get(diff + "&effective=true").json["changes"]],
                         [("b", "change"), ("c", "add")])
        one = f"/v1/diff/default/%s{there}&to_env=base&to_region=&effective=true"
        self.assertEqual(self.http.get(one % "b").json["changes"],
                         [{"path": "of", "op": "change", "from": "production", "to": "base"}])
        self.assertEqual(self.http.get(one % "c").json["op"], "add")
        self.assertEqual(self.http.get(one % "a").json["different"], False)
        self.assertEqual(self.http.get(one % "zz").status, 404)
        self.assertEqual(self.http.get("/v1/diff/default/b" + there + "&effective=true").status, 400)

    def scanned(self, resp):
        seen, cursor = [], b"0"
        while True:
            cursor, keys = resp("SCAN", cursor, "COUNT", "1000")
            seen += keys
            if cursor == b"0":
                return seen

    def listed(self, resp):
        count, after = 0, ()
        while True:
            page = resp("MP.LS", "EFFECTIVE", "COUNT", "10000", *after)
            count += len(page) - 2
            if not page[1]:
                return count
            after = ("AFTER", page[-1][0])

    def test_dbsize_is_the_number_of_keys_that_scan_lists(self):
        self.layered()
        for scope, keys in (("production~eu", 4), ("production", 3), ("base", 4), ("staging", 4)):
            self.resp("MP.ENV", scope)
            self.assertEqual((self.resp("DBSIZE"), len(self.scanned(self.resp))), (keys, keys), scope)
        self.resp("MP.ENV", "base")
        for i in range(0, 10500, 250):  # more than a page
            self.resp("MSET", *(word for k in range(i, i + 250) for word in (f"many/{k}", "v")))
        self.resp("MP.ENV", "production")
        self.resp("MP.MASK", "many/7")
        self.resp("SET", "many/8", "mine")
        self.resp("SET", "only", "mine")
        for _ in range(2):
            self.assertEqual(self.resp("DBSIZE"), 10503)
        self.assertEqual(len(self.scanned(self.resp)), 10503)
        self.resp("DEL", "only")
        self.assertEqual(self.resp("DBSIZE"), 10502)
        self.resp("MP.ENV", "base")  # alone: its rows are its keys, until one is masked
        for _ in range(2):
            self.assertEqual(self.resp("DBSIZE"), 10504)
        self.resp("SET", "one-more", "1")
        self.assertEqual(self.resp("DBSIZE"), 10505)
        self.resp("MP.MASK", "many/1")
        masked = self.resp.meta("many/1", "OWN")["revision"]
        self.assertEqual(self.resp("DBSIZE"), 10504)
        self.resp("SET", "many/1", "again")
        for _ in range(2):
            self.assertEqual(self.resp("DBSIZE"), 10505)
        self.resp("MP.ROLLBACK", "many/1", str(masked))
        self.assertEqual((self.resp("DBSIZE"), len(self.scanned(self.resp))), (10504, 10504))
        self.daemon.stop()
        (self.daemon.data / "origin.db").rename(self.daemon.data / "away")
        self.daemon.start()
        resp = self.daemon.client()
        self.addCleanup(resp.close)
        for scope in ("production~eu", "production", "base", "staging"):
            resp("MP.ENV", scope)
            self.assertEqual(resp("DBSIZE"), self.listed(resp), scope)
            self.assertGreater(resp("DBSIZE"), 0)

    def test_the_command_line_exports_compares_and_writes_a_layer(self):
        self.layered()
        here = ("--env", "production", "--region", "eu")
        self.cli("export", "default", *here, code=3)
        self.assertEqual(json.loads(self.cli("export", "default", "--effective", *here)),
                         {"a": {"of": "base"}, "b": {"of": "production"}})
        own = json.loads(self.cli("diff", "own/", "--to-env", "base", "--json", "--env", "production~eu"))
        self.assertEqual((own["removed"], own["added"]), (1, 0))
        path = self.daemon.folder + "/default.json"
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"a": "base", "mine": 1}, file)
        would = json.loads(self.cli("import", path, "--prune", "--dry-run", "--json", *here))
        self.assertEqual((would["added"], would["same"] if "same" in would else 0, would["removed"]), (2, 0, 0))
        self.cli("import", path, "--prune", *here)
        self.assertEqual(json.loads(self.cli("export", "default", *here)), {"a": "base", "mine": 1})
        self.assertEqual(self.cli("get", "b", *here[:2]).strip(), json.dumps({"of": "production"}))

    def test_an_export_leaves_masks_out_and_says_so(self):
        self.put("base", "m/a", "1")
        self.put("base", "m/b", "2")
        self.put("production", "m/c", "3")
        self.cli("del", "--mask", "m/a")
        self.assertEqual(self.http.get("/v1/export/m", Accept="application/json").json, {"c": "3"})
        done = self.daemon.cli("export", "m/")
        self.assertEqual((done.returncode, json.loads(done.stdout)), (0, {"c": "3"}))
        self.assertIn("1 mask is left out", done.stderr)
        self.assertEqual(json.loads(self.cli("export", "m/", "--effective")), {"b": "2", "c": "3"})

    def test_a_mask_is_patched_and_replaced_where_it_stands(self):
        self.layered()
        there = "?env=production"
        for dry in ("&dry_run", ""):
            new = self.http.put(CONFIG + "default/c" + there + dry, "1", If_None_Match="*")
            self.assertEqual(new.status, 200, new)
        self.assertEqual(new.json["version"], 2)
        self.resp("MP.ENV", "production")
        self.resp("MP.MASK", "c")
        patched = self.http("PATCH", CONFIG + "default/c" + there, "{}", "application/merge-patch+json")
        self.assertEqual(patched.status, 200, patched)

    def test_a_dry_run_is_about_the_layer_that_is_written_to(self):
        self.layered()
        there = "?env=production&region=eu"

        def would(method, path, body=None):
            answer = self.http(method, path + "&dry_run", body)
            real = self.http(method, path, body)
            return (answer.status, answer.json.get("would"), real.status, real.json.get("changed"))

        same = "mine"
        self.assertEqual(would("PUT", CONFIG + "default/a" + there, same), (200, "create", 201, True))
        self.assertEqual(would("PUT", CONFIG + "default/a" + there, same), (200, "nothing", 200, False))
        self.assertEqual(would("DELETE", CONFIG + "default/b" + there), (404, None, 404, None))
        self.assertEqual(would("DELETE", CONFIG + "default/c?env=production"), (200, "delete", 200, True))
        self.resp("MP.ENV", "production")
        self.resp("MP.MASK", "c")
        ops = {"ops": [{"op": "delete", "key": "b"}, {"op": "put", "key": "a", "value": same}]}
        dry = self.http("POST", "/v1/txn" + there + "&dry_run", ops).json
        self.assertEqual([r["would"] for r in dry["results"]], ["nothing", "nothing"])
        for compare in ({"key": "b", "present": True}, {"key": "c", "absent": True}):
            where = there if compare["key"] == "b" else "?env=production"
            for more in ("&dry_run", ""):
                answer = self.http("POST", "/v1/txn" + where + more, {**ops, "compare": [compare]})
                self.assertEqual((answer.status, answer.json["type"]), (412, "/problems/precondition"))

    def test_the_command_line_takes_region_and_instance(self):
        here = ("--env", "production", "--region", "eu", "--instance", "i7")
        self.cli("set", "a", "b", "--env", "base")
        self.cli("set", "r", "e", *here[:4])
        self.assertEqual(self.cli("get", "a", *here).strip(), "b")
        self.assertEqual(json.loads(self.cli("get", "r", "--json", *here))["layer"],
                         "production~eu")
        self.cli("get", "a", "--own", *here, code=3)
        self.assertEqual(self.cli("ls", *here), "")
        listed = json.loads(self.cli("ls", "--effective", "--json", *here))
        self.assertEqual([(item["key"], item["layer"]) for item in listed],
                         [("a", "base"), ("r", "production~eu")])
        self.cli("del", "--mask", "a", *here[:2])
        self.cli("get", "a", *here, code=3)
        why = json.loads(self.cli("explain", "a", "--json", *here, code=3))
        self.assertEqual([layer["scope"] for layer in why["layers"]],
                         ["production~eu~i7", "production~eu", "production", "base"])
        self.assertEqual([layer["state"] for layer in why["layers"]],
                         ["absent", "absent", "masked", "value"])
        self.assertEqual((why["layer"], why["layers"][3]["value"]), ("production", "b"))
        text = self.cli("explain", "a", *here, code=3)
        self.assertRegex(text, r"layers +production~eu~i7 +absent")
        self.assertRegex(text, r"\n +> production +masked")
        self.assertRegex(text, r"\n +base +value, revision \d+ = b\n")
        self.assertIn("why        production masks it", text)
        self.cli("get", "r", *here)
        text = self.cli("explain", "r", *here)
        self.assertRegex(text, r"> production~eu +value, revision \d+ = e\n")
        self.assertIn("why        production~eu is the nearest layer that has a value", text)
        self.cli("get", "none", *here, code=3)
        self.assertIn("no layer has a value", self.cli("explain", "none", *here, code=3))
        self.cli("get", "a", "--instance", "i7", code=2)

    def test_explain_says_by_its_exit_code_when_nothing_can_be_known(self):
        self.cli("explain", "never-read", "--env", "production")  # a read would ask
        self.daemon.stop()
        (self.daemon.data / "origin.db").rename(self.daemon.data / "away")
        self.daemon.start()
        self.cli("explain", "never-read", "--env", "production", code=4)
        self.cli("get", "never-read", "--env", "production", code=4)

    def test_what_was_resolved_outlives_the_origin_and_a_restart(self):
        self.put("base", "a", "b")
        self.put("production", "c", "p")
        self.resp("MP.SCOPE", "eu", "i7")
        self.assertEqual(self.resp("GET", "a"), b"b")
        self.daemon.stop()
        database = self.daemon.data / "origin.db"
        database.rename(self.daemon.data / "away")
        self.daemon.start()
        resp = self.daemon.client()
        self.addCleanup(resp.close)
        resp("MP.SCOPE", "eu", "i7")
        self.assertEqual(resp("GET", "a"), b"b")
        self.assertEqual(resp.meta("a")["stale"], 1)
        with self.assertRaisesRegex(ReplyError, "^UNKNOWN"):
            resp("GET", "never-read")


if __name__ == "__main__":
    mp_tap.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many keys over HTTP: lists, batches, transactions, differences, export and import."""

import base64
import contextlib
import itertools
import json
import pathlib
import shutil
import threading
import unittest

import mp_http
import mp_tap
from mp_daemon import Daemon, wait_until
from mp_http import Http

BASE = "/v1/config/"


class Many(mp_http.Served):
    def is_problem(self, answer, status, type):
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer["Content-Type"], "application/problem+json")
        self.assertEqual(answer.json["type"], "/problems/" + type)
        return answer.json

    def post(self, path, body, type=None, **headers):
        return self.http("POST", path, body, type, **headers)

    def fill(self, namespace, keys):
        """Write a dict of texts in one transaction."""
        ops = [{"op": "put", "namespace": namespace, "key": k, "value": v} for k, v in keys.items()]
        answer = self.post("/v1/txn", {"ops": ops})
        self.assertEqual(answer.status, 200, answer)
        return answer.json["revision"]

    def names(self, answer):
        self.assertEqual(answer.status, 200, answer)
        return [k["key"] for k in answer.json["keys"]]

    # ---- lists ----

    def test_a_list_has_keys_values_and_its_revision(self):
        revision = self.fill("list", {"b": "2", "a": "1", "c/d": "3"})
        answer = self.http.get(BASE + "list/")
        self.assertEqual([(k["key"], k["value"]) for k in answer.json["keys"]], [("a", "1"), ("b", "2"), ("c/d", "3")])
        self.assertGreaterEqual(answer.json["revision"], revision)
        self.assertEqual(answer["MarketPrism-Revision"], str(answer.json["revision"]))
        self.assertFalse(answer.json["stale"])
        self.assertNotIn("next", answer.json)
        self.assertEqual(self.names(self.http.get(BASE + "list?prefix=c")), ["c/d"])
        only = self.http.get(BASE + "list/?keys_only").json["keys"][0]
        self.assertNotIn("value", only)
        self.assertEqual(self.names(self.http.get(BASE + "nothing-is-here/")), [])
        self.assertEqual(self.http("HEAD", BASE + "list/").body, b"")

    def test_later_pages_show_what_the_first_one_saw(self):
        keys = {f"k{i:03d}": str(i) for i in range(25)}
        self.fill("pages", keys)
        page = self.http.get(BASE + "pages/?limit=10")
        seen = [(k["key"], k["value"]) for k in page.json["keys"]]
        self.fill("pages", {"k005x": "new", "k011": "changed", "k999": "new"})
        self.http("DELETE", BASE + "pages/k015")
        while "next" in page.json:
            page = self.http.get(BASE + "pages/?limit=10&after=" + page.json["next"])
            self.assertEqual(page.status, 200, page)
            self.assertLessEqual(len(page.json["keys"]), 10)
            seen += [(k["key"], k["value"]) for k in page.json["keys"]]
        self.assertEqual(seen, sorted(keys.items()))

    def test_a_token_is_for_its_own_list(self):
        self.fill("token", {f"k{i}": "v" for i in range(5)})
        token = self.http.get(BASE + "token/?limit=2").json["next"]
        self.assertEqual(self.names(self.http.get(BASE + "token/?limit=9&after=" + token)), ["k2", "k3", "k4"])
        for path in ("token/?prefix=k&after=" + token, "other/?after=" + token, "token/?after=" + token[:-2] + "é",
                     "token/?after=zz", "token/?after=" + token[:-1], "token/?after=" + token[:-2], "token/?env=staging&after=" + token, "token/?delimiter=/&after=" + token):
            self.is_problem(self.http.get(BASE + path.replace("é", "%C3%A9")), 400, "page-token")

    def test_the_past_can_be_listed(self):
        then = self.fill("then", {"a": "1", "b": "2"})
        self.fill("then", {"a": "9", "c": "3"})
        answer = self.http.get(BASE + f"then/?at={then}")
        self.assertEqual([(k["key"], k["value"]) for k in answer.json["keys"]], [("a", "1"), ("b", "2")])
        self.assertEqual(answer.json["revision"], then)
        self.is_problem(self.http.get(BASE + "then/?at=999999999"), 400, "invalid")

    def test_a_delimiter_groups(self):
        self.fill("tree", {"a": "1", "b/1": "1", "b/2": "1", "b0": "1", "c/d/e": "1", "d": "1"})
        answer = self.http.get(BASE + "tree/?delimiter=/")
        self.assertEqual(self.names(answer), ["a", "b0", "d"])
        self.assertEqual(answer.json["prefixes"], ["b/", "c/"])
        below = self.http.get(BASE + "tree/?delimiter=/&prefix=c/").json
        self.assertEqual((below["keys"], below["prefixes"]), ([], ["c/d/"]))
        got, after = [], ""
        for _ in range(5):
            page = self.http.get(BASE + "tree/?delimiter=/&limit=1" + after).json
            got += [k["key"] for k in page["keys"]] + page["prefixes"]
            after = "&after=" + page.get("next", "")
        self.assertEqual(got, ["a", "b/", "b0", "c/", "d"])

    def test_groups_larger_than_a_page_are_passed_over(self):
        for start in range(0, 3000, 1000):
            self.fill("big", {f"g/{i}": "v" for i in range(start, start + 1000)})
        self.fill("big", {"h": "v"})
        answer = self.http.get(BASE + "big/?delimiter=/").json
        self.assertEqual(([k["key"] for k in answer["keys"]], answer["prefixes"]), (["h"], ["g/"]))
        self.assertEqual(len(self.http.get(BASE + "big/").json["keys"]), 1000)

    def test_a_list_asked_again_with_its_tag_costs_nothing(self):
        self.fill("tagged", {"a": "1"})
        tag = self.http.get(BASE + "tagged/")["ETag"]
        self.fill("elsewhere", {"a": "1"})
        self.assertEqual(self.http.get(BASE + "tagged/", If_None_Match=tag).status, 304)
        self.fill("tagged", {"a": "2"})
        self.assertEqual(self.http.get(BASE + "tagged/", If_None_Match=tag).status, 200)

    def test_namespaces_and_environments_are_listed(self):
        for name in ("zone-a", "zone", "zone0"):
            self.fill(name, {"k/1": "v", "k/2": "v"})
        answer = self.http.get(BASE + "?prefix=zone")
        self.assertEqual(sorted(answer.json["namespaces"]), ["zone", "zone-a", "zone0"])
        first = self.http.get(BASE + "?prefix=zone&limit=1").json
        self.assertEqual(len(first["namespaces"]), 1)
        rest = self.http.get(BASE + "?prefix=zone&after=" + first["next"]).json
        self.assertEqual(first["namespaces"] + rest["namespaces"], answer.json["namespaces"])
        self.http.put(BASE + "default/a?env=staging", "1")
        environments = self.http.get("/v1/environments").json["environments"]
        self.assertTrue({"production", "staging"} <= set(environments), environments)
        self.assertEqual(self.http.get(BASE + "?env=staging").json["namespaces"], ["default"])

    def test_bytes_in_a_list_are_base64(self):
        self.http.put(BASE + "binary/x", b"\xff\x00", "application/octet-stream")
        key = self.http.get(BASE + "binary/").json["keys"][0]
        self.assertEqual(base64.b64decode(key["value_base64"]), b"\xff\x00")

    def test_bad_lists_are_refused(self):
        for bad in ("limit=0", "limit=1001", "limit=x", "delimiter=123456789", "keys_only=maybe", "prefx=a", "at=0",
                    "prefix=" + "x" * 2000, "env=no/such"):
            self.is_problem(self.http.get(BASE + "list/?" + bad), 400, "invalid")
        self.is_problem(self.http.get(BASE + "?prefix=a/b"), 400, "invalid")

    # ---- batches ----

    def test_many_values_in_one_request(self):
        revision = self.fill("batch", {"a": "1", "b": "2"})
        answer = self.post("/v1/batch-get", {"keys": ["batch/a", {"namespace": "batch", "key": "b"}, "batch/none"]})
        values = answer.json["values"]
        self.assertEqual([(v["key"], v.get("value"), v["found"]) for v in values],
                         [("a", "1", True), ("b", "2", True), ("none", None, False)])
        self.assertEqual(values[2]["problem"], "absent")
        self.assertEqual(values[1]["revision"], revision)
        strong = self.post("/v1/batch-get", {"keys": ["batch/a"], "level": "strong"}).json["values"][0]
        self.assertEqual((strong["level"], strong["tier"]), ("strong", "origin"))
        self.assertEqual(self.post("/v1/batch-get", {"keys": []}).json, {"values": []})

    def test_bad_batches_are_refused_with_their_place(self):
        problem = self.is_problem(self.post("/v1/batch-get", '{"keys": [\n  "a" "b"]}'), 400, "body")
        self.assertEqual(problem["line"], 2)
        for bad in ({"keys": "a"}, {"keys": [1]}, {"key": []}, {"keys": ["a"] * 1001}, {"keys": ["a"], "level": "x"},
                    {"keys": [{"key": "a", "name": "b"}]}, {"keys": ["a\x01"]}, [], {"keys": [], "max_age": "x"}):
            self.is_problem(self.post("/v1/batch-get", bad), 400, "invalid")
        self.is_problem(self.post("/v1/batch-get", "[" * 500 + "]" * 500), 413, "body")
        for path, bad, says in (("/v1/batch-get", {"keys": [], "env": "staging"}, "; 'env' stands in the query, as ?env="),
                                ("/v1/txn", {"ops": [], "dry_run": True}, "it takes compare, ops; 'dry_run' stands in"),
                                ("/v1/batch-get", {"keys": [], "dry_run": True}, "it takes keys, "),
                                ("/v1/batch-get", {"keys": [{"key": "a", "x": 1}]}, "it takes namespace, key")):
            self.assertIn(says, self.is_problem(self.post(path, bad), 400, "invalid")["remedy"])
        self.assertNotIn("query", self.post("/v1/batch-get", {"keys": [], "dry_run": True}).json["remedy"])

    # ---- transactions ----

    def test_a_transaction_is_done_whole(self):
        answer = self.post("/v1/txn", {"ops": [
            {"op": "put", "key": "txn/text", "value": "t", "media_type": "text/plain"},
            {"op": "put", "key": "txn/json", "json": {"a": [1, 2.5]}},
            {"op": "put", "key": "txn/bytes", "value_base64": "/wA="},
            {"op": "delete", "key": "txn/none"}]})
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual([r["changed"] for r in answer.json["results"]], [True, True, True, False])
        self.assertEqual(self.http.get(BASE + "txn/json").json, {"a": [1, 2.5]})
        self.assertEqual(self.http.get(BASE + "txn/bytes").body, b"\xff\x00")
        self.assertEqual(self.http.get(BASE + "txn/text")["Content-Type"], "text/plain")

    def test_a_condition_that_does_not_hold_stops_all(self):
        first = self.fill("cond", {"a": "1"})
        ops = [{"op": "put", "key": "cond/b", "value": "2"}, {"op": "delete", "key": "cond/a"}]
        for compare in ([{"key": "cond/a", "revision": first + 100}], [{"key": "cond/a", "absent": True}],
                        [{"key": "cond/a", "revision": first}, {"key": "cond/b", "present": True}]):
            for dry in ("", "?dry_run"):
                problem = self.is_problem(self.post("/v1/txn" + dry, {"compare": compare, "ops": ops}), 412, "precondition")
                self.assertIn(f"compare[{len(compare) - 1}]: cond/", problem["detail"])
        self.assertEqual(self.http.get(BASE + "cond/b").status, 404)
        good = {"compare": [{"key": "cond/a", "revision": first}, {"key": "cond/b", "absent": True}], "ops": ops}
        dry = self.post("/v1/txn?dry_run", good)
        self.assertEqual([r["would"] for r in dry.json["results"]], ["create", "delete"])
        self.assertEqual(self.http.get(BASE + "cond/b").status, 404)
        self.assertEqual(self.post("/v1/txn", good).status, 200)
        self.assertEqual((self.http.get(BASE + "cond/b").body, self.http.get(BASE + "cond/a").status), (b"2", 404))

    def test_a_comparison_is_of_the_layer_that_is_written_to_and_says_so(self):
        base = self.http.put(BASE + "cond/behind?env=base", "1").json["revision"]
        self.assertEqual(self.http.get(BASE + "cond/behind")["MarketPrism-Revision"], str(base))
        ops = [{"op": "put", "key": "cond/behind", "value": "2"}]
        for dry in ("?dry_run", ""):
            for compare in ({"revision": base}, {"present": True}):
                problem = self.is_problem(self.post("/v1/txn" + dry, {
                    "compare": [dict(compare, key="cond/behind")], "ops": ops}), 412, "precondition")
                self.assertIn("cond/behind is absent in production;", problem["detail"])
                self.assertIn("?effective=false", problem["remedy"])
            done = self.post("/v1/txn" + dry, {"compare": [{"key": "cond/behind", "absent": True}], "ops": ops})
            self.assertEqual(done.status, 200, done)
        other = {"compare": [{"key": "cond/behind", "revision": base}], "ops": ops}
        for dry in ("?dry_run", ""):
            problem = self.is_problem(self.post("/v1/txn" + dry, other), 412, "precondition")
            self.assertIn("cond/behind is at another revision in production;", problem["detail"])

    def test_a_transaction_can_roll_back(self):
        old = self.fill("back", {"a": "1"})
        self.fill("back", {"a": "2"})
        self.assertEqual(self.post("/v1/txn", {"ops": [{"op": "rollback", "key": "back/a", "to": old}]}).status, 200)
        self.assertEqual(self.http.get(BASE + "back/a").body, b"1")
        self.is_problem(self.post("/v1/txn", {"ops": [{"op": "rollback", "key": "back/z", "to": old},
                                                      {"op": "put", "key": "back/y", "value": ""}]}), 412, "precondition")
        self.assertEqual(self.http.get(BASE + "back/y").status, 404)

    def test_a_dry_run_knows_what_a_rollback_would_bring_back(self):
        old = self.fill("dryback", {"a": "1"})
        new = self.fill("dryback", {"a": "2"})
        for to, would in ((old, "change"), (new, "nothing")):
            dry = self.post("/v1/txn?dry_run", {"ops": [{"op": "rollback", "key": "dryback/a", "to": to}]})
            self.assertEqual([r["would"] for r in dry.json["results"]], [would])
        none = {"ops": [{"op": "rollback", "key": "dryback/z", "to": old}]}
        real, dry = (self.is_problem(self.post("/v1/txn" + more, none), 412, "precondition") for more in ("", "?dry_run"))
        self.assertEqual(dry["detail"], real["detail"])

    def test_bad_transactions_are_refused(self):
        put = {"op": "put", "key": "bad/a", "value": "1"}
        for bad in ({}, {"ops": []}, {"ops": [put, put]}, {"ops": [dict(put, op="fly")]}, {"ops": [dict(put, json=1)]},
                    {"ops": [{"op": "put", "key": "a"}]}, {"ops": [dict(put, valeu="x")]}, {"ops": [put], "compare": {}},
                    {"ops": [put], "compare": [{"key": "bad/a"}]}, {"ops": ["x"]}, {"ops": [dict(put, ttl=5)]},
                    {"ops": [put], "compare": [{"key": "bad/a", "absent": False}]}, {"ops": [dict(put, ttl="5 years")]},
                    {"ops": [{"op": "put", "key": "bad/a", "value_base64": "a"}]}, {"ops": [dict(put, key="")]},
                    {"ops": [dict(put, media_type="a b")]}, {"ops": [dict(put, key=f"k{i}") for i in range(1001)]}):
            self.is_problem(self.post("/v1/txn", bad), 400, "invalid")
        self.assertEqual(self.http.get(BASE + "bad/").json["keys"], [])

    def test_a_namespace_with_a_slash_is_no_other_namespace(self):
        self.fill("split", {"x/y": "1"})
        named = {"namespace": "split/x", "key": "y"}
        for path, body in (("/v1/batch-get", {"keys": [named]}), ("/v1/txn", {"ops": [dict(named, op="delete")]})):
            self.assertIn("slash", self.is_problem(self.post(path, body), 400, "invalid")["detail"])
        self.assertEqual(self.http.get(BASE + "split/x/y").body, b"1")

    # ---- differences ----

    def test_two_revisions_of_a_key_differ_by_leaves(self):
        first = self.http.put(BASE + "diff/j", {"a": 1, "b": {"c": "x"}}).json["revision"]
        second = self.http.put(BASE + "diff/j", {"a": 2, "b": {"d": True}}).json["revision"]
        for query in ("", f"?from={first}", f"?from={first}&to={second}"):
            answer = self.http.get("/v1/diff/diff/j" + query).json
            self.assertEqual((answer["op"], answer["from"]["revision"], answer["to"]["revision"]), ("change", first, second))
            self.assertEqual([(c["path"], c["op"], c.get("from"), c.get("to")) for c in answer["changes"]],
                             [("a", "change", "1", "2"), ("b.c", "remove", "x", None), ("b.d", "add", None, "true")])
        same = self.http.get(f"/v1/diff/diff/j?from={second}").json
        self.assertEqual((same["different"], same["op"], same["changes"]), (False, "none", []))
        before = self.http.get(f"/v1/diff/diff/j?to={first}").json
        self.assertEqual((before["op"], before["to"]["revision"]), ("add", first))
        self.http("DELETE", BASE + "diff/j")
        self.assertEqual(self.http.get("/v1/diff/diff/j").json["op"], "remove")
        self.is_problem(self.http.get("/v1/diff/diff/never"), 404, "absent")

    def test_two_environments_of_a_namespace_differ(self):
        self.fill("envs", {"same": "1", "changed": "1", "gone": "1"})
        for key, value in (("same", "1"), ("changed", "2"), ("new", "3")):
            self.post("/v1/txn?env=staging", {"ops": [{"op": "put", "namespace": "envs", "key": key, "value": value}]})
        answer = self.http.get("/v1/diff/envs/?to_env=staging").json
        self.assertEqual([(c["key"], c["op"]) for c in answer["changes"]],
                         [("changed", "change"), ("gone", "remove"), ("new", "add")])
        self.assertEqual((answer["added"], answer["removed"], answer["changed"], answer["same"]), (1, 1, 1, 1))
        self.assertEqual(answer["changes"][0]["to"]["value"], "2")
        key = self.http.get("/v1/diff/envs/changed?to_env=staging").json
        self.assertEqual((key["from"]["value"], key["to"]["value"]), ("1", "2"))

    def test_two_revisions_of_a_prefix_differ(self):
        first = self.fill("revs", {"p/a": "1", "p/b": "1", "q": "1"})
        self.fill("revs", {"p/a": "2", "q": "2"})
        answer = self.http.get(f"/v1/diff/revs/?from={first}&prefix=p/&keys_only").json
        self.assertEqual([(c["key"], c["op"]) for c in answer["changes"]], [("p/a", "change")])
        self.assertNotIn("value", answer["changes"][0]["to"])
        self.is_problem(self.http.get("/v1/diff/revs/"), 400, "invalid")

    # ---- export and import ----

    FILES = {"application/json": '{"db": {"host": "h", "ports": [1, 2]}, "on": true}\n',
             "application/yaml": "db:\n  host: h\n  ports: [1, 2]\non: true\n"}

    def test_a_file_that_is_imported_is_exported_again(self):
        for number, (type, text) in enumerate(self.FILES.items()):
            answer = self.post(f"/v1/import/file{number}", text, type)
            self.assertEqual((answer.status, answer.json["keys"], answer.json["changed"]), (200, 4, 4), answer)
            again = self.post(f"/v1/import/file{number}", text, type)
            self.assertEqual((again.json["keys"], again.json["changed"]), (4, 0))
            back = self.http.get(f"/v1/export/file{number}", Accept="application/json")
            self.assertEqual(back.json, {"db": {"host": "h", "ports": [1, 2]}, "on": True})
            yaml = self.http.get(f"/v1/export/file{number}", Accept="application/yaml")
            self.assertEqual(yaml["Content-Type"], "application/yaml")
            self.assertEqual(self.post("/v1/import/other?prefix=x" + str(number) + ".", yaml.text, "application/yaml").status, 200)
        self.assertEqual(self.http.get("/v1/export/other?prefix=x1", Accept="application/json").json["x1"]["on"], True)

    def test_an_export_keeps_each_type_whatever_the_other_keys_have(self):
        text, number, stamp = {"t": "text"}, {"n": 5}, {"s": "2020-01-01"}
        for name, parts in (("text_last", [number, stamp, text]), ("number_last", [text, {"b": True}, number])):
            tree = {f"k{place}": part for place, part in enumerate(parts)}
            self.assertEqual(self.post(f"/v1/import/{name}", json.dumps(tree), "application/json").status, 200)
            self.assertEqual(self.http.get(f"/v1/export/{name}", Accept="application/json").json, tree)
        text = 'a = 1\nb = "x"\nc = 1979-05-27T07:32:00Z\nd = 2.5\ne = "1"\n'
        self.assertEqual(self.post("/v1/import/dated", text, "application/toml").status, 200)
        self.assertEqual(self.http.get("/v1/export/dated", Accept="application/toml").text, text)

    def test_accept_chooses_between_list_and_file(self):
        self.post("/v1/import/accept", '{"A": "1"}', "application/json")
        yaml = self.http.get(BASE + "accept/", Accept="application/json;q=0.5, application/yaml")
        self.assertEqual(yaml["Content-Type"], "application/yaml")
        for accept in ("application/json, application/yaml", "*/*", "application/*"):
            self.assertIn("keys", self.http.get(BASE + "accept/", Accept=accept).json)
        env = self.http.get(BASE + "accept/", Accept="text/x-shellscript")
        self.assertIn("A=", env.text)
        tag = yaml["ETag"]
        self.assertNotEqual(tag, env["ETag"])
        self.assertEqual(self.http.get("/v1/export/accept", Accept="application/yaml", If_None_Match=tag).status, 304)
        self.is_problem(self.http.get("/v1/export/accept", Accept="image/png, application/json;q=0"), 406, "not-acceptable")

    def test_yaml_goes_by_its_other_names_too(self):
        for type in ("application/x-yaml", "text/yaml", "text/x-yaml; charset=utf-8"):
            self.assertEqual(self.post("/v1/import/names", f"t: {type}\n", type).status, 200, type)
            answer = self.http.get("/v1/export/names", Accept=type)
            self.assertEqual((answer.status, answer["Content-Type"]), (200, "application/yaml"), type)
            self.assertIn(type, answer.text)

    def test_what_a_format_cannot_say_is_refused(self):
        self.fill("contra", {"a": "1", "a.b": "2"})
        self.is_problem(self.http.get("/v1/export/contra", Accept="application/json"), 422, "export")

    def test_a_broken_file_changes_nothing_and_names_its_place(self):
        problem = self.is_problem(self.post("/v1/import/broken", '{"a": 1,\n "b": }', "application/json"), 400, "file")
        self.assertEqual((problem["line"], problem["column"] > 0), (2, True))
        self.assertTrue(problem["detail"].startswith("2:"), problem)
        self.is_problem(self.post("/v1/import/broken", "a: 1\na: 2\n", "application/yaml"), 400, "file")
        self.is_problem(self.post("/v1/import/broken", json.dumps({"x" * 1025: 1}), "application/json"), 413, "limit")
        many = json.dumps({f"k{i}": i for i in range(20001)})
        self.is_problem(self.post("/v1/import/broken", many, "application/json"), 413, "limit")
        self.is_problem(self.post("/v1/import/broken", "x", "image/png"), 415, "format")
        self.is_problem(self.post("/v1/import/broken", "x"), 415, "format")
        self.assertEqual(self.http.get(BASE + "broken/").json["keys"], [])

    def test_a_dry_run_of_an_import_answers_what_would_differ(self):
        self.post("/v1/import/dry", '{"a": "1", "b": "2"}', "application/json")
        answer = self.post("/v1/import/dry?dry_run", '{"a": "1", "b": "3", "c": "4"}', "application/json")
        self.assertEqual([(c["key"], c["op"], c.get("from"), c["to"]) for c in answer.json["changes"]],
                         [("b", "change", "2", "3"), ("c", "add", None, "4")])
        self.assertEqual((answer.json["added"], answer.json["changed"], answer.json["same"]), (1, 1, 1))
        self.assertEqual(self.http.get(BASE + "dry/b").body, b"2")

    def test_prune_deletes_what_the_file_has_not_and_its_dry_run_shows_that(self):
        def keys(namespace):
            return [key["key"] for key in self.http.get(f"{BASE}{namespace}/").json["keys"]]

        def post(query, text):
            return self.post("/v1/import/pruned" + query, text, "application/json")
        post("", '{"a": "1", "b": "2", "x": {"c": "3", "d": "4"}, "z": "5"}')
        self.post("/v1/import/pruned2", '{"a": "1"}', "application/json")
        dry = post("?prune&dry_run", '{"b": "2", "x": {"c": "9"}, "y": "0"}').json
        self.assertEqual([(c["key"], c["op"], c.get("from"), c.get("to")) for c in dry["changes"]],
                         [("a", "remove", "1", None), ("x.c", "change", "3", "9"), ("x.d", "remove", "4", None),
                          ("y", "add", None, "0"), ("z", "remove", "5", None)])
        self.assertEqual([dry[name] for name in ("added", "changed", "same", "removed")], [1, 1, 1, 3])
        self.assertEqual(keys("pruned"), ["a", "b", "x.c", "x.d", "z"])
        done = post("?prune&prefix=x.", '{"c": "3"}').json  # of the prefix alone
        self.assertEqual([done[name] for name in ("keys", "changed", "removed")], [1, 0, 1])
        self.assertEqual(keys("pruned"), ["a", "b", "x.c", "z"])
        done = post("?prune", '{"b": "2", "x": {"c": "9"}, "y": "0"}').json
        self.assertEqual([done[name] for name in ("keys", "changed", "removed")], [3, 2, 2])
        self.assertEqual(keys("pruned"), ["b", "x.c", "y"])
        self.assertNotIn("removed", post("", '{"b": "2"}').json)
        for nothing in (" \n", "null", b"\xef\xbb\xbf"):  # as a query that found nothing says it
            problem = self.is_problem(post("?prune", nothing), 400, "file")
            self.assertIn("write '{}' into it", problem["detail"])
        self.assertEqual(len(keys("pruned")), 3)
        revision = done["revision"]
        done = post("?prune", "{}").json
        self.assertEqual(([done[name] for name in ("keys", "changed", "removed")], keys("pruned")), ([0, 0, 3], []))
        self.assertGreater(done["revision"], revision)
        self.assertEqual(post("?prune", "{}").json, {"revision": 0, "keys": 0, "changed": 0, "removed": 0})
        self.assertEqual(keys("pruned2"), ["a"])

    def test_a_prune_that_is_refused_deletes_and_writes_nothing(self):
        path, keys = "/v1/import/refused", {"a": "1", "b": "2", "x.c": "3"}
        self.fill("refused", keys)
        schema = '{"properties": {"a": {"type": "integer"}}, "required": ["a"]}'
        self.http.put(BASE + "_schema/refused", schema, "application/schema+json")
        good, type = '{"a": 5}', "application/json"
        refusals = [("?prune=perhaps", good, type, 400, "invalid", {}), ("?prun", good, type, 400, "invalid", {}),
                    ("?prune&env=a%20b", good, type, 400, "invalid", {}),
                    ("?prune", '{"a": 5', type, 400, "file", {}), ("?prune", '"x"', type, 400, "file", {}),
                    ("?prune", good, "text/plain", 415, "format", {}), ("?prune", good, None, 415, "format", {}),
                    ("?prune", good, type, 403, "cross-site", {"Origin": "http://evil.example"}),
                    ("?prune", '{"b": 5}', type, 422, "invalid-value", {}),  # with it goes what the schema wants
                    ("?prune", '{"a": "5"}', type, 422, "invalid-value", {}),
                    ("?prune", json.dumps({f"k{i}": i for i in range(20001)}), type, 413, "limit", {})]
        for query, body, type_, status, problem, headers in refusals:
            for dry in ("", "&dry_run"):
                with self.subTest(query=query + dry, body=body[:20], type=type_, headers=headers):
                    self.is_problem(self.post(path + query + dry, body, type_, **headers), status, problem)
                    kept = {key["key"]: key["value"] for key in self.http.get(BASE + "refused/").json["keys"]}
                    self.assertEqual(kept, keys)
        self.assertEqual(self.http.get(path + "?prune").status, 405)
        self.assertEqual(self.post(path + "?prune&dry_run", good, type).json["removed"], 2)

    def test_a_prune_deletes_of_its_own_layer_alone(self):
        self.fill("layered", {"a": "1", "b": "2"})
        here = "/v1/import/layered?region=eu"
        self.post(here, '{"b": "3", "c": "4"}', "application/json")
        self.assertEqual(self.post(here + "&prune", '{"b": "5"}', "application/json").json["removed"], 1)
        self.assertEqual(self.names(self.http.get(BASE + "layered/")), ["a", "b"])
        self.assertEqual([self.http.get(f"{BASE}layered/{key}?region=eu").body for key in "ab"], [b"1", b"5"])
        self.assertEqual(self.http.get(BASE + "layered/c?region=eu").status, 404)

    def test_a_key_that_is_written_while_a_prune_would_delete_it_stops_it_and_is_named(self):
        done = threading.Event()

        def write():
            with contextlib.closing(self.daemon.client()) as client:
                for i in itertools.count():
                    if done.is_set():
                        return
                    client(*(("SET", "raced/new", i) if i % 3 else ("DEL", "raced/new")))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            statuses = set()

            def is_seen():
                self.http.put(BASE + "raced/b", "old", "text/plain")
                answer = self.post("/v1/import/raced?prune", '{"a": "1"}', "application/json")
                statuses.add(answer.status)
                if answer.status == 200:
                    return False
                problem = self.is_problem(answer, 409, "conflict")
                self.assertIn("raced/new was written or deleted", problem["detail"])
                self.assertIn("send it again", problem["remedy"])
                self.assertEqual(self.http.get(BASE + "raced/b").body, b"old")  # nothing of it was done
                return True
            wait_until(is_seen, 30)
        finally:
            done.set()
            writer.join()
        self.assertLessEqual(statuses, {200, 409})

    def test_a_prune_of_an_origin_that_takes_no_writes_is_refused(self):
        daemon = Daemon().start()
        self.addCleanup(daemon.close)
        http = Http(daemon.http)
        self.addCleanup(http.close)
        http.put(BASE + "gone/a", "1", "text/plain")
        for file in daemon.data.glob("origin.db*"):
            file.unlink()
        wait_until(lambda: not http.get("/readyz").json["writable"])
        for dry in ("", "&dry_run"):
            answer = http("POST", "/v1/import/gone?prune" + dry, '{"b": 2}', "application/json")
            self.assertEqual(answer.status, 503, answer)
        self.assertEqual(http.get(BASE + "gone/a").body, b"1")

    def test_a_key_that_ends_stays_once_a_file_has_it_and_the_dry_run_says_so(self):
        self.http.put(BASE + "ending/a?ttl=1h", "1", Content_Type="text/plain")
        ends = self.http.get(BASE + "ending/").json["keys"][0]["expires_ms"]
        dry = self.post("/v1/import/ending?dry_run", '{"a": "1"}', "application/json").json
        self.assertEqual([(c["from"], c["from_expires_ms"], c["to"]) for c in dry["changes"]], [("1", ends, "1")])
        for changed in (1, 0):
            self.assertEqual(self.post("/v1/import/ending", '{"a": "1"}', "application/json").json["changed"], changed)
            self.assertNotIn("expires_ms", self.http.get(BASE + "ending/").json["keys"][0])
            dry = self.post("/v1/import/ending?dry_run", '{"a": "1"}', "application/json").json
            self.assertEqual((dry["changes"], dry["same"]), ([], 1))

    def test_a_large_namespace_is_imported_and_exported_whole(self):
        large = {f"group{i % 50}": {f"k{j}": "v" * 20 for j in range(i % 50, 10000, 50)} for i in range(50)}
        answer = self.post("/v1/import/large", json.dumps(large), "application/json")
        self.assertEqual((answer.status, answer.json["keys"]), (200, 10000), answer)
        self.assertEqual(self.http.get("/v1/export/large", Accept="application/json").json, large)


class WithoutOrigin(unittest.TestCase):
    def test_lists_of_what_is_kept_say_that_they_are_stale(self):
        daemon = Daemon().start()
        http = Http(daemon.http)
        try:
            for i in range(5):
                http.put(BASE + f"kept/k{i}", "v")
            first = http.get(BASE + "kept/?limit=2").json
            away = pathlib.Path(daemon.folder, "away")
            away.mkdir()
            for file in daemon.data.glob("origin*"):
                shutil.move(file, away / file.name)
            wait_until(lambda: http.get("/readyz").json["origin"] in ("lost", "down"))
            answer = http.get(BASE + "kept/")
            self.assertEqual([k["key"] for k in answer.json["keys"]], [f"k{i}" for i in range(5)])
            self.assertEqual((answer.json["stale"], answer.json["revision"]), (True, 0))
            self.assertEqual(answer["MarketPrism-Stale"], "true; reason=origin-lost")
            self.assertIn("reason=origin-lost", http.get(BASE + "kept/k1")["MarketPrism-Stale"])
            self.assertEqual(http.get(BASE + "kept/?after=" + first["next"]).status, 503)
            page = http.get(BASE + "kept/?limit=3").json
            rest = http.get(BASE + "kept/?after=" + page["next"]).json
            self.assertEqual(len(page["keys"]) + len(rest["keys"]), 5)
            write = http("POST", "/v1/txn", {"ops": [{"op": "put", "key": "kept/x", "value": ""}]})
            self.assertEqual((write.status, write.json["type"]), (503, "/problems/origin-lost"), write)
        finally:
            http.close()
            daemon.close()


if __name__ == "__main__":
    mp_tap.main()

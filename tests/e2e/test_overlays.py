#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Layers of configuration over RESP, HTTP and the command line, in the real binary."""

import json
import unittest

import mp_tap
from mp_daemon import Daemon, ReplyError
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
        why = json.loads(self.cli("explain", "a", "--json", *here))
        self.assertEqual([layer["scope"] for layer in why["layers"]],
                         ["production~eu~i7", "production~eu", "production", "base"])
        self.assertEqual([layer["state"] for layer in why["layers"]],
                         ["absent", "absent", "masked", "value"])
        self.assertEqual((why["layer"], why["layers"][3]["value"]), ("production", "b"))
        self.cli("get", "a", "--instance", "i7", code=2)

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

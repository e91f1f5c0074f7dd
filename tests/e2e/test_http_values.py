#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Values over HTTP: read, written, patched, deleted, with conditions and marks of freshness."""

import json
import socket
import threading
import unittest

import mp_tap
from mp_daemon import Daemon, ReplyError, Served, wait_until
from mp_http import Answer, Http

BASE = "/v1/config/"
LARGE = '{"a":[' + "1," * (1024 * 1024) + "1]}"  # 2 MiB
MIDDLE = LARGE[:256 * 1024] + "1]}"  # is worked on beside the loop, too


class Large(Served):
    """What takes long to be patched holds nobody up."""

    options = ("--set", "server.workers=1")

    def setUp(self):
        self.http = Http(self.daemon.http, timeout=60)
        self.addCleanup(self.http.close)
        self.assertIn(self.http.put(BASE + "docs/large", LARGE, "application/json").status, (200, 201))

    def patch(self, query="", type="application/merge-patch+json", patch='{"b": 2}'):
        return self.http("PATCH", BASE + "docs/large" + query, patch, type)

    def test_the_loop_does_not_patch_a_large_value_itself(self):
        before = [self.daemon.cpu_of(name) for name in ("mp-loop-0", "mp-http")]
        for type, patch in (("application/merge-patch+json", '{"b": 2}'),
                            ("application/json-patch+json", '[{"op": "add", "path": "/b", "value": 2}]')):
            answer = self.patch("?dry_run", type, patch)
            self.assertEqual((answer.status, answer.json["would"]), (200, "change"))
        loop, aside = (self.daemon.cpu_of(name) - cpu for name, cpu in zip(("mp-loop-0", "mp-http"), before))
        self.assertGreater(aside, 4 * loop)

    def test_a_large_patch_is_what_a_small_one_is(self):
        tag = self.http.get(BASE + "docs/large")["ETag"]
        self.assertEqual(self.patch(patch='{"a": null, "b": "x"', type="application/merge-patch+json").status, 400)
        missing = self.patch(type="application/json-patch+json", patch='[{"op": "remove", "path": "/none"}]')
        self.assertEqual(missing.status, 422, missing)
        self.assertEqual(self.http("PATCH", BASE + "docs/large", '{"b": 2}', "application/merge-patch+json",
                                   If_Match='"other"').status, 412)
        self.assertEqual(self.http.get(BASE + "docs/large")["ETag"], tag)
        done = self.http("PATCH", BASE + "docs/large", '{"b": 2}', "application/merge-patch+json", If_Match=tag)
        self.assertEqual(done.status, 200, done)
        got = self.http.get(BASE + "docs/large")
        self.assertEqual((got["ETag"], len(got.json["a"]), got.json["b"]), (done["ETag"], 1024 * 1024 + 1, 2))
        grown = self.patch(patch=json.dumps({"c": "y" * (3 * 1024 * 1024)}))
        self.assertEqual(grown.status, 413, grown)

    def test_patches_that_race_are_all_made(self):
        errors = []
        self.http.put(BASE + "docs/racing", MIDDLE, "application/json")

        def add(name):
            http = Http(self.daemon.http, timeout=60)
            answer = http("PATCH", BASE + "docs/racing", json.dumps({name: 1}), "application/merge-patch+json")
            if answer.status != 200:
                errors.append(answer)
            http.close()
        threads = [threading.Thread(target=add, args=(f"n{i}",)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        got = self.http.get(BASE + "docs/racing").json
        self.assertEqual([got.get(f"n{i}") for i in range(4)], [1] * 4)

    def test_an_answer_of_many_megabytes_comes_whole(self):
        for i in range(3):
            self.http.put(BASE + f"docs/many{i}", "x" * (4 * 1024 * 1024 - i), "text/plain")
        for _ in range(2):  # more than may wait for a reader besides
            got = self.http("POST", "/v1/batch-get", {"keys": [f"docs/many{i}" for i in range(3)]})
            self.assertEqual((got.status, [len(one["value"]) for one in got.json["values"]]),
                             (200, [4 * 1024 * 1024 - i for i in range(3)]))
        self.assertEqual(self.http.get(BASE + "docs/many0").status, 200)

    def test_a_history_of_large_values_comes_in_pages(self):
        values = [f"{i}" * (2 * 1024 * 1024 - 10) for i in range(6)]
        resp = self.daemon.client()
        self.addCleanup(resp.close)
        for value in values:
            self.http.put(BASE + "docs/past", value, "text/plain")
        path, told, pages = "/v1/history/docs/past?values", [], 0
        before = ""
        while before is not None:
            page = self.http.get(path + before)
            self.assertEqual(page.status, 200)
            self.assertLess(len(page.body), 5 * 1024 * 1024)
            told += [one["value"] for one in page.json["revisions"]]
            before = f"&before={page.json['next_before']}" if "next_before" in page.json else None
            pages += 1
        self.assertEqual(told, values[::-1])
        self.assertGreater(pages, 3)
        self.assertEqual(len(self.http.get("/v1/history/docs/past").json["revisions"]), 6)
        with self.assertRaisesRegex(ReplyError, "ask for less, with COUNT"):
            resp("MP.HISTORY", "docs/past", "VALUES")
        self.assertEqual(len(resp("MP.HISTORY", "docs/past", "VALUES", "COUNT", "3")), 3)

    def test_a_list_of_large_values_comes_in_pages(self):
        resp = self.daemon.client()
        self.addCleanup(resp.close)
        values = {f"wide/k{i}": f"{i}" * (2 * 1024 * 1024 - 10) for i in range(8)}
        for name, value in values.items():
            scope = "base" if name in ("wide/k0", "wide/k5") else "production"
            self.assertEqual(self.http.put(f"{BASE}{name}?env={scope}", value, "text/plain").status, 201)
        self.http.put(BASE + "wide/k5", "near", "text/plain")
        self.http("DELETE", BASE + "wide/k6?mask")
        for effective in ((), ("EFFECTIVE",)):
            expected = {name: value for name, value in values.items() if name != "wide/k0" or effective}
            expected["wide/k5"] = "near"
            del expected["wide/k6"]
            told, after, pages, more = {}, (), 0, 1
            while more:
                _, more, *items = resp("MP.LS", "PREFIX", "wide/", "VALUES", *effective, *after)
                for name, _, _, type, value, *_ in items:
                    if b"mask" not in type:
                        told[name.decode()] = value.decode()
                after = ("AFTER", items[-1][0]) if items else after
                pages += 1
            self.assertEqual({name: len(value) for name, value in told.items()},
                             {name: len(value) for name, value in expected.items()})
            self.assertEqual(told, expected)
            self.assertGreater(pages, 4)
        _, more, *items = resp("MP.LS", "PREFIX", "wide/")
        self.assertEqual((more, len(items)), (0, 7))
        done = self.daemon.cli("ls", "wide/", "--values", "--json")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual({one["key"]: len(one["value"]) for one in json.loads(done.stdout) if "mask" not in one["media_type"]},
                         {name: len(value) for name, value in values.items() if name not in ("wide/k0", "wide/k5", "wide/k6")} | {"wide/k5": 4})

    def test_who_goes_while_his_patch_is_made_hurts_nobody(self):
        self.http.put(BASE + "docs/racing", MIDDLE, "application/json")
        for _ in range(6):
            http = Http(self.daemon.http)
            http.connection.request("PATCH", BASE + "docs/racing", body='{"gone": 1}',
                                    headers={"Content-Type": "application/merge-patch+json"})
            http.close()
        wait_until(lambda: self.http.get(BASE + "docs/racing").json.get("gone") == 1, what="one of them")


class Values(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon().start()
        cls.http = Http(cls.daemon.http)
        cls.resp = cls.daemon.client()

    @classmethod
    def tearDownClass(cls):
        cls.http.close()
        cls.resp.close()
        cls.daemon.close()

    def is_problem(self, answer, status, type):
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer["Content-Type"], "application/problem+json")
        problem = answer.json
        self.assertEqual(problem["status"], status)
        self.assertEqual(problem["type"], "/problems/" + type)
        self.assertTrue(problem["title"] and problem["detail"])
        return problem

    def test_what_is_too_large_is_told_with_its_option(self):
        host, _, port = self.daemon.http.rpartition(":")
        for target, header, status, options in (
                ("x", "Content-Length: 4194305", 413, ("http.body_max",)), ("x" * 9000, "X: y", 414, ("http.line_max",)),
                ("x", "X: " + "y" * 40000, 431, ("http.headers_max", "http.header_count_max"))):
            with socket.create_connection((host, int(port)), 10) as plain:
                plain.sendall(f"PUT {BASE}default/{target} HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
                head, _, body = b"".join(iter(lambda: plain.recv(65536), b"")).partition(b"\r\n\r\n")
            self.assertIn(f" {status} ".encode(), head.splitlines()[0])
            for option in options:
                self.assertIn(option, json.loads(body)["remedy"])

    def test_what_is_put_is_what_is_got(self):
        put = self.http.put(BASE + "default/a", "hello", "text/plain; charset=UTF-8")
        self.assertEqual(put.status, 201, put)
        got = self.http.get(BASE + "default/a")
        self.assertEqual((got.status, got.body), (200, b"hello"))
        self.assertEqual(got["Content-Type"], "text/plain;charset=utf-8")
        self.assertEqual(got["ETag"], put["ETag"])
        self.assertEqual(got["MarketPrism-Revision"], str(put.json["revision"]))
        self.assertEqual(got["MarketPrism-Level"], "eventual")
        self.assertEqual(got["MarketPrism-Tier"], "L1")
        self.assertEqual(got["Age"], "0")
        self.assertIn("max-age=5", got["Cache-Control"])
        self.assertIsNone(got["MarketPrism-Stale"])
        self.assertEqual(got["X-Content-Type-Options"], "nosniff")

    def test_the_same_value_again_makes_no_revision(self):
        first = self.http.put(BASE + "default/same", "1").json
        again = self.http.put(BASE + "default/same", "1")
        self.assertEqual((again.status, again.json["changed"]), (200, False))
        self.assertEqual(again.json["revision"], first["revision"])

    def test_bytes_of_any_kind_come_back(self):
        value = bytes(range(256)) * 1000
        self.http.put(BASE + "default/bytes", value, "application/octet-stream")
        self.assertEqual(self.http.get(BASE + "default/bytes").body, value)

    def test_an_empty_value_is_not_absent(self):
        self.http.put(BASE + "default/empty", "")
        got = self.http.get(BASE + "default/empty")
        self.assertEqual((got.status, got.body), (200, b""))

    def test_keys_have_slashes_and_any_letters(self):
        self.http.put(BASE + "ns/tls/cert%20of%20%C3%BC", "pem")
        self.assertEqual(self.http.get(BASE + "ns/tls%2Fcert%20of%20%C3%BC").body, b"pem")
        self.assertEqual(self.resp("GET", "ns/tls/cert of ü"), b"pem")

    def test_both_protocols_see_one_key_space(self):
        self.resp("SET", "other", "from resp")
        got = self.http.get(BASE + "default/other")
        self.assertEqual(got.body, b"from resp")
        self.assertEqual(got["Content-Type"], "application/octet-stream")

    def test_environments_are_apart(self):
        self.http.put(BASE + "default/e?env=staging", "s")
        self.assertEqual(self.http.get(BASE + "default/e?env=staging").body, b"s")
        self.is_problem(self.http.get(BASE + "default/e"), 404, "absent")

    def test_head_is_get_without_the_body(self):
        self.http.put(BASE + "default/head", "12345", "text/plain")
        head, got = self.http("HEAD", BASE + "default/head"), self.http.get(BASE + "default/head")
        self.assertEqual((head.status, head.body, head["Content-Length"]), (200, b"", "5"))
        for name in ("ETag", "Content-Type", "MarketPrism-Revision"):
            self.assertEqual(head[name], got[name])

    def test_absent_says_so(self):
        problem = self.is_problem(self.http.get(BASE + "default/never"), 404, "absent")
        self.assertEqual(problem["instance"], BASE + "default/never")
        self.is_problem(self.http("DELETE", BASE + "default/never"), 404, "absent")

    def test_a_mistyped_parameter_is_refused(self):
        problem = self.is_problem(self.http.get(BASE + "default/a?evn=staging"), 400, "invalid")
        self.assertIn("did you mean 'env'", problem["detail"])
        for bad in ("env=a&env=b", "env=%zz", "env=a%2Fb", "level=soft", "max_age=1x", "min_rev=-1",
                    "instance=i", "at=0", "strict=perhaps", "env=", "env"):
            self.is_problem(self.http.get(BASE + "default/a?" + bad), 400, "invalid")

    def test_an_empty_environment_is_not_taken_for_the_first_one(self):
        for method, path, body in (("PUT", BASE + "default/a?env=", b"1"), ("DELETE", BASE + "default/a?env=", None),
                                   ("GET", BASE + "default/?env=", None), ("GET", "/v1/watch?wait=1s&env=", None),
                                   ("POST", "/v1/txn?env=", b'{"ops": [{"op": "put", "key": "a", "value": "1"}]}'),
                                   ("GET", "/v1/diff/default/?to_env=", None)):
            problem = self.is_problem(self.http(method, path, body), 400, "invalid")
            self.assertIn("env is empty", problem["detail"])
        self.assertEqual(self.http.get(BASE + "default/a").status, 404)

    # ---- conditions ----

    def test_if_none_match_saves_the_body(self):
        tag = self.http.put(BASE + "default/t", "x" * 100)["ETag"]
        for sent in (tag, "W/" + tag, f'"other", {tag}', "*"):
            answer = self.http.get(BASE + "default/t", If_None_Match=sent)
            self.assertEqual((answer.status, answer.body), (304, b""), sent)
            self.assertEqual(answer["ETag"], tag)
            self.assertIsNone(answer["Content-Type"])
        self.assertEqual(self.http.get(BASE + "default/t", If_None_Match='"other"').status, 200)
        self.http.put(BASE + "default/t", "y")
        self.assertEqual(self.http.get(BASE + "default/t", If_None_Match=tag).status, 200)

    def test_if_match_on_a_read(self):
        tag = self.http.put(BASE + "default/m", "x")["ETag"]
        self.assertEqual(self.http.get(BASE + "default/m", If_Match=tag).status, 200)
        self.is_problem(self.http.get(BASE + "default/m", If_Match="W/" + tag), 412, "precondition")

    def test_only_the_present_value_is_replaced(self):
        tag = self.http.put(BASE + "default/cas", "1")["ETag"]
        second = self.http.put(BASE + "default/cas", "2", If_Match=tag)
        self.assertEqual(second.status, 200, second)
        lost = self.http.put(BASE + "default/cas", "3", If_Match=tag)
        problem = self.is_problem(lost, 412, "precondition")
        self.assertEqual(problem["last_known_revision"], second.json["revision"])
        self.assertEqual(self.http.get(BASE + "default/cas").body, b"2")
        self.is_problem(self.http("DELETE", BASE + "default/cas", If_Match=tag), 412, "precondition")
        self.assertEqual(self.http("DELETE", BASE + "default/cas", If_Match=second["ETag"]).status, 200)
        self.is_problem(self.http.put(BASE + "default/cas", "4", If_Match="*"), 412, "precondition")

    def test_only_a_new_key_is_created(self):
        self.assertEqual(self.http.put(BASE + "default/new", "1", If_None_Match="*").status, 201)
        self.is_problem(self.http.put(BASE + "default/new", "2", If_None_Match="*"), 412, "precondition")

    def lines(self, method, path, body, *headers):
        """A request of which headers may be there several times."""
        connection = self.http.connection
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers + (("Content-Length", str(len(body))),):
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        return Answer(response, response.read())

    def test_conditions_on_several_lines_are_one_list(self):
        path = BASE + "default/lines"
        tag = self.http.put(path, "1")["ETag"]
        for other in (("If-None-Match", '"other"'), ("if-none-match", ' "a" , W/"b"')):
            for _ in range(3):  # from the second on it may go the short way
                read = self.lines("GET", path, b"", other, ("If-None-Match", tag))
                self.assertEqual((read.status, read.body), (304, b""))
            refused = self.lines("PUT", path, b"2", other, ("If-None-Match", tag))
            self.is_problem(refused, 412, "precondition")
        self.assertEqual(self.lines("PUT", path, b"2", ("If-Match", '"other"'),
                                    ("If-Match", tag)).status, 200)
        self.is_problem(self.lines("PUT", path, b"3", ("If-Match", tag), ("If-Match", '"other"')),
                        412, "precondition")
        self.assertEqual(self.http.get(path).body, b"2")
        listed = self.http.get(BASE + "default?prefix=lines")
        again = self.lines("GET", BASE + "default?prefix=lines", b"", ("If-None-Match", '"x"'),
                           ("If-None-Match", listed["ETag"]))
        self.assertEqual(again.status, 304)

    def test_a_condition_that_is_not_understood_changes_nothing(self):
        path = BASE + "default/understood"
        tag = self.http.put(path, "1")["ETag"]
        for bad in ("nonsense", "*x", f"{tag}, *", f"{tag} {tag}", tag[:-1], tag.strip('"'), "", ",",
                    "w/" + tag, '"a b"'):
            for header in ("If-Match", "If-None-Match"):
                with self.subTest(f"{header}: {bad}"):
                    condition = {header: bad}
                    for method, body in (("PUT", "2"), ("DELETE", None), ("GET", None), ("GET", None)):
                        problem = self.is_problem(self.http(method, path, body, **condition), 400, "invalid")
                        self.assertIn(header, problem["detail"])
                        self.assertIn("quotes", problem["remedy"])
                    self.assertEqual(self.http.get(path)["ETag"], tag)
            self.is_problem(self.http("POST", f"/v1/rollback/default/understood?to=1", If_Match=bad),
                            400, "invalid")
            self.is_problem(self.http.get(BASE + "default", If_None_Match=bad), 400, "invalid")

    def test_a_condition_that_a_path_does_not_look_at_changes_nothing(self):
        path = BASE + "default/unseen"
        revision = self.http.put(path, "1").json["revision"]
        self.http.put(path, "2")
        tag = self.http.get(path)["ETag"]
        put = json.dumps({"ops": [{"op": "put", "key": "unseen", "value": "3"}]})
        for target, body, headers in (("/v1/txn", put, ("If-Match", "If-None-Match")),
                                      ("/v1/import/default", '{"unseen": "3"}', ("If-Match", "If-None-Match")),
                                      (f"/v1/rollback/default/unseen?to={revision}", None, ("If-None-Match",))):
            for header in headers:
                for value in ("*", '"other"', tag):
                    refused = self.http("POST", target, body, "application/json", **{header: value})
                    self.assertIn(header + " is no condition", self.is_problem(refused, 400, "invalid")["detail"])
                    self.assertEqual(self.http.get(path)["ETag"], tag)
        self.assertEqual(self.http("POST", f"/v1/rollback/default/unseen?to={revision}", If_Match=tag).status, 200)

    def test_a_revision_that_is_not_there_yet_is_no_reason_to_give_an_older_one(self):
        revision = self.http.put(BASE + "default/ahead", "1").json["revision"]
        self.http.put(BASE + "default/after", "1")
        for key in ("ahead", "never-written"):
            for query in ("", "&level=strong"):
                problem = self.is_problem(
                    self.http.get(f"{BASE}default/{key}?min_rev={revision + 1000000}{query}"), 400, "invalid")
                self.assertIn("not there yet", problem["detail"])
            with self.assertRaisesRegex(ReplyError, "not there yet"):
                self.resp("MP.GET", key, "MINREV", str(revision + 1000000))
            with self.assertRaisesRegex(ReplyError, "not there yet"):
                self.resp("MP.GET", key, "MINREV", str(revision + 1000000), "META")
        for path in ("config/default/ahead?at=", "config/default/ahead?effective=false&at=", "config/default/?at=",
                     "export/default?at=", "diff/default/?from=", "diff/default/ahead?from=", "diff/default/ahead?to="):
            problem = self.is_problem(self.http.get(f"/v1/{path}{revision + 1000000}"), 400, "invalid")
            self.assertIn(f"the newest is {problem['last_known_revision']}", problem["detail"])
            self.assertIn("leave it out", problem["remedy"])
        # one that the origin has reached by another key is good for all
        self.assertEqual(self.http.get(f"{BASE}default/ahead?min_rev={revision + 1}").body, b"1")
        self.assertEqual(self.resp("MP.GET", "ahead", "MINREV", str(revision)), b"1")
        self.assertEqual(self.http.get(f"{BASE}default/never-written?min_rev={revision + 1}").status, 404)

    def test_what_takes_anything_kept_cannot_ask_for_a_revision(self):
        revision = self.http.put(BASE + "default/weakly", "1").json["revision"]
        for answer in (self.http.get(f"{BASE}default/weakly?min_rev={revision}&level=weak"),
                       self.http.get(f"{BASE}default/weakly?min_rev={revision}", Cache_Control="only-if-cached")):
            problem = self.is_problem(answer, 400, "invalid")
            self.assertIn("min_rev contradicts level weak", problem["detail"])
            self.assertIn("eventual", problem["remedy"])
        with self.assertRaisesRegex(ReplyError, "^ERR MINREV contradicts level weak"):
            self.resp("MP.GET", "weakly", "MINREV", str(revision), "LEVEL", "weak")
        self.assertEqual(self.resp("MP.LEVEL", "weak"), "OK")
        self.addCleanup(self.resp, "MP.LEVEL", "eventual")
        with self.assertRaisesRegex(ReplyError, "^ERR MINREV contradicts level weak"):
            self.resp("MP.GET", "weakly", "MINREV", str(revision))
        self.assertEqual(self.resp("MP.GET", "weakly", "MINREV", str(revision), "LEVEL", "eventual"), b"1")
        for words in ("MINREV",), ("MAXAGE", "-1"), ("LEVEL", "strongest"):
            with self.assertRaisesRegex(ReplyError, "^ERR syntax error: MP.GET key .*MAXAGE ms.*from 0"):
                self.resp("MP.GET", "weakly", *words)
        self.assertEqual(self.http.get(f"{BASE}default/weakly?min_rev=0&level=weak").body, b"1")

    def test_what_calls_itself_json_is_json(self):
        first = self.http.put(BASE + "default/claim", {"a": 1}).json["revision"]
        for body, place in ("{broken", (1, 2)), ('{"a": 1,\n "b": }', (2, 7)), ("", (1, 1)):
            for more in "", "?dry_run":
                problem = self.is_problem(self.http.put(BASE + "default/claim" + more, body, "application/json"), 422, "invalid-value")
                self.assertEqual((problem["line"], problem["column"]), place)
                self.assertEqual([(e["where"], e["keyword"], e["line"], e["column"]) for e in problem["errors"]],
                                 [("default/claim", "json", *place)])
                self.assertIn("application/octet-stream", problem["remedy"])
        ops = [{"op": "put", "key": "default/claim-a", "value": "1"},
               {"op": "put", "key": "default/claim", "value": "[", "media_type": "application/json"}]
        problem = self.is_problem(self.http("POST", "/v1/txn", json.dumps({"ops": ops})), 422, "invalid-value")
        self.assertEqual(problem["errors"][0]["where"], "default/claim")
        for words in ("MP.PUT", "claim", "application/json", "["), ("MP.CAS", "claim", first, "[", "application/json"):
            with self.assertRaisesRegex(ReplyError, "^INVALID default/claim: .*line 1, column 2"):
                self.resp(*words)
        said = self.daemon.cli("set", "claim", "[", "--type", "application/json")
        self.assertEqual((said.returncode, said.stdout), (1, ""))
        self.assertIn("line 1, column 2", said.stderr)
        self.assertEqual(self.http.get(BASE + "default/claim")["MarketPrism-Revision"], str(first))
        self.assertEqual(self.http.get(BASE + "default/claim-a").status, 404)
        for type in "application/octet-stream", "application/x-www-form-urlencoded", "text/plain":  # curl -d says the second
            self.assertEqual(self.http.put(BASE + "default/claim", "{" + type, type).status, 200)
        self.assertEqual(self.resp("SET", "claim", "{as it is"), "OK")
        self.assertEqual(self.http.get(BASE + "default/claim").body, b"{as it is")

    # ---- patches ----

    def test_a_merge_patch_changes_a_part(self):
        self.http.put(BASE + "default/p", {"a": 1, "b": {"c": 2}})
        answer = self.http("PATCH", BASE + "default/p", json.dumps({"b": {"c": None, "d": 3}}),
                           "application/merge-patch+json")
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(self.http.get(BASE + "default/p").json, {"a": 1, "b": {"d": 3}})

    def test_a_patched_value_ends_when_it_would_have_and_keeps_its_type(self):
        kinds = (("application/merge-patch+json", b'{"b": 2}'),
                 ("application/json-patch+json", b'[{"op": "add", "path": "/c", "value": 3}]'))
        self.http.put(BASE + "default/kept?ttl=1h", b'{"a": 1}', Content_Type="application/vnd.limits+json")
        ends = self.http.get(BASE + "default/?prefix=kept").json["keys"][0]["expires_ms"]
        for kind, patch in kinds:
            told = self.http("PATCH", BASE + "default/kept?dry_run", patch, Content_Type=kind).json
            self.assertEqual(told["would"], "change")
            self.assertEqual(self.http("PATCH", BASE + "default/kept", patch, Content_Type=kind).status, 200)
            again = self.http("PATCH", BASE + "default/kept?dry_run", patch, Content_Type=kind).json
            self.assertEqual(again["would"], "nothing")
            kept = self.http.get(BASE + "default/?prefix=kept").json["keys"][0]
            self.assertEqual((kept["expires_ms"], kept["media_type"]), (ends, "application/vnd.limits+json"))
        self.http("PATCH", BASE + "default/kept?ttl=2h", b"{}", Content_Type=kinds[0][0])
        self.assertGreater(self.http.get(BASE + "default/?prefix=kept").json["keys"][0]["expires_ms"], ends)
        self.http("PUT", BASE + "default/kept", b"{}", Content_Type="application/json")
        self.assertNotIn("expires_ms", self.http.get(BASE + "default/?prefix=kept").json["keys"][0])

    def test_a_json_patch_is_done_whole_or_not(self):
        self.http.put(BASE + "default/q", {"a": [1]})
        type = "application/json-patch+json"
        good = [{"op": "test", "path": "/a/0", "value": 1}, {"op": "add", "path": "/a/-", "value": 2}]
        self.assertEqual(self.http("PATCH", BASE + "default/q", json.dumps(good), type).status, 200)
        for patch, status, name in ((good[1:] + [{"op": "test", "path": "/a/0", "value": 9}], 409, "patch-conflict"),
                                    (good[1:] + [{"op": "remove", "path": "/z"}], 422, "patch"),
                                    ([{"op": "fly", "path": ""}], 400, "patch")):
            self.is_problem(self.http("PATCH", BASE + "default/q", json.dumps(patch), type), status, name)
        self.is_problem(self.http("PATCH", BASE + "default/q", "[{", type), 400, "patch")
        self.assertEqual(self.http.get(BASE + "default/q").json, {"a": [1, 2]})

    def test_a_number_that_cannot_be_kept_exact_is_not_patched_and_said_to_be_that(self):
        text = '{"big": 123456789012345678901234567890, "a": 1}'
        self.http.put(BASE + "default/big", text, "application/json")
        for body, type in (('{"a": 2}', "application/merge-patch+json"),
                           ('[{"op": "replace", "path": "/a", "value": 2}]', "application/json-patch+json")):
            problem = self.is_problem(self.http("PATCH", BASE + "default/big", body, type), 409, "patch-conflict")
            self.assertIn("64 bits", problem["detail"])
            self.assertNotIn("is no JSON", problem["detail"])
        self.assertEqual(self.http.get(BASE + "default/big").text, text)

    def test_what_is_no_patch_is_refused(self):
        answer = self.http("PATCH", BASE + "default/q", "{}", "application/json")
        self.is_problem(answer, 415, "patch-type")
        self.assertIn("application/merge-patch+json", answer["Accept-Patch"])
        self.http.put(BASE + "default/plain", "no json", "text/plain")
        self.is_problem(self.http("PATCH", BASE + "default/plain", "[]", "application/json-patch+json"),
                        409, "patch-conflict")

    # ---- time ----

    def test_a_value_can_expire(self):
        self.http.put(BASE + "default/ttl?ttl=300ms", "x")
        self.assertIn("max-age=0", self.http.get(BASE + "default/ttl")["Cache-Control"])
        wait_until(lambda: self.http.get(BASE + "default/ttl").status == 404)
        self.http.put(BASE + "default/stays?ttl=1h", "x")
        self.assertEqual(self.http.put(BASE + "default/stays?dry_run", "x").json["would"], "change")
        self.assertTrue(self.http.put(BASE + "default/stays", "x").json["changed"])
        self.assertFalse(self.http.put(BASE + "default/stays", "x").json["changed"])
        keys = self.http.get(BASE + "default/?prefix=stays").json["keys"]
        self.assertEqual([key.get("expires_ms", 0) for key in keys], [0])

    def test_no_time_to_live_at_all_is_refused_and_not_taken_for_ever(self):
        path, tag = BASE + "default/at-once", self.http.put(BASE + "default/at-once", {"a": 1})["ETag"]
        merge = "application/merge-patch+json"
        for none in ("0", "0s", "0ms"):
            for answer in (self.http.put(f"{path}?ttl={none}", "x"), self.http("PATCH", f"{path}?ttl={none}", "{}", merge),
                           self.http("DELETE", f"{path}?mask&ttl={none}"), self.http.put(f"{path}?dry_run&ttl={none}", "x"),
                           self.http("POST", "/v1/txn", json.dumps({"ops": [
                               {"op": "put", "key": "at-once", "value": "x", "ttl": none}]}))):
                self.assertIn("leave it out", self.is_problem(answer, 400, "invalid")["detail"])
        self.assertEqual(self.http.get(path)["ETag"], tag)

    def test_the_past_can_be_read(self):
        first = self.http.put(BASE + "default/past", "one").json["revision"]
        second = self.http.put(BASE + "default/past", "two").json["revision"]
        gone = self.http("DELETE", BASE + "default/past").json["revision"]
        got = self.http.get(BASE + f"default/past?at={first}")
        self.assertEqual((got.body, got["MarketPrism-Revision"]), (b"one", str(first)))
        self.assertEqual(self.http.get(BASE + f"default/past?at={gone - 1}").body, b"two")
        self.is_problem(self.http.get(BASE + f"default/past?at={gone}"), 404, "absent")
        self.is_problem(self.http.get(BASE + f"default/past?at={first - 1}"), 404, "absent")
        history = self.http.get("/v1/history/default/past?values").json["revisions"]
        self.assertEqual([(r["revision"], r["deleted"], r.get("value")) for r in history],
                         [(gone, True, None), (second, False, "two"), (first, False, "one")])
        page = self.http.get("/v1/history/default/past?limit=2").json
        self.assertEqual(page["next_before"], second)
        rest = self.http.get(f"/v1/history/default/past?before={second}").json["revisions"]
        self.assertEqual([r["revision"] for r in rest], [first])
        back = self.http("POST", f"/v1/rollback/default/past?to={first}")
        self.assertEqual(back.status, 200, back)
        self.assertEqual(self.http.get(BASE + "default/past").body, b"one")
        self.is_problem(self.http("POST", f"/v1/rollback/default/past?to={gone}"), 404, "no-such-revision")
        self.is_problem(self.http("POST", "/v1/rollback/default/past"), 400, "invalid")

    def test_a_key_that_never_existed_has_no_history_and_a_deleted_one_keeps_it(self):
        problem = self.is_problem(self.http.get("/v1/history/default/no-past"), 404, "absent")
        self.assertIn("never existed", problem["detail"])
        self.assertIn("/v1/explain", problem["remedy"])
        self.assertEqual(self.daemon.cli("history", "no-past").returncode, 3)
        self.assertEqual(self.resp("MP.HISTORY", "no-past"), [])
        first = self.http.put(BASE + "default/had-past", "1").json["revision"]
        self.http("DELETE", BASE + "default/had-past")
        self.assertEqual(len(self.http.get("/v1/history/default/had-past").json["revisions"]), 2)
        self.assertEqual(self.daemon.cli("history", "had-past").returncode, 0)
        behind = self.http.get(f"/v1/history/default/had-past?before={first}")  # the end of its pages
        self.assertEqual((behind.status, behind.json["revisions"]), (200, []))
        self.is_problem(self.http.get("/v1/history/default/had-past?env=nowhere"), 404, "absent")

    def test_a_dry_run_changes_nothing(self):
        self.http.put(BASE + "default/dry", "1")
        for method, body, type, would in (("PUT", "2", None, "change"), ("PUT", "1", None, "nothing"),
                                          ("DELETE", None, None, "delete"),
                                          ("PATCH", "{}", "application/merge-patch+json", "change")):
            answer = self.http(method, BASE + "default/dry?dry_run", body, type)
            self.assertEqual((answer.status, answer.json["would"]), (200, would), answer)
        self.assertEqual(self.http.put(BASE + "default/dry2?dry_run=true", "1").json["would"], "create")
        self.assertEqual(self.http.get(BASE + "default/dry").body, b"1")
        self.assertEqual(self.http.get(BASE + "default/dry2").status, 404)

    def test_why_is_told(self):
        self.http.put(BASE + "default/why", "1")
        said = self.http.get("/v1/explain/default/why").json
        self.assertEqual((said["address"], said["kind"]), ("production/default/why", "value"))
        self.assertIn("Held fresh", said["summary"])
        self.assertEqual(self.http.get(BASE + "default/why-none").status, 404)
        said = self.http.get("/v1/explain/default/why-none").json
        self.assertEqual(said["kind"], "absent")
        self.assertIn("answered with absent", said["summary"])

    # ---- caches and browsers ----

    def test_cache_control_of_the_request_chooses_the_level(self):
        self.http.put(BASE + "default/cc", "1")
        strong = self.http.get(BASE + "default/cc", Cache_Control="no-cache")
        self.assertEqual((strong["MarketPrism-Level"], strong["MarketPrism-Tier"]), ("strong", "origin"))
        weak = self.http.get(BASE + "default/cc", Cache_Control="only-if-cached, max-stale=10")
        self.assertEqual((weak["MarketPrism-Level"], weak["MarketPrism-Tier"]), ("weak", "L1"))

    def test_lines_of_what_the_client_takes_are_one_list(self):
        path = BASE + "taken/large"
        value = json.dumps({"list": ["abc"] * 2000})
        self.http.put(path, value, "application/json")
        lines = lambda *headers: self.lines("GET", path, b"", *headers)
        for _ in range(3):  # from the second on it may go the short way
            for first in ("br", "identity", ""):
                packed = lines(("Accept-Encoding", first), ("Accept-Encoding", "gzip"))
                self.assertEqual(packed["Content-Encoding"], "gzip", first)
        for first, second in (("*", "gzip;q=0"), ("br", "gzip;q=0"), ("gzip;q=0", "*")):
            self.assertIsNone(lines(("Accept-Encoding", first), ("Accept-Encoding", second))["Content-Encoding"])
        for one in ("max-stale=10", "max-age=100"):
            weak = lines(("Cache-Control", one), ("Cache-Control", "only-if-cached"))
            self.assertEqual(weak["MarketPrism-Level"], "weak", one)
        for first in ("image/png", "application/json;q=0.1"):
            answer = self.lines("GET", "/v1/export/taken", b"", ("Accept", first), ("Accept", "application/yaml"))
            self.assertEqual((answer.status, answer["Content-Type"]), (200, "application/yaml"), first)
            watch = self.lines("HEAD", "/v1/watch", b"", ("Accept", first), ("Accept", "application/x-ndjson"))
            self.assertEqual((watch.status, watch["Content-Type"]), (200, "application/x-ndjson"), first)
        page = self.lines("GET", "/", b"", ("Accept", "image/png"), ("Accept", "text/html"))
        self.assertIn("text/html", page["Content-Type"])
        self.is_problem(self.lines("PUT", path, b"x", ("Content-Encoding", "gzip"), ("Content-Encoding", "br")), 415,
                        "content-encoding")

    def test_large_values_are_compressed_for_who_takes_it(self):
        value = json.dumps({"list": ["abc"] * 2000})
        plain_tag = self.http.put(BASE + "default/large", value, "application/json")["ETag"]
        packed = self.http.get(BASE + "default/large", Accept_Encoding="br, gzip;q=0.5")
        self.assertEqual((packed["Content-Encoding"], packed["Vary"]), ("gzip", "Accept-Encoding"))
        for _ in range(3):  # from the second on it may go the short way
            plain = self.lines("GET", BASE + "default/large", b"")
            self.assertEqual((plain["Content-Encoding"], plain["Vary"]), (None, "Accept-Encoding"))
            self.assertEqual(plain.text, value)
        for _ in range(3):
            same = self.lines("GET", BASE + "default/large", b"", ("If-None-Match", plain["ETag"]))
            self.assertEqual((same.status, same["Vary"]), (304, "Accept-Encoding"))
        self.http.put(BASE + "default/small", "x")
        self.assertIsNone(self.http.get(BASE + "default/small")["Vary"])
        self.assertEqual(packed.text, value)
        self.assertLess(int(packed["Content-Length"]), len(value) // 10)
        self.assertNotEqual(packed["ETag"], plain_tag)
        for refusal in ("gzip;q=0", "identity", "br"):
            self.assertIsNone(self.http.get(BASE + "default/large", Accept_Encoding=refusal)["Content-Encoding"])
        again = self.http.get(BASE + "default/large", Accept_Encoding="gzip", If_None_Match=packed["ETag"])
        self.assertEqual(again.status, 304)
        self.assertEqual(self.http.put(BASE + "default/large", "{}", If_Match=packed["ETag"]).status, 200)

    def test_pages_of_other_sites_cannot_write(self):
        answer = self.http.put(BASE + "default/csrf", "1", Origin="http://evil.example")
        self.is_problem(answer, 403, "cross-site")
        self.is_problem(self.http.put(BASE + "default/csrf", "1", Origin="null"), 403, "cross-site")
        self.assertEqual(self.http.put(BASE + "default/csrf", "1", Origin="http://" + self.daemon.http).status, 201)

    def test_a_page_whose_name_was_made_to_lead_here_reads_and_writes_nothing(self):
        port = self.daemon.http.rsplit(":", 1)[1]
        self.http.put(BASE + "default/secret", "1")
        self.http.get(BASE + "default/secret")
        signs = ({"Accept-Language": "en"}, {"User-Agent": "Mozilla/5.0 (X11)"}, {"Referer": "http://evil.example/"},
                 {"Sec-Fetch-Site": "same-origin"}, {"Origin": f"http://evil.example:{port}"})
        for sign in signs:
            for host in (f"evil.example:{port}", "evil.example.", "127.0.0.1.evil.example", "localhost.example"):
                for method, path in (("GET", BASE + "default/secret"), ("GET", "/v1/watch"), ("GET", "/metrics"),
                                     ("PUT", BASE + "default/secret")):
                    answer = self.http(method, path, "2" if method == "PUT" else None, Host=host, **sign)
                    self.assertIn("http.hosts", self.is_problem(answer, 403, "cross-site")["remedy"])
            for host in (f"127.0.0.1:{port}", "localhost", "[::1]:7481", "marketprism", "app.localhost:80"):
                answer = self.http.get(BASE + "default/secret", Host=host, **sign)
                self.assertEqual((answer.status, answer.text), (200, "1"), (host, sign))
        self.assertEqual(self.http.get(BASE + "default/secret", Host="proxy.example").status, 200)  # a program
        raw = f"GET {BASE}default/secret HTTP/1.1\r\nHost: evil.example\r\nAccept-Language: en\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as s:  # also one behind the other
            s.sendall(raw * 20)
            got = b""
            while got.count(b'"remedy"') < 20:
                got += s.recv(65536) or self.fail(got)
        self.assertEqual((got.count(b"HTTP/1.1 403"), got.count(b" 200 OK")), (20, 0))
        named = Daemon().start("--set", "http.hosts=other.example:80,config.example:443")
        self.addCleanup(named.close)
        for host, status in (("Config.example:80", 200), ("evil.example", 403)):
            http = Http(named.http)
            self.assertEqual(http.get("/v1/config/", Host=host, Accept_Language="en").status, status)
            http.close()

    def test_paths_that_are_none(self):
        self.is_problem(self.http.get("/v1/nothing"), 404, "no-such-path")
        answer = self.http("POST", BASE + "default/a", "x")
        self.is_problem(answer, 405, "method-not-allowed")
        self.assertEqual(answer["Allow"], "GET, HEAD, PUT, PATCH, DELETE")
        options = self.http("OPTIONS", BASE + "default/a")
        self.assertEqual((options.status, options["Allow"]), (204, "GET, HEAD, PUT, PATCH, DELETE"))
        self.assertEqual(options["Accept-Patch"], "application/merge-patch+json, application/json-patch+json")
        self.assertIsNone(self.http("OPTIONS", BASE + "default/")["Accept-Patch"])

    # ---- order ----

    def test_a_pipeline_is_answered_in_order_and_reads_see_the_writes_before(self):
        def request(line, body=b""):
            return line + b" HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        sent = b"".join(request(b"PUT /v1/config/default/pipe", b"v%d" % i) +
                        request(b"GET /v1/config/default/pipe") for i in range(50))
        got = self.http.raw(sent)
        self.assertEqual(got.count(b"HTTP/1.1 "), 100)
        place = 0
        for i in range(50):
            place = got.index(b"\r\n\r\nv%d" % i, place)

    def test_who_waits_for_100_gets_it(self):
        got = self.http.raw(b"PUT /v1/config/default/continue HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                            b"Content-Length: 2\r\n\r\n", half=True)
        self.assertTrue(got.startswith(b"HTTP/1.1 100 Continue\r\n\r\n"), got)

    def test_http_1_0_is_answered(self):
        got = self.http.raw(b"GET /healthz HTTP/1.0\r\n\r\n", half=False)
        self.assertTrue(got.startswith(b"HTTP/1.1 200 OK\r\n") and b"Connection: close" in got, got)
        got = self.http.raw(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        self.assertIn(b"Connection: keep-alive\r\n", got)


if __name__ == "__main__":
    mp_tap.main()

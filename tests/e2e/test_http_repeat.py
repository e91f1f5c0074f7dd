#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HTTP requests that come twice, compressed, or only to try; and problems that say what to do."""

import gzip
import json
import socket
import threading
import zlib

import mp_http
import mp_tap
from mp_http import Http

BASE = "/v1/config/"


class Repeat(mp_http.Served):
    options = ("--set", "http.body_max=1MiB")

    def is_problem(self, answer, status, type):
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer["Content-Type"], "application/problem+json")
        self.assertEqual(answer.json["type"], "/problems/" + type)
        self.assertTrue(answer.json["remedy"], answer)
        return answer.json

    def revisions(self, key):
        return len(self.http.get(f"/v1/history/default/{key}").json["revisions"])

    # ---- Idempotency-Key ----

    def test_a_repeat_does_nothing_and_is_answered_the_same(self):
        for method, path, body, type in (("PUT", BASE + "default/once?ttl=1h", "1", None),
                                         ("DELETE", BASE + "default/once", None, None),
                                         ("POST", "/v1/txn", '{"ops":[{"op":"put","key":"once","value":"2","ttl":"1h"}]}', None),
                                         ("PATCH", BASE + "default/once", '{"a":1}', "application/merge-patch+json")):
            key = "once-" + method
            first = self.http(method, path, body, type, Idempotency_Key=key)
            before = self.revisions("once")
            again = self.http(method, path, body, type, Idempotency_Key=key)
            self.assertEqual((again.status, again.body, again["ETag"]), (first.status, first.body, first["ETag"]))
            self.assertEqual((first["Idempotency-Replayed"], again["Idempotency-Replayed"]), (None, "true"))
            self.assertEqual(self.revisions("once"), before)
            self.assertTrue(again["Date"] and again["Content-Length"])

    def test_a_refusal_is_answered_again_as_well(self):
        first = self.http.put(BASE + "default/refused", "1", If_Match='"x"', Idempotency_Key="r1")
        self.is_problem(first, 412, "precondition")
        again = self.http.put(BASE + "default/refused", "1", If_Match='"x"', Idempotency_Key="r1")
        self.assertEqual((again.status, again["Idempotency-Replayed"]), (412, "true"))

    def test_another_request_under_the_same_key_is_refused(self):
        self.assertEqual(self.http.put(BASE + "default/o", "1", Idempotency_Key="o").status, 201)
        for answer in (self.http.put(BASE + "default/o", "2", Idempotency_Key="o"),
                       self.http.put(BASE + "default/p", "1", Idempotency_Key="o"),
                       self.http.put(BASE + "default/o", "1", "text/plain", Idempotency_Key="o"),
                       self.http("DELETE", BASE + "default/o", Idempotency_Key="o")):
            self.is_problem(answer, 422, "idempotency-key")
        self.assertEqual(self.http.get(BASE + "default/o").body, b"1")

    def test_keys_that_are_none_are_refused(self):
        for key in ("", "a b", "x" * 256):
            self.is_problem(self.http.put(BASE + "default/k", "1", Idempotency_Key=key), 400, "invalid")
        self.assertEqual(self.http.put(BASE + "default/k", "1", Idempotency_Key='"quoted-as-the-draft-has-it"').status, 201)

    def test_of_many_at_once_one_is_done(self):
        statuses, barrier = [], threading.Barrier(8)

        def one():
            http = Http(self.daemon.http)
            barrier.wait()
            answer = http.put(BASE + "default/race?ttl=1h", "1", Idempotency_Key="race")
            statuses.append((answer.status, answer["Idempotency-Replayed"]))
            http.close()
        threads = [threading.Thread(target=one) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(self.revisions("race"), 1)
        self.assertEqual(statuses.count((201, None)), 1, statuses)
        self.assertTrue(all(s in ((201, None), (201, "true"), (409, None)) for s in statuses), statuses)

    def test_a_client_that_left_gets_the_answer_when_it_comes_back(self):
        host, port = self.daemon.http.rsplit(":", 1)
        with socket.create_connection((host, int(port))) as sock:
            sock.sendall(b"PUT /v1/config/default/left?ttl=1h HTTP/1.1\r\nHost: x\r\nIdempotency-Key: left\r\n"
                         b"Content-Length: 1\r\n\r\n1")
        answers = []
        while not answers or answers[-1].status == 409:  # until the first, which nobody waited for, is through
            answers.append(self.http("PUT", BASE + "default/left?ttl=1h", "1", Idempotency_Key="left"))
        self.assertEqual(answers[-1].status, 201)
        self.assertEqual(self.revisions("left"), 1)

    # ---- compressed bodies ----

    def test_a_compressed_body_is_what_it_unpacks_to(self):
        text = json.dumps({"a": list(range(1000))})
        answer = self.http.put(BASE + "default/z", gzip.compress(text.encode()), "application/json", Content_Encoding="gzip")
        self.assertEqual(answer.status, 201, answer)
        self.assertEqual(self.http.get(BASE + "default/z").text, text)
        self.assertEqual(self.http.put(BASE + "default/z0", gzip.compress(b""), Content_Encoding="gzip").status, 201)
        self.assertEqual(self.http.get(BASE + "default/z0").body, b"")
        self.assertEqual(self.http.put(BASE + "default/zi", "x", Content_Encoding="identity").status, 201)
        answer = self.http("POST", "/v1/import/packed", gzip.compress(b'{"a": 1}'), "application/json", Content_Encoding="x-gzip")
        self.assertEqual(answer.json["keys"], 1)

    def test_a_bomb_is_refused(self):
        for size in (500_000, 2_000_000, 50_000_000):
            answer = self.http.put(BASE + "default/bomb", gzip.compress(b"\0" * size, 9), Content_Encoding="gzip")
            self.is_problem(answer, 413, "body-too-large")
        large = bytes(i * i % 251 for i in range(1100000))
        self.is_problem(self.http.put(BASE + "default/bomb", gzip.compress(large), Content_Encoding="gzip"), 413, "body-too-large")
        self.assertEqual(self.http.get(BASE + "default/bomb").status, 404)

    def test_what_is_not_one_gzip_stream_is_refused(self):
        whole = gzip.compress(b"value" * 100)
        for bad in (b"no gzip", whole[:-1], whole[:20], whole + b"x", whole + whole, zlib.compress(b"value"),
                    whole[:-8] + b"\0" * 8):
            answer = self.http.put(BASE + "default/bad", bad, Content_Encoding="gzip")
            self.is_problem(answer, 400, "content-encoding")
        answer = self.http.put(BASE + "default/bad", "x", Content_Encoding="br")
        self.is_problem(answer, 415, "content-encoding")
        self.assertIn("gzip", answer["Accept-Encoding"])
        self.assertEqual(self.http.get(BASE + "default/bad").status, 404)

    # ---- trying a rollback ----

    def test_a_rollback_can_be_tried_and_bound(self):
        first = self.http.put(BASE + "default/roll", "1").json["revision"]
        second = self.http.put(BASE + "default/roll", "2")
        path = f"/v1/rollback/default/roll?to={first}"
        dry = self.http("POST", path + "&dry_run").json
        self.assertEqual((dry["would"], dry["revision"]), ("change", second.json["revision"]))
        self.assertEqual(self.http("POST", f"/v1/rollback/default/roll?to={second.json['revision']}&dry_run").json["would"], "nothing")
        same = self.http("POST", f"/v1/rollback/default/roll?to={second.json['revision']}").json
        self.assertEqual((same["revision"], same["changed"]), (second.json["revision"], False))
        self.assertEqual(self.http.get(BASE + "default/roll").body, b"2")
        self.is_problem(self.http("POST", path, If_Match='"other"'), 412, "precondition")
        self.assertEqual(self.http("POST", path, If_Match=second["ETag"]).status, 200)
        self.assertEqual(self.http.get(BASE + "default/roll").body, b"1")
        self.is_problem(self.http("POST", "/v1/rollback/default/never?to=1&dry_run"), 404, "no-such-revision")

    # ---- problems ----

    def test_every_problem_says_what_to_do(self):
        answers = [self.http.get("/nothing"), self.http.get(BASE + "default/none"), self.http.get(BASE + "default/a?x=1"),
                   self.http("POST", BASE + "default/a"), self.http("POST", "/v1/txn", "{"), self.http.put(BASE + "default/" + "k" * 1025, ""),
                   self.http.get(BASE + "default/a?at=99999999"), self.http("PATCH", BASE + "default/a", "{}")]
        for answer in answers:
            self.assertGreaterEqual(answer.status, 400)
            problem = answer.json
            self.assertTrue(problem["remedy"] and problem["detail"] and problem["title"], answer)
        broken = self.http.raw(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        problem = json.loads(broken.split(b"\r\n\r\n", 1)[1])
        self.assertEqual((problem["status"], problem["type"]), (400, "/problems/request"))
        self.assertTrue(problem["remedy"])

    def test_a_history_asked_again_with_its_tag_costs_nothing(self):
        self.http.put(BASE + "default/h", "1")
        tag = self.http.get("/v1/history/default/h")["ETag"]
        self.assertEqual(self.http.get("/v1/history/default/h", If_None_Match=tag).status, 304)
        self.http.put(BASE + "default/h", "2")
        self.assertEqual(self.http.get("/v1/history/default/h", If_None_Match=tag).status, 200)


if __name__ == "__main__":
    mp_tap.main()

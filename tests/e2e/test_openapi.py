#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document and the server say the same: every route is described, every parameter that is
described is taken and no other, every answer is as described. And docs/http.md does what it shows."""

import json
import os
import pathlib
import re
import subprocess
import unittest

import mp_tap
from mp_daemon import Daemon
from mp_http import Http

ROOT = pathlib.Path(__file__).parents[2]


def check(pairs):
    """What our own JSON Schema says of each (schema, document)."""
    lines = "".join(json.dumps({"schema": s, "document": d}) + "\n" for s, d in pairs)
    done = subprocess.run([os.environ["SCHEMA_CHECK"]], input=lines, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


class OpenApi(unittest.TestCase):
    SAMPLES = {"namespace": "api", "key": "a/b"}
    QUERY = {"env": "production", "region": "eu", "instance": "i1", "at": None, "level": "weak", "max_age": "1h",
             "min_rev": "1", "strict": "false", "ttl": "1h", "dry_run": "true", "prefix": "a", "delimiter": "/",
             "limit": "10", "keys_only": "true", "before": "1000000", "values": "true", "to": None, "from": None,
             "to_env": "staging", "to_region": "us", "to_instance": "i2", "effective": "true"}
    BODIES = {"Transaction": {"ops": [{"op": "put", "key": "api/t", "value": "1"}]}, "BatchGet": {"keys": ["api/a/b", "api/no"]},
              "Bytes": "value", "File": {"x": {"y": 1}}, "Patch": {"p": 1}, "Preload": {"habits": True}}

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon().start()
        cls.http = Http(cls.daemon.http)
        cls.document = cls.http.get("/v1/openapi.json").json
        cls.revision = cls.http.put("/v1/config/api/a%2Fb", {"j": 1}).json["revision"]
        cls.http.put("/v1/config/api/a%2Fb", {"j": 2})
        cls.http.put("/v1/config/api/bin", b"\xff", "application/octet-stream")

    @classmethod
    def tearDownClass(cls):
        cls.http.close()
        cls.daemon.close()

    def operations(self):
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                # What goes on is tested where it is served.
                if any("event-stream" in c or "ndjson" in c for r in operation["responses"].values() for c in r.get("content", {})):
                    continue
                yield path, method, operation

    def parameters(self, operation, place):
        return [p for p in operation["parameters"] if p["in"] == place]

    def ask(self, path, method, operation, query=()):
        """The answer to a request that has what must be there, and @query."""
        for name, value in self.SAMPLES.items():
            path = path.replace("{%s}" % name, value)
        given = dict(query)
        for p in self.parameters(operation, "query"):
            if p["required"]:
                given.setdefault(p["name"], str(self.revision))
        if path.startswith("/v1/diff/") and (path.endswith("/") or "effective" in given) and "to_env" not in given:
            given.setdefault("from", str(self.revision))
        if given.get("instance") or given.get("to_instance"):
            given.setdefault("region", "eu")
            if given.get("to_instance"):
                given.setdefault("to_region", "us")
        if given:
            path += "?" + "&".join(f"{n}={v}" for n, v in given.items())
        content = operation.get("requestBody", {}).get("content", {})
        type, body = next(((t, c["schema"]["$ref"]) for t, c in content.items()), (None, None))
        body = self.BODIES[body.rsplit("/", 1)[1]] if body else None
        body = json.dumps(body) if isinstance(body, dict) else body
        return self.http(method.upper(), path, body, "text/plain" if type == "*/*" else type)

    def test_every_route_is_described_and_nothing_else(self):
        routes = re.findall(r"^(GET|PUT|POST|PATCH|DELETE) +(\S+)", self.http.get("/").text, re.M)
        self.assertGreater(len(routes), 20)
        described = [(m.upper(), p) for p, methods in self.document["paths"].items() for m in methods]
        self.assertEqual(sorted(described), sorted((m, p.replace("...}", "}")) for m, p in routes))
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                self.assertIn("operationId", operation, f"{method} {path} is not in route_docs.c")
        names = [o["operationId"] for _, _, o in self.operations()]
        self.assertEqual(len(names), len(set(names)))

    def test_every_parameter_that_is_described_is_taken(self):
        for path, method, operation in self.operations():
            for p in self.parameters(operation, "query"):
                value = self.QUERY.get(p["name"]) or str(self.revision)
                if p["name"] == "after":
                    continue  # its tokens are tested with the lists
                answer = self.ask(path, method, operation, {p["name"]: value})
                if answer.status >= 400:
                    self.assertNotIn("no parameter", answer.json["detail"], (path, method, p["name"]))
                    self.assertNotIn(answer.json["type"][10:], ("invalid", "no-such-path", "method-not-allowed"),
                                     (path, method, p["name"], answer))

    def test_a_parameter_that_is_not_described_is_refused(self):
        for path, method, operation in self.operations():
            names = {p["name"] for p in self.parameters(operation, "query")}
            for name in {"zzz", *self.QUERY, "after"} - names:
                answer = self.ask(path, method, operation, {name: "1"})
                self.assertEqual(answer.status, 400, (path, method, name, answer))
                self.assertIn("no parameter", answer.json["detail"])
                told = answer.json["remedy"].removeprefix("it takes ").split(", ")
                self.assertEqual(set(told), names or {"none"}, (path, method))

    def test_answers_are_as_described(self):
        pairs, where = [], []
        for path, method, operation in self.operations():
            queries = [{}] + [{n: str(self.revision) if self.QUERY.get(n) is None else self.QUERY[n]}
                              for n in ("dry_run", "values", "keys_only", "delimiter", "at", "zzz", "to_env", "limit")
                              if n == "zzz" or n in {p["name"] for p in self.parameters(operation, "query")}]
            for query in queries:
                answer = self.ask(path, method, operation, query)
                described = operation["responses"].get(str(answer.status)) or operation["responses"]["default"]
                type = answer["Content-Type"].split(";")[0]
                content = described["content"]
                self.assertTrue(type in content or "*/*" in content, (path, method, query, answer, content))
                if type.endswith("json") and "*/*" not in content:
                    pairs.append(({"$ref": content[type]["schema"]["$ref"], "components": self.document["components"]}, answer.json))
                    where.append((path, method, query, answer))
        self.assertGreater(len(pairs), 40)
        for said, at in zip(check(pairs), where):
            self.assertEqual(said, "ok", at)

    def test_the_check_itself_can_fail(self):
        schema = {"$ref": "#/components/schemas/Problem", "components": self.document["components"]}
        self.assertNotIn("ok", check([(schema, {"status": 1}), (schema, [])]))

    def test_bodies_that_are_described_are_taken(self):
        pairs = [({"$ref": "#/components/schemas/" + name, "components": self.document["components"]}, body)
                 for name, body in self.BODIES.items()]
        self.assertEqual(set(check(pairs)), {"ok"})

    def test_every_schema_that_is_named_is_there(self):
        names = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(self.document)))
        there = set(self.document["components"]["schemas"])
        self.assertEqual(names - there, set())
        self.assertEqual(there - names, set(), "described and never used")


class Page(unittest.TestCase):
    """docs/http.md: each block of sh runs, and prints what its lines "# -> …" say."""

    def test_the_examples_do_what_they_show(self):
        text = (ROOT / "docs/http.md").read_text(encoding="utf-8")
        blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
        self.assertGreater(len(blocks), 8)
        daemon = Daemon().start()
        try:
            for block in blocks:
                block = block.replace("127.0.0.1:7481", daemon.http)
                done = subprocess.run(["bash", "-euc", block], capture_output=True, text=True, cwd=daemon.folder, timeout=60)
                self.assertEqual(done.returncode, 0, block + done.stderr)
                for wanted in re.findall(r"^# -> (.*)$", block, re.M):
                    self.assertTrue(wanted in done.stdout.replace("\r", ""), (wanted, block, done.stdout[:2000]))
        finally:
            daemon.close()

    def test_every_path_is_on_the_page(self):
        daemon = Daemon().start()
        http = Http(daemon.http)
        try:
            text = (ROOT / "docs/http.md").read_text(encoding="utf-8")
            for method, path in re.findall(r"^(GET|PUT|POST|PATCH|DELETE) +(\S+)", http.get("/").text, re.M):
                self.assertIn(path.replace("...}", "}"), text, f"{method} {path}")
        finally:
            http.close()
            daemon.close()


if __name__ == "__main__":
    mp_tap.main()

# SPDX-License-Identifier: Apache-2.0
"""The origin goes; every value that was known stays, with its age, also after kill -9."""

import contextlib
import fcntl
import json
import pathlib
import re
import shutil
import subprocess
import time
import unittest

import mp_tap
from mp_daemon import BINARY, Daemon, ReplyError, wait_until
from mp_http import Http

KEYS = 300


class Outage(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon().start()
        self.addCleanup(self.daemon.close)
        client = self.daemon.client()
        for i in range(KEYS):
            client("SET", f"app/key{i}", f"value{i}")
        self.assertIsNone(client("GET", "app/never"))
        client.close()

    def origin_files(self):
        return sorted(self.daemon.data.glob("origin.db*"))

    def move_away(self):
        away = pathlib.Path(self.daemon.folder, "away")
        away.mkdir()
        for file in self.origin_files():
            shutil.move(file, away / file.name)
        return away

    def state(self, client):
        return client.meta("app/key0")

    def check_all_kept(self, client):
        for i in range(KEYS):
            self.assertEqual(client("GET", f"app/key{i}"), f"value{i}".encode())
        meta = self.state(client)
        self.assertEqual(meta["stale"], 1)
        self.assertGreaterEqual(meta["age_ms"], 0)
        self.assertIn(meta["reason"], (b"origin-lost", b"origin-down", b"origin-damaged"))
        with self.assertRaisesRegex(ReplyError, "^UNKNOWN"):
            client("GET", "app/not-known-to-anybody")

    def test_a_pipeline_is_answered_as_its_reads_one_by_one(self):
        client = self.daemon.client()
        names = [f"app/{kind}{i}" for kind in ("key", "none") for i in range(32)]
        for name in names:
            client("GET", name)
        self.move_away()
        wait_until(lambda: self.state(client)["stale"], what="the loss")
        alone = [client("GET", name) for name in names]
        self.assertEqual(alone, [f"value{i}".encode() for i in range(32)] + [None] * 32)
        for _ in range(3):
            client.socket.sendall(b"".join(client.encode("GET", name) for name in names))
            self.assertEqual([client.read() for _ in names], alone)
        l1 = Http(self.daemon.http).get("/v1/status").json["cache"]["l1"]
        self.assertLess(l1["misses"], 1000)

    def test_a_moved_database_costs_nothing_but_freshness(self):
        client = self.daemon.client()
        self.move_away()
        wait_until(lambda: self.state(client)["stale"], what="the loss")
        self.check_all_kept(client)
        with self.assertRaisesRegex(ReplyError, "origin"):
            client("SET", "app/key0", "new")
        self.assertEqual(client("GET", "app/key0"), b"value0")

    def test_that_there_is_none_is_marked_stale_as_a_value_is(self):
        client, http = self.daemon.client(), Http(self.daemon.http)
        self.addCleanup(http.close)
        fresh = http.get("/v1/config/app/never")
        self.assertEqual((fresh.status, fresh["MarketPrism-Stale"]), (404, None))
        self.move_away()
        wait_until(lambda: self.state(client)["stale"], what="the loss")
        stale = http.get("/v1/config/app/never")
        self.assertEqual(stale.status, 404)
        self.assertRegex(stale["MarketPrism-Stale"], "^true; age=[0-9]+; reason=origin-")
        self.assertIn("could last be asked", stale.json["detail"])
        self.assertEqual(http.get("/v1/config/app/never?strict").status, 503)

    def test_scripts_and_probes_see_that_it_is_degraded(self):
        http = Http(self.daemon.http)
        self.addCleanup(http.close)
        checked = self.daemon.cli("status", "--check")
        self.assertEqual((checked.returncode, checked.stdout), (0, "live\n"))
        self.assertEqual(http.get("/readyz?strict").status, 200)
        self.assertFalse(http.get("/readyz").json["degraded"])
        self.move_away()
        client = self.daemon.client()
        self.addCleanup(client.close)
        wait_until(lambda: self.state(client)["stale"], what="the loss")
        checked = self.daemon.cli("status", "--check")
        self.assertEqual(checked.returncode, 5)
        self.assertRegex(checked.stdout, "^degraded: origin lost: .*; ")
        told = self.daemon.cli("status", "--check", "--json")
        self.assertEqual((told.returncode, json.loads(told.stdout)["degraded"]), (5, True))
        self.assertEqual(self.daemon.cli("status").returncode, 0)  # it is a report, and no check
        self.assertEqual(http.get("/readyz").status, 200)  # what is kept is served
        strict = http.get("/readyz?strict")
        self.assertEqual((strict.status, strict.json["ready"], strict.json["degraded"]), (503, True, True))
        self.assertIn("origin lost", strict.json["trouble"])
        nobody = subprocess.run([BINARY, "status", "--check", "--resp", "127.0.0.1:1"],
                                capture_output=True, text=True, check=False)
        self.assertEqual(nobody.returncode, 1)

    def test_it_is_not_ready_without_the_namespaces_that_it_is_there_for(self):
        daemon = Daemon("--set", "http.ready_namespaces=app, staging/feeds, shared").start()
        self.addCleanup(daemon.close)
        http, client = Http(daemon.http), daemon.client()
        self.addCleanup(http.close)
        self.addCleanup(client.close)
        client("SET", "app/key", "1")
        client("SET", "apple/key", "1")
        told = http.get("/readyz")
        self.assertEqual((told.status, told.json["ready"], told.json["missing"]), (503, False, ["staging/feeds", "shared"]))
        self.assertIn("http.ready_namespaces", told.json["trouble"])
        client("MP.ENV", "base")  # what all fall back to counts
        client("SET", "shared/key", "1")
        self.assertEqual(http.get("/readyz").json["missing"], ["staging/feeds"])
        client("MP.ENV", "staging")
        client("SET", "feeds/key", "1")
        told = http.get("/readyz")
        self.assertEqual((told.status, told.json["ready"], told.json["missing"]), (200, True, []))
        elsewhere = pathlib.Path(daemon.folder, "elsewhere")
        elsewhere.mkdir()
        for path in daemon.data.glob("origin.db*"):
            path.rename(elsewhere / path.name)
        wait_until(lambda: http.get("/readyz").json["degraded"])
        self.assertEqual((http.get("/readyz").status, http.get("/readyz").json["missing"]), (200, []))  # of what is kept
        self.assertEqual(http.get("/readyz?strict").status, 503)
        for wrong in ("x/", "st aging/a", "a/b/c"):
            refused = subprocess.run([BINARY, "serve", "-d", str(elsewhere / "d"), "--set", f"http.ready_namespaces={wrong}"],
                                     capture_output=True, text=True, check=False, timeout=30)
            self.assertEqual(refused.returncode, 2, refused)
            self.assertIn("http.ready_namespaces: ", refused.stderr)

    @contextlib.contextmanager
    def daemon_that_hangs_on_a_lock(self, *options):
        """A daemon of its own, running, whose origin hangs while the file that comes with it is locked."""
        daemon = Daemon(*options)
        self.addCleanup(daemon.close)
        with open(pathlib.Path(daemon.folder, "hangs"), "w", encoding="utf-8") as lock:
            daemon.hang_on(lock)
            daemon.start()
            yield daemon, lock

    @staticmethod
    def set_fifty_keys(daemon):
        with contextlib.closing(daemon.client()) as client:
            for i in range(50):
                client("SET", f"app/key{i}", f"value{i}")

    def test_lists_are_answered_while_the_origin_hangs(self):
        """Of what is kept; what only the origin knows times out; and then the origin is asked again."""
        with self.daemon_that_hangs_on_a_lock("--set", "origin.timeout=200ms", "--set", "server.workers=2") as (daemon, lock), contextlib.ExitStack() as stack:
            client = stack.enter_context(contextlib.closing(daemon.client()))
            for name in ("app/a", "app/b"):
                client("SET", name, "1")
            lists = [(("KEYS", "*"), [b"app/a", b"app/b"]), (("DBSIZE",), 2)]
            askers = [stack.enter_context(contextlib.closing(daemon.client())) for _ in range(24)]
            http = stack.enter_context(contextlib.closing(Http(daemon.http, timeout=30)))
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                with self.assertRaisesRegex(ReplyError, "^UNKNOWN"):
                    client("GET", "nobody/asked")
                for i, asker in enumerate(askers):
                    asker.send(*lists[i % 2][0])
                for i, asker in enumerate(askers):
                    told = asker.read()
                    self.assertEqual(sorted(told) if isinstance(told, list) else told, lists[i % 2][1])
                past = http.get("/v1/history/app/a")
                self.assertEqual((past.status, past.json["type"].rsplit("/", 1)[-1]), (504, "timeout"))
                self.assertTrue(past.json["remedy"])
                with self.assertRaisesRegex(ReplyError, "^ORIGIN .*timed out"):
                    client("MP.HISTORY", "app/a")
                listed = http.get("/v1/config/app")
                self.assertEqual((listed.status, listed.json["stale"]), (200, True))
            finally:
                fcntl.flock(lock, fcntl.LOCK_UN)
            wait_until(lambda: http.get("/v1/history/app/a").status == 200)
            wait_until(lambda: not http.get("/v1/config/app").json["stale"])

    def test_few_wait_for_an_origin_that_hangs_and_everybody_is_told(self):
        """Three questions and a write; then nothing that is not kept takes long, nor does a write, until it answers."""
        with self.daemon_that_hangs_on_a_lock("--set", "origin.timeout=300ms", "--set", "server.workers=2") as (daemon, lock), contextlib.ExitStack() as stack:
            self.set_fifty_keys(daemon)
            daemon.stop()
            for segment in (daemon.data / "l3").iterdir():
                segment.unlink()  # nothing is kept of it
            daemon.start()
            client = stack.enter_context(contextlib.closing(daemon.client()))
            http = stack.enter_context(contextlib.closing(Http(daemon.http, timeout=30)))
            client("SET", "app/key0", "value0")  # is kept, and the origin has no page of the others in memory
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                first = stack.enter_context(contextlib.closing(daemon.client()))
                self.open_the_circuit(client, http, first)
                self.look_at_the_open_circuit(daemon, client, http)
            finally:
                fcntl.flock(lock, fcntl.LOCK_UN)
            self.assertEqual(first.read(), "OK")
            wait_until(lambda: self.metric(http, "origin_circuit_open") == 0)
            self.assertEqual(client("GET", "app/key1"), b"value1")
            self.assertEqual(client("GET", "app/key2"), b"first")
            self.assertEqual(client("GET", "app/key49"), b"value49")
            self.assertEqual(client("SET", "app/key1", "new"), "OK")
            self.assertEqual(client("MP.GET", "app/key1", "LEVEL", "strong"), b"new")
            self.assertEqual(daemon.cli("status", "--check").returncode, 0)
            self.assertEqual(self.metric(http, "origin_up"), 1)
            self.assertIn("origin-answers", daemon.cli("status").stdout)

    def test_a_preload_of_an_origin_that_hangs_ends_though_nobody_else_asks_it(self):
        """The command says so; the preload itself goes on when there is an answer."""
        with self.daemon_that_hangs_on_a_lock("--set", "origin.timeout=300ms") as (daemon, lock):
            self.set_fifty_keys(daemon)
            daemon.stop()
            daemon.start()
            client = daemon.client()
            self.addCleanup(client.close)
            client("SET", "app/key0", "other")  # the origin has no page of the others in memory
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                preload = daemon.cli("preload", "app/*")
                self.assertEqual(preload.returncode, 1)
                self.assertIn("the origin does not answer", preload.stderr)
                said = json.loads(client("MP.STATUS"))
                self.assertEqual((said["preload"]["state"], said["origin"]["circuit"]["opened"]), ("running", 1))
            finally:
                fcntl.flock(lock, fcntl.LOCK_UN)
            said = wait_until(lambda: [s for s in [json.loads(client("MP.STATUS"))] if s["preload"]["state"] == "done"],
                              what="the end of the preload")[0]
            self.assertEqual(said["preload"]["keys"], 50)
            wait_until(lambda: json.loads(client("MP.STATUS"))["origin"]["circuit"]["state"] == "closed", what="the circuit closed")

    def test_habits_that_are_wished_for_while_the_origin_is_gone_are_not_waited_for(self):
        self.daemon.stop()
        habit = {"key": "production/app/key1", "day": int(time.time() // 86400), "hours": [9] * 24, "groups": 9, "with": {}}
        pathlib.Path(self.daemon.data, "habits.json").write_text(json.dumps({"version": 1, "keys": [habit]}), encoding="utf-8")
        self.daemon.start()
        here = self.daemon.cli("preload", "--habits")
        self.assertEqual((here.returncode, here.stderr), (0, ""))
        client = self.daemon.client()
        self.move_away()
        wait_until(lambda: self.state(client)["stale"], what="the loss")
        gone = self.daemon.cli("preload", "--habits")
        self.assertEqual(gone.returncode, 1)
        self.assertIn("the origin does not answer", gone.stderr)
        wait_until(lambda: json.loads(client("MP.STATUS"))["habits"]["waiting"] == 1, what="the wish")

    @staticmethod
    def metric(http, name):
        return float(re.search(rf"^marketprism_{name} (.*)$", http.get("/metrics").body.decode(), re.M)[1])

    def open_the_circuit(self, client, http, first):
        for i in range(1, 4):
            with self.assertRaisesRegex(ReplyError, "^UNKNOWN"):
                client("GET", f"app/key{i}")
        began = time.monotonic()
        for i in range(4, 49):
            with self.assertRaisesRegex(ReplyError, "^UNKNOWN"):
                client("GET", f"app/key{i}")
            with self.assertRaisesRegex(ReplyError, "^UNKNOWN"):
                client("MP.GET", f"app/key{i}", "LEVEL", "strong")
        first.send("SET", "app/key2", "first")  # of writes nobody knows yet
        wait_until(lambda: http.put("/v1/config/app/key0?dry_run", "new").status == 504)  # it stands
        with self.assertRaisesRegex(ReplyError, "^ORIGIN .*nothing was changed"):
            client("SET", "app/key1", "new")
        put = http.put("/v1/config/app/key1", "new")
        self.assertEqual((put.status, put.json["type"].rsplit("/", 1)[-1]), (504, "timeout"))
        self.assertIn("nothing was changed", put.json["detail"])
        self.assertEqual(http.get("/v1/config/app/key30").status, 503)
        self.assertLess(time.monotonic() - began, 6)  # 90 reads of 0.3 s each

    def look_at_the_open_circuit(self, daemon, client, http):
        self.assertEqual(client("GET", "app/key0"), b"value0")
        meta = client.meta("app/key0")
        self.assertEqual((meta["stale"], meta["reason"]), (1, b"origin-slow"))
        kept = http.get("/v1/config/app/key0")
        self.assertRegex(kept["MarketPrism-Stale"], "^true; age=[0-9]+; reason=origin-slow")
        checked = daemon.cli("status", "--check")
        self.assertEqual(checked.returncode, 5)
        self.assertIn("origin silent", checked.stdout)
        status = http.get("/v1/status").json
        self.assertEqual(status["origin"]["state"], "silent")
        self.assertEqual(http.get("/readyz").json["origin"], "silent")
        self.assertIn(b"origin_state:silent", client("INFO", "marketprism"))
        self.assertRegex(daemon.cli("status").stdout, "origin     sqlite, silent for [0-9]+ m?s, no writes, ")
        self.assertEqual(daemon.cli("explain", "app/none-kept").returncode, 4)  # a read does not wait for it
        self.assertIn(status["origin"]["circuit"]["state"], ("open", "half-open"))
        self.assertGreaterEqual(status["origin"]["circuit"]["refused"], 90)
        self.assertIn("origin-silent", [event["event"] for event in status["events"]])
        self.assertIn("origin silent", daemon.cli("doctor", "--data-dir", str(daemon.data)).stdout)
        explained = http.get("/v1/explain/app/key0").json
        self.assertIn(explained["origin"]["circuit"], ("open", "half-open"))
        self.assertIn("cannot be asked", explained["summary"])
        preload = daemon.cli("preload", "app/*")
        self.assertEqual(preload.returncode, 1)
        self.assertIn("the origin does not answer", preload.stderr)
        asked = http("POST", "/v1/preload", {"patterns": ["app/*"]})
        self.assertEqual((asked.status, asked.json["type"].rsplit("/", 1)[-1]), (504, "timeout"))
        for name, value in (("origin_up", 0), ("origin_circuit_open", 1), ("origin_circuit_opened_total", 1)):
            self.assertEqual(self.metric(http, name), value)
        self.assertIn(self.metric(http, "origin_timeouts_total"), (3, 4))

    def test_readiness_is_told_while_the_origin_hangs(self):
        """By what was seen before, and after a restart by what is kept."""
        with self.daemon_that_hangs_on_a_lock("--set", "http.ready_namespaces=app, seen, never", "--set", "origin.timeout=200ms",
                                              "--set", "server.workers=2") as (daemon, lock):
            with contextlib.closing(daemon.client()) as client:
                client("SET", "app/key", "1")
                client("SET", "seen/key", "1")
            probes = [Http(daemon.http, timeout=30) for _ in range(4)]  # of both loops
            for probe in probes:
                self.addCleanup(probe.close)
            self.assertEqual(probes[0].get("/readyz").json["missing"], ["never"])
            self.hang_and_probe(daemon, lock, probes)
            daemon.stop()
            daemon.start()
            again = Http(daemon.http, timeout=30)
            self.addCleanup(again.close)
            self.hang_and_probe(daemon, lock, [again])

    def hang_and_probe(self, daemon, lock, probes):
        with contextlib.closing(daemon.client()) as client, contextlib.ExitStack() as stack:
            listers = [stack.enter_context(contextlib.closing(daemon.client())) for _ in range(8)]
            client("SET", "app/last", "1")  # else the origin may remember all that it is asked for
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                with self.assertRaisesRegex(ReplyError, "^UNKNOWN"):
                    client("GET", "nobody/asked")
                for lister in listers:  # as many as are under way at once, and more
                    lister.send("KEYS", "*")
                    lister.send("KEYS", "*")
                for probe in probes * 3:
                    told = probe.get("/readyz")
                    self.assertEqual((told.status, told.json["missing"]), (503, ["never"]))
            finally:
                fcntl.flock(lock, fcntl.LOCK_UN)
            for lister in listers:
                self.assertEqual([sorted(lister.read()) for _ in range(2)], [[b"app/key", b"app/last", b"seen/key"]] * 2)
            self.assertEqual(client("SET", "never/key", "1"), "OK")
            wait_until(lambda: probes[0].get("/readyz").status == 200)
            self.assertEqual(client("DEL", "never/key"), 1)
            wait_until(lambda: probes[0].get("/readyz").json["missing"] == ["never"])

    def test_a_daemon_that_has_nothing_to_serve_is_not_ready(self):
        self.daemon.stop()
        for path in self.daemon.data.iterdir():
            if path.name != "origin.id":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.daemon.start()
        checked = self.daemon.cli("status", "--check")
        self.assertEqual((checked.returncode, checked.stdout[:10]), (4, "not ready:"))

    def test_what_is_written_back_is_taken_without_an_origin_and_arrives_after_kill_9(self):
        self.daemon.stop()
        self.daemon.start("--set", "cache.write_modes=orders=back")
        client = self.daemon.client()
        away = self.move_away()
        wait_until(lambda: self.state(client)["stale"], what="the loss")
        for i in range(50):
            self.assertEqual(client("SET", "orders/a", f"value{i}"), "OK")
        self.assertEqual(client("GET", "orders/a"), b"value49")
        self.assertRegex(self.daemon.cli("status").stdout, "writing +[1-9][0-9]* on their way to the origin, the first since")
        self.assertEqual(client.meta("orders/a")["reason"], b"pending")
        http = Http(self.daemon.http)
        self.addCleanup(http.close)
        put = http.put("/v1/config/orders/b", "17", "application/json")
        self.assertEqual((put.status, put.json), (202, {"pending": True}))
        self.assertEqual(client("MP.PUT", "orders/c", "text/plain", "typed"), [1, 0])
        txn = http("POST", "/v1/txn", {"ops": [{"op": "delete", "key": "orders/b"}]})
        self.assertEqual(txn.status, 503)
        self.daemon.kill()
        self.daemon.start("--set", "cache.write_modes=orders=back")
        client = self.daemon.client()
        self.assertEqual(client("GET", "orders/a"), b"value49")
        for file in away.iterdir():
            shutil.move(file, self.daemon.data / file.name)
        wait_until(lambda: client.meta("orders/a")["reason"] != b"pending", what="the arrival")
        self.assertEqual(client("MP.GET", "orders/a", "LEVEL", "strong"), b"value49")
        self.assertEqual(len(client("MP.HISTORY", "orders/a", "COUNT", "100")), 50)
        self.assertEqual(client("MP.GET", "orders/b", "LEVEL", "strong"), b"17")
        self.assertEqual(client("MP.GET", "orders/c", "LEVEL", "strong"), b"typed")
        self.assertFalse((self.daemon.data / "conflicts.jsonl").exists())
        self.assertRegex(self.daemon.cli("status").stdout, "writing +0 on their way to the origin, 0 conflicts")

    def test_a_dry_run_says_what_a_write_would_be_told_that_is_written_back(self):
        self.daemon.stop()
        self.daemon.start("--set", "cache.write_modes=orders=back")
        http = Http(self.daemon.http)
        self.addCleanup(http.close)
        dry = http("DELETE", "/v1/config/orders/none?dry_run")
        self.assertEqual((dry.status, dry.json), (200, {"dry_run": True, "would": "nothing", "revision": 0}))
        self.assertEqual(http("DELETE", "/v1/config/orders/none").status, 202)
        for what in ("?dry_run", ""):
            self.assertEqual(http("DELETE", "/v1/config/through/none" + what).status, 404)

    def test_kill_9_while_the_origin_is_gone_loses_nothing_kept(self):
        client = self.daemon.client()
        away = self.move_away()
        wait_until(lambda: self.state(client)["stale"], what="the loss")
        self.daemon.kill()
        self.daemon.start()
        self.assertIn("begin anew", self.daemon.ready["trouble"])
        client = self.daemon.client()
        self.check_all_kept(client)
        origin = json.loads(self.daemon.cli("status", "--json", check=True).stdout)["origin"]
        self.assertEqual((origin["known"], origin["revision"]), (False, KEYS))
        self.assertNotIn("keys", origin)
        self.assertIn(f"revision {KEYS} or more, keys unknown", self.daemon.cli("status").stdout)
        self.assertEqual(len(client("KEYS", "app/*")), KEYS)
        for file in away.iterdir():
            shutil.move(file, self.daemon.data / file.name)
        wait_until(lambda: not self.state(client)["stale"], what="the origin's return")
        self.assertEqual(client("SET", "app/key0", "new"), "OK")
        self.assertEqual(client("GET", "app/key0"), b"new")

    def test_a_destroyed_database_is_not_overwritten_and_values_stay(self):
        self.daemon.kill()
        database = self.daemon.data / "origin.db"
        rubbish = b"this was a database once\n" * 2000
        for file in self.origin_files():
            file.unlink()
        database.write_bytes(rubbish)
        self.daemon.start()
        client = self.daemon.client()
        self.check_all_kept(client)
        self.daemon.kill()
        self.assertEqual(database.read_bytes(), rubbish)

    def test_strict_readers_get_an_error_instead_of_a_stale_value(self):
        client = self.daemon.client()
        self.move_away()
        wait_until(lambda: self.state(client)["stale"], what="the loss")
        client("MP.LEVEL", "eventual", "STRICT")
        with self.assertRaisesRegex(ReplyError, "^STALE"):
            client("GET", "app/key0")
        client("MP.LEVEL", "strong")
        with self.assertRaises(ReplyError):
            client("GET", "app/key0")

    def test_who_is_refused_a_stale_value_is_told_the_revision_that_is_known(self):
        client, http = self.daemon.client(), Http(self.daemon.http)
        self.addCleanup(http.close)
        revision = http.get("/v1/config/app/key0")["MarketPrism-Revision"]
        self.move_away()
        wait_until(lambda: self.state(client)["stale"], what="the loss")
        for query in ("strict", "level=strong", "strict&effective=false", "level=strong&effective=false"):
            refused = http.get("/v1/config/app/key0?" + query)
            self.assertEqual((refused.status, str(refused.json["last_known_revision"])), (503, revision), query)
        self.assertNotIn("last_known_revision", http.get("/v1/config/app/never-heard-of?strict").json)

    def test_who_asks_for_certainty_is_told_what_is_kept_and_how_to_read_it(self):
        client = self.daemon.client()
        self.move_away()
        wait_until(lambda: self.state(client)["stale"], what="the loss")
        client("MP.LEVEL", "strong")
        for words in ("GET", "app/key0"), ("MGET", "app/key0"), ("MP.GET", "app/key0"):
            with self.subTest(words=words):
                with self.assertRaisesRegex(ReplyError, "^(UNKNOWN|ORIGIN) .* is kept: read it with level"):
                    client(*words)
        with self.assertRaisesRegex(ReplyError, "^(UNKNOWN|ORIGIN) .*a strong read takes no other"):
            client("GET", "app/none")
        said = self.daemon.cli("get", "--level", "strong", "app/key0")
        self.assertNotEqual(said.returncode, 0)
        self.assertRegex(said.stderr, "level eventual")
        client("MP.LEVEL", "weak")
        with self.assertRaisesRegex(ReplyError, "^UNKNOWN .*a weak read asks nobody"):
            client("GET", "app/none")

    def test_explain_changes_nothing_of_what_it_explains(self):
        self.daemon.stop()
        self.daemon.start()
        for _ in range(2):
            said = json.loads(self.daemon.cli("explain", "app/key7", "--json", check=True).stdout)
            self.assertEqual(said["kept_in"], ["L3"])
        self.assertEqual(self.daemon.client()("GET", "app/key7"), b"value7")
        said = json.loads(self.daemon.cli("explain", "app/key7", "--json", check=True).stdout)
        self.assertEqual(said["kept_in"], ["L1", "L3"])

    def test_a_new_origin_is_only_begun_when_asked_for(self):
        self.daemon.kill()
        for file in self.origin_files():
            file.unlink()
        self.daemon.start()
        self.assertNotEqual(self.daemon.ready["trouble"], "")
        self.daemon.kill()
        self.daemon.start("--new-origin")
        self.assertEqual(self.daemon.ready["trouble"], "")
        client = self.daemon.client()
        self.assertEqual(client("SET", "app/key0", "born again"), "OK")
        self.assertEqual(client("GET", "app/key0"), b"born again")

    def lose_all(self):
        """Everything of the origin goes at once, as with a folder or a disk of its own."""
        away = pathlib.Path(self.daemon.folder, "away")
        away.mkdir()
        for file in sorted(self.daemon.data.glob("origin.*")):
            shutil.move(file, away / file.name)
        return away

    def check_lost(self, client):
        self.assertIn("--new-origin", self.daemon.ready["trouble"])
        self.check_all_kept(client)
        with self.assertRaisesRegex(ReplyError, "--new-origin"):
            client("SET", "app/key0", "new")
        self.assertEqual(sorted(file.name for file in self.daemon.data.glob("l3.of-*")), [])

    def test_a_file_that_is_rendered_of_stale_values_is_said_to_be(self):
        c = self.daemon.client()
        self.addCleanup(c.close)
        c("MSET", "r/a", "1", "r/b", "2")
        template = pathlib.Path(self.daemon.folder, "t")
        template.write_text("{{r/a}} {{r/b}} {{r/none | default \"0\"}}\n")
        words = ("render", str(template), "-o", str(template) + ".out")
        done = self.daemon.cli(*words)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.move_away()
        wait_until(lambda: c.meta("r/a")["stale"], what="stale")
        template.write_text("{{r/a}} {{r/b}}\n")
        done = self.daemon.cli(*words)
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r"^marketprism render: 2 of the values are stale, age .*, origin-lost\n$")
        self.assertEqual(pathlib.Path(str(template) + ".out").read_text(), "1 2\n")
        template.write_text("{{r/never}}\n")
        done = self.daemon.cli(*words)
        self.assertEqual(done.returncode, 4)
        self.assertIn("unknown", done.stderr)

    def test_an_origin_that_went_with_all_its_files_is_lost_and_not_begun_anew(self):
        for end in self.daemon.stop, self.daemon.kill:
            with self.subTest(end=end.__name__):
                end()
                away = self.lose_all()
                for _ in range(2):  # the first start leaves nothing that the second takes for one
                    self.daemon.start()
                    client = self.daemon.client()
                    self.check_lost(client)
                    self.daemon.kill()
                said = subprocess.run([BINARY, "doctor", "--data-dir", str(self.daemon.data)],
                                      capture_output=True, text=True, check=False, timeout=60).stdout
                self.assertIn("origin.db is gone, and there was one", said)
                self.daemon.start()
                client = self.daemon.client()
                for file in away.iterdir():
                    shutil.move(file, self.daemon.data / file.name)
                away.rmdir()
                wait_until(lambda: not self.state(client)["stale"], what="the origin's return")
                self.assertEqual(client("SET", "app/key0", "value0"), "OK")

    def test_all_files_of_the_origin_go_while_it_runs(self):
        client = self.daemon.client()
        self.lose_all()
        wait_until(lambda: self.state(client)["stale"], what="the loss")
        self.check_all_kept(client)
        self.daemon.kill()
        self.daemon.start()
        self.check_lost(self.daemon.client())
        self.daemon.kill()
        self.daemon.start("--new-origin")
        self.assertEqual(self.daemon.ready["trouble"], "")
        self.assertEqual(self.daemon.client()("SET", "app/key0", "born again"), "OK")

    def test_the_mark_or_the_journal_alone_says_that_there_was_an_origin(self):
        self.daemon.kill()
        away = self.lose_all()
        for left in "origin.mark", "origin.journal":
            with self.subTest(left=left):
                data = pathlib.Path(self.daemon.folder, left)
                data.mkdir()
                shutil.copy(away / left, data / left)
                self.daemon.data = data
                self.daemon.start()
                self.assertIn("--new-origin", self.daemon.ready["trouble"])
                self.daemon.kill()

    def test_explain_tells_of_the_outage_after_a_restart(self):
        client = self.daemon.client()
        away = self.move_away()
        wait_until(lambda: self.state(client)["stale"], what="the loss")
        for file in away.iterdir():
            shutil.move(file, self.daemon.data / file.name)
        wait_until(lambda: not self.state(client)["stale"], what="the return")
        self.daemon.kill()
        self.daemon.start()
        text = self.daemon.cli("explain", "app/key0", check=True).stdout
        self.assertIn("origin-lost", text)
        self.assertIn("origin-live", text)


if __name__ == "__main__":
    mp_tap.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Watching by every transport over layers, restarts, a lost origin and slow readers; consumers."""

import http.client
import json
import os
import threading
import time
import unittest

import mp_daemon
import mp_tap
from mp_daemon import Daemon, ReplyError, wait_until
from mp_http import Http, gauge
from mp_stream import Stream

PROGRESS = ("--set", "http.watch_progress=250ms")


class Scopes(mp_daemon.Spoken):
    """Who watches a scope hears what a reader of it would see."""

    options = ("--set", "server.workers=2")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.http = Http(cls.daemon.http)
        cls.addClassCleanup(cls.http.close)

    def put(self, place, key, value):
        self.assertIn(self.http.put(f"/v1/config/{key}?{place}", value).status, (200, 201))

    def delete(self, place, key):
        self.assertIn(self.http("DELETE", f"/v1/config/{key}?{place}").status, (200, 204))

    def stream(self, query, **more):
        stream = Stream(self.daemon.http, "/v1/watch" + query, **more)
        self.addCleanup(stream.close)
        return stream

    def hears(self, stream, *wanted):
        for word, value in wanted:
            event = stream.change()
            self.assertEqual((event["event"], event.get("value")), (word, value))
            self.assertNotIn("value_left_out", event)
        return event

    def test_a_change_of_the_base_is_told_with_the_value_that_is_read(self):
        stream = self.stream("?prefix=based/")
        stream.until("sync")
        self.put("env=base", "based/k", "from base")
        event = self.hears(stream, ("put", "from base"))
        self.assertEqual((event["env"], event["key"]), ("production", "k"))
        self.put("env=production", "based/k", "own")
        self.hears(stream, ("put", "own"))
        self.put("env=base", "based/k", "hidden")
        self.put("env=base", "based/far", "far")  # what is hidden is judged when it is told, so far it is to have come
        self.hears(stream, ("put", "far"))
        self.delete("env=production", "based/k")
        self.hears(stream, ("put", "hidden"))
        self.delete("env=base", "based/k")
        self.hears(stream, ("delete", None))

    def test_a_region_and_an_instance_hear_of_all_their_layers(self):
        region = self.stream("?prefix=deep/&region=eu")
        instance = self.stream("?prefix=deep/&region=eu&instance=i7", accept="application/x-ndjson")
        other = self.stream("?prefix=deep/&region=us")
        for stream in (region, instance, other):
            stream.until("sync")
        for place, value, hear in (("env=base", "1", (region, instance, other)),
                                   ("env=production", "2", (region, instance, other)),
                                   ("env=production&region=eu", "3", (region, instance)),
                                   ("env=production&region=eu&instance=i7", "4", (instance,)),
                                   ("env=production", "5", (other,))):
            self.put(place, "deep/k", value)
            for stream in hear:
                self.hears(stream, ("put", value))
        # what is hidden is judged when it is told: every loop is to have come so far
        self.put("env=base", "deep/far", "6")
        for stream in (region, instance, other):
            self.hears(stream, ("put", "6"))
        self.delete("env=production&region=eu", "deep/k")
        self.hears(region, ("put", "5"))
        self.put("env=base", "deep/end", "end")
        for stream, region_, name in ((region, "eu", None), (instance, "eu", "i7"), (other, "us", None)):
            event = self.hears(stream, ("put", "end"))
            self.assertEqual((event["env"], event["region"], event.get("instance"), event["key"]),
                             ("production", region_, name, "end"))

    def test_who_comes_back_to_a_scope_hears_of_its_layers(self):
        position = self.stream("?prefix=again/&region=eu").until("sync")[-1]["position"]
        self.put("env=base", "again/a", "a")
        self.put("env=production&region=eu", "again/b", "b")
        self.put("env=staging", "again/c", "c")
        events = self.stream(f"?prefix=again/&region=eu&from={position}").until("sync")
        self.assertEqual([e.get("key") for e in events], ["a", "b", None])
        self.assertEqual(events[1]["value"], "b")
        poll = self.http.get(f"/v1/watch?prefix=again/&region=eu&rev={position}&wait=10s").json
        self.assertEqual([e["key"] for e in poll["events"]], ["a", "b"])

    def test_resp_hears_of_the_base_too(self):
        prefix, channel = self.daemon.client(), self.daemon.client()
        for client in (prefix, channel):
            self.addCleanup(client.close)
        prefix("MP.WATCH", "PREFIX", "heard/")
        channel("PSUBSCRIBE", "__keyspace@0__:heard/*")

        def both_hear(word, key=b"heard/k"):
            self.assertEqual(prefix.read()[1:3], [key, word])
            self.assertEqual(channel.read()[2:], [b"__keyspace@0__:" + key, word])

        # one after the other: who looks only when a nearer layer has the key hears nothing
        self.put("env=base", "heard/k", "1")
        both_hear(b"set")
        self.put("env=production", "heard/k", "2")
        both_hear(b"set")
        self.put("env=base", "heard/k", "3")  # hidden: nobody hears of it
        self.put("env=production", "heard/mark", "1")
        both_hear(b"set", b"heard/mark")
        self.delete("env=base", "heard/k")
        self.put("env=production", "heard/mark", "2")
        both_hear(b"set", b"heard/mark")
        self.delete("env=production", "heard/k")
        both_hear(b"del")

    def test_resp_hears_of_a_deletion_what_a_reader_then_gets(self):
        prefix, channel = self.daemon.client(), self.daemon.client()
        for client in (prefix, channel):
            self.addCleanup(client.close)
        self.put("env=base", "shows/k", "1")
        self.put("env=production", "shows/k", "2")
        position = self.c("MP.CHANGES")[0]
        prefix("MP.WATCH", "PREFIX", "shows/")
        channel("PSUBSCRIBE", "__keyspace@0__:shows/*")

        def both_hear(*told):
            self.assertEqual([tuple(prefix.read()[1:3]) for _ in told], list(told))
            self.assertEqual([channel.read()[3] for _ in told], [word for _, word in told])

        told = [(b"shows/k", b"set"), (b"shows/gone", b"set"), (b"shows/gone", b"del"),
                (b"shows/k", b"del")]
        self.delete("env=production", "shows/k")
        both_hear(told[0])  # before the base goes, too: it is told as of when it is told
        self.put("env=production", "shows/gone", "1")
        both_hear(told[1])
        self.delete("env=production", "shows/gone")
        self.delete("env=base", "shows/k")
        both_hear(*told[2:])
        page = self.c("MP.CHANGES", "FROM", position)[2:]
        # what is seen now: the base has no value any more that shows
        self.assertEqual([tuple(change[:2]) for change in page],
                         [(b"shows/k", b"del")] + told[1:])

    def test_a_burst_of_deletions_comes_in_order_to_all_who_stay(self):
        leaver, stayer, ender = (self.daemon.client() for _ in range(3))
        for client in (leaver, stayer, ender):
            self.addCleanup(client.close)
            client("MP.WATCH", "PREFIX", "burst/")
        self.put("env=base", "burst/0", "shows")
        heard = [stayer.read()]  # before another value hides it
        for i in range(300):
            self.c.send("SET", f"burst/{i}", "1")
        for i in range(300):
            self.c.send("DEL", f"burst/{i}")
        leaver.close()
        ender.send("MP.UNWATCH")
        for _ in range(600):
            self.c.read()
        heard += [stayer.read() for _ in range(600)]
        self.assertEqual([m[2] for m in heard], [b"set"] * 302 + [b"del"] * 299)
        self.assertEqual([m[3] for m in heard], sorted({m[3] for m in heard}))


class Life(unittest.TestCase):
    """What a watcher lives through: kill -9, a lost origin, its own slowness."""

    def setUp(self):
        # a slow machine may need longer than the limit to make somebody slow
        self.daemon = Daemon("--set", "resp.stalled_write_timeout=10m", *PROGRESS).start()
        self.addCleanup(self.daemon.close)

    def stream(self, query, **more):
        stream = Stream(self.daemon.http, "/v1/watch" + query, **more)
        self.addCleanup(stream.close)
        return stream

    def test_a_position_holds_through_kill_9_and_restart(self):
        c = self.daemon.client()
        stream = self.stream("?prefix=kept/")
        stream.until("sync")
        c("SET", "kept/a", "1")
        position = stream.change()["position"]
        c("SET", "kept/b", "2")
        self.daemon.kill()
        with self.assertRaises((ConnectionError, OSError, http.client.HTTPException)):
            while True:
                stream.next()
        self.daemon.start()
        self.daemon.client()("SET", "kept/c", "3")
        events = self.stream(f"?prefix=kept/&from={position}").until("sync")
        self.assertEqual([e.get("value") for e in events], ["2", "3", None])

    def test_consumers_are_named_with_what_they_watch_and_how_far_they_were_told(self):
        daemon = Daemon("--set", "server.workers=2").start()
        self.addCleanup(daemon.close)
        c, watcher, http = daemon.client(), daemon.client(), Http(daemon.http)
        for connection in c, watcher, http:
            self.addCleanup(connection.close)
        def consumers(query=""):
            return http.get("/v1/consumers" + query).json
        self.assertEqual(consumers()["consumers"], [])
        revision = c("MP.REV")
        watcher("CLIENT", "SETNAME", "billing")
        number = watcher("CLIENT", "ID")
        watcher("MP.WATCH", "PREFIX", "told/")
        watcher("SUBSCRIBE", "__keyspace@0__:told/a")
        streams = [Stream(daemon.http, f"/v1/watch?prefix=told/{name}", accept)
                   for name, accept in (("a", "text/event-stream"), ("b&region=eu", "application/x-ndjson"))]
        for stream in streams:
            self.addCleanup(stream.close)
            stream.until("sync")
        poll = threading.Thread(target=lambda: Http(daemon.http, 60).get("/v1/watch?prefix=told/c&wait=50s"))
        poll.start()
        told = wait_until(lambda: (t := consumers()) and len(t["consumers"]) == 4 and t, what="the poll")
        by_protocol = {one["protocol"]: one for one in told["consumers"]}
        self.assertEqual({name: one["watches"] for name, one in by_protocol.items()},
                         {"event-stream": ["production/told/a"], "ndjson": ["production~eu/told/b"],
                          "long-poll": ["production/told/c"], "resp": ["__keyspace@0__:told/a", "production/told/"]})
        self.assertEqual({one["state"] for one in told["consumers"]}, {"live"})
        resp = by_protocol["resp"]
        self.assertEqual((resp["name"], resp["id"], resp["watches_count"]), ("billing", number, 2))
        self.assertEqual(resp["client"], "%s:%d" % watcher.socket.getsockname())
        self.assertEqual(by_protocol["ndjson"]["client"], "%s:%d" % streams[1].connection.sock.getsockname())
        c("SET", "told/c", "1")
        poll.join()
        c("SET", "elsewhere", "1")
        wait_until(lambda: (t := consumers()) and len(t["consumers"]) == 3 and
                   {one["revision"] for one in t["consumers"]} == {t["revision"]}, what="all of it")
        self.assertEqual((len((less := consumers("?limit=2"))["consumers"]), less["more"]), (2, True))
        self.assertEqual(http.get("/v1/consumers?limit=0").status, 400)

    def test_consumers_are_told_over_resp_and_on_the_command_line(self):
        daemon = Daemon("--set", "server.workers=2").start()
        self.addCleanup(daemon.close)
        c, http = daemon.client(), Http(daemon.http)
        watchers = [daemon.client() for _ in range(6)]  # over both loops
        for connection in c, http, *watchers:
            self.addCleanup(connection.close)
        self.assertEqual(daemon.cli("consumers").stdout, "nobody watches\n")
        for i, watcher in enumerate(watchers):
            watcher("CLIENT", "SETNAME", f"reader-{i}")
            watcher("MP.WATCH", "PREFIX", f"told/{i}")
        watchers[0]("PSUBSCRIBE", "evil\x1b[2J\x80*")
        watchers[1]("PSUBSCRIBE", "\x9b2J\x9f*")
        told = json.loads(c("MP.CONSUMERS"))
        self.assertEqual(sorted(one["name"] for one in told["consumers"]), [f"reader-{i}" for i in range(6)])
        self.assertEqual(http.get("/v1/consumers").json, told)
        self.assertEqual(json.loads(daemon.cli("consumers", "--json").stdout), told)
        some = json.loads(c("MP.CONSUMERS", "COUNT", "2"))
        self.assertEqual((len(some["consumers"]), some["more"]), (2, True))
        for words in (("COUNT",), ("COUNT", "0"), ("COUNT", "x"), ("LIMIT", "1"), ("COUNT", "1", "1")):
            with self.assertRaisesRegex(ReplyError, "syntax"):
                c("MP.CONSUMERS", *words)
        shown = daemon.cli("consumers")
        self.assertEqual((shown.returncode, shown.stderr), (0, ""))
        self.assertEqual(len(shown.stdout.splitlines()), 7, shown.stdout)
        self.assertRegex(shown.stdout, r"(?m)^resp +127.0.0.1:\d+ +live +0  production/told/5  \(reader-5\)$")
        for control in "\x1b\x80\x9b\x9f":
            self.assertNotIn(control, shown.stdout)
        self.assertIn("\\u001b[2J", shown.stdout)
        self.assertIn("and more, which --limit", daemon.cli("consumers", "--limit", "3").stdout)
        self.assertEqual(daemon.cli("consumers", "--limit", "0").returncode, 2)

    def test_consumers_with_long_names_do_not_fill_the_memory_of_who_tells_them(self):
        daemon = Daemon("--set", "server.workers=2").start()
        self.addCleanup(daemon.close)
        c, http = daemon.client(), Http(daemon.http)
        watchers = [daemon.client() for _ in range(8)]
        for connection in c, http, *watchers:
            self.addCleanup(connection.close)
        for watcher in watchers:  # each takes 800 KB to describe
            watcher.socket.sendall(b"".join(watcher.encode(word, "\x01" * 4000 + f"{i}")
                                            for i in range(16) for word in ("SUBSCRIBE", "PSUBSCRIBE")))
            for _ in range(32):
                watcher.read()
        for text in (http.get("/v1/consumers").body, c("MP.CONSUMERS")):
            told = json.loads(text)
            self.assertLess(len(text), 4 * 1024 * 1024 + 1000)
            self.assertEqual((len(told["consumers"]), told["more"]), (5, True))
        for watcher in watchers[3:]:
            watcher.close()
        wait_until(lambda: not json.loads(c("MP.CONSUMERS"))["more"], what="the end of some")

    def test_who_asks_for_consumers_and_goes_hurts_nobody(self):
        daemon = Daemon("--set", "server.workers=2").start()
        self.addCleanup(daemon.close)
        c = daemon.client()
        self.addCleanup(c.close)
        c("MP.WATCH")
        for _ in range(50):
            asker = daemon.client()
            asker.socket.sendall(asker.encode("MP.CONSUMERS") * 20)
            asker.close()
        other = daemon.client()
        self.addCleanup(other.close)
        for words in [("MP.CONSUMERS",), ("PING",)] * 10:  # answers keep their order
            other.send(*words)
        for _ in range(10):
            self.assertEqual(len(json.loads(other.read())["consumers"]), 1)
            self.assertEqual(other.read(), "PONG")

    def test_many_who_ask_at_once_are_answered_from_what_is_still_there(self):
        daemon = Daemon("--set", "server.workers=1").start()
        self.addCleanup(daemon.close)
        watchers, writer = [daemon.client() for _ in range(50)], daemon.client()
        for client in watchers:
            self.addCleanup(client.close)
            client("MP.WATCH")
        self.addCleanup(writer.close)
        writer("MSET", *(word for i in range(50) for word in (f"asked/k{i}", "text")))
        schema = json.dumps({"additionalProperties": {"type": "integer"}})
        for round in range(5):
            askers = [daemon.client() for _ in range(20)]
            for client in askers:  # more at once than one turn formats
                client.socket.sendall((client.encode("MP.CONSUMERS") + client.encode("MP.SCHEMA", "CHECK", "asked", schema)) * 20)
            for client in askers:
                for _ in range(20):
                    self.assertEqual(len(json.loads(client.read())["consumers"]), 50)
                    count, *told = client.read()
                    self.assertEqual((count, len(told)), (50, 20))
                    for where, instance, keyword, text in told:
                        self.assertEqual((where, keyword), (b"asked", b"type"))
                        self.assertIn(b"integer", text)
                client.close()

    def test_who_reads_nothing_is_told_as_slow_with_where_he_is(self):
        daemon = Daemon("--set", "server.workers=1").start()
        self.addCleanup(daemon.close)
        c, http = daemon.client(), Http(daemon.http)
        for connection in c, http:
            self.addCleanup(connection.close)
        stream = Stream(daemon.http, "/v1/watch?prefix=slow/", small=True)
        self.addCleanup(stream.close)
        stream.until("sync")
        value, i, told = "v" * 15000, 0, None
        while not told or told["consumers"][0]["revision"] == told["revision"]:
            c("SET", f"slow/{i}", value)
            i += 1
            told = http.get("/v1/consumers").json
        one = told["consumers"][0]
        self.assertEqual((one["state"], one["position"].split("-")), ("slow", [told["position"].split("-")[0], str(one["revision"])]))
        self.assertLess(one["revision"], told["revision"])
        while stream.change()["revision"] < told["revision"]:
            pass
        wait_until(lambda: http.get("/v1/consumers").json["consumers"][0]["state"] == "live", what="the end of it")

    def test_watchers_are_counted(self):
        stream = self.stream("?prefix=counted/")
        wait_until(lambda: gauge(self.daemon, "watchers") == 1)
        stream.close()
        wait_until(lambda: gauge(self.daemon, "watchers") == 0)

    def test_a_lost_origin_is_told_and_its_return_too(self):
        c = self.daemon.client()
        c("SET", "lost/a", "1")
        stream = self.stream("?prefix=lost/")
        sync = stream.until("sync")[-1]
        path = self.daemon.data / "origin.db"
        path.rename(self.daemon.data / "away.db")
        stale = stream.until("stale")[-1]
        self.assertIn("origin", stale["reason"])
        late = self.stream(f"?prefix=lost/&from={sync['revision'] - 1}")
        self.assertEqual(late.next()["event"], "stale")
        poll = Http(self.daemon.http).get("/v1/watch?prefix=lost/&wait=0s").json
        self.assertTrue(poll["stale"])
        (self.daemon.data / "away.db").rename(path)
        stream.until("fresh")
        self.assertEqual(stream.until("reset")[-1]["revision"], sync["revision"])
        late.until("fresh")
        wait_until(lambda: c_set(c, "lost/b", "2"))
        event = stream.change()
        self.assertEqual((event["key"], event["value"]), ("b", "2"))
        while late.change()["key"] != "b":
            pass

    def test_a_deletion_is_told_as_one_long_after_the_start(self):
        daemon = Daemon("--set", "cache.negative_ttl=1s").start()
        self.addCleanup(daemon.close)
        c, listener = daemon.client(), daemon.client()
        self.addCleanup(c.close)
        self.addCleanup(listener.close)
        listener("MP.WATCH", "PREFIX", "long/")
        end, i = time.monotonic() + 3, 0
        while time.monotonic() < end:  # what memory knew of the base at the start has run out then
            c("SET", f"long/{i}", "1")
            c("DEL", f"long/{i}")
            self.assertEqual([listener.read()[2] for _ in range(2)], [b"set", b"del"])
            i += 1

    def test_a_slow_reader_gets_the_latest_of_each_key_or_one_reset(self):
        c = self.daemon.client()
        slow = self.stream("?prefix=slow/", small=True, timeout=60)
        slow.until("sync")
        value = "x" * 2000
        count = 0

        def write(keys, times):
            nonlocal count
            for _ in range(times):
                c.send("SET", f"slow/{count % keys}", f"{count} {value}")
                count += 1
            for _ in range(times):
                c.read()

        before = gauge(self.daemon, "watch_coalesced_total")
        while gauge(self.daemon, "watch_coalesced_total") < before + 100:
            write(3, 100)
        write(3, 3)
        heard = []
        while not heard or int(heard[-1].split()[0]) < count - 1:
            event = slow.change()
            heard.append(event.get("value") or str(count - 1))
        numbers = [int(v.split()[0]) for v in heard]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertLess(len(numbers), count)

        resets = gauge(self.daemon, "watch_resets_total")
        while gauge(self.daemon, "watch_resets_total") == resets:
            write(5000, 500)
        event = reset = slow.until("reset")[-1]
        self.assertEqual(reset["reason"], "slow")
        c("SET", "slow/then", "1")
        then = c("MP.REV", "slow/then")
        while event["event"] != "put" or event["key"] != "then":
            event = slow.next()
            if event["event"] == "put":
                self.assertGreater(event["revision"], reset["revision"])
            elif event["event"] == "reset" and event["revision"] >= then:
                break  # so much was written at once that it is told a second time to look again

    @unittest.skipIf("MP_SANITIZER" in os.environ, "whose own memory is counted, too")
    def test_many_slow_readers_hold_little_of_the_daemon(self):
        c = self.daemon.client()
        slow = [self.stream("?prefix=many/", small=True) for _ in range(100)]
        for stream in slow:
            stream.until("sync")
        before = self.daemon.rss_kb()
        value = "x" * 10000
        resets = gauge(self.daemon, "watch_resets_total")
        while gauge(self.daemon, "watch_resets_total") < resets + len(slow):
            for i in range(200):
                c.send("SET", f"many/{i}", value)
            for i in range(200):
                c.read()
        self.assertLess(self.daemon.rss_kb() - before, 64 * len(slow) + 20 * 1024)


def c_set(c, key, value):
    try:
        return c("SET", key, value) == "OK"
    except Exception:
        return False


if __name__ == "__main__":
    mp_tap.main()

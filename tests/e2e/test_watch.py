#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Watching over HTTP: event streams, WebSockets and long polls; what is heard, in which order."""

import contextlib
import http.client
import json
import pathlib
import re
import socket
import threading
import time

import mp_daemon
import mp_tap
from mp_daemon import Daemon, wait_until
from mp_http import Http, gauge
from mp_stream import Stream

PROGRESS = ("--set", "http.watch_progress=250ms")


class Streams(mp_daemon.Spoken):
    options = ("--set", "server.workers=2", *PROGRESS)

    def stream(self, query="", accept="text/event-stream", **headers):
        stream = Stream(self.daemon.http, "/v1/watch" + query, accept, **headers)
        self.addCleanup(stream.close)
        return stream

    def test_both_kinds_of_streams_tell_what_changed_how_and_where(self):
        for accept in ("text/event-stream", "application/x-ndjson"):
            with self.subTest(accept):
                stream = self.stream("?prefix=kinds/a", accept)
                self.assertEqual(stream.response.headers["Content-Type"], accept)
                self.assertEqual(stream.response.headers["Cache-Control"], "no-store")
                sync = stream.next()
                self.assertEqual(sync["event"], "sync")
                self.c("SET", "kinds/b", "of no interest")
                Http(self.daemon.http).put("/v1/config/kinds/a1", '{"x": "\\n"}', "application/json")
                self.c("SET", "kinds/a2", b"\xff\x00")
                self.c("DEL", "kinds/a1")
                put = stream.change()
                self.assertEqual((put["env"], put["namespace"], put["key"], put["value"], put["media_type"]),
                                 ("production", "kinds", "a1", '{"x": "\\n"}', "application/json"))
                self.assertEqual(put["position"].rsplit("-", 1), [sync["position"].rsplit("-", 1)[0],
                                                                  str(put["revision"])])
                self.assertEqual(put["revision"], sync["revision"] + 2)
                self.assertEqual(stream.change()["value_base64"], "/wA=")
                gone = stream.change()
                self.assertEqual((gone["event"], gone["key"], gone["revision"]),
                                 ("delete", "a1", put["revision"] + 2))
                self.assertNotIn("value", gone)
                self.c("DEL", "kinds/a2")
                self.c("DEL", "kinds/b")
                stream.close()

    def test_an_environment_hears_of_its_own_keys(self):
        stream = self.stream("?env=staging&prefix=own/")
        stream.until("sync")
        http_ = Http(self.daemon.http)
        http_.put("/v1/config/own/a", "1")
        http_.put("/v1/config/own/a?env=staging", "2")
        event = stream.change()
        self.assertEqual((event["env"], event["value"]), ("staging", "2"))

    def test_what_a_write_finds_expired_hides_none_of_its_changes(self):
        stream = self.stream("?prefix=late/")
        stream.until("sync")
        self.c("SET", "late/c", "old", "PX", 1)
        wait_until(lambda: self.c("GET", "late/c") is None)
        self.c("MSET", "late/a", 1, "late/b", 2, "late/c", 3)
        heard = [stream.change() for _ in range(5)]
        self.assertEqual([(event["event"], event["key"]) for event in heard],
                         [("put", "c"), ("delete", "c"), ("put", "a"), ("put", "b"), ("put", "c")])
        first = heard[0]["revision"]
        self.assertEqual([event["revision"] for event in heard], list(range(first, first + 5)))

    def test_who_hears_nothing_is_told_how_far_he_is(self):
        stream = self.stream("?prefix=quiet/")
        stream.until("sync")
        self.c("SET", "loud/a", "1")
        progress = stream.until("progress", ignore=())[-1]
        later = stream.until("progress", ignore=())[-1]
        self.assertGreaterEqual(later["revision"], progress["revision"])
        self.c("SET", "loud/a", "2")
        wait_until(lambda: stream.until("progress", ignore=())[-1]["revision"] > later["revision"])

    def test_a_value_that_makes_a_large_event_is_left_out(self):
        stream = self.stream("?prefix=large/")
        stream.until("sync")
        self.c("SET", "large/fits", "x" * 16000)
        self.c("SET", "large/escaped", "\x01" * 8000)
        self.c("SET", "large/not", "x" * 17000)
        self.assertEqual(len(stream.change()["value"]), 16000)
        for key in ("escaped", "not"):
            event = stream.change()
            self.assertEqual((event["key"], event["value_left_out"]), (key, True))
            self.assertNotIn("value", event)

    def test_a_watcher_that_comes_back_hears_what_it_missed_once(self):
        stream = self.stream("?prefix=missed/")
        sync = stream.until("sync")[-1]
        stream.close()
        for i in range(300):
            self.c("SET", f"missed/{i % 7}", i)
            self.c("SET", "elsewhere/k", i)
        self.c("DEL", "missed/3")
        missed = [str(i) for i in range(300)] + [None]
        for how in ({"query": f"?prefix=missed/&from={sync['position']}"},
                    {"query": f"?prefix=missed/&from={sync['revision']}"},
                    {"query": "?prefix=missed/", "Last_Event_ID": sync["position"]},
                    {"query": f"?prefix=missed/&from={sync['position']}", "accept": "application/x-ndjson"}):
            with self.subTest(how):
                stream = self.stream(**how)
                events = stream.until("sync")
                self.assertEqual([e.get("value") for e in events[:-1]], missed)
                self.assertEqual(events[-2]["event"], "delete")
                self.c("SET", "missed/then", "1")
                self.assertEqual(stream.change()["revision"], events[-1]["revision"] + 1)
                self.c("DEL", "missed/then")
                missed += ["1", None]
                stream.close()

    def test_none_is_lost_or_doubled_between_the_history_and_live(self):
        """The writer is never so far ahead of the reader that the socket is full: who reads slowly is
        told the latest of each key only."""
        position = self.stream("?prefix=raced/").until("sync")[-1]["position"]
        stop, written, heard, ahead_most = threading.Event(), 0, 0, 600

        def write():
            nonlocal written
            client = self.daemon.client()
            while not stop.is_set():
                if written - heard > ahead_most - 20:
                    time.sleep(0.0005)
                    continue
                for i in range(written, written + 20):
                    client.send("SET", f"raced/{i % 3}", i)
                for _ in range(20):
                    client.read()
                written += 20
            client.close()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for round in range(8):
                first, synced_at = heard, None
                wait_until(lambda: written >= first + 400, 60)
                stream = self.stream(f"?prefix=raced/&from={position}")
                while synced_at is None or heard < synced_at + 200:
                    event = stream.next()
                    if event["event"] == "sync":
                        synced_at = heard
                    elif event["event"] == "put":
                        self.assertEqual(event["value"], str(heard))
                        heard += 1
                        position = event["position"]
                stream.close()
        finally:
            stop.set()
            writer.join()

    def test_positions_that_are_not_known_are_answered_by_a_reset(self):
        for position in ("0123456789abcdef0123456789abcdef-1", "none-5", "999999999"):
            with self.subTest(position):
                stream = self.stream(f"?prefix=unknown/&from={position}")
                reset = stream.until("reset")[-1]
                self.assertTrue(reset["reason"])
                self.c("SET", "unknown/k", "1")
                event = stream.change()
                self.assertEqual(event["key"], "k")
                self.assertGreater(event["revision"], reset["revision"])

    def test_what_is_asked_wrongly_is_refused(self):
        for query in ("?prefx=a", "?from=x", "?from=-3", "?from=a-b", "?wait=soon", "?wait=11m",
                      "?from=1&rev=1", "?env=a/b", "?prefix=/a", "?prefix=" + "x" * 2000):
            with self.subTest(query):
                answer = Http(self.daemon.http).get("/v1/watch" + query)
                self.assertEqual((answer.status, answer["Content-Type"]),
                                 (400, "application/problem+json"))
        answer = Http(self.daemon.http).get("/v1/watch?from=1", Last_Event_ID="x")
        self.assertIn("Last-Event-ID is the position", answer.json["detail"])

    def test_accept_chooses_the_kind_of_stream_by_its_weights(self):
        for accept, kind in (("text/event-stream, application/x-ndjson;q=0.5", "text/event-stream"),
                             ("Application/X-NDJSON, text/event-stream;q=0.9", "application/x-ndjson"),
                             ("application/x-ndjson;q=0, */*", "text/event-stream"),
                             ("application/x-ndjson, */*", "application/x-ndjson"),
                             ("*/*, application/x-ndjson", "application/x-ndjson"),
                             ("application/x-ndjson, text/event-stream", "text/event-stream"),
                             ("application/json, text/plain, */*", "text/event-stream"), ("text/*", "text/event-stream")):
            with self.subTest(accept):
                answer = Http(self.daemon.http)("HEAD", "/v1/watch", None, Accept=accept)
                self.assertEqual((answer.status, answer["Content-Type"]), (200, kind))
        for accept in ("application/json", "application/ndjson", "image/png", "text/event-stream;q=0"):
            with self.subTest(accept):
                answer = Http(self.daemon.http).get("/v1/watch", Accept=accept)
                self.assertEqual((answer.status, answer["Content-Type"]), (406, "application/problem+json"))
                self.assertIn("application/x-ndjson", answer.json["detail"])
        self.assertEqual(Http(self.daemon.http).get("/v1/watch?wait=1ms", Accept="application/json").status, 200)

    def test_all_watchers_of_whatever_kind_hear_the_same_in_the_same_order(self):
        streams = [self.stream("?prefix=order/", accept)
                   for accept in ("text/event-stream", "application/x-ndjson") for _ in range(10)]
        for stream in streams:
            stream.until("sync")
        resp = [self.daemon.client() for _ in range(10)]
        for client in resp:
            self.addCleanup(client.close)
            client("MP.WATCH", "PREFIX", "order/")
        for i in range(200):
            self.c.send("SET", f"order/{i * 7 % 11}", i)
            if i % 5 == 0:
                self.c.send("DEL", f"order/{i * 3 % 11}")
        changes = sum(self.c.read() in ("OK", 1) for _ in range(240))
        heard = [take(stream, changes) for stream in streams]
        for other in heard[1:]:
            self.assertEqual(other, heard[0])
        revisions = [e[2] for e in heard[0]]
        self.assertEqual(revisions, sorted(set(revisions)))
        for client in resp:
            messages = [client.read() for _ in range(changes)]
            self.assertEqual([(m[1].decode().split("/")[1], {b"set": "put", b"del": "delete"}[m[2]], m[3])
                              for m in messages], heard[0])


def take(stream, count):
    return [(e["key"], e["event"], e["revision"]) for e in (stream.change() for _ in range(count))]


class WebSocket:
    """The client's side of RFC 6455, as strict as a test needs."""

    def __init__(self, address, path, **headers):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), 20)
        sent = {"Host": address, "Connection": "Upgrade", "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                **{name.replace("_", "-"): value for name, value in headers.items()}}
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        self.socket.sendall(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = http.client.parse_headers(self.file)

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, opcode, payload=b"", mask=b"\x01\x02\x03\x04"):
        assert len(payload) < 126
        masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
        self.socket.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked)

    def frame(self):
        first, size = self.file.read(2)
        if size == 126:
            size = int.from_bytes(self.file.read(2), "big")
        assert first & 0x80 and size < 65536
        return first & 0x0f, self.file.read(size)

    def next(self):
        opcode, payload = self.frame()
        assert opcode == 1, opcode
        return json.loads(payload)

    until, change = Stream.until, Stream.change


class WebSockets(mp_daemon.Spoken):
    options = ("--set", "server.workers=2")

    def open(self, query, **headers):
        websocket = WebSocket(self.daemon.http, "/v1/watch" + query, **headers)
        self.addCleanup(websocket.close)
        return websocket

    def test_a_websocket_hears_and_resumes_like_the_others(self):
        websocket = self.open("?prefix=ws/")
        self.assertEqual(websocket.status, 101)
        self.assertEqual(websocket.headers["Sec-WebSocket-Accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        websocket.until("sync")
        self.c("SET", "ws/a", "short")
        self.c("SET", "ws/b", "x" * 10000)
        first = websocket.change()
        self.assertEqual((first["key"], first["value"]), ("a", "short"))
        self.assertEqual(len(websocket.change()["value"]), 10000)
        again = self.open(f"?prefix=ws/&from={first['position']}")
        self.assertEqual([e.get("key") for e in again.until("sync")], ["b", None])

    def test_pings_are_answered_and_messages_left_out(self):
        websocket = self.open("?prefix=pinged/")
        websocket.until("sync")
        websocket.send(1, b"nobody reads this")
        websocket.send(9, b"are you there")
        self.assertEqual(websocket.frame(), (10, b"are you there"))

    def test_an_end_is_answered_by_an_end(self):
        websocket = self.open("?prefix=ended/")
        websocket.until("sync")
        websocket.send(8, b"\x03\xe8")
        self.assertEqual(websocket.frame(), (8, b"\x03\xe8"))
        self.assertEqual(websocket.file.read(1), b"")

    def test_an_end_of_a_clients_own_is_answered_by_the_same(self):
        for sent, answer in ((4000, 4000), (1001, 1001), (1005, 1002)):
            websocket = self.open("?prefix=ended/")
            websocket.until("sync")
            websocket.send(8, sent.to_bytes(2, "big") + b"bye")
            self.assertEqual(websocket.frame(), (8, answer.to_bytes(2, "big")))

    def test_what_is_no_frame_ends_it_with_the_reason(self):
        websocket = self.open("?prefix=broken/")
        websocket.until("sync")
        websocket.socket.sendall(b"\x81\x05Hello")
        self.assertEqual(websocket.frame(), (8, (1002).to_bytes(2, "big")))
        self.assertEqual(websocket.file.read(1), b"")

    def test_bad_handshakes_and_pages_of_other_sites_are_refused(self):
        other = Http(self.daemon.http)
        self.addCleanup(other.close)
        answer = other.get("/v1/watch", Upgrade="websocket", Connection="Upgrade", Sec_WebSocket_Version="8",
                           Sec_WebSocket_Key="AAAAAAAAAAAAAAAAAAAAAA==")
        self.assertEqual((answer.status, answer["Content-Type"], answer["Sec-WebSocket-Version"]),
                         (426, "application/problem+json", "13"))
        self.assertIn("13", answer.json["remedy"])
        self.assertEqual(self.open("", Sec_WebSocket_Key="short").status, 400)
        self.assertEqual(self.open("?from=x").status, 400)
        self.assertEqual(self.open("", Origin="http://evil.example").status, 403)
        answer = other.get("/v1/watch", Upgrade="websocket", Connection="Upgrade", Sec_WebSocket_Version="13",
                           Sec_WebSocket_Key="AAAAAAAAAAAAAAAAAAAAAA==", Origin="http://evil.example")
        self.assertIn("watch from a program", answer.json["remedy"])
        self.assertEqual(self.open("", Origin="http://" + self.daemon.http).status, 101)

    def test_when_the_server_stops_it_says_that_it_goes_away(self):
        daemon = Daemon().start()
        self.addCleanup(daemon.close)
        websocket = WebSocket(daemon.http, "/v1/watch")
        self.addCleanup(websocket.close)
        websocket.until("sync")
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(websocket.frame(), (8, (1001).to_bytes(2, "big")))


class Polls(mp_daemon.Spoken):
    options = ("--set", "server.workers=2")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.http = Http(cls.daemon.http, timeout=30)
        cls.addClassCleanup(cls.http.close)

    def poll(self, query):
        answer = self.http.get("/v1/watch" + query)
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    def test_without_a_change_the_answer_comes_when_the_wait_is_over(self):
        answer = self.poll("?prefix=idle/&wait=0s")
        self.assertEqual((answer["events"], answer["reset"], answer["stale"]), ([], False, False))
        again = self.poll(f"?prefix=idle/&wait=300ms&rev={answer['position']}")
        self.assertEqual((again["events"], again["position"]), ([], answer["position"]))

    def test_a_short_wait_is_over_when_it_says_and_not_at_the_next_look_at_all(self):
        position = self.poll("?prefix=idle/&wait=0s")["position"]
        for wait_ms, most in ((0, 0.1), (1, 0.1), (100, 0.2)):
            took = []
            for _ in range(9):
                began = time.monotonic()
                answer = self.poll(f"?prefix=idle/&wait={wait_ms}ms&rev={position}")
                took.append(time.monotonic() - began)
                self.assertEqual(answer["events"], [])
            self.assertGreaterEqual(min(took), wait_ms / 1000 * 0.9)
            self.assertLess(sorted(took)[4], most, wait_ms)

    def test_a_longer_wait_is_over_when_it_says_and_not_at_the_next_look_at_all(self):
        """But for the sixteenth by which it is lengthened."""
        position = self.poll("?prefix=idle/&wait=0s")["position"]
        late = {300: [], 700: []}

        def many(wait_ms, count):
            with contextlib.closing(Http(self.daemon.http)) as http:
                for _ in range(count):
                    began = time.monotonic()
                    events = http.get(f"/v1/watch?prefix=idle/&wait={wait_ms}ms&rev={position}").json["events"]
                    late[wait_ms].append((time.monotonic() - began) * 1000 - wait_ms + 1000 * len(events))

        threads = [threading.Thread(target=many, args=(wait_ms, 3000 // wait_ms)) for wait_ms in late for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for wait_ms, each in late.items():
            each.sort()
            self.assertEqual(len(each), 3000 // wait_ms * 3)
            self.assertGreaterEqual(each[0], 0, each)
            self.assertLess(each[len(each) // 2], wait_ms / 32 + 20, each)  # half of a sixteenth, in the middle

    def loop_switches(self):
        """How often a loop has slept."""
        count = 0
        for task in pathlib.Path(f"/proc/{self.daemon.process.pid}/task").iterdir():
            if (task / "comm").read_text().startswith("mp-loop"):
                count += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.M)[1])
        return count

    def test_polls_that_were_left_leave_nothing_that_wakes_a_loop(self):
        position = self.poll("?prefix=idle/&wait=0s")["position"]
        for _ in range(8):
            with contextlib.closing(Http(self.daemon.http)) as http:
                http.connection.request("GET", f"/v1/watch?prefix=idle/&wait=240ms&rev={position}")
                wait_until(lambda: gauge(self.daemon, "watchers") > 0)
        wait_until(lambda: gauge(self.daemon, "watchers") == 0)
        before = self.loop_switches()
        self.poll(f"?prefix=idle/&wait=1s&rev={position}")  # a second in which nothing else happens
        self.assertLess(self.loop_switches() - before, 100)

    def test_what_is_newer_is_answered_at_once(self):
        begin = self.poll("?prefix=newer/&wait=0s")["position"]
        self.c("SET", "newer/a", "1")
        self.c("SET", "newer/b", "2")
        answer = self.poll(f"?prefix=newer/&wait=10m&rev={begin}")
        self.assertEqual([(e["event"], e["key"], e["value"]) for e in answer["events"]],
                         [("put", "a", "1"), ("put", "b", "2")])
        self.c("SET", "other/x", "1")
        again = self.poll(f"?prefix=newer/&wait=0s&rev={answer['position']}")
        self.assertEqual(again["events"], [])
        self.assertGreater(again["revision"], answer["revision"])

    def test_a_change_ends_the_wait_of_all_that_it_concerns(self):
        begin = self.poll("?prefix=woken/&wait=0s")["position"]
        answers, threads = [], []

        def wait():
            http_ = Http(self.daemon.http, timeout=30)
            answers.append(http_.get(f"/v1/watch?prefix=woken/&wait=10m&rev={begin}").json)
            http_.close()

        for _ in range(20):
            threads.append(threading.Thread(target=wait))
            threads[-1].start()
        wait_until(lambda: gauge(self.daemon, "watchers") == 20)
        self.c("SET", "woken/k", "up")
        for thread in threads:
            thread.join(20)
        self.assertEqual([a["events"][0]["value"] for a in answers], ["up"] * 20)

    def test_polling_on_loses_nothing_of_a_writer_that_runs(self):
        position = self.poll("?prefix=followed/&wait=0s")["position"]

        def write():
            client = self.daemon.client()
            for i in range(1000):
                client("SET", f"followed/{i % 3}", i)
            client.close()

        writer = threading.Thread(target=write)
        writer.start()
        heard = []
        while len(heard) < 1000:
            answer = self.poll(f"?prefix=followed/&wait=20s&rev={position}")
            heard += [int(e["value"]) for e in answer["events"]]
            position = answer["position"]
        writer.join()
        self.assertEqual(heard, list(range(1000)))

    def test_an_unknown_position_is_answered_at_once_by_a_reset(self):
        answer = self.poll("?prefix=reset/&wait=10m&rev=0123-4")
        self.assertTrue(answer["reset"])
        self.assertEqual(answer["events"][0]["event"], "reset")
        answer = self.poll(f"?prefix=reset/&wait=10m&rev={answer['revision'] + 1000}")
        self.assertTrue(answer["reset"])

    def test_who_waits_when_the_server_stops_is_told_to_ask_again(self):
        daemon = Daemon().start()
        self.addCleanup(daemon.close)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(
            Http(daemon.http).get("/v1/watch?wait=10m")))
        thread.start()
        wait_until(lambda: gauge(daemon, "watchers") == 1)
        self.assertEqual(daemon.stop(), 0)
        thread.join(20)
        self.assertEqual(answers[0].status, 503)


if __name__ == "__main__":
    mp_tap.main()

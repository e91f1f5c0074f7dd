#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Watching, by every transport: what is heard, in which order, by whom."""

import http.client
import json
import os
import select
import socket
import struct
import threading
import time
import unittest

import mp_tap
from mp_daemon import Daemon, ReplyError, wait_until
from mp_http import Http
from mp_stream import Stream

NAMED = ("set", "del", "expire", "persist", "expired")
SO_TIMESTAMPNS = 35  # Linux; its struct timespec is 16 bytes where time_t has 64 bits
PROGRESS = ("--set", "http.watch_progress=250ms")


def came_at(sock):
    """When what is there or comes next came into the socket, by the kernel's time stamp, in ns; None
    where it gave none."""
    _, extra, _, _ = sock.recvmsg(65536, 64)
    for _, kind, data in extra:
        if kind == SO_TIMESTAMPNS:
            seconds, ns = struct.unpack("qq", data)
            return seconds * 1000000000 + ns
    return None


class Order(unittest.TestCase):
    """Of what one loop sends of one change to more than leave in one call."""

    def connect(self, address):
        host, port = address.rsplit(":", 1)
        sock = socket.create_connection((host, int(port)), 20)
        self.addCleanup(sock.close)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        return sock

    def is_stamped(self, sock):
        sock.sendall(b"PING\r\n")
        return came_at(sock) is not None

    def test_the_writer_has_his_reply_first_and_long_polls_hear_last(self):
        daemon = Daemon("--set", "server.workers=1").start()
        self.addCleanup(daemon.close)
        writer = self.connect(daemon.resp)
        wait_until(lambda: self.is_stamped(writer))
        polls = [self.connect(daemon.http) for _ in range(5)]
        for poll in polls:
            poll.sendall(b"GET /v1/watch?prefix=order/&wait=5m HTTP/1.1\r\nHost: x\r\n\r\n")
        watchers = [self.connect(daemon.resp) for _ in range(70)]
        for watcher in watchers:
            watcher.sendall(b"MP.WATCH PREFIX order/\r\n")
            came_at(watcher)
        wait_until(lambda: gauge(daemon, "watchers") == 75)
        writer.sendall(b"SET order/k 1\r\n")
        reply, *heard = [came_at(sock) for sock in (writer, *watchers)]
        self.assertLess(reply, min(heard))
        self.assertLess(max(heard), min(came_at(poll) for poll in polls))


class Patterns(unittest.TestCase):
    """What the subscriptions of one client cost those with whom it shares a loop."""

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon("--set", "server.workers=1").start()
        cls.c = cls.daemon.client()

    @classmethod
    def tearDownClass(cls):
        cls.c.close()
        cls.daemon.close()

    KEY = "glob/" + "a" * 900

    def listener(self, command, *names):
        client = self.daemon.client()
        self.addCleanup(client.close)
        for at in range(0, len(names), 500):
            client.send(command, *names[at:at + 500])
        for _ in names:
            client.read()
        return client

    def hostile(self, count):
        """One with patterns of which each takes 203,000 steps to find that it does not fit KEY."""
        return self.listener("PSUBSCRIBE", *("*" + "a" * 450 + f"b{i}" for i in range(count)))

    def expect_end(self, client):
        with self.assertRaisesRegex(ReplyError, "to match the patterns of this connection takes"):
            client.read()
        with self.assertRaises(ConnectionError):
            client.read()
        wait_until(lambda: self.c("PUBSUB", "NUMPAT") == 1)  # the innocent one's

    def innocent(self):
        listener = self.listener("PSUBSCRIBE", "__keyspace@0__:glob/*")
        self.addCleanup(listener, "PUNSUBSCRIBE")
        return listener

    def expect_heard(self, listener):
        self.assertEqual(listener.read(), [b"pmessage", b"__keyspace@0__:glob/*",
                                           b"__keyspace@0__:" + self.KEY.encode(), b"set"])

    def test_a_client_whose_patterns_take_too_long_for_a_change_is_told_and_ended(self):
        innocent, hostile = self.innocent(), self.hostile(500)
        for i in range(3):
            self.c("SET", self.KEY, i)
            self.expect_heard(innocent)
        self.expect_end(hostile)

    @unittest.skipIf("MP_SANITIZER" in os.environ, "so many steps are not done in a second")
    def test_a_client_whose_patterns_take_too_much_of_a_second_is_told_and_ended(self):
        innocent, hostile = self.innocent(), self.hostile(24)
        end = time.monotonic() + 60
        while not select.select([hostile.socket], [], [], 0)[0] and time.monotonic() < end:
            for i in range(40):
                self.c.send("SET", self.KEY, i)
            for _ in range(40):
                self.c.read()
                self.expect_heard(innocent)
        self.expect_end(hostile)

    @unittest.skipIf("MP_SANITIZER" in os.environ, "so many steps are not done in a second")
    def test_patterns_of_several_clients_together_take_no_more_of_a_second_than_those_of_one(self):
        innocent = self.innocent()
        crowd = [self.hostile(4) for _ in range(10)]  # none takes so much alone: the loop has not the time
        ended = set()
        end = time.monotonic() + 30
        while len(ended) < len(crowd) - 2 and time.monotonic() < end:
            for i in range(20):
                self.c.send("SET", self.KEY, i)
            for _ in range(20):
                self.c.read()
                self.expect_heard(innocent)
            ended |= set(select.select([one.socket for one in crowd if one.socket not in ended], [], [], 0)[0])
        self.assertGreaterEqual(len(ended), len(crowd) - 2)

    def test_thousands_of_ordinary_subscriptions_are_no_trouble(self):
        patterns = self.listener("PSUBSCRIBE", *(f"__keyspace@0__:many/{i}/*" for i in range(5000)))
        channels = self.listener("SUBSCRIBE", *(f"__keyspace@0__:many/{i}/k" for i in range(10000)))
        with self.assertRaisesRegex(ReplyError, "10000 subscriptions"):
            channels("SUBSCRIBE", "one/more")
        self.assertEqual(channels("SUBSCRIBE", "__keyspace@0__:many/7/k")[2], 10000)
        for i in (0, 1234, 4999):
            self.c("SET", f"many/{i}/k", "1")
            self.assertEqual(patterns.read()[1], f"__keyspace@0__:many/{i}/*".encode())
            self.assertEqual(channels.read()[1], f"__keyspace@0__:many/{i}/k".encode())
        for at in range(0, 5000, 500):  # also when all of them change at once
            self.c("MSET", *(word for i in range(at, at + 500) for word in (f"many/{i}/k", "3")))
        for i in range(5000):
            self.assertEqual(patterns.read()[1], f"__keyspace@0__:many/{i}/*".encode())
            self.assertEqual(channels.read()[1], f"__keyspace@0__:many/{i}/k".encode())
        self.assertEqual(channels("UNSUBSCRIBE", "__keyspace@0__:many/1234/k")[2], 9999)
        self.assertEqual(channels("UNSUBSCRIBE", "no/such/channel")[2], 9999)
        self.c("SET", "many/1234/k", "2")
        self.c("SET", "many/9999/k", "2")
        self.assertEqual(channels.read()[1], b"__keyspace@0__:many/9999/k")
        channels.send("UNSUBSCRIBE")
        self.assertEqual([channels.read()[2] for _ in range(9999)], [*range(9998, -1, -1)])
        self.assertEqual(channels("PING"), "PONG")


class Resp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon("--set", "server.workers=2").start()
        cls.c = cls.daemon.client()

    @classmethod
    def tearDownClass(cls):
        cls.c.close()
        cls.daemon.close()

    def listener(self, *words):
        client = self.daemon.client()
        self.addCleanup(client.close)
        client(*words)
        return client

    def test_a_prefix_hears_of_its_keys_with_their_revisions_in_order(self):
        listener = self.listener("MP.WATCH", "PREFIX", "ordered/a")
        self.c("SET", "ordered/b", "0")
        self.c("SET", "ordered/a1", "1")
        self.c("SET", "ordered/a2", "2")
        self.c("DEL", "ordered/a1")
        heard = [listener.read() for _ in range(3)]
        self.assertEqual([m[:3] for m in heard], [[b"change", b"ordered/a1", b"set"],
                                                  [b"change", b"ordered/a2", b"set"],
                                                  [b"change", b"ordered/a1", b"del"]])
        first = heard[0][3]
        self.assertEqual([m[3] for m in heard], [first, first + 1, first + 2])

    def test_each_event_has_the_name_that_redis_gives_it(self):
        self.c("MP.ENV", "base")
        self.c("SET", "of/no/interest", "1")  # so that memory cannot say that the base has no keys
        self.c("SELECT", "0")
        listener = self.listener("SUBSCRIBE", *[f"__keyevent@0__:{word}" for word in NAMED])
        for _ in NAMED[1:]:
            listener.read()
        prefix = self.listener("MP.WATCH", "PREFIX", "named/")
        position = self.c("MP.CHANGES")[0]
        self.c("SET", "named/b", "1")
        self.c("DEL", "named/b")
        self.c("SET", "named/c", "1")
        self.c("EXPIRE", "named/c", "1000")
        self.c("PERSIST", "named/c")
        self.c("SET", "named/c", "2", "PX", "100")
        heard = [(m[1].split(b":")[1], m[2]) for m in (listener.read() for _ in range(8))]
        self.assertEqual(heard, [(b"set", b"named/b"), (b"del", b"named/b"), (b"set", b"named/c"),
                                 (b"expire", b"named/c"), (b"persist", b"named/c"),
                                 (b"set", b"named/c"), (b"expire", b"named/c"),
                                 (b"expired", b"named/c")])
        told = [tuple(prefix.read()[1:3]) for _ in range(7)]
        self.assertEqual(told, [(b"named/b", b"set"), (b"named/b", b"del"), (b"named/c", b"set"),
                                (b"named/c", b"set"), (b"named/c", b"set"), (b"named/c", b"set"),
                                (b"named/c", b"expired")])
        changes = self.c("MP.CHANGES", "FROM", position, "PREFIX", "named/")[2:]
        self.assertEqual([change[1] for change in changes],
                         [b"set", b"del", b"set", b"set", b"set", b"set", b"del"])

    def test_two_prefixes_that_fit_tell_of_a_change_once(self):
        listener = self.listener("MP.WATCH", "PREFIX", "once/")
        listener("MP.WATCH", "PREFIX", "once/k")
        self.c("SET", "once/key", "1")
        self.c("SET", "once/other", "1")
        self.assertEqual(listener.read()[1], b"once/key")
        self.assertEqual(listener.read()[1], b"once/other")

    def test_patterns_of_any_shape_hear_of_what_they_fit(self):
        patterns = ["__keyspace@0__:globs/*", "__keyspace@0__:gl*", "__key*:globs/k?y",
                    "__keyspace@0__:globs/[k]ey", "__keyevent@0__:s*", "*"]
        for pattern in patterns:
            with self.subTest(pattern):
                listener = self.listener("PSUBSCRIBE", pattern)
                self.c("SET", "globs/key", "1")
                self.assertEqual(listener.read()[:2], [b"pmessage", pattern.encode()])
        silent = self.listener("PSUBSCRIBE", "__keyspace@1__:globs/*")
        silent("PSUBSCRIBE", "nothing*")
        silent("SUBSCRIBE", "__keyspace@0__:globs/ke")
        silent("SUBSCRIBE", "__keyspace@0__:globs/key2")
        silent("SUBSCRIBE", "of-no-use")
        self.c("SET", "globs/key", "2")
        self.c("SET", "globs/key2", "2")
        self.assertEqual(silent.read(), [b"message", b"__keyspace@0__:globs/key2", b"set"])

    def test_who_reads_slowly_is_told_to_look_again_and_hears_what_comes_then(self):
        slow = self.listener("MP.WATCH", "PREFIX", "slow/")
        name = "slow/" + "x" * 200
        sent = 0
        while not slow_lapsed(self.c, slow):
            for _ in range(500):
                self.c.send("SET", name, sent)
                sent += 1
            for _ in range(500):
                self.c.read()
        heard = []
        while not heard or heard[-1][2] != b"reset":
            heard.append(slow.read())
        revisions = [m[3] for m in heard]
        self.assertEqual(revisions, sorted(revisions))
        self.assertEqual(heard[-1][1], b"")
        self.assertLess(len(heard), sent)
        self.c("SET", "slow/then", "1")
        while (message := slow.read())[1] != b"slow/then":
            self.assertGreater(message[3], revisions[-1])


def slow_lapsed(c, slow):
    """Whether more than the limit waits in the daemon for its only slow client."""
    return any(int(field.split(b"=")[1]) > 64 * 1024
               for line in c("CLIENT", "LIST").splitlines()
               for field in line.split() if field.startswith(b"omem="))


def gauge(daemon, name):
    for line in Http(daemon.http).get("/metrics").text.splitlines():
        if line.startswith("marketprism_" + name + " "):
            return float(line.split()[1])
    raise AssertionError(name + " is no metric")


class Streams(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon("--set", "server.workers=2", *PROGRESS).start()
        cls.c = cls.daemon.client()

    @classmethod
    def tearDownClass(cls):
        cls.c.close()
        cls.daemon.close()

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
                      "?from=1&rev=1", "?env=a/b", "?prefix=" + "x" * 2000):
            with self.subTest(query):
                answer = Http(self.daemon.http).get("/v1/watch" + query)
                self.assertEqual((answer.status, answer["Content-Type"]),
                                 (400, "application/problem+json"))
        answer = Http(self.daemon.http).get("/v1/watch?from=1", Last_Event_ID="x")
        self.assertIn("Last-Event-ID is the position", answer.json["detail"])

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


class WebSockets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon("--set", "server.workers=2").start()
        cls.c = cls.daemon.client()

    @classmethod
    def tearDownClass(cls):
        cls.c.close()
        cls.daemon.close()

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
        self.assertEqual(self.open("", Origin="http://" + self.daemon.http).status, 101)

    def test_when_the_server_stops_it_says_that_it_goes_away(self):
        daemon = Daemon().start()
        self.addCleanup(daemon.close)
        websocket = WebSocket(daemon.http, "/v1/watch")
        self.addCleanup(websocket.close)
        websocket.until("sync")
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(websocket.frame(), (8, (1001).to_bytes(2, "big")))


class Polls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon("--set", "server.workers=2").start()
        cls.c = cls.daemon.client()
        cls.http = Http(cls.daemon.http, timeout=30)

    @classmethod
    def tearDownClass(cls):
        cls.http.close()
        cls.c.close()
        cls.daemon.close()

    def poll(self, query):
        answer = self.http.get("/v1/watch" + query)
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    def test_without_a_change_the_answer_comes_when_the_wait_is_over(self):
        answer = self.poll("?prefix=idle/&wait=0s")
        self.assertEqual((answer["events"], answer["reset"], answer["stale"]), ([], False, False))
        again = self.poll(f"?prefix=idle/&wait=300ms&rev={answer['position']}")
        self.assertEqual((again["events"], again["position"]), ([], answer["position"]))

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


class Scopes(unittest.TestCase):
    """Who watches a scope hears what a reader of it would see."""

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon("--set", "server.workers=2").start()
        cls.http = Http(cls.daemon.http)
        cls.c = cls.daemon.client()

    @classmethod
    def tearDownClass(cls):
        cls.http.close()
        cls.c.close()
        cls.daemon.close()

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
        self.delete("env=production", "shows/k")
        self.put("env=production", "shows/gone", "1")
        self.delete("env=production", "shows/gone")
        self.delete("env=base", "shows/k")
        told = [(b"shows/k", b"set"), (b"shows/gone", b"set"), (b"shows/gone", b"del"),
                (b"shows/k", b"del")]
        self.assertEqual([tuple(prefix.read()[1:3]) for _ in told], told)
        self.assertEqual([channel.read()[3] for _ in told], [word for _, word in told])
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

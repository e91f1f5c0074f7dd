#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Watching over RESP: patterns and prefixes, who hears first, and what too much costs."""

import os
import select
import socket
import struct
import time
import unittest

import mp_daemon
import mp_tap
from mp_daemon import Daemon, ReplyError, wait_until
from mp_http import gauge

NAMED = ("set", "del", "expire", "persist", "expired")
SO_TIMESTAMPNS = 35  # Linux; its struct timespec is 16 bytes where time_t has 64 bits


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


class Patterns(mp_daemon.Spoken):
    """What the subscriptions of one client cost those with whom it shares a loop."""

    options = ("--set", "server.workers=1")

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


class Resp(mp_daemon.Spoken):
    options = ("--set", "server.workers=2")

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


if __name__ == "__main__":
    mp_tap.main()

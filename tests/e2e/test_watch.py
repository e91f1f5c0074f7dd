#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Watching, by every transport: what is heard, in which order, by whom."""

import unittest

import mp_tap
from mp_daemon import Daemon


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
        sent = last = 0
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
        self.c("SET", "slow/then", last)
        message = slow.read()
        self.assertEqual(message[1:3], [b"slow/then", b"set"])
        self.assertGreater(message[3], revisions[-1])


def slow_lapsed(c, slow):
    """Whether more than the limit waits in the daemon for its only slow client."""
    return any(int(field.split(b"=")[1]) > 64 * 1024
               for line in c("CLIENT", "LIST").splitlines()
               for field in line.split() if field.startswith(b"omem="))


if __name__ == "__main__":
    mp_tap.main()

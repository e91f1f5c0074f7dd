# SPDX-License-Identifier: Apache-2.0
"""What the RESP commands and the verbs of the command line promise."""

import json
import os
import pathlib
import re
import threading
import time
import unittest
import urllib.request

import mp_daemon
import mp_tap
from mp_daemon import BINARY, ReplyError, wait_until
from mp_http import Http

import subprocess


class Commands(mp_daemon.Served):
    def setUp(self):
        self.c = self.daemon.client()
        self.addCleanup(self.c.close)
        self.key = self.id().rsplit(".", 1)[1]

    def bench(self, *words):
        return subprocess.run([BINARY, "bench", *words], capture_output=True, text=True, timeout=300)

    def test_benches_run_as_they_are_named_each_with_its_reference(self):
        run = self.bench("record", "l2-get", "--rounds", "1", "--json")
        lines = [json.loads(line) for line in run.stdout.splitlines()]
        self.assertEqual([line["bench"] for line in lines], ["record", "l2-get"], run.stderr)
        for line in lines:
            self.assertTrue(line["reference"])
        table = self.bench("compress", "--rounds", "1").stdout
        for name in ("made", "reference: zstd level 3"):
            self.assertIn(name, table)

    def test_without_a_name_the_first_of_all_benches_begins(self):
        names = [line.split()[0] for line in self.bench("--list").stdout.splitlines()]
        run = subprocess.Popen([BINARY, "bench", "--rounds", "1"], stdout=subprocess.PIPE, text=True)
        try:
            first = run.stdout.readline()
        finally:
            run.kill()
            run.communicate()
        self.assertTrue(first.startswith(f"== {names[0]}: "), first)

    @unittest.skipIf("MP_SANITIZER" in os.environ, "which needs more room than that")
    def test_benches_go_on_behind_one_that_failed(self):
        run = subprocess.run(["sh", "-c", f"ulimit -v 90000; exec {BINARY} bench l1-get record --rounds 1"],
                             capture_output=True, text=True, timeout=300)
        self.assertEqual(run.returncode, 1)
        self.assertIn("marketprism bench: l1-get: ", run.stderr)
        self.assertIn("a latency recorded", run.stdout)

    def test_what_cannot_be_printed_is_an_error_that_says_so(self):
        for words in (["policies"], ["bench", "record", "--rounds", "1"], ["get", self.key]):
            self.c("SET", self.key, "v")
            with open("/dev/full", "w", encoding="utf-8") as full:
                run = subprocess.run([BINARY, *words, *(["--resp", self.daemon.resp] if words[0] == "get" else [])],
                                     stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
            self.assertEqual(run.returncode, 1, words)
            self.assertRegex(run.stderr, f"marketprism {words[0]}: standard output: ", words)

    def test_an_unknown_bench_is_refused_before_any_runs(self):
        run = self.bench("record", "no-such")
        self.assertEqual((run.returncode, run.stdout), (2, ""))
        self.assertIn("no bench 'no-such'; --list names them", run.stderr)

    def test_ls_takes_the_names_that_it_shows(self):
        self.c("MSET", "feeds/a", "1", "feedsize", "2", "default.x", "3", "feeds/b.c", "4")
        def ls(*words):
            return self.daemon.cli("ls", *words).stdout
        self.assertEqual(ls("feed"), "feedsize\nfeeds/a\nfeeds/b.c\n")
        self.assertEqual(ls("default"), "default.x\n")
        self.assertEqual(ls("feeds/b"), "feeds/b.c\n")

    def test_ls_draws_a_tree(self):
        self.c("MSET", "tree/a.x", "1", "tree/a.y.z", "2", "tree/list[0]", "3", "tree/list[1]", "4")
        self.assertEqual(self.daemon.cli("ls", "--tree", "--values", "tree/").stdout,
                         "tree\n  a\n    x = 1\n    y\n      z = 2\n  list\n    [0] = 3\n    [1] = 4\n")

    def test_set_keeps_to_its_conditions(self):
        c, k = self.c, self.key
        self.assertIsNone(c("SET", k, "1", "XX"))
        self.assertEqual(c("SET", k, "1", "NX"), "OK")
        self.assertIsNone(c("SET", k, "2", "NX"))
        self.assertEqual(c("SET", k, "2", "XX", "GET"), b"1")
        self.assertEqual(c("GET", k), b"2")
        self.assertEqual(c("SET", k, "3", "NX", "GET"), b"2")
        self.assertEqual(c("GET", k), b"2")
        self.assertIsNone(c("SET", k + "new", "3", "NX", "GET"))
        self.assertEqual(c("GET", k + "new"), b"3")
        self.assertIsNone(c("SET", k + "none", "3", "XX", "GET"))
        self.assertEqual(c("SETNX", k, "3"), 0)
        for words in (("SET", k, "1", "NX", "XX"), ("SET", k, "1", "EX"), ("SET", k, "1", "EX", "5", "PX", "5")):
            with self.assertRaisesRegex(ReplyError, "syntax error"):
                c(*words)
        with self.assertRaisesRegex(ReplyError, "invalid expire time in 'set' command"):
            c("SET", k, "1", "EX", "0")
        with self.assertRaisesRegex(ReplyError, "not an integer"):
            c("SET", k, "1", "EX", "soon")

    def test_an_expiry_is_part_of_the_value(self):
        c, k = self.c, self.key
        c("SET", k, "1", "PX", "20000")
        self.assertTrue(0 < c("PTTL", k) <= 20000)
        c("SET", k, "1", "PX", "50")
        wait_until(lambda: c("GET", k) is None, what="the expiry")
        self.assertEqual(c("TTL", k), -2)
        c("SET", k, "1", "EX", "100")
        self.assertEqual(c("PERSIST", k), 1)
        self.assertEqual(c("PERSIST", k), 0)
        self.assertEqual(c("TTL", k), -1)
        self.assertEqual(c("EXPIRE", k, "50"), 1)
        self.assertEqual(c("SET", k, "2", "KEEPTTL"), "OK")
        self.assertTrue(40 < c("TTL", k) <= 50)
        c("SET", k, "3")
        self.assertEqual(c("TTL", k), -1)
        self.assertEqual(c("EXPIRE", k, "-1"), 1)
        self.assertEqual(c("EXISTS", k), 0)

    def test_an_expiry_keeps_to_its_conditions(self):
        c, k = self.c, self.key
        self.assertEqual(c("EXPIRE", k, "100", "NX"), 0)  # of nothing
        c("SET", k, "1")
        for condition, want in (("XX", 0), ("GT", 0), ("NX", 1), ("NX", 0), ("XX", 1)):
            self.assertEqual(c("EXPIRE", k, "100", condition), want, condition)
        soon = str(time.time_ns() // 1000000 + 90000)
        for condition, want in ((), 1), ((), 1), (("XX",), 1), (("NX",), 0), (("GT",), 0), (("LT",), 0):
            self.assertEqual(c("PEXPIREAT", k, soon, *condition), want, condition)  # the very same time
        self.assertEqual(c("EXPIRE", k, "50", "GT"), 0)
        self.assertEqual(c("EXPIRE", k, "200", "gt"), 1)
        self.assertEqual(c("PEXPIRE", k, "300000", "LT"), 0)
        self.assertEqual(c("PEXPIRE", k, "30000", "XX", "LT"), 1)
        self.assertTrue(20 < c("TTL", k) <= 30)
        self.assertEqual(c("EXPIREAT", k, "1", "GT"), 0)
        self.assertEqual(c("EXISTS", k), 1)
        self.assertEqual(c("EXPIREAT", k, "1", "LT"), 1)
        self.assertEqual(c("EXISTS", k), 0)
        c("SET", k, "1")
        self.assertEqual(c("EXPIRE", k, "100", "LT"), 1)  # no expiry is the latest
        for words, text in ((("NX", "XX"), "NX and XX, GT or LT"), (("GT", "LT"), "GT and LT"),
                            (("no",), "Unsupported option no")):
            with self.assertRaisesRegex(ReplyError, text):
                c("EXPIRE", k, "100", *words)

    def test_mistakes_of_a_connection_are_answered_as_redis_does(self):
        with self.assertRaisesRegex(ReplyError, "^ERR Protocol version is not an integer or out of range"):
            self.c("HELLO", "abc")
        with self.assertRaisesRegex(ReplyError, "^NOPROTO"):
            self.c("HELLO", "4")
        with self.assertRaisesRegex(ReplyError, "^ERR Unknown client type 'foo'"):
            self.c("CLIENT", "LIST", "TYPE", "foo")
        with self.assertRaisesRegex(ReplyError, "^ERR syntax error"):
            self.c("CLIENT", "LIST", "foo")
        self.assertIn(b"id=%d " % self.c("CLIENT", "ID"), self.c("CLIENT", "LIST", "TYPE", "normal"))
        self.assertEqual(self.c("CLIENT", "LIST", "TYPE", "replica"), b"")
        for words, text in ((("CLIENT", "ID", "x"), "wrong number of arguments for 'client.id' command"),
                            (("CLIENT", "LIST", "ID", "x"), "Invalid client ID"),
                            (("CLIENT", "KILL", "ID", "0"), "client-id should be greater than 0"),
                            (("CLIENT", "KILL", "ID", "1", "ADDR"), "syntax error"),
                            (("CLIENT", "KILL", "SKIPME", "perhaps"), "syntax error"),
                            (("CLIENT", "NO-EVICT", "perhaps"), "syntax error"),
                            (("COMMAND", "LIST", "FILTERBY"), "syntax error")):
            with self.assertRaisesRegex(ReplyError, "^ERR " + text, msg=words):
                self.c(*words)

    def test_a_name_with_a_zero_in_it_is_no_command(self):
        for name in (b"GET\0", b"GET\0x", b"\0", b"acl list", b""):
            with self.assertRaisesRegex(ReplyError, "^ERR unknown command", msg=name):
                self.c(name, "a")

    def test_what_is_too_large_is_refused_with_the_option_that_limits_it(self):
        for words, option in ((("SET", "k", "v" * (2 * 1024 * 1024 + 1)), "resp.value_max"),
                              (["MGET"] + ["k"] * 1024, "resp.arguments_max")):
            client = self.daemon.client()
            self.addCleanup(client.close)
            client.socket.sendall(client.encode(*words)[:64])  # it is refused when it is announced
            with self.assertRaisesRegex(ReplyError, f"^ERR Protocol error: invalid .* length: .*{option}"):
                client.read()

    def test_the_names_of_commands_can_be_chosen_by_a_glob(self):
        self.assertEqual(self.c("COMMAND", "LIST", "FILTERBY", "PATTERN", "get*"), [b"get", b"getdel"])
        self.assertEqual(len(self.c("COMMAND", "LIST")), self.c("COMMAND", "COUNT"))

    def test_passwords_are_refused_as_redis_refuses_them_that_has_none(self):
        with self.assertRaisesRegex(ReplyError, "^ERR AUTH <password> called without any password"):
            self.c("AUTH", "secret")
        for words in (("AUTH", "somebody", "secret"), ("HELLO", "2", "AUTH", "somebody", "secret")):
            with self.assertRaisesRegex(ReplyError, "^WRONGPASS", msg=words):
                self.c(*words)
        self.assertEqual(self.c("AUTH", "default", "secret"), "OK")
        self.assertIn(b"redis", self.c("HELLO", "2", "AUTH", "default", "secret"))

    def test_clients_are_listed_and_ended_by_what_they_are(self):
        a, b = self.daemon.client(), self.daemon.client()
        self.addCleanup(a.close)
        self.addCleanup(b.close)
        mine, ids = self.c("CLIENT", "ID"), [a("CLIENT", "ID"), b("CLIENT", "ID")]
        # a name that looks like another client's id
        a("CLIENT", "SETNAME", f"id={ids[1]}")
        self.assertIn(b"name=id=%d " % ids[1], a("CLIENT", "INFO"))
        self.assertTrue(b("CLIENT", "INFO").startswith(b"id=%d " % ids[1]))
        self.assertNotIn(b" fd=-1 ", b("CLIENT", "INFO"))
        listed = self.c("CLIENT", "LIST", "ID", ids[0], "999999", ids[1])
        self.assertEqual(sorted(int(line.split()[0][3:]) for line in listed.splitlines()), sorted(ids))
        address = b("CLIENT", "INFO").split()[1][len("addr="):]
        self.assertEqual(self.c("CLIENT", "KILL", "ID", ids[0], "ADDR", address), 0)  # both must hold
        self.assertEqual(self.c("CLIENT", "KILL", "ID", ids[0], "TYPE", "normal"), 1)
        self.assertEqual(a.file.read(), b"")
        self.assertEqual(self.c("CLIENT", "KILL", address), "OK")
        self.assertEqual(b.file.read(), b"")
        self.assertEqual(self.c("CLIENT", "KILL", "ID", mine), 0)  # not who asks
        self.assertEqual(self.c("CLIENT", "KILL", "ID", mine, "SKIPME", "no"), 1)
        self.assertEqual(self.c.file.read(), b"")

    def test_clients_are_chosen_by_the_type_that_their_last_command_made_them(self):
        def ids(kind):
            return [int(line.split()[0][3:]) for line in self.c("CLIENT", "LIST", "TYPE", kind).splitlines()]
        for words, back in ((("SUBSCRIBE", "a"), ("UNSUBSCRIBE", "a")), (("PSUBSCRIBE", "a*"), ("PUNSUBSCRIBE",)),
                            (("MP.WATCH",), ("RESET",)), (("SUBSCRIBE", "b"), ("RESET",))):
            for _ in range(10):  # the system spreads them over the workers
                with self.subTest(words):
                    client = self.daemon.client()
                    self.addCleanup(client.close)
                    me = client("CLIENT", "ID")
                    client(*words)
                    self.assertIn(me, ids("pubsub"))
                    self.assertNotIn(me, ids("normal"))
                    client(*back)
                    self.assertIn(me, ids("normal"))
                    self.assertEqual(self.c("CLIENT", "KILL", "TYPE", "pubsub", "ID", me), 0)
                    client(*words)
                    self.assertEqual(self.c("CLIENT", "KILL", "TYPE", "normal", "ID", me), 0)
                    self.assertEqual(self.c("CLIENT", "KILL", "TYPE", "pubsub", "ID", me), 1)

    def test_a_name_that_a_client_may_not_have_is_refused_for_what_is_wrong_with_it(self):
        for words, what, most in ((("CLIENT", "SETNAME"), "Client names", 63),
                                  (("HELLO", "2", "SETNAME"), "Client names", 63),
                                  (("CLIENT", "SETINFO", "LIB-NAME"), "lib-name", 63),
                                  (("CLIENT", "SETINFO", "LIB-VER"), "lib-ver", 31)):
            with self.subTest(words):
                self.c(*words, "n" * most)
                with self.assertRaisesRegex(ReplyError, f"^ERR {what} cannot be longer than {most} bytes"):
                    self.c(*words, "n" * (most + 1))
                with self.assertRaisesRegex(ReplyError, f"^ERR {what} cannot contain spaces, newlines"):
                    self.c(*words, "n n")

    def test_subscriptions_are_counted_over_all_connections(self):
        channel, clients = f"__keyspace@0__:{self.key}", [self.daemon.client() for _ in range(12)]
        for client in clients:  # the system spreads them over the workers
            self.addCleanup(client.close)
            client("SUBSCRIBE", channel)
            client("PSUBSCRIBE", f"{self.key}*")
        self.assertEqual(self.c("PUBSUB", "NUMSUB", channel, "none"), [channel.encode(), 12, b"none", 0])
        self.assertEqual(self.channels(f"*{self.key}"), [channel.encode()])
        self.assertEqual(self.channels("none*"), [])
        globs = self.c("PUBSUB", "NUMPAT")
        for client in clients:
            client("PUNSUBSCRIBE")
            client("RESET")
        self.assertEqual(self.c("PUBSUB", "NUMSUB", channel), [channel.encode(), 0])
        self.assertEqual(self.channels(), [])
        self.assertEqual(self.c("PUBSUB", "NUMPAT"), globs - 1)
        with self.assertRaisesRegex(ReplyError, "unknown subcommand or wrong number of arguments for 'NUMPAT'"):
            self.c("PUBSUB", "NUMPAT", "x")

    def test_a_pattern_that_takes_long_over_all_keys_is_refused(self):
        self.c("SELECT", "1")
        names = [b"long/%03d" % i + b"a" * 400 for i in range(500)]
        self.c("MSET", *(word for name in names for word in (name, "1")))
        bomb = b"*" + b"a" * 100 + b"b"
        with self.assertRaisesRegex(ReplyError, "^ERR to match the pattern takes more than [0-9]+ steps"):
            self.c("KEYS", bomb)
        with self.assertRaisesRegex(ReplyError, "^ERR to match the pattern takes more than [0-9]+ steps"):
            self.c("SCAN", "0", "MATCH", bomb, "COUNT", "10000")
        self.assertEqual(self.c("SCAN", "0", "MATCH", bomb, "COUNT", "10")[1], [])
        self.assertEqual(sorted(self.c("KEYS", "long/*a")), names)
        self.assertEqual(self.c("KEYS", "*/007*"), [names[7]])

    def channels(self, *words):
        """In the next second, where this one has no time left for it."""
        end = time.monotonic() + 20
        while True:
            try:
                return self.c("PUBSUB", "CHANNELS", *words)
            except ReplyError as error:
                if "of this second already" not in str(error) or time.monotonic() > end:
                    raise
            wait_until(lambda: self.c("PING") == "PONG", seconds=5, what="a turn")

    def test_a_pattern_that_takes_long_over_all_channels_is_refused(self):
        listener = self.daemon.client()
        self.addCleanup(listener.close)
        names = [b"%04d" % i + b"a" * 1500 for i in range(1000)]
        listener.send("SUBSCRIBE", *names)
        for _ in names:
            listener.read()
        with self.assertRaisesRegex(ReplyError, "^ERR to look through all 1[0-9]{3} channels takes more than .* steps"):
            self.channels(b"*" + b"a" * 90 + b"b")
        self.assertEqual(sorted(self.channels(b"[0-9]*a")), names)
        self.assertEqual(self.channels(b"0007*"), [names[7]])
        # and many of them one after the other take no more than a part of each second
        many = 200
        self.c.socket.sendall(self.c.encode("PUBSUB", "CHANNELS", b"*" + b"a" * 90 + b"b") * many)
        refused = []
        for _ in range(many):
            with self.assertRaises(ReplyError) as error:
                self.c.read()
            refused.append(str(error.exception))
        self.assertGreater(sum("of this second already" in text for text in refused), many // 2)

    def test_more_names_of_channels_than_a_client_may_leave_unread_are_refused_and_it_stays(self):
        listener = self.daemon.client()
        self.addCleanup(listener.close)
        for begin in range(0, 2400, 400):
            listener.send("SUBSCRIBE", *(b"%04d" % i + b"a" * 3996 for i in range(begin, begin + 400)))
            for _ in range(400):
                listener.read()
        with self.assertRaisesRegex(ReplyError, "^ERR the names .* more than resp.output_hard"):
            self.channels()
        self.assertEqual(len(self.channels("00[01]*")), 20)

    def test_subscribers_hear_of_an_expiry_behind_the_value(self):
        listener = self.daemon.client()
        self.addCleanup(listener.close)
        listener("SUBSCRIBE", f"__keyspace@0__:{self.key}")
        self.c("SET", self.key, "1", "PX", "100000")
        self.assertEqual([listener.read()[2] for _ in range(2)], [b"set", b"expire"])

    def test_subscribers_hear_of_a_time_alone_as_of_that(self):
        """The words and their order are those that Redis 7.0 publishes for the same commands."""
        c, k = self.c, self.key
        listener = self.daemon.client()
        self.addCleanup(listener.close)
        listener("SUBSCRIBE", f"__keyspace@0__:{k}")
        told = []
        for words, events in ((("SET", k, "1"), ["set"]),
                              (("EXPIRE", k, "100"), ["expire"]),
                              (("EXPIRE", k, "50", "GT"), []),
                              (("SET", k, "2", "KEEPTTL"), ["set"]),
                              (("PERSIST", k), ["persist"]),
                              (("PERSIST", k), []),
                              (("SETEX", k, "100", "3"), ["set", "expire"]),
                              (("EXPIRE", k, "-1"), ["del"]),
                              (("EXPIRE", k, "9"), [])):
            c(*words)
            told += events
        self.assertEqual([listener.read()[2].decode() for _ in told], told)

    def test_many_keys_at_once(self):
        c, k = self.c, self.key
        self.assertEqual(c("MSET", k + "1", "a", k + "2", "b"), "OK")
        self.assertEqual(c("MGET", k + "1", "nope", k + "2"), [b"a", None, b"b"])
        names, values = [f"{k}/{i}" for i in range(75)], [str(i).encode() for i in range(75)]
        c("MSET", *(word for pair in zip(names, values) for word in pair))
        self.assertEqual(c("MGET", *names), values)
        self.assertEqual(c("MGET", *names, "nope", *names), values + [None] + values)
        c("SET", names[70], "x" * 300000)
        self.assertEqual(c("MGET", *names, *names)[145], b"x" * 300000)
        with self.assertRaisesRegex(ReplyError, "the key is empty"):
            c("MGET", *names, "", *names)
        self.assertEqual(c("EXISTS", k + "1", k + "2", "nope"), 2)
        self.assertEqual(c("DEL", k + "1", "nope"), 1)
        self.assertEqual(c("TYPE", k + "1"), "none")
        self.assertEqual(c("TYPE", k + "2"), "string")
        self.assertEqual(c("STRLEN", k + "2"), 1)

    def test_who_reads_a_value_counts_as_a_hit_and_who_asks_about_it_does_not(self):
        c, k = self.c, self.key
        def hits():
            return int(dict(line.split(":") for line in c("INFO", "stats").decode().split()[2:])["keyspace_hits"])
        c("SET", k, "v")
        for words, uses in ((("GET", k), 1), (("MGET", k, k), 2), (("MP.GET", k), 1),
                            (("MP.GET", k, "META"), 1), (("MP.GET", k, "LEVEL", "strong"), 1),
                            (("TOUCH", k), 1), (("EXISTS", k), 0), (("TTL", k), 0), (("TYPE", k), 0),
                            (("MP.EXPLAIN", k), 0), (("MEMORY", "USAGE", k), 0)):
            before = hits()
            c(*words)
            self.assertEqual(hits() - before, uses, words)
        for path, uses in ((f"config/default/{k}", 1), (f"config/default/{k}?level=strong", 1)):
            before = hits()
            urllib.request.urlopen(f"http://{self.daemon.http}/v1/{path}").close()
            self.assertEqual(hits() - before, uses, path)
        before = hits()
        urllib.request.urlopen(f"http://{self.daemon.http}/v1/batch-get", json.dumps(
            {"keys": [{"key": k}, {"key": k}]}).encode()).close()
        self.assertEqual(hits() - before, 2)

    def test_info_counts_the_keys_of_each_database(self):
        def keyspace(client):
            lines = client("INFO", "keyspace").decode().split()[2:]
            return {name: int(told.split(",")[0][len("keys="):]) for name, told in (line.split(":") for line in lines)}
        daemon = mp_daemon.Daemon("--set", "resp.databases=one, two, three").start()
        self.addCleanup(daemon.close)
        c = daemon.client()
        self.addCleanup(c.close)
        self.assertEqual(keyspace(c), {})
        c("MSET", "a", "1", "b", "1", "ns/c", "1")
        c("SELECT", "2")
        c("SET", "a", "1")
        c("MP.ENV", "base")
        c("SET", "everywhere", "1")  # which belongs to no database, though all see it
        self.assertEqual(keyspace(c), {"db0": 3, "db2": 1})
        c("SELECT", "0")
        c("DEL", "a")
        self.assertEqual(keyspace(c), {"db0": 2, "db2": 1})
        self.assertEqual(c("DBSIZE"), 3)
        daemon.kill()
        daemon.start()
        again = daemon.client()
        self.addCleanup(again.close)
        self.assertEqual(keyspace(again), {"db0": 2, "db2": 1})

    def test_a_first_read_of_nothing_is_a_miss_also_where_the_layers_behind_have_no_keys(self):
        daemon = mp_daemon.Daemon().start()
        self.addCleanup(daemon.close)
        c = daemon.client()
        self.addCleanup(c.close)
        for words, counts in ((("GET", "none"), (0, 1)), (("GET", "none"), (1, 1)),
                              (("MGET", "none", "other"), (2, 2)),
                              (("MGET", "none", "other"), (4, 2))):
            c(*words)
            told = c("INFO", "stats").decode()
            self.assertEqual(tuple(int(re.search(rf"keyspace_{name}:(\d+)", told)[1])
                                   for name in ("hits", "misses")), counts, words)

    def test_a_read_counts_once_whatever_layers_it_looks_at(self):
        c, k = self.c, self.key
        def counts():
            told = dict(line.split(":") for line in c("INFO", "stats").decode().split()[2:])
            return int(told["keyspace_hits"]), int(told["keyspace_misses"])
        def http(path, body=None):
            return lambda: urllib.request.urlopen(f"http://{self.daemon.http}/v1/{path}", body).close()
        self.assertEqual(c("MP.ENV", "base"), "OK")
        c("SET", k + "base", "v")
        def delete_base():  # others count what there is
            c("MP.ENV", "base")
            c("DEL", k + "base")
            c("MP.ENV", "production")
        self.addCleanup(delete_base)
        self.assertEqual(c("MP.ENV", "production"), "OK")
        c("SET", k + "own", "v")  # so that the layer in front is not known to be empty
        session = Http(self.daemon.http)
        self.addCleanup(session.close)
        for key in (k + "base", k + "own", k + "none"):
            reads = [lambda words=words: c(*words) for words in (
                ("GET", key), ("MGET", key), ("MP.GET", key), ("MP.GET", key, "LEVEL", "strong"))]
            if key != k + "none":
                reads += [http(f"config/default/{key}"), http(f"config/default/{key}?level=strong"),
                          lambda key=key: session.get(f"/v1/config/default/{key}")]
            reads.append(http("batch-get", json.dumps({"keys": [{"key": key}]}).encode()))
            c("GET", key)
            for number, read in enumerate(reads):
                for _ in range(3):
                    before = counts()
                    read()
                    now = counts()
                    self.assertEqual((now[0] - before[0], now[1] - before[1]), (1, 0), (key, number))
            c("EXISTS", key)
            self.assertEqual(counts(), now)
        for words in (("GET", k + "never1"), ("MGET", k + "never2")):
            before = counts()
            c(*words)
            self.assertEqual([a - b for a, b in zip(counts(), before)], [0, 1], words)
        c("SET", k + "there", "v")
        before = counts()
        self.assertEqual(c("MGET", k + "there", k + "never3", k + "there"), [b"v", None, b"v"])
        self.assertEqual([a - b for a, b in zip(counts(), before)], [2, 1], "a key of three that is not in memory")

    def test_environments_are_apart(self):
        c, k = self.c, self.key
        c("SET", k, "production")
        self.assertEqual(c("SELECT", "1"), "OK")
        self.assertIsNone(c("GET", k))
        c("SET", k, "staging")
        self.assertEqual(c("MP.ENV", "production"), "OK")
        self.assertEqual(c("GET", k), b"production")
        self.assertEqual(c("MP.ENV", "somewhere"), "OK")
        c("SET", k, "else")
        self.assertIn(b"somewhere", c("MP.ENVS"))
        with self.assertRaisesRegex(ReplyError, "DB index is out of range"):
            c("SELECT", "7")

    def test_scan_gives_every_key_once(self):
        c = self.c
        c("MP.ENV", "scan")
        names = {f"ns/key{i}" for i in range(250)}
        for name in names:
            c("SET", name, "v")
        cursor, seen = b"0", []
        while True:
            cursor, page = c("SCAN", cursor, "COUNT", "17")
            seen += [name.decode() for name in page]
            if cursor == b"0":
                break
        self.assertEqual(sorted(seen), sorted(names))
        self.assertEqual(c("DBSIZE"), 250)
        self.assertEqual(len(c("KEYS", "ns/key1?")), 10)
        self.assertEqual(c("SCAN", "0", "COUNT", "1000", "MATCH", "ns/key77")[1], [b"ns/key77"])

    def test_history_rollback_and_compare_and_set(self):
        c, k = self.c, self.key
        for value in ("one", "two", "three"):
            c("SET", k, value)
        history = c("MP.HISTORY", k, "VALUES")
        self.assertEqual([dict(zip(h[::2], h[1::2]))[b"value"] for h in history], [b"three", b"two", b"one"])
        first = dict(zip(history[2][::2], history[2][1::2]))[b"revision"]
        newest = c("MP.ROLLBACK", k, first)
        self.assertEqual(c("GET", k), b"one")
        self.assertEqual(c("MP.REV", k), newest)
        with self.assertRaisesRegex(ReplyError, "^CONFLICT"):
            c("MP.CAS", k, first, "four")
        with self.assertRaisesRegex(ReplyError, "^CONFLICT"):
            c("MP.CAS", k, 0, "four")  # 0: it must not exist
        c("MP.CAS", k, newest, "four")
        self.assertEqual(c("GET", k), b"four")

    def test_compare_and_set_takes_a_type_and_an_expiry_too(self):
        c, k = self.c, self.key
        c("MP.CAS", k, 0, "1", "application/json", "PX", 3600000)
        self.assertIn(c("TTL", k), range(3590, 3601))
        self.assertEqual(c.meta(k)["media_type"], b"application/json")
        newest = c("MP.CAS", k, "*", "2")
        self.assertEqual((c("GET", k), c("TTL", k)), (b"2", -1))
        for words in ([newest, "3", "", "PX"], [newest, "3", "", "EX", 1], [newest, "3", "", "PX", 0],
                      [newest, "3", "", "PX", -1], [newest, "3", "", "PX", "x"], ["**", "3"]):
            with self.assertRaisesRegex(ReplyError, "^ERR"):
                c("MP.CAS", k, *words)
        self.assertEqual(c("GET", k), b"2")

    def test_set_takes_any_of_its_options_with_any_other(self):
        k = "options/" + self.key.replace("/", "-")
        for revision in (None, "0"):
            self.daemon.cli("del", k)
            words = ["--if-revision", revision] if revision else []
            self.daemon.cli("set", k, "[1]", "--ttl", "1h", "--type", "application/json", *words, check=True)
            self.assertIn(self.c("TTL", k), range(3590, 3601))
            self.assertEqual(self.c.meta(k)["media_type"], b"application/json")
        self.assertEqual(self.daemon.cli("set", k, "2", "--ttl", "1h", "--if-revision", "0").returncode, 1)
        done = self.daemon.cli("set", k, "[", "--ttl", "1h", "--type", "application/json")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.c("GET", k), b"[1]")

    def test_every_answer_can_say_how_it_came(self):
        c, k = self.c, self.key
        c("SET", k, "v")
        meta = c.meta(k)
        self.assertEqual((meta["value"], meta["stale"], meta["tier"], meta["level"], meta["state"]),
                         (b"v", 0, b"L1", b"eventual", b"present"))
        strong = c.meta(k, "LEVEL", "strong")
        self.assertEqual((strong["tier"], strong["reason"]), (b"origin", b"verified"))
        self.assertEqual(c.meta("nope" + k)["state"], b"absent")

    def test_a_pipeline_is_answered_in_order_whatever_waits(self):
        c, k = self.c, self.key
        for i in range(300):
            c.send("SET", k, i)
            c.send("GET", k)
            c.send("PING")
            c.send("GET", f"{k}-missing-{i}")
        for i in range(300):
            self.assertEqual(c.read(), "OK")
            self.assertEqual(c.read(), str(i).encode())
            self.assertEqual(c.read(), "PONG")
            self.assertIsNone(c.read())

    def test_each_of_many_clients_in_one_turn_gets_its_own_answers(self):
        c, k = self.c, self.key
        for i in range(300):  # more than one turn holds back
            c("SET", f"{k}:{i}", f"value {i}" * (1 + i % 40 * 10))
        clients = [self.daemon.client() for _ in range(300)]
        for round_ in range(3):
            for i, one in enumerate(clients):
                for j in range(i % 16 + 1):
                    one.send("GET", f"{k}:{(i + j) % 300}")
                if round_ == 2:
                    one.send("QUIT")  # what was answered before leaves before the end
            for i, one in enumerate(clients):
                for j in range(i % 16 + 1):
                    n = (i + j) % 300
                    self.assertEqual(one.read(), (f"value {n}" * (1 + n % 40 * 10)).encode())
                if round_ == 2:
                    self.assertEqual(one.read(), "OK")

    def test_subscribers_hear_of_changes_in_order(self):
        listener = self.daemon.client()
        listener("SUBSCRIBE", f"__keyspace@0__:{self.key}")
        listener.send("PSUBSCRIBE", "__keyevent@0__:d*")
        listener.read()
        self.c("SET", self.key, "1")
        self.c("DEL", self.key)
        self.assertEqual(listener.read()[2], b"set")
        heard = [listener.read(), listener.read()]
        self.assertIn([b"message", f"__keyspace@0__:{self.key}".encode(), b"del"], heard)
        self.assertIn([b"pmessage", b"__keyevent@0__:d*", b"__keyevent@0__:del", self.key.encode()], heard)

    def test_what_is_no_configuration_operation_is_refused_clearly(self):
        for words in (("LPUSH", "a", "b"), ("EVAL", "return 1", "0"), ("FLUSHALL",), ("INCR", "a")):
            with self.assertRaisesRegex(ReplyError, "not a configuration operation"):
                self.c(*words)
        with self.assertRaisesRegex(ReplyError, "unknown command 'NOSUCH', with args beginning with: 'x'"):
            self.c("NOSUCH", "x")
        with self.assertRaisesRegex(ReplyError, "wrong number of arguments for 'get' command"):
            self.c("GET")
        with self.assertRaisesRegex(ReplyError, "namespace"):
            self.c("GET", "/x")

    def test_values_up_to_the_limit_come_back(self):
        value = b"x" * (2 << 20)
        self.c("SET", self.key, value)
        self.assertEqual(self.c("GET", self.key), value)
        with self.assertRaises((ReplyError, OSError)):
            self.c("SET", self.key, value + b"x")

    def test_clients_are_listed_named_and_ended(self):
        other = self.daemon.client()
        other("CLIENT", "SETNAME", "victim")
        number = other("CLIENT", "ID")
        self.assertIn(b"name=victim", self.c("CLIENT", "LIST"))
        self.assertEqual(self.c("CLIENT", "KILL", "ID", number), 1)
        with self.assertRaises((ConnectionError, OSError)):
            for _ in range(1000):  # its own loop hears of it a moment later
                other("PING")

    def test_writers_on_many_connections_lose_nothing(self):
        def write(name):
            client = self.daemon.client()
            for i in range(100):
                client("SET", f"{self.key}{name}", i)
            client.close()
        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.c("MGET", *[f"{self.key}{n}" for n in range(8)]), [b"99"] * 8)


class Verbs(mp_daemon.Served):
    def test_exit_codes_tell_found_absent_usage_and_error_apart(self):
        cli = self.daemon.cli
        self.assertEqual(cli("set", "k", "v").returncode, 0)
        found = cli("get", "k")
        self.assertEqual((found.returncode, found.stdout), (0, "v\n"))
        self.assertEqual(cli("get", "nope").returncode, 3)
        self.assertEqual(cli("get").returncode, 2)
        self.assertEqual(cli("ls", "nosuch/").returncode, 3)
        self.assertIn("nosuch/", cli("ls", "nosuch/").stderr)
        none = cli("ls", "nosuch/", "--json")
        self.assertEqual((none.returncode, none.stdout), (3, "[]\n"))
        for words in ((), ("--tree",), ("--json",), ("--long",)):
            self.assertEqual(cli("ls", "k", *words).returncode, 0)
        nobody = subprocess.run([BINARY, "get", "k", "--resp", "127.0.0.1:1"], capture_output=True, text=True,
                                check=False)
        self.assertEqual(nobody.returncode, 1)
        self.assertIn("marketprism serve", nobody.stderr)
        other = subprocess.run([BINARY, "get", "k", "--resp", self.daemon.http], capture_output=True, text=True,
                               check=False)
        self.assertEqual(other.returncode, 1)
        self.assertRegex(other.stderr, "does not answer as a RESP port.*--resp")

    def test_mistakes_are_answered_with_what_was_meant(self):
        done = self.daemon.cli("gett", "k")
        self.assertEqual(done.returncode, 2)
        self.assertIn("did you mean 'get'", done.stderr)
        done = self.daemon.cli("get", "k", "--levle", "weak")
        self.assertIn("did you mean --level", done.stderr)
        done = self.daemon.cli("set", "limit", "-5")
        self.assertEqual(done.returncode, 2)
        self.assertIn("stands behind --", done.stderr)
        for words in (("get", "k", "--env", "production~eu", "--region", "us"),
                      ("diff", "k", "--to-env", "production~eu", "--region", "us")):
            done = self.daemon.cli(*words)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("names a region already: leave --region out", done.stderr)

    def test_what_ends_is_shown_to_end_by_whoever_shows_it(self):
        self.daemon.cli("set", "ends/a", "1", "--ttl", "1h", check=True)
        self.daemon.cli("set", "ends/b", "2", check=True)
        self.daemon.cli("del", "--mask", "ends/c", check=True)
        lines = self.daemon.cli("ls", "--long", "ends/", check=True).stdout.splitlines()
        self.assertRegex(lines[0], r"ends/a  \(ends in (59|60) min\)$")
        self.assertRegex(lines[1], r"ends/b$")
        listed = json.loads(self.daemon.cli("ls", "--json", "ends/", check=True).stdout)
        self.assertEqual([("expires_ms" in key) for key in listed], [True, False, False])
        self.assertRegex(self.daemon.cli("get", "--meta", "ends/a", check=True).stderr, r", ends in \d+ min\n$")
        self.assertNotIn("ends in", self.daemon.cli("get", "--meta", "ends/b", check=True).stderr)
        self.assertRegex(self.daemon.cli("explain", "ends/a", check=True).stdout, r"\nends       in \d+ min, and is deleted")
        self.assertNotIn("deleted", self.daemon.cli("explain", "ends/b", check=True).stdout)
        self.assertRegex(self.daemon.cli("history", "ends/c", check=True).stdout, r"^ +\d+  mask  ")

    def test_a_mistaken_value_of_an_option_is_a_usage_error_that_names_it(self):
        c = self.daemon.client()
        self.addCleanup(c.close)
        c("SET", "usage", "kept")
        for words, says in ((("get", "usage", "--level", "strng"), "--level: .*did you mean 'strong'"),
                            (("get", "usage", "--level", "so-so"), "--level: .*strong, eventual, weak"),
                            (("get", "usage", "--evn", "base"), "did you mean --env"),
                            (("get", "usage", "--server", "127.0.0.1:1"), "did you mean --resp"),
                            (("get", "usage", "--address=127.0.0.1:1"), "did you mean --resp"),
                            (("get", "usage", "--timeout", "5x"), "--timeout: '5x'"),
                            (("set", "usage", "v", "--ttl", "5x"), "--ttl: '5x'"),
                            (("set", "usage", "v", "--ttl", "0"), "--ttl: '0'"),
                            (("set", "usage", "v", "--ttl", "-1"), "--ttl: '-1'"),
                            (("set", "usage", "v", "--ttl", ""), "--ttl: ''"),
                            (("set", "usage", "v", "--if-revision", "x"), "--if-revision: 'x'"),
                            (("history", "usage", "--count", "0"), "--count: '0'"),
                            (("rollback", "usage", "abc"), "REVISION: 'abc'"),
                            (("pins", "usage"), "'usage' is one word too many; usage: marketprism pins\n$"),
                            (("ls", "--environments", "usage"), "--environments takes no PREFIX")):
            with self.subTest(words):
                done = self.daemon.cli(*words)
                self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
                self.assertRegex(done.stderr, says)
        done = subprocess.run([BINARY, "get", "usage", "--resp", "nonsense"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--resp: ", done.stderr)
        self.assertEqual(c("GET", "usage"), b"kept")
        for ttl, most in (("5s", 5), ("2m", 120), ("1h", 3600), ("7", 7)):
            self.assertEqual(self.daemon.cli("set", "lasts", "v", "--ttl", ttl).returncode, 0)
            self.assertIn(c("TTL", "lasts"), range(most - 4, most + 1))
        self.assertEqual(self.daemon.cli("get", "usage", "--timeout", "9s").stdout, "kept\n")

    def test_every_verb_has_help(self):
        listed = subprocess.run([BINARY, "help"], capture_output=True, text=True, check=True).stdout
        for line in listed.splitlines():
            if line.startswith("  "):
                verb = line.split()[0]
                text = subprocess.run([BINARY, "help", verb], capture_output=True, text=True, check=True).stdout
                self.assertIn(f"Usage: marketprism {verb}", text)
                self.assertNotIn(" \n", text)
                for told in text.splitlines()[1:]:  # the usage stays in one line
                    self.assertLessEqual(len(told), 80, told)

    def test_an_import_is_all_or_nothing_and_idempotent(self):
        folder = pathlib.Path(self.daemon.folder, "import", "production")
        folder.mkdir(parents=True)
        (folder / "feeds.yaml").write_text("fx:\n  rate: 5\n  hosts: [a, b]\n")
        (folder / "app.env").write_text("DEBUG=false\n")
        (folder / "bad.json").write_text('{"a": 1,\n "b": }\n')
        root = str(folder.parent)
        done = self.daemon.cli("import", root)
        self.assertEqual(done.returncode, 1)
        self.assertIn("bad.json:2:", done.stderr)
        self.assertEqual(self.daemon.cli("get", "feeds/fx.rate").returncode, 3)
        (folder / "bad.json").unlink()
        self.assertIn("imported 4 keys of 2 files, 4 of them new or changed",
                      self.daemon.cli("import", root, check=True).stdout)
        self.assertIn("0 of them new or changed", self.daemon.cli("import", root, check=True).stdout)
        self.assertEqual(self.daemon.cli("get", "feeds/fx.hosts[1]").stdout, "b\n")
        value = json.loads(self.daemon.cli("get", "feeds/fx.rate", "--json").stdout)
        self.assertEqual((value["value"], value["media_type"]), (5, "application/json"))

    def test_status_tells_the_time_since_the_start_in_seconds(self):
        self.assertRegex(self.daemon.cli("status", check=True).stdout, r"^marketprism \S+, up (under 1 s|\d+ s), ready")

    def test_json_of_every_verb_is_json(self):
        self.daemon.cli("set", "j", "1")
        for words in (("get", "j"), ("ls",), ("history", "j", "--values"), ("explain", "j"), ("explain", "cache"),
                      ("status",)):
            json.loads(self.daemon.cli(*words, "--json", check=True).stdout)

    def test_explain_cache_of_a_young_daemon_does_not_guess(self):
        young = mp_daemon.Daemon().start()
        self.addCleanup(young.close)
        client = young.client()
        client("SET", "young", "v")
        for _ in range(20):
            client("GET", "young")
        said = json.loads(young.cli("explain", "cache", "--json", check=True).stdout)
        self.assertIn("No forecast yet", said["summary"])
        self.assertEqual([(row["low"], row["high"]) for row in said["policies"]], [(0, 1)] * 4)
        text = young.cli("explain", "cache", check=True).stdout
        self.assertEqual(text.count("unknown"), 8)  # four sizes, four policies
        self.assertRegex(text, r"100\.0 %.*\(now\)")

    def test_explain_cache_tells_what_another_size_and_policy_would_hit(self):
        client = self.daemon.client()
        for i in range(1500):  # 100 more than enough for L1, and all of them again
            client("SET", f"curve/k{i}", "v")
        for i in range(1500):
            client("GET", f"curve/k{i}")
        said = json.loads(self.daemon.cli("explain", "cache", "--json", check=True).stdout)
        self.assertEqual(said, json.loads(client("MP.EXPLAIN", "cache")))
        self.assertEqual(said["policy"], "adaptive")
        self.assertEqual([row["entries"] for row in said["sizes"]], [250, 500, 1000, 2000, 4000])
        self.assertEqual([row["policy"] for row in said["policies"]],
                         ["lru", "s3-fifo", "w-tinylfu", "lirs"])
        self.assertAlmostEqual(said["sizes"][2]["hit_ratio"], said["hits"] / (said["hits"] + said["misses"]),
                               delta=0.01)  # of the size as it is: what was counted
        for row in said["sizes"] + said["policies"]:
            self.assertLessEqual(row["low"], row["hit_ratio"])
            self.assertLessEqual(row["hit_ratio"], row["high"])
        text = self.daemon.cli("explain", "cache", check=True).stdout
        self.assertIn(said["summary"], text)
        self.assertIn("(now)", text)
        self.assertEqual(json.loads(self.daemon.cli("explain", "default/cache", "--json", check=True)
                                    .stdout)["address"], "production/default/cache")

    def test_preload_brings_keys_into_memory_and_tells_how_far_it_is(self):
        client = self.daemon.client()
        for i in range(30):
            client("SET", f"preload/k{i}", "v")
        self.assertEqual(client("MP.PRELOAD", "preload/*", "preload/k1"), "OK")

        def ended():
            preload = json.loads(self.daemon.cli("status", "--json", check=True).stdout)["preload"]
            return preload if preload["state"] != "running" else None
        preload = wait_until(ended, what="the end of the preload")
        self.assertEqual((preload["state"], preload["keys"]), ("done", 31))
        with self.assertRaisesRegex(ReplyError, "wrong number"):
            client("MP.PRELOAD")

    def test_the_options_of_a_preload_come_before_its_patterns(self):
        client = self.daemon.client()
        client("SET", "preload/one", "v")
        self.assertEqual(client("MP.PRELOAD", "budget", "5", "habits", "preload/*"), "OK")
        told = wait_until(lambda: self.preloaded(), what="the end of the preload")
        self.assertEqual(told["keys_max"], told["keys_max"] // 5 * 5)
        self.assertEqual(client("MP.PRELOAD", "HABITS"), "OK")
        for wrong in (("BUDGET", "0", "preload/*"), ("BUDGET", "101", "preload/*"), ("BUDGET", "x", "preload/*")):
            with self.assertRaisesRegex(ReplyError, "1 to 100"):
                client("MP.PRELOAD", *wrong)
        with self.assertRaisesRegex(ReplyError, "name 1 to 64 patterns"):
            client("MP.PRELOAD", "BUDGET", "5")
        self.assertEqual(client("MP.PRELOAD", "default/BUDGET"), "OK")  # a key of that name

    def preloaded(self):
        told = json.loads(self.daemon.cli("preload", "--no-wait", "--json", check=True).stdout)["preload"]
        return told if told["state"] != "running" else None

    def test_the_command_line_preloads_and_waits_for_it(self):
        client, cli = self.daemon.client(), self.daemon.cli
        for i in range(30):
            client("SET", f"warm/k{i}", "v")
        done = cli("preload", "k*", "-n", "warm", "k1")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, "^done: 31 keys, 0.0 MiB, in [0-9]+ ms\n$")
        told = json.loads(cli("preload", "warm/*", "--budget", "1", "--json", check=True).stdout)["preload"]
        self.assertEqual((told["state"], told["keys"]), ("budget-used", told["keys_max"]))
        self.assertLess(told["keys"], 30)
        self.assertRegex(cli("preload", check=True).stdout, "^the budget is used up: .*\nfirst reads that it saved: [0-9]+\n$")
        none = cli("preload", "warm/none*")
        self.assertEqual(none.returncode, 3)
        self.assertIn("'production/warm/none*' found no key", none.stdout)
        self.assertRegex(cli("preload", "--habits", check=True).stdout, "^habits: [0-9]+ keys brought")
        for wrong, text in ((("x", "--budget", "101"), "1 to 100"), (("--budget", "5"), "name some"),
                            (("x", "--budget", "many"), "--budget")):
            refused = cli("preload", *wrong)
            self.assertEqual(refused.returncode, 2, refused)
            self.assertIn(text, refused.stderr)
        self.assertEqual(cli("preload", "x", "--env", "a b").returncode, 1)

    def test_http_preloads_too(self):
        client, http = self.daemon.client(), Http(self.daemon.http)
        self.addCleanup(http.close)
        for i in range(10):
            client("SET", f"web/k{i}", "v")
        begun = http("POST", "/v1/preload", {"patterns": ["web/*", {"namespace": "web", "key": "k1*"}], "budget": 50})
        self.assertEqual((begun.status, begun.json["preload"]["patterns"]), (202, 2))
        told = wait_until(lambda: [p for p in [http.get("/v1/preload").json["preload"]] if p["state"] != "running"])[0]
        self.assertEqual((told["state"], told["keys"], told["trouble"]), ("done", 11, ""))
        self.assertEqual(http("POST", "/v1/preload?env=staging", {"patterns": ["web/*"]}).status, 202)
        told = wait_until(lambda: [p for p in [http.get("/v1/preload").json["preload"]] if p["state"] != "running"])[0]
        self.assertIn("'staging/web/*' found no key", told["trouble"])
        self.assertEqual(http("POST", "/v1/preload", {"habits": True}).status, 202)
        for body in ({}, {"patterns": []}, {"patterns": ["a"] * 65}, {"patterns": "a"}, {"patterns": [""]},
                     {"patterns": ["a"], "budget": 0}, {"patterns": ["a"], "budget": "5"}, {"patterns": ["a"], "habits": 1},
                     {"patterns": ["a"], "bugdet": 5}):
            refused = http("POST", "/v1/preload", body)
            self.assertEqual((refused.status, refused["Content-Type"]), (400, "application/problem+json"), body)
            self.assertTrue(refused.json["detail"])

    def test_a_preload_that_finds_nothing_says_what_it_looked_for(self):
        daemon = mp_daemon.Daemon().start()
        self.addCleanup(daemon.close)
        daemon.client()("SET", "crit/a", "1")
        daemon.stop()
        daemon.start("--set", "cache.preload=production/crit/*,crit/*")
        preload = lambda: json.loads(daemon.cli("status", "--json").stdout)["preload"]
        said = wait_until(lambda: preload()["state"] == "done" and preload(), what="the preload")
        self.assertEqual((said["keys"], said["patterns_missed"]), (1, 1))
        self.assertIn("'crit/*' found no key: environment 'crit'", said["trouble"])

    def test_ls_goes_through_all_pages(self):
        client = self.daemon.client()
        for i in range(2300):
            client.send("SET", f"pages/k{i:05d}", "v")
        for _ in range(2300):
            client.read()
        listed = self.daemon.cli("ls", "pages/", check=True).stdout.split()
        self.assertEqual(listed, [f"pages/k{i:05d}" for i in range(2300)])


if __name__ == "__main__":
    mp_tap.main()

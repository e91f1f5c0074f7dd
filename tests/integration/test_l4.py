# SPDX-License-Identifier: Apache-2.0
"""L4, a real Redis that two nodes share: what one fetched the other is given, and whatever Redis does
(it is killed, hangs, is emptied, holds rubbish) no answer is wrong and none takes long."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import mp_tap
from mp_daemon import Daemon, ReplyError, Resp, wait_until

REDIS = shutil.which("redis-server")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Redis:
    def __init__(self, *options):
        self.folder = tempfile.mkdtemp(prefix="mp-redis-")
        self.port, self.options, self.process = free_port(), options, None

    def start(self):
        self.process = subprocess.Popen(
            [REDIS, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir",
             self.folder, *self.options], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        wait_until(self.answers, what="Redis")
        return self

    def answers(self):
        try:
            client = Resp(f"127.0.0.1:{self.port}", timeout=2)
            client.close()
            return True
        except OSError:
            return False

    def client(self):
        return Resp(f"127.0.0.1:{self.port}")

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None

    def close(self):
        if self.process:
            self.process.send_signal(signal.SIGCONT)
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@unittest.skipUnless(REDIS, "redis-server is not installed")
class Shared(unittest.TestCase):
    def setUp(self):
        self.redis = Redis().start()
        self.addCleanup(self.redis.close)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mp-l4-"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        # What it writes is to arrive, also where the machine is so busy that Redis seems slow.
        self.first = self.node("--set", "cache.l4_timeout=5s")

    def node(self, *options, url=None):
        """A node of its own on the one database."""
        daemon = Daemon("--set", f"origin.path={self.folder / 'origin.db'}", "--set",
                        f"cache.l4_url={url or f'redis://127.0.0.1:{self.redis.port}'}", *options)
        self.addCleanup(daemon.close)
        return daemon.start()

    def l4(self, daemon):
        return json.loads(daemon.cli("status", "--json").stdout)["cache"]["l4"]

    def is_up(self, daemon):
        wait_until(lambda: self.l4(daemon)["up"], seconds=20, what="L4 up")

    def written(self, count=200):
        """The first node writes; all of it is in Redis."""
        self.is_up(self.first)
        client = self.first.client()
        for i in range(count):
            client("SET", f"app/k{i}", f"value {i}")
        redis = self.redis.client()
        wait_until(lambda: len(redis("KEYS", "mp:*app/k*")) == count, what="all values in Redis")
        redis.close()
        return client

    def test_what_one_node_wrote_another_is_given_without_asking_the_origin(self):
        self.written()
        other = self.node()
        self.is_up(other)
        client = other.client()
        began = json.loads(other.cli("status", "--json").stdout)["origin"]["fetches"]
        for i in range(200):
            meta = client.meta(f"app/k{i}")
            self.assertEqual(meta["value"], f"value {i}".encode())
            self.assertEqual(meta["tier"], b"L4")
        self.assertEqual(client.meta("app/k0")["tier"], b"L1")
        fetches = json.loads(other.cli("status", "--json").stdout)["origin"]["fetches"]
        self.assertLess(fetches - began, 20)
        self.assertGreaterEqual(self.l4(other)["hits"], 200)
        client.close()

    def crowd(self, node, keys, check):
        """Twenty clients that all read @keys at once; each answer is passed to @check."""
        clients = [node.client() for _ in range(20)]
        for client in clients:
            client.socket.sendall(b"".join(Resp.encode("GET", key) for key in keys))
        for client in clients:
            for key in keys:
                check(key, client.read())
            client.close()

    def test_a_crowd_asks_it_once_for_what_it_has(self):
        self.is_up(self.first)
        writer, redis = self.first.client(), self.redis.client()
        large = b"v" * 300000
        writer("SET", "app/large", large)
        wait_until(lambda: redis("DBSIZE") >= 1, what="the value in Redis")
        other = self.node("--set", "cache.l4_timeout=5s", "--set", "overlay.base=")
        self.is_up(other)
        redis("CONFIG", "RESETSTAT")
        self.crowd(other, ["app/large"], lambda key, value: self.assertEqual(value, large))
        calls = re.search(r"cmdstat_get:calls=(\d+)", redis("INFO", "commandstats").decode())
        self.assertEqual(calls.group(1), "1")
        redis.close()
        writer.close()

    def test_a_crowd_asks_the_origin_once_for_what_it_has_not(self):
        self.is_up(self.first)
        other = self.node("--set", "cache.l4_timeout=5s", "--set", "cache.l1_size=100000",
                          "--set", "overlay.base=")
        self.is_up(other)
        for turn in range(5):
            before = json.loads(other.cli("status", "--json").stdout)["origin"]["fetches"]
            self.crowd(other, [f"app/none-{turn}-{i}" for i in range(300)],
                       lambda key, value: self.assertIsNone(value))
            fetches = json.loads(other.cli("status", "--json").stdout)["origin"]["fetches"]
            self.assertEqual(fetches - before, 300)

    def test_a_strong_read_asks_the_origin(self):
        self.written(5)
        other = self.node()
        self.is_up(other)
        client = other.client()
        self.assertEqual(client.meta("app/k1", "LEVEL", "strong")["tier"], b"origin")
        client.close()

    def test_with_the_origin_gone_another_node_s_values_are_the_last_known_good(self):
        self.written(50)
        other = self.node("--set", "cache.eventual_bound=1ms")
        self.is_up(other)
        for file in self.folder.glob("origin.db*"):
            file.rename(file.with_name("away-" + file.name))
        client = other.client()
        wait_until(lambda: not json.loads(other.cli("status", "--json").stdout)["origin"]["state"]
                   == "live", what="the origin lost")
        for i in range(50):
            meta = client.meta(f"app/k{i}")
            self.assertEqual(meta["value"], f"value {i}".encode())
            self.assertEqual(meta["stale"], 1)
        client.close()

    def test_what_it_lost_and_got_again_is_not_told_after_what_was_newer(self):
        client = self.written(3)
        redis = self.redis.client()
        [key] = [key for key in redis("KEYS", "mp:*") if key.endswith(b"app/k1")]
        old = redis("GET", key)
        client("DEL", "app/k1")
        wait_until(lambda: redis("GET", key) != old, what="the tombstone")
        # of two entries one at most is that there is none
        other = self.node("--set", "cache.l1_size=2", "--set", "cache.l2_size=0", "--set",
                          "overlay.base=")
        self.is_up(other)
        reader = other.client()
        self.assertIsNone(reader("GET", "app/k1"))
        redis("SET", key, old)  # of a snapshot, say
        self.assertIsNone(reader("GET", "app/none"))
        self.assertIsNone(reader("GET", "app/nor-this"))
        hits = self.l4(other)["hits"]
        self.assertIsNone(reader("GET", "app/k1"))
        self.assertGreater(self.l4(other)["hits"], hits, "nobody asked L4")
        reader.close()
        redis.close()
        client.close()

    def test_a_change_and_a_deletion_reach_it_and_an_older_value_never_comes_back(self):
        client = self.written(3)
        redis = self.redis.client()
        [key] = [key for key in redis("KEYS", "mp:*") if key.endswith(b"app/k1")]
        old = redis("GET", key)
        client("SET", "app/k1", "newer")
        wait_until(lambda: b"newer" in redis("GET", key), what="the newer value")
        newer = redis("GET", key)
        client("DEL", "app/k1")
        wait_until(lambda: redis("GET", key) not in (old, newer), what="the tombstone")
        # what a slow node would write now is refused there
        self.assertLess(old[:20], newer[:20])
        client("SET", "app/k1", "newest")
        wait_until(lambda: b"newest" in redis("GET", key), what="the newest value")
        self.assertGreater(redis("PTTL", key), 0)
        redis("SET", key, b"9" * 20 + newer[20:])  # a revision that its sum does not bear out
        other = self.node()
        self.is_up(other)
        reader = other.client()
        self.assertEqual(reader("GET", "app/k1"), b"newest")
        self.assertEqual(self.l4(other)["corrupt"], 1)
        reader.close()
        redis.close()

    def test_rubbish_in_redis_is_never_given(self):
        self.written(60)
        redis = self.redis.client()
        keys = sorted(redis("KEYS", "mp:*app/k*"))
        values = {key: redis("GET", key) for key in keys}
        for number, key in enumerate(keys):
            value = values[key]
            if number % 5 == 0:
                redis("SET", key, b"rubbish")
            elif number % 5 == 1:
                at = number * 7 % len(value)
                redis("SET", key, value[:at] + bytes([value[at] ^ 1]) + value[at + 1:])
            elif number % 5 == 2:
                redis("SET", key, values[keys[number - 1]])  # of another key
            elif number % 5 == 3:
                redis("SET", key, value[:len(value) - 1 - number % 20])
            else:
                redis("DEL", key)
                redis("LPUSH", key, "a list")
        other = self.node()
        self.is_up(other)
        client = other.client()
        for i in range(60):
            meta = client.meta(f"app/k{i}")
            self.assertEqual(meta["value"], f"value {i}".encode())
            self.assertEqual(meta["tier"], b"origin")
        l4 = self.l4(other)
        self.assertEqual((l4["hits"], l4["corrupt"], l4["up"]), (0, 48, True))
        client.close()
        redis.close()

    def check_degrades(self, other, client, begin):
        """200 reads that need L4 take a bounded time in all, and are right."""
        began = time.monotonic()
        slowest = 0
        for i in range(begin, begin + 200):
            before = time.monotonic()
            self.assertEqual(client("GET", f"app/k{i}"), f"value {i}".encode())
            slowest = max(slowest, time.monotonic() - before)
        self.assertLess(slowest, 5)
        self.assertLess(time.monotonic() - began, 15)
        wait_until(lambda: not self.l4(other)["up"], what="L4 left alone")
        self.assertTrue(self.l4(other)["trouble"])

    def test_a_hanging_redis_costs_one_time_out_and_then_nobody_waits(self):
        self.written(600)
        other = self.node("--set", "cache.l4_timeout=200ms")
        self.is_up(other)
        client = other.client()
        os.kill(self.redis.process.pid, signal.SIGSTOP)
        self.check_degrades(other, client, 0)
        self.assertGreater(self.l4(other)["timeouts"], 0)
        client("SET", "app/k0", "written while it hangs")
        os.kill(self.redis.process.pid, signal.SIGCONT)
        self.is_up(other)
        self.assertEqual(client("GET", "app/k500"), b"value 500")
        self.assertEqual(client("GET", "app/k0"), b"written while it hangs")
        client.close()

    def test_a_killed_redis_is_left_alone_and_used_again_when_it_is_back(self):
        self.written(600)
        other = self.node()
        self.is_up(other)
        client = other.client()
        self.redis.kill()
        self.check_degrades(other, client, 0)
        self.redis.start()
        self.is_up(other)
        client("SET", "app/new", "value")
        redis = self.redis.client()
        wait_until(lambda: redis("KEYS", "*app/new"), what="a value in the new Redis")
        redis.close()
        client.close()

    def test_an_emptied_redis_is_filled_again(self):
        self.written(20)
        other = self.node()
        self.is_up(other)
        client = other.client()
        redis = self.redis.client()
        redis("FLUSHALL")
        for i in range(20):
            self.assertEqual(client("GET", f"app/k{i}"), f"value {i}".encode())
        wait_until(lambda: redis("DBSIZE") >= 20, what="the fills")
        redis.close()
        client.close()

    def test_a_password_and_a_database_are_used_and_not_told(self):
        guarded = Redis("--requirepass", "secret-word").start()
        self.addCleanup(guarded.close)
        right = self.node(url=f"redis://:secret-word@127.0.0.1:{guarded.port}/3")
        self.is_up(right)
        self.assertNotIn("secret-word", right.cli("status", "--json").stdout)
        client = right.client()
        client("SET", "app/k", "value")
        redis = guarded.client()
        redis("AUTH", "secret-word")
        redis("SELECT", 3)
        wait_until(lambda: redis("DBSIZE") >= 1, what="the value in database 3")
        redis.close()
        client.close()
        wrong = self.node(url=f"redis://:wrong@127.0.0.1:{guarded.port}")
        wait_until(lambda: "WRONGPASS" in self.l4(wrong)["trouble"], what="the refusal told")

    def test_it_is_found_by_its_name_and_a_name_that_is_none_is_told(self):
        named = self.node(url=f"redis://LOCALHOST:{self.redis.port}")  # so it is looked up
        self.is_up(named)
        lost = self.node(url="redis://no.such.name.invalid")
        wait_until(lambda: self.l4(lost)["trouble"] in ("its name stands for no address", "timed out"),
                   what="the name told")
        self.assertIn("no.such.name.invalid:6379, down", lost.cli("status").stdout)
        began = time.monotonic()
        self.assertEqual(lost.stop(), 0)
        self.assertLess(time.monotonic() - began, 5)

    def with_a_redis_of_its_own(self, *options):
        """A node, a client of it, and one of its Redis."""
        server = Redis(*options).start()
        self.addCleanup(server.close)
        node = self.node("--set", "cache.l4_timeout=5s", url=f"redis://127.0.0.1:{server.port}")
        self.is_up(node)
        clients = node.client(), server.client()
        for client in clients:
            self.addCleanup(client.close)
        return node, *clients

    def test_what_it_takes_no_writes_for_is_told_and_over_when_it_does(self):
        node, client, redis = self.with_a_redis_of_its_own("--maxmemory", "1mb", "--maxmemory-policy", "noeviction")
        client("SET", "app/k", "v" * 200000)
        wait_until(lambda: "it takes no writes: it says OOM" in self.l4(node)["trouble"], what="the refusal told")
        self.assertIn("it takes no writes", node.cli("status").stdout)
        redis("CONFIG", "SET", "maxmemory", "100mb")
        client("SET", "app/k", "now")
        wait_until(lambda: self.l4(node)["trouble"] == "", what="the end of it told")
        self.assertEqual(node.log_text().count("l4-refuses"), 1)

    def test_that_it_answers_no_reads_is_told_and_over_when_it_does(self):
        node, client, redis = self.with_a_redis_of_its_own()
        redis("ACL", "SETUSER", "default", "-get")
        for i in range(3):
            self.assertIsNone(client("GET", f"app/none{i}"))  # the origin is asked
        wait_until(lambda: "it answers no reads: it says NOPERM" in self.l4(node)["trouble"], what="the refusal told")
        self.assertIn("it answers no reads", node.cli("status").stdout)
        redis("ACL", "SETUSER", "default", "-eval")
        client("SET", "app/k", "v")
        wait_until(lambda: "it takes no writes: it says NOPERM" in self.l4(node)["trouble"], what="both told")
        self.assertIn("it answers no reads: it says NOPERM", self.l4(node)["trouble"])
        redis("ACL", "SETUSER", "default", "+get")
        self.assertIsNone(client("GET", "app/none"))
        wait_until(lambda: self.l4(node)["trouble"].startswith("it takes no writes"), what="the end of one told")
        redis("ACL", "SETUSER", "default", "+eval")
        client("SET", "app/k", "now")
        wait_until(lambda: self.l4(node)["trouble"] == "", what="the end of both told")
        self.assertEqual(node.log_text().count("l4-refuses"), 2)

    def test_an_address_that_is_none_is_refused_at_the_start(self):
        for url in ("http://x", "redis://", "redis://@host", "redis://host/x", "redis://host:0",
                    "redis://user@host"):
            daemon = Daemon("--set", f"cache.l4_url={url}")
            self.addCleanup(daemon.close)
            with self.assertRaises(RuntimeError):
                daemon.start()
            self.assertIn("cache.l4_url", daemon.log_text())


if __name__ == "__main__":
    mp_tap.main()

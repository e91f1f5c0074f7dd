# SPDX-License-Identifier: Apache-2.0
"""The clients that people have work against the daemon: redis-cli, redis-benchmark, Python's redis,
and npm's redis and ioredis. Each is skipped where it is not; npm's are fetched into the build folder
with PEERS=1."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import mp_tap
from mp_daemon import Daemon, wait_until

try:
    import redis
except ImportError:
    redis = None

SUPPORT = pathlib.Path(__file__).parents[1] / "support"
NODE_FOLDER = pathlib.Path(os.environ["BUILD"], "node-clients")
NODE_PACKAGES = ("redis@5", "ioredis@5")


def run(*words, data=None, timeout=60, cwd=None):
    return subprocess.run([str(word) for word in words], input=data, capture_output=True, text=True,
                          timeout=timeout, check=False, cwd=cwd)


class Client(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon().start()
        cls.host, cls.port = cls.daemon.resp.rsplit(":", 1)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()


class RedisCli(Client):
    def setUp(self):
        if not shutil.which("redis-cli"):
            self.skipTest("there is no redis-cli (package redis-tools)")

    def cli(self, *words, data=None):
        done = run("redis-cli", "-h", self.host, "-p", self.port, *words, data=data)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_single_commands_in_both_protocols(self):
        for version in ("-2", "-3"):
            self.assertEqual(self.cli(version, "set", "cli/a", "one"), "OK\n")
            self.assertEqual(self.cli(version, "get", "cli/a"), "one\n")
            self.assertEqual(self.cli(version, "mget", "cli/a", "cli/none"), "one\n\n")
            self.assertEqual(self.cli(version, "del", "cli/a"), "1\n")
            self.assertEqual(self.cli(version, "get", "cli/a"), "\n")
            self.assertIn("redis_version:", self.cli(version, "info", "server"))

    def test_databases_are_environments(self):
        self.cli("-n", "1", "set", "cli/here", "staging")
        self.assertEqual(self.cli("-n", "0", "get", "cli/here"), "\n")
        self.assertEqual(self.cli("-n", "1", "get", "cli/here"), "staging\n")

    def test_scan_gives_every_key_once(self):
        words = "".join(f"SET scan/{i} {i}\n" for i in range(300))
        self.assertEqual(self.cli(data=words).count("OK"), 300)
        keys = self.cli("--scan", "--pattern", "scan/*").split()
        self.assertEqual(sorted(keys), sorted(f"scan/{i}" for i in range(300)))

    def test_mass_insertion_through_a_pipe(self):
        commands = b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\nx\r\n" % (len(key), key)
                            for key in (b"pipe/%d" % i for i in range(2000)))
        done = subprocess.run(["redis-cli", "-h", self.host, "-p", self.port, "--pipe"],
                              input=commands, capture_output=True, timeout=60, check=False)
        self.assertIn(b"errors: 0, replies: 2000", done.stdout)

    def test_what_is_no_configuration_operation_is_refused_with_a_reason(self):
        said = self.cli("lpush", "list", "1")
        self.assertTrue(said.startswith("ERR"), said)
        self.assertIn("LPUSH", said.upper())

    def test_every_command_of_redis_is_served_or_refused_with_a_reason(self):
        if not shutil.which("redis-server"):
            self.skipTest("there is no redis-server")
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "socket")
            server = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", path, "--dir",
                                       folder, "--save", ""], stdout=subprocess.DEVNULL)
            try:
                wait_until(path.exists, what="the socket of redis-server")
                names = run("redis-cli", "-s", path, "command", "list").stdout.split()
            finally:
                server.terminate()
                server.wait()
        words = {name for name in names if "|" not in name} - {
            "subscribe", "psubscribe", "quit", "reset", "monitor", "sync", "psync"}  # end the pipe
        self.assertGreater(len(words), 200)
        said = self.cli(data="".join(f"{word} a b\n" for word in sorted(words)))
        self.assertNotIn("unknown command", said)

    def test_latency_and_stat_modes_get_their_answers(self):
        done = run("redis-cli", "-h", self.host, "-p", self.port, "-r", "3", "-i", "0", "ping")
        self.assertEqual(done.stdout, "PONG\nPONG\nPONG\n")


class RedisBenchmark(Client):
    def test_plain_and_pipelined_gets_and_sets(self):
        if not shutil.which("redis-benchmark"):
            self.skipTest("there is no redis-benchmark (package redis-tools)")
        for depth in (1, 16):
            done = run("redis-benchmark", "-h", self.host, "-p", self.port, "-t", "get,set", "-n",
                       "4000", "-c", "20", "-P", depth, "-r", "500", "--csv")
            self.assertEqual(done.returncode, 0, done.stderr)
            rows = [line.split(",")[0].strip('"') for line in done.stdout.splitlines()]
            self.assertIn("SET", rows, done.stdout + done.stderr)
            self.assertIn("GET", rows, done.stdout + done.stderr)
            self.assertNotIn("rror", done.stdout + done.stderr)


@unittest.skipUnless(redis, "there is no python3-redis")
class PythonRedis(Client):
    def setUp(self):
        self.r = redis.Redis(host=self.host, port=int(self.port), socket_timeout=10)
        self.addCleanup(self.r.close)

    def test_strings_bytes_and_expiries(self):
        value = bytes(range(256))
        self.assertTrue(self.r.set("py/a", value))
        self.assertEqual(self.r.get("py/a"), value)
        self.assertIsNone(self.r.get("py/none"))
        self.assertIsNone(self.r.set("py/a", "x", nx=True))
        self.assertEqual(self.r.set("py/a", "y", get=True), value)
        self.assertTrue(self.r.set("py/t", "x", px=60000))
        self.assertIn(self.r.ttl("py/t"), (59, 60))
        self.assertTrue(self.r.persist("py/t"))
        self.assertEqual(self.r.ttl("py/t"), -1)
        self.assertEqual(self.r.ttl("py/none"), -2)
        self.assertEqual(self.r.mget("py/a", "py/none"), [b"y", None])
        self.assertEqual(self.r.delete("py/a", "py/none"), 1)
        self.assertEqual(self.r.exists("py/a", "py/t"), 1)

    def test_a_pipeline_answers_in_its_order(self):
        with self.r.pipeline(transaction=False) as pipe:
            for i in range(1000):
                pipe.set(f"pipe/{i}", i)
                pipe.get(f"pipe/{i}")
            replies = pipe.execute()
        self.assertEqual(replies[1::2], [str(i).encode() for i in range(1000)])

    def test_scan_iter_gives_every_key_once(self):
        self.r.mset({f"scan/{i}": i for i in range(250)})
        self.assertEqual(sorted(self.r.scan_iter("scan/*", count=20)),
                         sorted(f"scan/{i}".encode() for i in range(250)))

    def test_subscribers_hear_of_changes(self):
        pubsub = self.r.pubsub()
        self.addCleanup(pubsub.close)
        pubsub.psubscribe("__keyspace@0__:heard/*")
        self.assertEqual(pubsub.get_message(timeout=5)["type"], "psubscribe")
        self.r.set("heard/a", "1")
        message = pubsub.get_message(timeout=5)
        self.assertEqual((message["channel"], message["data"]), (b"__keyspace@0__:heard/a", b"set"))

    def test_errors_are_raised_as_errors(self):
        with self.assertRaisesRegex(redis.ResponseError, "syntax error"):
            self.r.execute_command("SET", "py/a", "1", "NX", "XX")
        with self.assertRaises(redis.ResponseError):
            self.r.lpush("list", 1)

    def test_server_information_can_be_read(self):
        self.assertIn("redis_version", self.r.info("server"))
        self.assertEqual(self.r.client_getname(), None)
        self.assertTrue(self.r.client_setname("tester"))
        self.assertIn("tester", [c["name"] for c in self.r.client_list()])
        self.assertIn("GET", {name.upper() for name in self.r.command()})
        self.assertIn("databases", self.r.config_get("databases"))


class Node(Client):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("node"):
            raise unittest.SkipTest("there is no node (package nodejs)")
        major = int(run("node", "--version").stdout.lstrip("v").split(".")[0])
        if major < 18:
            raise unittest.SkipTest(f"node {major} is older than what these clients need (18)")
        cls.fetch()
        super().setUpClass()

    @classmethod
    def fetch(cls):
        if (NODE_FOLDER / "node_modules" / "ioredis").is_dir():
            return
        if os.environ.get("PEERS") != "1" or not shutil.which("npm"):
            raise unittest.SkipTest("the clients are not there; PEERS=1 fetches them with npm")
        NODE_FOLDER.mkdir(exist_ok=True)
        try:
            done = run("npm", "install", "--no-audit", "--no-fund", "--prefix", NODE_FOLDER,
                       *NODE_PACKAGES, timeout=180)
        except subprocess.TimeoutExpired as late:
            raise unittest.SkipTest("npm cannot fetch the clients: it took too long") from late
        if done.returncode:
            raise unittest.SkipTest("npm cannot fetch the clients (is there a network?)")

    def holds(self, script, *words):
        done = run("node", SUPPORT / script, self.host, self.port, *words, cwd=NODE_FOLDER)
        self.assertEqual((done.returncode, done.stdout), (0, "all held\n"), done.stderr)

    def test_redis_with_resp2(self):
        self.holds("node_redis.mjs", "2")

    def test_redis_with_resp3(self):
        self.holds("node_redis.mjs", "3")

    def test_ioredis(self):
        self.holds("node_ioredis.mjs")


if __name__ == "__main__":
    mp_tap.main()

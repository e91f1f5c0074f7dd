# SPDX-License-Identifier: Apache-2.0
"""Limits and time limits, malformed input, refusals at start."""

import contextlib
import fcntl
import os
import pathlib
import random
import re
import resource
import select
import shutil
import socket
import struct
import subprocess
import threading
import time
import unittest
import urllib.error
import urllib.request

import mp_daemon
import mp_tap
from mp_daemon import BINARY, Daemon, Resp, ReplyError, wait_until
from mp_http import Http, gauge

BIG = b"9223372036854775807"
REFUSED = [
    b"*x\r\n", b"*\r\n$4\r\nPING\r\n", b"*2147483648\r\n", b"*" + BIG + b"\r\n", b"*100000000\r\n",
    b"*+1\r\n$4\r\nPING\r\n", b"* 1\r\n$4\r\nPING\r\n", b"*01\r\n$4\r\nPING\r\n", b"*1\r\n$x\r\n",
    b"*1\r\n$-1\r\n", b"*2\r\n$3\r\nGET\r\n$536870913\r\n", b"*1\r\n$" + BIG + b"\r\n",
    b"*1\r\n$+4\r\nPING\r\n", b"*1\r\n:4\r\nPING\r\n", b"*1\r\n" * 20000, b"*1\r\n$4\r\nPINGPING\r\n",
    b'SET k "abc\r\n', b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b"*" + b"1" * 70000 + b"\r\n",
    b"A" * 200000, b"\x16\x03\x01\x02\x00\x01" + b"\0" * 300 + b"\r\n",
]


class Limits(mp_daemon.Served):
    options = ("--set", "resp.partial_timeout=1s", "--set", "resp.stalled_write_timeout=1s", "--set",
               "resp.max_clients=200", "--set", "http.header_timeout=1s")

    def raw(self, address=None):
        host, port = (address or self.daemon.resp).rsplit(":", 1)
        sock = socket.create_connection((host, int(port)), 10)
        self.addCleanup(sock.close)
        return sock

    def until_closed(self, sock):
        got = b""
        try:
            while True:
                data = sock.recv(65536)
                if not data:
                    return got
                got += data
        except ConnectionError:
            return got

    def test_malformed_input_is_refused_with_an_error_and_a_close(self):
        for data in REFUSED:
            with self.subTest(data=data[:30]):
                sock = self.raw()
                try:
                    sock.sendall(data)
                except ConnectionError:
                    continue
                got = self.until_closed(sock)
                self.assertTrue(got == b"" or got.startswith(b"-"), got[:60])

    def test_a_storm_of_random_bytes_hurts_nobody(self):
        rand = random.Random(5)
        good = self.daemon.client()
        good("SET", "canary", "sings")
        commands = [Resp.encode("SET", "bb", "v" * 50), Resp.encode("GET", "bb"), b"PING\r\n"]
        for case in range(300):
            data = bytearray(rand.choice(commands) * rand.randrange(1, 9))
            for _ in range(rand.choice((1, 2, 8))):
                data[rand.randrange(len(data))] = rand.randrange(256)
            sock = self.raw()
            try:
                sock.sendall(bytes(data))
                if case % 3 == 0:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except ConnectionError:
                pass
            sock.close()
            if case % 20 == 0:
                self.assertEqual(good("GET", "canary"), b"sings")
        self.assertEqual(good("GET", "canary"), b"sings")

    def test_a_sender_slower_than_the_floor_is_ended(self):
        sock = self.raw()
        sock.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9000\r\nx")
        sock.settimeout(15)
        self.until_closed(sock)

    def test_who_never_reads_is_ended_and_costs_little(self):
        client = self.daemon.client()
        client("SET", "big", b"x" * 500000)
        before = self.daemon.rss_kb()
        socks = []
        for _ in range(8):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            host, port = self.daemon.resp.rsplit(":", 1)
            sock.connect((host, int(port)))
            sock.sendall(Resp.encode("GET", "big") * 200)
            socks.append(sock)
        self.assertLess(self.daemon.rss_kb() - before, 80 * 1024)
        self.all_are_ended(socks, 15)
        for sock in socks:
            sock.close()
        self.assertEqual(client("PING"), "PONG")

    def all_are_ended(self, socks, seconds):
        """By the server, without a byte being read of what it sent."""
        hangup = select.poll()
        for sock in socks:
            hangup.register(sock, 0)  # errors and hang-ups alone
        gone = set()
        wait_until(lambda: gone.update(fd for fd, _ in hangup.poll(0)) or len(gone) == len(socks), seconds,
                   "the end of all")

    def with_little_memory(self, *options):
        """A daemon of one loop and a small L1, and a client over each protocol."""
        daemon = Daemon("--set", "server.workers=1", "--set", "cache.l1_bytes=16MiB", *options).start()
        self.addCleanup(daemon.close)
        client, http = daemon.client(), Http(daemon.http, timeout=60)
        for connection in client, http:
            self.addCleanup(connection.close)
        return daemon, client, http

    def half_sent(self, daemon, protocol, count, size, left=1):
        """Clients who have each sent all but the @left last bytes of a write of @size bytes."""
        if protocol == "RESP":
            part = b"*3\r\n$3\r\nSET\r\n$7\r\napp/key\r\n$%d\r\n" % size
        else:
            part = b"PUT /v1/config/app/key HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
        clients = []
        for _ in range(count):
            sock = self.raw(daemon.resp if protocol == "RESP" else daemon.http)
            with contextlib.suppress(ConnectionError):  # who is refused may not get rid of all
                sock.sendall(part + b"v" * (size - left))
            clients.append(sock)
        return clients

    @staticmethod
    def send_to_all(clients, data):
        for sock in clients:
            with contextlib.suppress(ConnectionError):
                sock.sendall(data)

    @unittest.skipIf("MP_SANITIZER" in os.environ, "whose own memory is counted, too")
    def test_what_thousands_have_half_sent_shares_one_budget(self):
        for protocol, done, refused in (("RESP", b"+OK\r\n", b"-OOM too much"), ("HTTP", b"HTTP/1.1 20", b"HTTP/1.1 503")):
            with self.subTest(protocol), contextlib.closing(Daemon()) as daemon:
                daemon.start()
                before, told, clients = daemon.rss_kb(), [], []
                for left in range(10, 0, -1):  # 500 MB; who is silent may be ended while others wait for room
                    self.send_to_all(clients, b"v")
                    clients += self.half_sent(daemon, protocol, 25, 2000000, left)
                self.assertLess(daemon.peak_kb() - before, 330 * 1024, "KB")
                with contextlib.closing(daemon.client()) as other:
                    self.assertEqual(other("SET", "app/small", "1"), "OK")
                for sock in clients:
                    with contextlib.suppress(ConnectionError):
                        sock.sendall(b"v\r\n" if protocol == "RESP" else b"v")
                    with contextlib.suppress(ConnectionError):
                        told.append(sock.recv(1000))
                self.assertGreater(sum(answer.startswith(done) for answer in told), 60)
                self.assertGreater(sum(answer.startswith(refused) for answer in told), 0)
                self.assertEqual([answer for answer in told if answer and not answer.startswith((done, refused))], [])
                with contextlib.closing(daemon.client()) as other:  # there is room again
                    self.assertEqual(other("SET", "app/large", b"v" * 2000000), "OK")

    def test_who_stops_in_the_middle_of_a_large_body_gives_its_room_to_others(self):
        daemon = Daemon().start()
        self.addCleanup(daemon.close)
        self.half_sent(daemon, "HTTP", 70, 2200000)  # 4 MiB of room each
        http = Http(daemon.http)
        self.addCleanup(http.close)

        def is_taken():
            with contextlib.suppress(ConnectionError):
                return http.put("/v1/config/app/large", b"v" * 200000, "text/plain").status in (200, 201)
            http.close()

        wait_until(is_taken, 15, "room")  # and not http.body_timeout, 30 s

    @unittest.skipIf("MP_SANITIZER" in os.environ, "whose own memory is counted, too")
    def test_an_idle_client_keeps_no_body_that_was_answered(self):
        daemon = Daemon().start()
        self.addCleanup(daemon.close)
        before = daemon.rss_kb()
        for sock in self.half_sent(daemon, "HTTP", 50, 2000000):
            sock.sendall(b"v")
            self.assertTrue(sock.recv(1000).startswith(b"HTTP/1.1 20"))
        wait_until(lambda: daemon.rss_kb() - before < 40 * 1024, what="the bodies given back")

    def test_a_slow_reader_who_goes_on_reading_gets_all_of_a_large_answer(self):
        """It takes three times the time after which one who reads nothing is cut."""
        value = os.urandom(2000000)
        client = self.daemon.client()
        client("SET", "slowly/large", value)
        client.close()
        for address, ask, overhead in (
                (self.daemon.http, b"GET /v1/config/slowly/large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 2000),
                (self.daemon.resp, b"*2\r\n$3\r\nGET\r\n$12\r\nslowly/large\r\n*1\r\n$4\r\nQUIT\r\n", 100)):
            sock = socket.socket()
            self.addCleanup(sock.close)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            sock.settimeout(10)
            host, port = address.rsplit(":", 1)
            sock.connect((host, int(port)))
            sock.sendall(ask)
            got, began = b"", time.monotonic()
            while part := sock.recv(32768):
                got += part
                time.sleep(max(0, len(got) / 500000 - (time.monotonic() - began)))  # 500 KB a second
            self.assertIn(value, got)
            self.assertLess(len(got), len(value) + overhead)

    @unittest.skipIf("MP_SANITIZER" in os.environ, "whose own memory is counted, too")
    def test_values_that_are_more_than_an_answer_may_hold_are_not_all_read(self):
        daemon, client, http = self.with_little_memory()
        names = [f"big/k{i}" for i in range(80)]  # 160 MB
        for name in names:
            client("SET", name, name + "x" * (2 * 1024 * 1024 - 100))
        daemon.peak_from_here()
        before = daemon.rss_kb()
        with self.assertRaisesRegex(ReplyError, "larger than resp.output_hard; ask for less"):
            client("MGET", *names)
        self.assertEqual(http("POST", "/v1/batch-get", {"keys": names}).status, 413)
        self.assertLess(daemon.peak_kb() - before, 80 * 1024, "KB")
        self.assertEqual(client("EXISTS", *names), 80)  # which needs no room for them
        self.assertEqual([len(v) for v in client("MGET", *names[:3])], [len(names[0]) + 2 * 1024 * 1024 - 100] * 3)
        got = http("POST", "/v1/batch-get", {"keys": names[:7]})
        self.assertEqual((got.status, len(got.json["values"])), (200, 7))

    @unittest.skipIf("MP_SANITIZER" in os.environ, "whose own memory is counted, too")
    def test_a_list_of_large_values_holds_no_more_of_them_than_it_tells(self):
        daemon, client, http = self.with_little_memory()
        for i in range(32):  # 64 MB
            client("SET", f"big/k{i:02}", f"{i:02}" * (1024 * 1024 - 50))
        daemon.peak_from_here()
        before = daemon.rss_kb()
        got = http.get("/v1/config/big/")
        self.assertEqual((got.status, [one["key"] for one in got.json["keys"]]), (200, ["k00"]))
        self.assertLess(daemon.peak_kb() - before, 40 * 1024, "KB")

    def flood(self, address, connections, asked, answer):
        """Send all of @asked on each at once, then hear that all of it is answered, to everybody."""
        host, port = address.rsplit(":", 1)
        left, socks = {}, {}
        poll = select.epoll()
        for _ in range(connections):
            sock = socket.create_connection((host, int(port)), 60)
            sock.setblocking(False)
            socks[sock.fileno()], left[sock.fileno()] = sock, len(answer)
            poll.register(sock.fileno(), select.EPOLLIN)
        for sock in socks.values():
            self.assertEqual(sock.send(asked), len(asked))
        while socks:
            ready = poll.poll(60)
            self.assertTrue(ready, f"{len(socks)} wait for their answers")
            for fd, _ in ready:
                got = socks[fd].recv(65536)
                self.assertTrue(got)
                left[fd] -= len(got)
                if left[fd] <= 0:
                    self.assertEqual((left[fd], got[-16:]), (0, answer[-len(got[-16:]):]))
                    poll.unregister(fd)
                    socks.pop(fd).close()
        poll.close()

    @unittest.skipIf("MP_SANITIZER" in os.environ, "whose own memory is counted, too")
    def test_what_thousands_send_at_once_waits_in_their_sockets_and_is_all_answered(self):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if hard < 11000:
            self.skipTest("too few descriptors")
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 11000), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        health = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
        for protocol in "RESP", "HTTP":
            with self.subTest(protocol), contextlib.closing(Daemon()) as daemon:
                daemon.start()
                with self.raw(daemon.http) as sock:
                    sock.sendall(health)
                    healthy = sock.recv(1000)
                before = daemon.rss_kb()
                if protocol == "RESP":
                    self.flood(daemon.resp, 5000, b"PING\r\n" * 3000, b"+PONG\r\n" * 3000)
                else:
                    self.flood(daemon.http, 5000, health * 600, healthy * 600)
                self.assertLess(daemon.peak_kb() - before, 60 * 1024, "KB")

    @unittest.skipIf("MP_SANITIZER" in os.environ, "whose own memory is counted, too")
    def test_those_who_never_read_over_http_share_one_budget(self):
        daemon = Daemon("--set", "resp.stalled_write_timeout=3s").start()
        self.addCleanup(daemon.close)
        client = daemon.client()
        self.addCleanup(client.close)
        client("SET", "big", b"x" * 300000)
        before = daemon.rss_kb()
        socks = []
        for _ in range(80):
            sock = socket.socket()
            self.addCleanup(sock.close)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            host, port = daemon.http.rsplit(":", 1)
            sock.connect((host, int(port)))
            sock.sendall(b"GET /v1/config/default/big HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
            socks.append(sock)
        for sock in socks:
            sock.settimeout(20)
            self.assertIn(b" 200 ", sock.recv(64))
        self.all_are_ended(socks, 30)
        self.assertLess(daemon.peak_kb() - before, 112 * 1024, "KB; by the soft limit alone they take 180 MB")
        self.assertEqual(client("PING"), "PONG")

    def test_who_does_not_read_the_last_answer_is_a_client_until_it_is_cut(self):
        """Also where the stop comes first."""
        daemon = Daemon("--set", "server.workers=1", "--set", "resp.stalled_write_timeout=1s").start()
        self.addCleanup(daemon.close)
        client = daemon.client()
        self.addCleanup(client.close)
        client("SET", "big", b"x" * (1 << 20))

        def http_clients():
            return int(re.search(rb"marketprism_http_clients:(\d+)", client("INFO"))[1])

        last = b"GET /v1/config/default/big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        readers = self.crowd_of_slow_readers(daemon.http, last, b"HTTP/1.1 200", 10)
        self.assertEqual(http_clients(), 10)
        got = 12
        while data := readers[0].recv(1 << 20):  # who reads gets all of it
            got += len(data)
        self.assertGreater(got, 1 << 20)
        wait_until(lambda: http_clients() == 0, 10, "the end of the others")
        self.crowd_of_slow_readers(daemon.http, last, b"HTTP/1.1 200", 10)
        self.assertEqual(daemon.stop(), 0)

    def with_a_large_list(self):
        """A daemon with a list of 1,000 keys, 1.1 MB as an answer, and a client. That nothing is read does
        not end anybody before a loaded machine has had the time for all of a test."""
        daemon, client, http = self.with_little_memory("--set", "resp.stalled_write_timeout=10m")
        for i in range(1000):
            client("SET", f"list/k{i:03}", os.urandom(500).hex())
        self.assertEqual(len(http.get("/v1/config/list/").json["keys"]), 1000)
        return daemon, http

    def who_hardly_reads(self, daemon, request):
        reader = socket.socket()
        self.addCleanup(reader.close)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = daemon.http.rsplit(":", 1)
        reader.connect((host, int(port)))
        reader.sendall(request)
        return reader

    LIST = b"GET /v1/config/list/ HTTP/1.1\r\nHost: a\r\n\r\n"

    @unittest.skipIf("MP_SANITIZER" in os.environ, "whose own memory is counted, too")
    def test_those_who_hardly_read_their_lists_share_one_budget_and_others_get_theirs(self):
        daemon, http = self.with_a_large_list()
        daemon.peak_from_here()
        before = daemon.rss_kb()
        crowd = [self.who_hardly_reads(daemon, self.LIST * 20) for _ in range(200)]
        got = http.get("/v1/config/list/")
        self.assertEqual((got.status, len(got.json["keys"])), (200, 1000))
        self.assertEqual(len(crowd), 200)
        self.assertLess(daemon.peak_kb() - before, 128 * 1024, "KB")

    def test_a_large_answer_for_which_there_is_no_room_is_refused_until_the_slow_have_gone(self):
        daemon, http = self.with_a_large_list()
        keys = {"keys": [f"list/k{i:03}" for i in range(400)]}
        few = {"keys": keys["keys"][:10]}
        self.assertEqual(http("POST", "/v1/batch-get", keys).status, 200)
        for _ in range(400):  # half of a megabyte each; the other half is the kernel's
            self.who_hardly_reads(daemon, self.LIST)
            got = http("POST", "/v1/batch-get", keys)
            if got.status != 200:
                break
        self.assertEqual((got.status, got.json["type"], got["Retry-After"]), (503, "/problems/busy", "1"))
        self.assertEqual(http("POST", "/v1/batch-get", few).status, 200)
        self.assertEqual(http.get("/v1/config/list/?keys_only").status, 200)
        wait_until(lambda: http("POST", "/v1/batch-get", keys).status == 200, 10, "room")

    def crowd_of_slow_readers(self, address, request, begins, count=60):
        """So many that have asked, and read so little that all else has to wait."""
        readers = []
        host, port = address.rsplit(":", 1)
        for _ in range(count):
            reader = socket.socket()
            self.addCleanup(reader.close)
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.settimeout(20)
            reader.connect((host, int(port)))
            reader.sendall(request)
            self.assertEqual(reader.recv(len(begins)), begins)  # it was asked for, and waits now
            readers.append(reader)
        return readers

    @unittest.skipIf("MP_SANITIZER" in os.environ, "whose own memory is counted, too")
    def test_large_values_that_wait_for_slow_readers_are_there_once(self):
        """Sixty readers that take a megabyte slowly hold one megabyte, and get what was there when they
        asked, also when it has been replaced or deleted since."""
        old, new = os.urandom(1 << 20), os.urandom(1 << 20)
        # those read last wait for as long as a loaded machine needs for the others
        daemon = Daemon("--set", "resp.stalled_write_timeout=10m").start()
        self.addCleanup(daemon.close)
        http = Http(daemon.http)
        self.addCleanup(http.close)
        http.put("/v1/config/default/big", old, "application/octet-stream")
        http.put("/v1/config/default/small", b"little", "text/plain")
        for path, value in ("big", old), ("small", b"little"):
            self.assertEqual(http.get("/v1/config/default/" + path).body, value)
        before = daemon.rss_kb()
        by_http = self.crowd_of_slow_readers(
            daemon.http, b"GET /v1/config/default/big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            b"HTTP/1.1 200 OK")
        by_resp = self.crowd_of_slow_readers(
            daemon.resp, Resp.encode("GET", "small") + Resp.encode("GET", "big") + Resp.encode("QUIT"),
            b"$6\r\nlittle\r\n$1048576\r\n")
        grown = daemon.rss_kb() - before
        http.put("/v1/config/default/big", new, "application/octet-stream")
        http("DELETE", "/v1/config/default/big")
        for reader in by_http:
            self.assertEqual(self.until_closed(reader).partition(b"\r\n\r\n")[2], old)
        for reader in by_resp:
            self.assertEqual(self.until_closed(reader), old + b"\r\n+OK\r\n")
        self.assertLess(grown, 40 * 1024, "they were copied")

    def test_many_large_values_in_a_row_come_whole_and_in_order(self):
        client = self.daemon.client()
        self.addCleanup(client.close)
        values = [os.urandom(size) for size in (70000, 10, 300000, 65536, 65535, 1, 900000)]
        for i, value in enumerate(values):
            client("SET", f"row{i}", value)
        order = [random.Random(1).randrange(len(values)) for _ in range(120)]
        sock = self.raw()
        sock.sendall(b"".join(Resp.encode("GET", f"row{i}") for i in order) + Resp.encode("QUIT"))
        want = b"".join(b"$%d\r\n%s\r\n" % (len(values[i]), values[i]) for i in order) + b"+OK\r\n"
        self.assertTrue(self.until_closed(sock) == want)

    def test_who_has_said_all_still_gets_all(self):
        """A client that ends its side behind its requests is answered whole, however large it is and
        however slowly it reads."""
        daemon = Daemon("--set", "resp.stalled_write_timeout=10m").start()
        self.addCleanup(daemon.close)
        client = daemon.client()
        self.addCleanup(client.close)
        huge = os.urandom(1900000)
        client("SET", "huge", huge)
        one = b"$%d\r\n%s\r\n" % (len(huge), huge)
        get, both = Resp.encode("GET", "huge"), Resp.encode("MGET", "huge", "huge")
        for asked, want in ((get, one), (get * 3, one * 3), (both, b"*2\r\n" + one * 2)):
            with self.subTest(asked=asked[:16], size=len(want)):
                sock = self.raw(daemon.resp)
                sock.sendall(asked)
                sock.shutdown(socket.SHUT_WR)
                self.assertTrue(self.until_closed(sock) == want)

    def test_idle_connections_cost_next_to_nothing_and_hold_nobody_up(self):
        daemon = Daemon().start()
        self.addCleanup(daemon.close)
        client = daemon.client()
        self.addCleanup(client.close)
        host, port = daemon.resp.rsplit(":", 1)
        before = daemon.rss_kb()
        crowd = [socket.create_connection((host, int(port)), 10) for _ in range(900)]
        self.addCleanup(lambda: [sock.close() for sock in crowd])
        wait_until(lambda: len(client("CLIENT", "LIST").splitlines()) == 901, what="the crowd")
        if "MP_SANITIZER" not in os.environ:  # whose own memory is counted, too
            self.assertLess((daemon.rss_kb() - before) / 900, 4, "KB a connection")
        self.assertEqual(client("SET", "crowd", "1"), "OK")
        for sock in crowd:
            sock.sendall(b"GET crowd\r\n")
        for sock in crowd:
            self.assertEqual(sock.recv(64), b"$1\r\n1\r\n")

    def test_who_is_not_let_in_can_read_why_though_he_sends(self):
        daemon = Daemon("--set", "server.workers=2", "--set", "resp.max_clients=5", "--set", "http.max_clients=5").start()
        self.addCleanup(daemon.close)
        folder = pathlib.Path(f"/proc/{daemon.process.pid}/fd")

        def sockets():
            with contextlib.suppress(FileNotFoundError):  # closed while it is looked at
                return sum(os.readlink(fd).startswith("socket:") for fd in folder.iterdir())
            return sockets()

        for address, ask, said in ((daemon.resp, b"*1\r\n$4\r\nPING\r\n", b"-ERR max number of clients"),
                                   (daemon.http, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 503")):
            crowd = [self.raw(address) for _ in range(5)]
            for sock in crowd:  # all of them are in
                sock.sendall(ask)
                self.assertTrue(sock.recv(1000))
            before = sockets()
            late = [self.raw(address) for _ in range(40)]
            for sock in late:
                for _ in range(50):  # many packets
                    sock.sendall(ask)
                self.assertTrue(self.until_closed(sock).startswith(said))
            wait_until(lambda: sockets() <= before, what="the end of their connections")  # which they do not close
            for sock in late + crowd:
                sock.close()

    def test_the_client_over_the_limit_is_told_so(self):
        # Two loops accept side by side, so that it need not be the last who is one too many.
        wait_until(self.is_empty, what="a daemon without clients")
        crowd = [self.raw() for _ in range(205)]
        told = wait_until(lambda: self.said_to(crowd, 5), what="a word to five clients")
        for data in told:
            self.assertIn(b"max number of clients", data)
        for sock in crowd:
            sock.close()
        wait_until(lambda: self.answers(), what="room for clients")

    @staticmethod
    def said_to(crowd, count):
        """What was said to those who got something, as soon as they are @count; nothing is taken."""
        ready = select.select(crowd, [], [], 0)[0]
        return [sock.recv(4096, socket.MSG_PEEK) for sock in ready] if len(ready) >= count else None

    def is_empty(self):
        client = self.daemon.client()
        clients = len(client("CLIENT", "LIST").splitlines())
        client.close()
        return clients == 1

    def answers(self):
        try:
            client = self.daemon.client()
            client("PING")
            client.close()
            return True
        except (OSError, ConnectionError, ReplyError):
            return False

    def test_a_slow_http_head_is_ended(self):
        sock = self.raw(self.daemon.http)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: ")
        sock.settimeout(15)
        self.until_closed(sock)

    def test_smuggled_requests_are_refused(self):
        for data in (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
                     b"GET / HTTP/1.1\nHost: a\n\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
                     b"GET /../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
                     b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello"):
            with self.subTest(data=data):
                sock = self.raw(self.daemon.http)
                sock.sendall(data)
                self.assertRegex(self.until_closed(sock), rb"^HTTP/1\.1 (4|5)\d\d ")

    def refused_while_it_sends(self, sock, size, head=b"PUT /v1/config/default/x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"):
        sock.sendall(head % size if b"%" in head else head)
        for _ in range(size >> 16):
            sock.sendall(b"x" * 65536)

    def test_who_sends_too_much_can_still_read_that_it_is_too_much(self):
        for _ in range(10):
            sock = self.raw(self.daemon.http)
            self.refused_while_it_sends(sock, 6 << 20)
            answer = self.until_closed(sock)
            self.assertRegex(answer, rb"^HTTP/1\.1 413 ")
            self.assertIn(b"http.body_max", answer)
            sock.close()

    def test_who_sends_too_much_over_resp_can_still_read_that_it_is_too_much(self):
        for head, said in ((b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n", rb"^-ERR .*bulk"),
                           (b"*99999999\r\n", rb"^-ERR "),
                           (b"+no command\r\n" * 3, rb"^-ERR "),
                           (b"POST /v1/config HTTP/1.1\r\nContent-Length: %d\r\n\r\n", rb"^-ERR this is the RESP port")):
            for _ in range(5):
                sock = self.raw(self.daemon.resp)
                sock.sendall(b"PING\r\n")
                self.assertEqual(sock.recv(7), b"+PONG\r\n")
                self.refused_while_it_sends(sock, 6 << 20, head)
                self.assertRegex(self.until_closed(sock), said)
                sock.close()

    def test_who_goes_on_sending_behind_a_refusal_over_resp_is_ended(self):
        sock = self.raw(self.daemon.resp)
        sock.settimeout(15)
        with self.assertRaises(ConnectionError):
            self.refused_while_it_sends(sock, 1 << 30, b"*99999999\r\n")
        sock.close()
        sock = self.raw(self.daemon.resp)  # one that says nothing more, and does not go
        sock.sendall(b"*99999999\r\n")
        self.assertRegex(self.until_closed(sock), rb"^-ERR ")
        wait_until(lambda: gauge(self.daemon, "resp_clients") == 0, what="the end of who lingers")
        sock.close()

    def test_who_goes_on_sending_behind_a_refusal_is_ended(self):
        sock = self.raw(self.daemon.http)
        sock.settimeout(15)
        with self.assertRaises(ConnectionError):
            self.refused_while_it_sends(sock, 1 << 30)
        sock.close()
        sock = self.raw(self.daemon.http)  # one that says nothing more, and does not go
        sock.sendall(b"nonsense\r\n\r\n")
        self.assertRegex(self.until_closed(sock), rb"^HTTP/1\.1 (4|5)")
        wait_until(lambda: gauge(self.daemon, "http_clients") <= 1, what="the end of who lingers")
        sock.close()

    def http(self, path):
        return urllib.request.urlopen(f"http://{self.daemon.http}{path}", timeout=10).read().decode()

    def test_the_http_port_says_health_and_figures(self):
        self.assertEqual(self.http("/healthz"), "ok\n")
        self.assertIn('"ready":true', self.http("/readyz"))
        self.assertIn('"origin":{"kind":"sqlite"', self.http("/v1/status"))
        with self.assertRaises(urllib.error.HTTPError) as error:
            self.http("/nothing")
        self.assertEqual(error.exception.code, 404)

    @unittest.skipUnless(shutil.which("promtool"), "promtool is not installed")
    def test_promtool_finds_nothing_to_say_of_the_metrics(self):
        self.daemon.client()("GET", "x")
        done = subprocess.run(["promtool", "check", "metrics"], input=self.http("/metrics"), text=True,
                              capture_output=True, check=False, timeout=30)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))


class Descriptors(unittest.TestCase):
    """A daemon that may have few: those who do not fit in are told so, and it stays well."""

    CROWD = 120

    def setUp(self):
        self.daemon = Daemon(wrap=["prlimit", "--nofile=64:64"]).start()
        self.addCleanup(self.daemon.close)

    def come(self, address, request):
        """A crowd comes at once: its sockets, and what each of them hears."""
        host, port = address.rsplit(":", 1)
        crowd, heard = [], []
        for _ in range(self.CROWD):
            sock = socket.create_connection((host, int(port)), 10)
            self.addCleanup(sock.close)
            crowd.append(sock)
        for sock in crowd:
            try:
                sock.sendall(request)
            except ConnectionError:
                pass  # what was said before still is to be read
            heard.append(sock.recv(4096))
        return crowd, heard

    def refused(self):
        with contextlib.closing(Http(self.daemon.http)) as metrics:
            text = metrics.get("/metrics").body.decode()
        found = re.search(r"^marketprism_connections_refused_total (\d+)", text, re.M)
        self.assertTrue(found, text)
        return int(found[1])

    def is_served(self):
        try:
            with contextlib.closing(self.daemon.client()) as client:
                return client("SET", "after", "1")
        except (ReplyError, ConnectionError):
            return None

    def test_who_finds_no_descriptor_left_is_told_so(self):
        refused = 0
        for _ in range(3):
            crowd, heard = self.come(self.daemon.resp, b"PING\r\n")
            served = heard.count(b"+PONG\r\n")
            self.assertGreater(served, 8)
            self.assertEqual(heard.count(b"-ERR max number of clients reached\r\n"),
                             self.CROWD - served)
            refused += self.CROWD - served
            self.assertGreaterEqual(self.refused(), refused)
            for sock in crowd:
                sock.close()
            self.assertEqual(wait_until(self.is_served, what="room again"), "OK")
        self.assertIn("client-refused", self.daemon.log_text())

    def test_the_crowd_by_http_is_told_so_and_costs_little(self):
        before = self.daemon.cpu_s()
        _, heard = self.come(self.daemon.http, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(sum(b" 200 " in said for said in heard) +
                         sum(b" 503 " in said for said in heard), self.CROWD)
        self.assertLess(self.daemon.cpu_s() - before, 1)


class Start(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon()
        self.addCleanup(self.daemon.close)

    def refused(self, *options):
        done = subprocess.run([BINARY, "serve", *options], capture_output=True, text=True,
                              check=False, timeout=20)
        self.assertNotEqual(done.returncode, 0)
        return done.stderr

    def test_a_second_daemon_on_the_same_folder_is_refused(self):
        self.daemon.start()
        said = self.refused("--data-dir", str(self.daemon.data), "--resp", "127.0.0.1:0", "--http",
                            "127.0.0.1:0")
        self.assertIn(f"in use by process {self.daemon.process.pid}", said)

    def hold_folder(self):
        """As a daemon does that has not ended yet."""
        self.daemon.data.mkdir()
        lock = open(self.daemon.data / "lock", "w+")
        self.addCleanup(lock.close)
        lock.write("4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock

    def begin(self):
        """A start that is under way, in a thread: (thread, what came of it)."""
        came = []
        pathlib.Path(self.daemon.folder, "log").touch()  # looked into before it may be there
        thread = threading.Thread(target=lambda: came.append(self.daemon.start()))
        thread.start()
        self.addCleanup(thread.join)
        return thread, came

    def test_a_start_waits_for_the_end_of_the_daemon_before_it_and_says_so(self):
        lock = self.hold_folder()
        thread, came = self.begin()
        wait_until(lambda: "waiting up to 2 s" in self.daemon.log_text(), 2, "the word of it")
        self.assertIn("in use by process 4711", self.daemon.log_text())
        lock.close()
        thread.join()
        self.assertTrue(came)
        self.assertEqual(self.daemon.log_text().count("waiting up to"), 1)

    def test_a_start_that_waited_for_the_folder_waits_for_the_ports_that_go_with_it(self):
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        self.daemon.options += ["--set", "resp.listen=%s:%d" % listening.getsockname()]
        lock = self.hold_folder()
        thread, came = self.begin()
        wait_until(lambda: "waiting up to 2 s" in self.daemon.log_text(), 2, "the word of it")
        lock.close()
        wait_until(lambda: (self.daemon.data / "origin.db").exists(), 2, "the opened folder")
        listening.close()
        thread.join()
        self.assertTrue(came)

    def test_a_folder_that_stays_in_use_is_refused_within_some_seconds(self):
        lock = self.hold_folder()
        began = time.monotonic()
        said = self.refused("--data-dir", str(self.daemon.data), "--resp", "127.0.0.1:0", "--http",
                            "127.0.0.1:0")
        self.assertGreaterEqual(time.monotonic() - began, 2)
        self.assertIn("in use by process 4711", said.splitlines()[-1])
        lock.close()

    def test_a_start_right_behind_kill_nine_succeeds(self):
        self.daemon.start()
        client = self.daemon.client()
        for number in range(5000):
            client.send("SET", f"app/k{number}", "x" * 400)
        for number in range(5000):
            client.read()
        client.close()
        for _ in range(10):
            dying = self.daemon.process
            dying.kill()  # and not waited for, as by a supervisor that begins the next at once
            self.daemon.start()
            dying.wait()
            dying.stdout.close()
            client = self.daemon.client()
            self.assertEqual(len(client("GET", "app/k4999")), 400)
            client.close()

    def test_a_second_daemon_on_the_same_port_is_refused(self):
        self.daemon.start()
        said = self.refused("--data-dir", self.daemon.folder + "/other", "--resp", self.daemon.resp,
                            "--http", "127.0.0.1:0")
        self.assertIn("somebody listens", said)

    def test_a_start_that_a_taken_port_refuses_leaves_nothing_behind(self):
        self.daemon.start()
        folder = pathlib.Path(self.daemon.folder, "other")
        ports = (("--resp", self.daemon.resp, "--http", "127.0.0.1:0"),
                 ("--resp", "127.0.0.1:0", "--http", self.daemon.http))
        for words in ports:
            self.assertIn("somebody listens", self.refused("--data-dir", str(folder), *words))
            self.assertFalse(folder.exists())
        folder.mkdir()
        self.assertIn("somebody listens", self.refused("--data-dir", str(folder), *ports[0]))
        self.assertEqual(list(folder.iterdir()), [])
        said = self.refused("--data-dir", str(self.daemon.data), "--resp", self.daemon.resp,
                            "--http", self.daemon.http)
        self.assertIn(f"in use by process {self.daemon.process.pid}", said)  # says more

    def test_an_address_that_others_reach_is_refused_without_authentication(self):
        said = self.refused("--data-dir", self.daemon.folder + "/other", "--resp", "0.0.0.0:0")
        self.assertIn("authentication", said)
        self.assertIn("127.0.0.1", said)

    def test_a_folder_of_a_newer_version_is_refused(self):
        self.daemon.start()
        self.daemon.stop()
        pathlib.Path(self.daemon.data, "format").write_text("99\n")
        self.assertIn("newer version", self.refused("--data-dir", str(self.daemon.data)))

    def test_a_damaged_format_file_keeps_no_start_from_happening(self):
        self.daemon.start()
        self.daemon.stop()
        file = pathlib.Path(self.daemon.data, "format")
        good = file.read_bytes()
        rand = random.Random(8)
        flips = [(text, bit) for text, bits in ((b"1\n", range(16)),
                                                (good, rand.sample(range(8 * len(good)), 24)))
                 for bit in bits]
        for text, bit in flips:
            with self.subTest(text=text, bit=bit):
                damaged = bytearray(text)
                damaged[bit // 8] ^= 1 << bit % 8
                file.write_bytes(damaged)
                self.daemon.start()
                self.daemon.kill()
                self.assertEqual(file.read_bytes(), good)

    def test_a_damaged_epoch_of_l3_keeps_l3(self):
        self.daemon.start()
        self.daemon.client()("SET", "a", "1")
        self.daemon.stop()
        file = pathlib.Path(self.daemon.data, "l3.epoch")
        good = file.read_bytes()
        another = bytes(b"0123456789abcdef"[15 - int(digit, 16)] for digit in good.decode())
        flipped = bytes([good[0] ^ 1]) + good[1:]
        for text in flipped, b"", b"\0" * 32, b"../../x\n" * 4, good[:20], good + b"\n", b"x" * 99:
            with self.subTest(text=text):
                file.write_bytes(text)
                self.daemon.start()
                self.daemon.stop()
                self.assertEqual(file.read_bytes(), good)
                self.assertEqual(list(self.daemon.data.glob("l3.of*")), [])
        file.write_bytes(another)
        self.daemon.start()
        self.assertEqual(self.daemon.client()("GET", "a"), b"1")
        self.assertEqual([name.name for name in self.daemon.data.glob("l3.of*")],
                         ["l3.of-" + another.decode()])

    def test_an_l3_that_was_copied_from_beside_another_origin_is_set_aside(self):
        other = Daemon()
        self.addCleanup(other.close)
        other.start()
        for i in range(9):  # its revisions are above those of the one that it comes to
            other.client()("SET", f"of-the-other/{i}", "x")
        life = pathlib.Path(other.data, "l3.epoch").read_text()
        other.stop()
        self.daemon.start()
        self.daemon.client()("SET", "a", "1")
        self.daemon.stop()
        shutil.rmtree(self.daemon.data / "l3")
        shutil.copytree(other.data / "l3", self.daemon.data / "l3")
        self.daemon.start()
        c = self.daemon.client()
        self.assertEqual((c("GET", "a"), c("GET", "of-the-other/8")), (b"1", None))
        self.assertEqual([name.name for name in self.daemon.data.glob("l3.of*")], ["l3.of-" + life])
        self.daemon.stop()
        for times in (2, 3):  # as who copies it at each start
            shutil.rmtree(self.daemon.data / "l3")
            shutil.copytree(other.data / "l3", self.daemon.data / "l3")
            self.daemon.start()
            self.assertIsNone(self.daemon.client()("GET", "of-the-other/8"))
            self.assertTrue((self.daemon.data / f"l3.of-{life}.{times}").is_dir())
            self.daemon.stop()
        shutil.rmtree(self.daemon.data / "l3")  # and with the origin away
        shutil.copytree(other.data / "l3", self.daemon.data / "l3")
        for file in self.daemon.data.glob("origin.*"):
            file.unlink()
        self.daemon.start()
        with self.assertRaisesRegex(ReplyError, "UNKNOWN"):
            self.daemon.client()("GET", "of-the-other/8")

    def test_a_bad_configuration_is_refused_with_its_place(self):
        config = pathlib.Path(self.daemon.folder, "c.yaml")
        config.write_text("cache:\n  l1_sise: 5\n")
        self.assertRegex(self.refused("--config", str(config)), r"c\.yaml:2:3: .*did you mean 'cache.l1_size'")

    def test_a_configuration_that_comes_through_a_pipe_is_read(self):
        for text, code in (("cache:\n  l1_size: 5\n", 0), ("cache:\n  l1_sise: 5\n", 1)):
            checked = subprocess.run([mp_daemon.BINARY, "check-config", "/dev/stdin"], input=text.encode(),
                                     capture_output=True)
            self.assertEqual(checked.returncode, code, checked)
        self.assertRegex(checked.stderr.decode(), "stdin:2:3: .*did you mean 'cache.l1_size'")

    def test_sighup_applies_what_is_live_and_keeps_the_old_when_it_is_bad(self):
        config = pathlib.Path(self.daemon.folder, "c.yaml")
        config.write_text("cache:\n  l1_size: 500\n")
        self.daemon.start("--config", str(config))
        client = self.daemon.client()
        entries = lambda: int(re.search(r'"entries_max":(\d+)', client("MP.STATUS").decode()).group(1))
        self.assertEqual(entries(), 500)
        config.write_text("cache:\n  l1_size: 700\n")
        self.daemon.process.send_signal(1)
        wait_until(lambda: entries() == 700, what="the reload")
        config.write_text("cache:\n  l1_size: many\n")
        self.daemon.process.send_signal(1)
        wait_until(lambda: "reload-refused" in self.daemon.log_text(), what="the refusal")
        self.assertEqual(entries(), 700)

    def test_sigterm_ends_cleanly_and_a_restart_answers(self):
        self.daemon.start()
        self.daemon.client()("SET", "a", "1")
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.start()
        self.assertEqual(self.daemon.client()("GET", "a"), b"1")


if __name__ == "__main__":
    mp_tap.main()

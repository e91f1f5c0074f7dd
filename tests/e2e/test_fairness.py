#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whatever one client asks, and however much at once, another is answered meanwhile; and who asked so
much gets all of it."""

import contextlib
import gzip
import itertools
import json
import random
import select
import socket
import struct
import threading
import time
import unittest

import mp_tap
from mp_daemon import Daemon, Resp
from mp_http import Http

CONNECTIONS = 200
DEPTH = 150


def resp(*words):
    return Resp.encode(*words)


OVER = (resp("ECHO", "over"), b"$4\r\nover\r\n")


def http(path, more=b""):
    return b"GET " + path.encode() + b" HTTP/1.1\r\nHost: a\r\n" + more + b"\r\n"


class Neighbour(threading.Thread):
    """Asks again and again, over both protocols, and notes the longest wait."""

    def __init__(self, daemon, ask):
        super().__init__()
        self.daemon, self.ask, self.worst, self.ending, self.error = daemon, ask, 0, False, None

    def run(self):
        try:
            client = self.daemon.client()
            while not self.ending:
                began = time.monotonic()
                client(*self.ask())
                host, port = self.daemon.http.rsplit(":", 1)
                with socket.create_connection((host, int(port)), 30) as sock:
                    sock.sendall(http("/healthz"))
                    sock.recv(100)
                self.worst = max(self.worst, time.monotonic() - began)
                time.sleep(0.005)
            client.close()
        except OSError as error:
            self.error = error

    def end(self):
        self.ending = True
        self.join()
        if self.error:
            raise self.error
        return self.worst


class Fairness(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon().start()
        client = cls.daemon.client()
        for i in range(50):
            client("SET", f"fair/k{i}", f"value {i}")
        client.close()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()

    def dial(self, address):
        host, port = address.rsplit(":", 1)
        return socket.create_connection((host, int(port)), 60)

    def all_answered(self, address, request, end, connections):
        """Ask @request DEPTH times on each of many connections, then once for @end; how long it took
        until everybody had the answer that ends with it."""
        began = time.monotonic()
        socks = {}
        tails = {}
        poll = select.epoll()
        for number in range(connections):
            sock = self.dial(address)
            sock.sendall((request(number) if callable(request) else request * DEPTH) + end[0])
            socks[sock.fileno()] = sock
            tails[sock.fileno()] = b""
            poll.register(sock.fileno(), select.EPOLLIN)
        while socks:
            ready = poll.poll(60)
            self.assertTrue(ready, f"{len(socks)} of the pipelines are not answered")
            for fd, _ in ready:
                got = socks[fd].recv(262144)
                tails[fd] = (tails[fd] + got)[-len(end[1]):]
                self.assertTrue(got, "ended before all was answered")
                if tails[fd] == end[1]:
                    poll.unregister(fd)
                    socks.pop(fd).close()
        poll.close()
        return time.monotonic() - began

    def holds_nobody_up(self, address, request, end, ask=lambda: ("PING",), share=3, connections=CONNECTIONS):
        neighbour = Neighbour(self.daemon, ask)
        neighbour.start()
        try:
            took = self.all_answered(address, request, end, connections)
        finally:
            worst = neighbour.end()
        # what it asks for is next to nothing: it waits for a share of the work, not for the whole
        self.assertLess(worst, max(0.15, took / share), f"all of it took {took:.3f} s")

    def test_pipelines_of_dear_commands_hold_nobody_up(self):
        self.holds_nobody_up(self.daemon.resp, resp("MP.STATUS"), OVER)

    def test_a_list_waits_for_a_share_of_the_lists_of_others_and_not_for_all(self):
        self.holds_nobody_up(self.daemon.resp, lambda number: resp("KEYS", "fair/*") * 40, OVER, lambda: ("SCAN", "0"))

    def test_a_read_waits_for_a_share_of_the_reads_of_others_and_not_for_all(self):
        def request(number):
            return b"".join(resp("GET", f"fair/none-{number}-{i}") for i in range(3 * DEPTH))

        number = itertools.count()
        self.holds_nobody_up(self.daemon.resp, request, OVER, lambda: ("GET", f"fair/new-{next(number)}"))

    def test_pipelines_of_dear_requests_hold_nobody_up(self):
        self.holds_nobody_up(self.daemon.http, http("/v1/status"), (http("/healthz"), b"\r\n\r\nok\n"))

    def test_scrapes_hold_nobody_up(self):
        over = (http("/healthz"), b"\r\n\r\nok\n")
        self.holds_nobody_up(self.daemon.http, lambda number: http("/metrics") * 15, over, share=20)

    def test_a_list_of_large_values_holds_nobody_up(self):
        with self.dial(self.daemon.http) as sock:
            value = b"\1a" * (1 << 20)  # as JSON it is more than three times as long
            sock.sendall(b"PUT /v1/config/large/one HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(value) + value)
            self.assertIn(b" 201 ", sock.recv(1000))
        over = (http("/healthz"), b"\r\n\r\nok\n")
        self.holds_nobody_up(self.daemon.http, lambda number: http("/v1/config/large/") * 2, over, share=8, connections=6)

    def put_document(self, address, name, size):
        """Text of which a quarter is left when it is compressed."""
        value = "".join(random.Random(size).choices("0123456789 ", k=size // 2)).encode() + b"." * (size - size // 2)
        with self.dial(address) as sock:
            sock.sendall(self.put(b"packed/" + name, value, b"text/plain"))
            self.assertIn(b" 201 ", sock.recv(1000))
        return value

    def test_a_scrape_does_not_wait_for_imports(self):
        daemon = Daemon("--set", "http.body_max=32MiB").start()
        self.addCleanup(daemon.close)
        lines = ["{"] + [f'"key{i}": ["{i * 7919}", {i}, {i / 3}],' for i in range(120000)] + ['"last": }']
        file = "".join(lines).encode().ljust(32 << 20)  # all of it is parsed, and then refused
        host, port = daemon.http.rsplit(":", 1)
        refused = []

        def send():
            with socket.create_connection((host, int(port)), 60) as sock:
                sock.sendall(b"POST /v1/import/app HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                             b"Content-Length: %d\r\n\r\n" % len(file))
                sock.sendall(file)
                refused.append(sock.recv(100))

        senders = [threading.Thread(target=send) for _ in range(4)]
        waits = []
        with contextlib.closing(Http(daemon.http, timeout=60)) as scraper:
            began = time.monotonic()
            for sender in senders:
                sender.start()
            while any(sender.is_alive() for sender in senders):
                asked = time.monotonic()
                self.assertEqual(scraper.get("/metrics").status, 200)
                waits.append(time.monotonic() - asked)
                time.sleep(0.01)
            took = time.monotonic() - began
        self.assertTrue(all(b" 400 " in answer for answer in refused) and len(refused) == 4, refused)
        self.assertLess(max(waits), max(0.15, took / 4), f"all of it took {took:.3f} s")

    def test_compressing_large_documents_holds_nobody_up(self):
        self.put_document(self.daemon.http, b"large", 256 * 1024)
        asked = http("/v1/config/packed/large", b"Accept-Encoding: gzip\r\n")
        over = (http("/healthz"), b"\r\n\r\nok\n")
        self.holds_nobody_up(self.daemon.http, lambda number: asked * 3, over)

    def answer(self, file):
        """A compressed or plain answer: its headers and body."""
        self.assertIn(b" 200 ", file.readline())
        headers = dict(line.lower().rstrip().split(b": ", 1) for line in iter(file.readline, b"\r\n"))
        body = file.read(int(headers[b"content-length"]))
        return headers, gzip.decompress(body) if headers.get(b"content-encoding") == b"gzip" else body

    def test_compressed_answers_are_whole_and_in_order_past_the_stop(self):
        daemon = Daemon("--set", "server.workers=1").start()
        self.addCleanup(daemon.close)
        sizes = (2000, 20000, 100000, 200000)
        values = [self.put_document(daemon.http, b"d%d" % size, size) for size in sizes]
        asked = b"".join(http(f"/v1/config/packed/d{size}", b"Accept-Encoding: gzip\r\n") for size in sizes)
        socks = [self.dial(daemon.http) for _ in range(60)]
        for number, sock in enumerate(socks):
            sock.sendall(asked)
            if number % 4 == 3:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
                sock.close()
        for number, sock in enumerate(socks):
            if number % 4 == 3:
                continue
            with sock, sock.makefile("rb") as file:
                for value in values:
                    headers, body = self.answer(file)
                    self.assertEqual(headers[b"content-encoding"], b"gzip")
                    self.assertEqual(body, value)
        largest = http(f"/v1/config/packed/d{sizes[-1]}", b"Accept-Encoding: gzip\r\n")
        with contextlib.ExitStack() as stack:
            files = []
            for _ in range(40):
                sock = stack.enter_context(self.dial(daemon.http))
                sock.sendall(largest * 2)
                files.append(stack.enter_context(sock.makefile("rb")))
            for file in files:
                self.assertEqual(self.answer(file)[1], values[-1])
            daemon.process.terminate()  # the second ones stand in line
            for file in files:
                self.assertEqual(self.answer(file)[1], values[-1])
                self.assertEqual(file.read(), b"")
            self.assertEqual(daemon.process.wait(30), 0)

    def test_a_stop_waits_for_no_answers_to_those_that_are_cut(self):
        daemon = Daemon("--set", "server.drain=0", "--set", "http.body_max=8MiB").start()
        self.addCleanup(daemon.close)
        value = b"\1a" * (1 << 19)  # as JSON it is more than three times as long
        asked = http("/v1/config/large/")
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(self.dial(daemon.http)) for _ in range(80)]
            socks[0].sendall(self.put(b"large/one", value, b"application/octet-stream"))
            self.assertIn(b" 201 ", socks[0].recv(1000))
            with socks[0].makefile("rb") as file:
                alone = []
                for _ in range(3):
                    began = time.monotonic()
                    socks[0].sendall(asked)
                    self.answer(file)
                    alone.append(time.monotonic() - began)
            for sock in socks:
                sock.sendall(asked)
            socks[0].recv(1000)  # they are under way
            began = time.monotonic()
            daemon.process.terminate()
            self.assertEqual(daemon.process.wait(60), 0)
            self.assertLess(time.monotonic() - began, max(0.4, 20 * min(alone)))

    def put(self, path, value, kind=b"application/json"):
        return (b"PUT /v1/config/" + path + b" HTTP/1.1\r\nHost: a\r\nContent-Type: " + kind +
                b"\r\nContent-Length: %d\r\n\r\n" % len(value) + value)

    def test_a_write_waits_for_no_document_of_another_namespace(self):
        with self.dial(self.daemon.http) as sock:
            sock.sendall(self.put(b"_schema/judged", b'{"properties": {"doc": {"items": {"type": "integer"}, "uniqueItems": true}}}'))
            self.assertIn(b" 201 ", sock.recv(1000))
        over = (http("/healthz"), b"\r\n\r\nok\n")
        large = b"[" + b",".join(b"%d" % i for i in range(100000)) + b"]"
        number = itertools.count()
        self.holds_nobody_up(self.daemon.http, lambda _: self.put(b"judged/doc", large) * 3, over,
                             lambda: ("SET", "free/k", next(number)), share=5, connections=6)

    def test_writes_of_one_pipeline_keep_their_order_past_a_document_that_is_judged(self):
        client = self.daemon.client()
        client("MP.PUT", "_schema/ordered", "application/json", '{"properties": {"doc": {"uniqueItems": true}}}')
        for i in range(3):
            client.send("MP.PUT", "ordered/doc", "application/json", json.dumps(list(range(i, 60000))))
            client.send("SET", "behind/k", i)
            client.send("MP.PUT", "behind/j", "application/json", i)
            for _ in range(3):
                client.read()
            revisions = [client("MP.REV", key) for key in ("ordered/doc", "behind/k", "behind/j")]
            self.assertEqual(revisions, sorted(revisions))
        client.close()

    def test_what_is_answered_late_is_whole_however_full_the_turns_are(self):
        wrong = '{"required": ["absent"]}'
        alone = self.daemon.client()
        checked = alone("MP.SCHEMA", "CHECK", "fair", wrong)
        alone.close()
        crowd = [self.daemon.client() for _ in range(12)]
        asked = (resp("MP.STATUS") * 10 + resp("MP.CONSUMERS") + resp("MP.SCHEMA", "CHECK", "fair", wrong) +
                 resp("KEYS", "fair/k*") + resp("MGET", "fair/k1", "fair/none"))
        for client in crowd:
            client.socket.sendall(asked * 20)
        for client in crowd:
            for _ in range(20):
                for _ in range(10):
                    self.assertTrue(json.loads(client.read())["ready"])
                self.assertEqual(json.loads(client.read())["consumers"], [])
                self.assertEqual(client.read(), checked)
                self.assertEqual(len(client.read()), 50)
                self.assertEqual(client.read(), [b"value 1", None])
            client.close()

    def test_a_pipeline_deeper_than_a_turn_is_answered_whole_and_in_order(self):
        count = 30000
        with self.dial(self.daemon.resp) as sock:
            asked = b"".join(resp("ECHO", i) + resp("MP.EXPLAIN", "fair/k1") for i in range(count))
            sender = threading.Thread(target=lambda: (sock.sendall(asked), sock.shutdown(socket.SHUT_WR)))
            sender.start()
            file = sock.makefile("rb", 65536)
            for i in range(count):
                file.readline()
                self.assertEqual(file.readline(), b"%d\r\n" % i)
                head = file.readline()
                self.assertEqual(head[:1], b"$")
                file.read(int(head[1:]) + 2)
            self.assertEqual(file.read(), b"")
            sender.join()

    def test_lists_of_those_who_have_gone_hold_nobody_up(self):
        daemon = Daemon("--set", "server.workers=1").start()
        try:
            client = daemon.client()
            for i in range(10):
                client("MSET", *(word for j in range(240) for word in (f"many/k{i}-{j}", "v")))
            for ask in (lambda: (daemon.resp, resp("KEYS", "*") * 2), lambda: (daemon.http, http("/v1/config/many/"))):
                lists = []
                for _ in range(5):
                    began = time.monotonic()
                    client("KEYS", "*")
                    lists.append(time.monotonic() - began)
                for _ in range(600):
                    with self.dial(ask()[0]) as sock:
                        sock.sendall(ask()[1])
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
                began = time.monotonic()
                client("SCAN", "0")
                self.assertLess(time.monotonic() - began, max(0.5, 40 * min(lists)))
            client.close()
        finally:
            daemon.close()

    def test_who_stands_in_line_at_the_stop_is_answered_first(self):
        daemon = Daemon("--set", "server.workers=1").start()
        self.addCleanup(daemon.close)
        poll = select.epoll()
        got = {}
        socks = []
        for address, asked in ((daemon.resp, resp("MP.STATUS") * 100 + OVER[0]), (daemon.http, http("/v1/status") * 100)):
            for _ in range(30):
                socks.append(self.dial(address))
                socks[-1].sendall(asked)
                poll.register(socks[-1].fileno(), select.EPOLLIN)
        by_number = {sock.fileno(): sock for sock in socks}
        stops = False
        while by_number:
            for fd, _ in poll.poll(30):
                data = by_number[fd].recv(262144)
                got[fd] = got.get(fd, b"") + data
                if not data:
                    poll.unregister(fd)
                    by_number.pop(fd)
            if len(got) == len(socks) and not stops:  # each has begun
                daemon.process.terminate()
                stops = True
        for sock in socks[:30]:
            self.assertTrue(got[sock.fileno()].endswith(OVER[1]))
        for sock in socks[30:]:
            told = got[sock.fileno()]
            self.assertTrue(told.count(b"HTTP/1.1 200") == 100 or b"connection: close" in told.lower())
        poll.close()
        for sock in socks:
            sock.close()

    def test_who_stands_in_line_is_not_idle(self):
        daemon = Daemon("--set", "server.workers=1", "--set", "resp.idle_timeout=500ms").start()
        try:
            self.all_answered(daemon.resp, lambda _: resp("MP.STATUS") * 1500, OVER, 30)
        finally:
            daemon.close()

    def test_a_deep_pipeline_of_requests_is_answered_whole_when_it_is_read_late(self):
        count = 4000
        with self.dial(self.daemon.http) as sock:
            asked = http("/v1/status") * count + http("/healthz", b"Connection: close\r\n")
            sender = threading.Thread(target=sock.sendall, args=(asked,))
            sender.start()
            # nothing is read until the server has paused for want of room, which a neighbour sees: its
            # own requests are answered while this one's wait
            neighbour = self.daemon.client()
            for _ in range(200):
                neighbour("PING")
            neighbour.close()
            got = b""
            answers = 0
            while part := sock.recv(262144):
                got += part
                answers += got.count(b"HTTP/1.1 200 OK\r\n")
                got = got[-16:] if b"HTTP/1.1 200 OK\r\n" not in got[-16:] else b""
            sender.join()
            self.assertEqual(answers, count + 1)


if __name__ == "__main__":
    mp_tap.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Requests that repeat the head of the one before are answered in a lane of their own: the answers are
the same as by the usual way, in order, whatever stands between them."""

import random
import re
import socket
import unittest

import mp_tap
from mp_daemon import Daemon, wait_until
from mp_http import Http

HEAD = b"Host: x\r\nUser-Agent: test\r\n"


def get(path, head=HEAD, method=b"GET"):
    return method + b" " + path + b" HTTP/1.1\r\n" + head + b"\r\n"


class Hits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon("--set", "server.workers=1").start()
        cls.http = Http(cls.daemon.http)
        for i in range(40):
            cls.http.put(f"/v1/config/hits/k{i}", "value %d" % i + "x" * (i * 7), "text/plain" if i % 2 else None)
            cls.http.get(f"/v1/config/hits/k{i}")
        cls.tag = cls.http.get("/v1/config/hits/k1")["ETag"].encode()

    @classmethod
    def tearDownClass(cls):
        cls.http.close()
        cls.daemon.close()

    def answers(self, data, count):
        """What a connection answers to @data, one by one, without the date."""
        host, port = self.daemon.http.rsplit(":", 1)
        with socket.create_connection((host, int(port)), 10) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            file, got = sock.makefile("rb"), []
            while len(got) < count:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = file.readline()
                    self.assertTrue(line, (got[-1:], head))
                    head += line
                size = re.search(rb"Content-Length: (\d+)", head)
                got.append(re.sub(rb"Date: [^\r]*\r\n", b"", head) + file.read(int(size[1]) if size else 0))
            self.assertEqual(file.read(), b"")
            return got

    def alone(self, request):
        return self.answers(request, 1)[0]

    def same_as_alone(self, requests):
        together = self.answers(b"".join(requests), len(requests))
        for request, answer in zip(requests, together):
            self.assertEqual(answer, self.alone(request), request)

    def test_a_pipeline_of_hits_is_answered_as_each_alone(self):
        self.same_as_alone([get(b"/v1/config/hits/k%d" % (i % 40)) for i in range(100)])

    def test_what_is_no_plain_hit_goes_the_usual_way_in_its_place(self):
        paths = [b"/v1/config/hits/k1", b"/v1/config/hits/none", b"/v1/config/hits/k%32", b"/v1/config/hits/k1?level=weak",
                 b"/v1/config/hits/", b"/v1/config/hits", b"/healthz", b"/v1/config/hits/./k1", b"/v1/config//k1",
                 b"/v1/config/" + b"n" * 129 + b"/k", b"/v1/config/hits/" + b"k" * 1025, b"/v1/config/hits/a/b", b"/nothing"]
        rng = random.Random(5)
        for path in paths:
            answer = self.alone(get(path))
            if b"Connection: close" in answer:  # it ends the connection: it must come last
                got = self.answers(get(paths[0]) * 3 + get(path) + get(paths[0]), 4)
                self.assertEqual(got[3], answer)
                continue
            order = [paths[0]] * 3 + [path] + [paths[0]] * 2
            rng.shuffle(order)
            self.same_as_alone([get(p) for p in order])

    def test_headers_count_as_ever(self):
        path = b"/v1/config/hits/k1"
        heads = [HEAD, HEAD + b"If-None-Match: " + self.tag + b"\r\n", HEAD + b'If-None-Match: "other"\r\n',
                 HEAD + b'If-Match: "other"\r\n', HEAD + b"Cache-Control: no-cache\r\n", HEAD + b"Accept-Encoding: gzip\r\n",
                 b"host: x\r\n", HEAD + b"Content-Length: 0\r\n"]
        requests = [get(path, head) for head in heads for _ in range(3)]
        self.same_as_alone(requests)
        random.Random(3).shuffle(requests)
        self.same_as_alone(requests)

    def test_large_values_are_compressed_as_ever(self):
        self.http.put("/v1/config/hits/large", "word " * 1000, "text/plain")
        for head in (HEAD, HEAD + b"Accept-Encoding: gzip\r\n"):
            self.same_as_alone([get(b"/v1/config/hits/large", head)] * 3 + [get(b"/v1/config/hits/k3", head)] * 2)

    def test_a_smuggler_gains_nothing_by_repeating(self):
        for evil in (HEAD + b"Host: y\r\n", b"Host : x\r\n", HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
                     HEAD.replace(b"\r\n", b"\n"), HEAD + b" folded\r\n", b""):
            got = self.answers(get(b"/v1/config/hits/k1") * 2 + get(b"/v1/config/hits/k1", evil) + get(b"/v1/config/hits/k1"), 3)
            self.assertTrue(got[2].startswith(b"HTTP/1.1 400 "), got[2])
            self.assertIn(b"Connection: close", got[2])

    def test_any_cut_of_the_bytes_gives_the_same(self):
        requests = [get(b"/v1/config/hits/k1"), get(b"/v1/config/hits/k2"), get(b"/v1/config/hits/none"), get(b"/v1/config/hits/k3")]
        data, host, port = b"".join(requests), *self.daemon.http.rsplit(":", 1)
        wanted = b"".join(self.answers(data, 4))
        for cut in range(1, len(data), 3):
            with socket.create_connection((host, int(port)), 10) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.sendall(data[:cut])
                sock.sendall(data[cut:])
                sock.shutdown(socket.SHUT_WR)
                got = re.sub(rb"Date: [^\r]*\r\n", b"", sock.makefile("rb").read())
            self.assertEqual(got, wanted, cut)

    def test_a_write_between_reads_is_seen(self):
        requests = []
        for i in range(20):
            body = b"new %d" % i
            requests += [get(b"/v1/config/hits/w") * 2, b"PUT /v1/config/hits/w HTTP/1.1\r\n" + HEAD +
                         b"Content-Length: %d\r\n\r\n" % len(body) + body, get(b"/v1/config/hits/w") * 2]
        self.http.put("/v1/config/hits/w", "old")
        got = self.answers(b"".join(requests), 100)
        for i in range(20):
            self.assertTrue(got[5 * i + 3].endswith(b"new %d" % i) and got[5 * i + 4].endswith(b"new %d" % i), got[5 * i + 3])

    def test_an_expiring_value_says_how_long(self):
        self.http.put("/v1/config/hits/ttl?ttl=300ms", "soon gone")
        host, port = self.daemon.http.rsplit(":", 1)
        with socket.create_connection((host, int(port)), 10) as sock:
            def ask():
                sock.sendall(get(b"/v1/config/hits/ttl"))
                return sock.recv(65536)
            self.assertIn(b"max-age=0", ask())
            wait_until(lambda: ask().startswith(b"HTTP/1.1 404 "))

    def test_every_request_is_counted(self):
        def count():
            return int(float(re.search(r"^marketprism_http_requests_total (\S+)", self.http.get("/metrics").text, re.M)[1]))
        before = count()
        self.answers(get(b"/v1/config/hits/k1") * 77, 77)
        self.assertEqual(count() - before, 78)


if __name__ == "__main__":
    mp_tap.main()

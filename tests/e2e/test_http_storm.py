#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is no sound HTTP request is refused and smuggles nothing; storms, slow and silent clients hurt
nobody. Healthy clients are asked beside all of it."""

import gzip
import os
import random
import re
import socket
import unittest

import mp_tap
from mp_daemon import Daemon, wait_until
from mp_http import Http

GET = b"GET /v1/config/storm/x HTTP/1.1\r\n"
HOST = b"Host: a\r\n"
HIDDEN = b"GET /v1/config/storm/hidden HTTP/1.1\r\nHost: a\r\n\r\n"


def post(headers, body, path=b"/v1/config/storm/y", method=b"PUT"):
    return method + b" " + path + b" HTTP/1.1\r\n" + HOST + headers + b"\r\n" + body


# Each of these is ended with 4xx, 501 or 505, and what it hides is never answered.
SMUGGLERS = {
    "length and chunked": post(b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\nG" + HIDDEN),
    "chunked and length": post(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n" + HIDDEN),
    "two lengths": post(b"Content-Length: 0\r\nContent-Length: 5\r\n", HIDDEN),
    "two equal lengths": post(b"Content-Length: 0\r\nContent-Length: 0\r\n", HIDDEN),
    "a list of lengths": post(b"Content-Length: 0, 0\r\n", HIDDEN),
    "a signed length": post(b"Content-Length: +0\r\n", HIDDEN),
    "a negative length": post(b"Content-Length: -1\r\n", HIDDEN),
    "a length in hex": post(b"Content-Length: 0x0\r\n", HIDDEN),
    "a huge length": post(b"Content-Length: 18446744073709551616\r\n", HIDDEN),
    "an empty length": post(b"Content-Length: \r\n", HIDDEN),
    "a space before the colon": post(b"Content-Length : 0\r\n", HIDDEN),
    "a tab before the colon": post(b"Transfer-Encoding\t: chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "xchunked": post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "chunked twice": post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "chunked, identity": post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n" + HIDDEN),
    "identity": post(b"Transfer-Encoding: identity\r\n", HIDDEN),
    "a folded encoding": post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "chunk size with a sign": post(b"Transfer-Encoding: chunked\r\n", b"+0\r\n\r\n" + HIDDEN),
    "chunk size in hex form": post(b"Transfer-Encoding: chunked\r\n", b"0x0\r\n\r\n" + HIDDEN),
    "chunk size that overflows": post(b"Transfer-Encoding: chunked\r\n", b"10000000000000000\r\n" + HIDDEN),
    "chunk longer than it says": post(b"Transfer-Encoding: chunked\r\n", b"1\r\nab\r\n0\r\n\r\n" + HIDDEN),
    "a line feed alone": GET[:-2] + b"\n" + HOST + b"\r\n" + HIDDEN,
    "a header ended by a line feed": GET + b"Host: a\nX: y\r\n\r\n" + HIDDEN,
    "a carriage return alone": GET + HOST + b"\r" + HIDDEN,
    "a carriage return in a value": GET + HOST + b"X: y\rZ: w\r\n\r\n" + HIDDEN,
    "a NUL in a value": GET + HOST + b"X: a\0b\r\n\r\n" + HIDDEN,
    "a NUL in a name": GET + HOST + b"X\0: b\r\n\r\n" + HIDDEN,
    "no colon": GET + HOST + b"nonsense\r\n\r\n" + HIDDEN,
    "an empty name": GET + HOST + b": x\r\n\r\n" + HIDDEN,
    "no host": GET + b"\r\n" + HIDDEN,
    "two hosts": GET + HOST + b"Host: b\r\n\r\n" + HIDDEN,
    "a host with a slash": GET + b"Host: a/b\r\n\r\n" + HIDDEN,
    "an empty host": GET + b"Host: \r\n\r\n" + HIDDEN,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN,
    "HTTP/1.2": b"GET /v1/config/storm/x HTTP/1.2\r\n" + HOST + b"\r\n" + HIDDEN,
    "no version": b"GET /v1/config/storm/x\r\n" + HOST + b"\r\n" + HIDDEN,
    "an unknown method": b"FLY /v1/config/storm/x HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN,
    "a method in small letters": b"get /v1/config/storm/x HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN,
    "an absolute target": b"GET http://a/v1/config/storm/x HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN,
    "a target without slash": b"GET v1 HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN,
    "dot segments": b"GET /v1/config/../storm HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN,
    "encoded dot segments": b"GET /v1/config/%2e%2e/storm HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN,
    "a NUL in the path": b"GET /v1/config/storm/%00 HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN,
    "a bad percent": b"GET /v1/config/storm/%zz HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN,
    "a line too long": b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN,
    "too many headers": GET + HOST + b"A: b\r\n" * 101 + b"\r\n" + HIDDEN,
    "headers too long": GET + HOST + b"A: " + b"b" * 41000 + b"\r\n\r\n" + HIDDEN,
    "trailers too long": post(b"Transfer-Encoding: chunked\r\n", b"0\r\n" + b"A: bcdefgh\r\n" * 5000 + b"\r\n" + HIDDEN),
    "a body too large": post(b"Content-Length: 5000000\r\n", b""),
    "an unknown expectation": post(b"Content-Length: 0\r\nExpect: flying\r\n", HIDDEN),
    "TLS": bytes.fromhex("16030100c8010000c40303") + b"x" * 64 + HIDDEN,
}


class Storm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon("--set", "http.header_timeout=1s", "--set", "http.body_timeout=1s", "--set",
                            "resp.stalled_write_timeout=1s", "--set", "http.keepalive_timeout=2s").start()
        cls.http = Http(cls.daemon.http)
        cls.http.put("/v1/config/storm/x", "canary")
        cls.http.put("/v1/config/storm/hidden", "TREASURE")
        cls.http.put("/v1/config/storm/big", "v" * 1000000)

    @classmethod
    def tearDownClass(cls):
        cls.http.close()
        cls.daemon.close()

    def dial(self):
        host, port = self.daemon.http.rsplit(":", 1)
        return socket.create_connection((host, int(port)), 20)

    def talk(self, data):
        """All that comes back for @data until the server ends it."""
        with self.dial() as sock:
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it was ended before all was sent
            got = b""
            try:
                while part := sock.recv(65536):
                    got += part
            except ConnectionResetError:
                pass
            return got

    def figure(self, name):
        http = Http(self.daemon.http)
        text = http.get("/metrics").text
        http.close()
        return float(re.search(r"^" + name + r" (\S+)", text, re.M)[1])

    def is_well(self):
        http = Http(self.daemon.http)
        self.assertEqual(http.get("/v1/config/storm/x").body, b"canary")
        http.close()
        self.assertIsNone(self.daemon.process.poll())

    def test_what_is_doubtful_is_refused_and_smuggles_nothing(self):
        for first in (b"", GET + HOST + b"\r\n"):  # alone, and behind a request with a sound head
            for name, data in SMUGGLERS.items():
                got = self.talk(first + data)
                self.assertFalse(b"TREASURE" in got, (name, bool(first)))
                answers = re.findall(rb"HTTP/1.1 (\d+)", got)
                if answers and len(answers) > bool(first):
                    self.assertRegex(answers[-1].decode(), "^(4..|501|505)$", name)
                    self.assertIn(b"Connection: close", got, name)
        self.is_well()

    def test_what_is_sound_is_answered(self):
        """So that the test above can fail: the same shapes, made sound, let the second one through."""
        for name, data in {"length": post(b"Content-Length: 3\r\n", b"abc" + HIDDEN),
                           "chunked": post(b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n" + HIDDEN),
                           "trailer": post(b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n0\r\nA: b\r\n\r\n" + HIDDEN),
                           "get": GET + HOST + b"\r\n" + HIDDEN}.items():
            self.assertIn(b"TREASURE", self.talk(data), name)

    def test_deep_json_and_bombs_are_refused(self):
        http = Http(self.daemon.http)
        deep = b"[" * 100000 + b"]" * 100000
        for path, type in (("/v1/txn", "application/json"), ("/v1/batch-get", "application/json"),
                           ("/v1/import/storm", "application/json"), ("/v1/import/storm", "application/yaml")):
            answer = http("POST", path, deep, type)
            self.assertIn(answer.status, (400, 413), (path, answer))
            bomb = http("POST", path, gzip.compress(b" " * 20_000_000), type, Content_Encoding="gzip")
            self.assertEqual(bomb.status, 413, bomb)
        self.assertIn(http("PATCH", "/v1/config/storm/x", deep, "application/merge-patch+json").status, (400, 409, 413))
        http.close()
        self.is_well()

    def test_a_storm_of_broken_requests_hurts_nobody(self):
        rng = random.Random(20)
        seeds = list(SMUGGLERS.values()) + [GET + HOST + b"\r\n", post(b"Content-Length: 3\r\n", b"abc", b"/v1/import/storm", b"POST"),
                                            post(b"", b"", b"/v1/txn", b"POST")]
        rss = self.daemon.rss_kb()
        for i in range(1500):
            data = bytearray(rng.choice(seeds)[:20000])
            for _ in range(rng.randrange(1, 8)):
                at = rng.randrange(len(data))
                kind = rng.randrange(4)
                if kind == 0:
                    data[at] = rng.randrange(256)
                elif kind == 1:
                    del data[at:at + rng.randrange(1, 20)]
                elif kind == 2:
                    data[at:at] = bytes(rng.choice(b"\r\n\t :,;%/\0Ax0") for _ in range(rng.randrange(1, 6)))
                else:
                    data[at:at] = data[:rng.randrange(40)]
                data = data or bytearray(b"x")
            self.talk(bytes(data))
            if i % 100 == 0:
                self.is_well()
        self.is_well()
        if "MP_SANITIZER" not in os.environ:  # whose own memory is counted, too
            self.assertLess(self.daemon.rss_kb() - rss, 16 * 1024)

    # ---- who is slow ----

    def is_ended(self, sock):
        sock.settimeout(0.02)
        try:
            return sock.recv(65536) == b""
        except (TimeoutError, BlockingIOError):
            return False
        except OSError:
            return True

    def test_slow_heads_slow_bodies_and_the_idle_are_ended(self):
        starts = [GET + b"Ho", GET + HOST, post(b"Content-Length: 100\r\n", b"a"),
                  post(b"Transfer-Encoding: chunked\r\n", b"5\r\nab"), b"", GET + HOST + b"\r\n"]
        socks = [self.dial() for _ in range(60)]
        for i, sock in enumerate(socks):
            sock.sendall(starts[i % len(starts)])
        self.is_well()
        wait_until(lambda: all(self.is_ended(s) for s in socks), 30, "the end of the slow")
        for sock in socks:
            sock.close()

    def test_who_takes_no_answer_is_ended(self):
        socks = [self.dial() for _ in range(10)]
        for sock in socks:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall((b"GET /v1/config/storm/big HTTP/1.1\r\n" + HOST + b"\r\n") * 20)
        self.is_well()
        wait_until(lambda: self.figure("marketprism_connections_cut_total") >= 10, 30, "the end of those who do not read")
        self.is_well()
        for sock in socks:
            sock.close()

    def test_a_flood_of_connections_is_held_and_given_back(self):
        warm = [self.dial() for _ in range(64)]
        for sock in warm:  # many at once, so that the workers have the buffers that they share
            sock.sendall(GET + HOST + b"\r\n")
        for sock in warm:
            self.assertTrue(sock.recv(4096).startswith(b"HTTP/1.1 200"))
            sock.close()
        rss = self.daemon.rss_kb()
        socks = [self.dial() for _ in range(400)]
        self.is_well()
        for sock in socks[::10]:
            sock.sendall(GET + HOST + b"\r\n")
            self.assertTrue(sock.recv(4096).startswith(b"HTTP/1.1 200"))
        if "MP_SANITIZER" not in os.environ:
            self.assertLess(self.daemon.rss_kb() - rss, 400 * 8)
        for sock in socks:
            sock.close()
        wait_until(lambda: self.figure("marketprism_http_clients") <= 2, 10, "their end")


if __name__ == "__main__":
    mp_tap.main()

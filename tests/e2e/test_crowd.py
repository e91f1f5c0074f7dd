# SPDX-License-Identifier: Apache-2.0
"""A crowd that misses one value is one question to the origin, however the crowd comes and goes."""

import contextlib
import fcntl
import json
import pathlib
import re
import time
import unittest

import mp_tap
from mp_daemon import Daemon, ReplyError, Resp, wait_until
from mp_http import Http

CLIENTS, DEEP = 200, 50  # ten thousand


class Crowd(unittest.TestCase):
    def daemon(self, *options):
        daemon = Daemon("--set", "overlay.base=", "--set", "server.workers=4", "--set",
                        "cache.l1_size=100000", *options)
        self.addCleanup(daemon.close)
        return daemon

    def clients(self, daemon, count):
        clients = [daemon.client() for _ in range(count)]
        for client in clients:
            self.addCleanup(client.close)
        return clients

    def asked(self, daemon):
        return json.loads(daemon.cli("status", "--json").stdout)["origin"]["fetches"]

    def waiters(self, daemon):
        with contextlib.closing(Http(daemon.http)) as http:
            text = http.get("/metrics").body.decode()
        return int(float(re.search(r"^marketprism_flight_waiters_total (\S+)$", text, re.M).group(1)))

    def test_each_value_is_asked_for_once_by_all_who_come_at_once(self):
        """Who looked at memory before an answer was there, and comes to ask when it is, is answered."""
        daemon = self.daemon().start()
        clients = self.clients(daemon, 16)
        for turn in range(20):
            before = self.asked(daemon)
            crowd = b"".join(Resp.encode("GET", f"app/none-{turn}-{i}") for i in range(300))
            for client in clients:
                client.socket.sendall(crowd)
            for client in clients:
                for _ in range(300):
                    self.assertIsNone(client.read())
            self.assertEqual(self.asked(daemon) - before, 300)

    def hanging(self, stack, *options):
        daemon = self.daemon(*options)
        lock = stack.enter_context(open(pathlib.Path(daemon.folder, "hangs"), "w", encoding="utf-8"))
        daemon.hang_on(lock)
        with contextlib.closing(daemon.start().client()) as client:
            client("SET", "app/value", "1")
        daemon.stop()
        for segment in (daemon.data / "l3").iterdir():
            segment.unlink()  # nothing is kept of it
        daemon.start()
        return daemon, lock

    @staticmethod
    def all_ask(clients, lock):
        """Each for the value DEEP times, of an origin that hangs from here on."""
        fcntl.flock(lock, fcntl.LOCK_EX)
        for client in clients:
            client.send("MGET", *["app/value"] * DEEP)

    def test_ten_thousand_of_whom_half_go_away_are_one_question(self):
        with contextlib.ExitStack() as stack:
            daemon, lock = self.hanging(stack, "--set", "origin.timeout=60s")
            clients = self.clients(daemon, CLIENTS)
            before = self.asked(daemon)
            self.all_ask(clients, lock)
            wait_until(lambda: self.waiters(daemon) >= CLIENTS * DEEP)
            for client in clients[:CLIENTS // 2]:  # who asked first is among them
                client.close()
            fcntl.flock(lock, fcntl.LOCK_UN)
            for client in clients[CLIENTS // 2:]:
                self.assertEqual(client.read(), [b"1"] * DEEP)
            self.assertEqual(self.asked(daemon) - before, 1)

    def test_ten_thousand_whom_nobody_answers_are_one_question_and_told_so_in_time(self):
        with contextlib.ExitStack() as stack:
            daemon, lock = self.hanging(stack, "--set", "origin.timeout=500ms")
            clients = self.clients(daemon, CLIENTS)
            before = self.asked(daemon)
            began = time.monotonic()
            self.all_ask(clients, lock)
            for client in clients:
                with self.assertRaisesRegex(ReplyError, "^UNKNOWN"):
                    client.read()
            took = time.monotonic() - began
            self.assertEqual(self.waiters(daemon), CLIENTS * DEEP)
            fcntl.flock(lock, fcntl.LOCK_UN)
            self.assertLess(took, 5)
            wait_until(lambda: clients[0]("GET", "app/value") == b"1")
            self.assertEqual(self.asked(daemon) - before, 1)


if __name__ == "__main__":
    mp_tap.main()

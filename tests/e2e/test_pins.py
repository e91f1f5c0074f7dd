# SPDX-License-Identifier: Apache-2.0
"""What is pinned stays in memory, also through a restart and without its origin."""
import json
import os
import pathlib
import signal
import unittest

import mp_tap
from mp_daemon import Daemon, ReplyError, wait_until
from mp_http import Http


class Pins(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon("--set", "cache.l1_size=100", "--set", "cache.pin=production/always/*")
        self.addCleanup(self.daemon.close)
        self.daemon.start()
        self.c = self.connect()

    def connect(self):
        client = self.daemon.client()
        self.addCleanup(client.close)
        return client

    def pins(self):
        return json.loads(self.connect()("MP.PINS"))

    def pinned(self, key):
        return json.loads(self.connect()("MP.EXPLAIN", key))["pinned"]

    def flood(self):
        client = self.connect()
        for i in range(500):
            client("SET", f"flood/{i}", "x")

    def test_a_pin_holds_through_floods_and_restarts(self):
        for i in range(10):
            self.c("SET", f"hot/{i}", f"v{i}")
        self.c("SET", "always/on", "1")
        self.assertEqual(self.c("MP.PIN", "hot/*"), 1)
        wait_until(lambda: self.pins()["entries"] == 11, what="eleven pinned entries")
        self.assertEqual([(p["pin"], p["configured"]) for p in self.pins()["pins"]],
                         [("production/always/*", True), ("production/hot/*", False)])
        self.flood()
        self.assertEqual((self.pinned("hot/3"), self.pinned("flood/1")), ("yes", "no"))
        wait_until(lambda: os.path.exists(os.path.join(self.daemon.data, "pins")), what="the file")
        self.daemon.stop()
        self.daemon.start()
        wait_until(lambda: self.pins()["entries"] == 11, what="the same after a restart")
        self.flood()
        explained = json.loads(self.connect()("MP.EXPLAIN", "hot/3"))
        self.assertEqual((explained["pinned"], "L1" in explained["kept_in"]), ("yes", True))

    def test_pins_come_from_disk_when_the_origin_is_gone(self):
        for i in range(10):
            self.c("SET", f"hot/{i}", f"v{i}")
        self.assertEqual(self.c("MP.PIN", "hot/*"), 1)
        self.assertEqual(self.c("MP.PIN", "hot/3"), 1)
        path = os.path.join(self.daemon.data, "pins")
        wait_until(lambda: os.path.exists(path) and open(path).read().count("\n") == 3,
                   what="both pins in the file")
        self.daemon.stop()
        for name in os.listdir(self.daemon.data):
            if name.startswith("origin.db"):
                os.unlink(os.path.join(self.daemon.data, name))
        self.daemon.start()
        wait_until(lambda: self.pins()["entries"] == 10, what="ten pinned entries from L3")
        self.assertEqual(self.connect()("GET", "hot/3"), b"v3")

    def test_the_file_of_pins_is_read_from_before_it_had_a_format_and_when_it_is_damaged(self):
        path = pathlib.Path(self.daemon.data, "pins")
        self.daemon.stop()
        path.write_text("production/old/*\n")
        self.daemon.start()
        client = self.connect()
        self.assertEqual(client("MP.PIN", "new/*"), 1)
        wait_until(lambda: path.read_text().startswith("marketprism-pins 1 "), what="the new form")
        good = path.read_text()
        self.assertIn("production/new/*\nproduction/old/*\n", good)
        want = {"production/always/*", "production/old/*", "production/new/*"}
        head, lines = good.split("\n", 1)
        other = "0" if head[-1] != "0" else "1"
        for text in (good, f"{head[:-1]}{other}\n{lines}", f"marketprism-pins 1\n{lines}", f"marketprism-pins x\n{lines}"):
            self.daemon.stop()
            path.write_text(text)
            self.daemon.start()
            self.assertEqual({p["pin"] for p in self.pins()["pins"]}, want)
        self.assertIn("pins-damaged", self.daemon.log_text())

    def test_a_file_of_pins_of_a_newer_version_is_neither_taken_for_damage_nor_written_over(self):
        path = pathlib.Path(self.daemon.data, "pins")
        self.c("MP.PIN", "new/*")
        wait_until(path.exists, what="the pin in the file")
        good = path.read_text()
        self.daemon.stop()
        head = good.split("\n", 1)[0]
        for text in (good.replace("pins 1", "pins 9"), good.replace(head, "marketprism-pins 2 by another sum"),
                     good.replace(head, "marketprism-pins 10")):
            path.write_text(text)
            with self.assertRaisesRegex(RuntimeError, "pins was written by a newer version"):
                self.daemon.start()
            self.assertEqual(path.read_text(), text)
        path.write_text(good)
        self.daemon.start()
        self.assertIn("production/new/*", {p["pin"] for p in self.pins()["pins"]})

    def test_what_had_no_room_is_pinned_when_there_is_some(self):
        config = pathlib.Path(self.daemon.folder, "room.yaml")
        resize = lambda entries: (config.write_text(f"cache: {{l1_size: {entries}}}\n"),
                                  self.daemon.process.send_signal(signal.SIGHUP))
        self.daemon.stop()
        self.daemon.options = ["--config", str(config)]
        config.write_text("cache: {l1_size: 100}\n")
        self.daemon.start()
        self.c = self.connect()
        for i in range(45):
            self.c("SET", f"hot/{i}", f"v{i}")
        self.assertEqual(self.c("MP.PIN", "hot/*"), 1)
        resize(20)
        wait_until(lambda: self.pins()["entries"] == 10, what="half of a small L1")
        self.assertGreaterEqual(self.pins()["left_out"], 35)
        resize(100)
        wait_until(lambda: self.pins()["entries"] == 45, what="all of them, though nobody read them")
        for i in range(5):  # one that is in memory, and had no room
            self.c("SET", f"warm/{i}", "x")
        self.assertEqual(self.c("MP.PIN", "warm/*"), 1)
        self.c("SET", "warm/5", "late")
        self.assertEqual((self.pinned("warm/5"), self.pins()["entries"]), ("when it is read and there is room", 50))
        self.assertEqual(self.c("MP.UNPIN", "hot/*"), 1)
        wait_until(lambda: self.pinned("warm/5") == "yes", what="room that a pin less made")

    def test_what_is_too_much_is_refused_with_a_remedy(self):
        for i in range(80):
            self.c("SET", f"many/{i}", "x")
        with self.assertRaises(ReplyError) as refused:
            self.c("MP.PIN", "many/*")
        self.assertIn("raise cache.l1_bytes", str(refused.exception))
        with self.assertRaises(ReplyError) as configured:
            self.c("MP.UNPIN", "always/*")
        self.assertIn("cache.pin", str(configured.exception))
        self.assertEqual(self.c("MP.UNPIN", "none/*"), 0)

    def test_the_command_line_and_http_pin_too(self):
        self.c("SET", "cli/a", "1")
        self.c("SET", "web/a", "1")
        self.assertEqual(self.daemon.cli("pin", "cli/a", check=True).stdout, "pinned 1\n")
        http = Http(self.daemon.http)
        answer = http.put("/v1/pins/web/a*", "")
        self.assertEqual(answer.status, 200)
        wait_until(lambda: json.loads(http.get("/v1/pins").body)["entries"] == 2, what="two pinned")
        people = self.daemon.cli("pins", check=True).stdout
        self.assertIn("production/cli/a\n", people)
        self.assertIn("production/always/*   (cache.pin)\n", people)
        self.assertIn("2 of 50 entries", people)
        self.assertEqual(http("DELETE", "/v1/pins/web/a*").status, 200)
        gone = http("DELETE", "/v1/pins/web/a*")
        self.assertEqual((gone.status, gone.json["detail"]), (404, "there is no such pin"))
        self.assertEqual(self.daemon.cli("unpin", "cli/a").returncode, 0)
        self.assertEqual(self.daemon.cli("unpin", "cli/a").returncode, 3)
        self.assertEqual(json.loads(self.daemon.cli("pins", "--json", check=True).stdout)["count"], 1)


if __name__ == "__main__":
    mp_tap.main()

# SPDX-License-Identifier: Apache-2.0
"""The disk under the daemon is full, or fails: reads go on, writes get a clear error, and when the
disk is well again so is the daemon, by itself."""

import json
import os
import pathlib
import resource
import shutil
import subprocess
import unittest

import mp_tap
from mp_daemon import BINARY, Daemon, ReplyError, wait_until
from mp_http import Http
from mp_stream import Stream

KEYS = 200
MOUNT = 'mount -t tmpfs -o size=48m none "$1" && shift && exec "$@"'


def own_mounts():
    """A namespace in which a small disk of our own can be mounted: why not, or None."""
    try:
        run = subprocess.run(["unshare", "-Urm", "sh", "-c", MOUNT, "sh", "/mnt", "true"],
                             capture_output=True, text=True, timeout=20)
    except OSError as error:
        return f"unshare cannot be run: {error}"
    return None if run.returncode == 0 else f"no mounts of our own here: {run.stderr.strip()}"


class Disk(unittest.TestCase):
    def fill_in(self):
        client = self.daemon.client()
        for i in range(KEYS):
            client("SET", f"app/key{i}", f"value{i}")
        wait_until(self.is_kept, what="every write kept on L3")
        return client

    def is_kept(self):
        status = json.loads(self.daemon.cli("status", "--json").stdout)
        return status["cache"]["l3"]["pending_bytes"] == 0

    def write_until_refused(self, client):
        """Pages of the log that are there already take some more."""
        try:
            for i in range(64):
                client("SET", f"app/more{i}", "x" * 500000)
        except ReplyError as error:
            return str(error)
        self.fail("32 MB were written where there is no room")

    def check_refused(self, client, pattern):
        self.assertRegex(self.write_until_refused(client), pattern)
        for _ in range(3):
            with self.assertRaisesRegex(ReplyError, pattern):
                client("SET", "app/key0", "x" * 500000)
        for i in range(KEYS):
            self.assertEqual(client("GET", f"app/key{i}"), f"value{i}".encode())
        self.assertEqual(client.meta("app/key0")["stale"], 0)  # the origin still vouches for it

    def check_recovered(self, client):
        def write():
            try:
                return client("SET", "app/key0", "after") == "OK"
            except ReplyError:
                return False
        wait_until(write, seconds=20, what="the first write after the trouble")
        self.assertEqual(client("GET", "app/key0"), b"after")
        self.daemon.kill()
        self.daemon.start()
        client = self.daemon.client()
        self.assertEqual(self.daemon.ready["trouble"], "")
        self.assertEqual(client("GET", "app/key0"), b"after")
        for i in range(1, KEYS):
            self.assertEqual(client("GET", f"app/key{i}"), f"value{i}".encode())


class Full(Disk):
    def setUp(self):
        reason = own_mounts()
        if reason:
            self.skipTest(reason)
        self.daemon = Daemon()
        self.addCleanup(self.daemon.close)
        self.disk = pathlib.Path(self.daemon.folder, "disk")
        self.disk.mkdir()

    def start(self, disk):
        self.daemon.wrap = ["unshare", "-Urm", "sh", "-c", MOUNT, "sh", str(self.disk)]
        self.daemon.data = disk
        self.daemon.start()

    def fill(self):
        """Take all the room that there is, as the daemon sees it."""
        filler = pathlib.Path(f"/proc/{self.daemon.process.pid}/root{self.disk}/filler")
        try:
            with open(filler, "ab", buffering=0) as file:
                for size in (65536, 4096):
                    try:
                        while True:
                            file.write(b"\0" * size)
                    except OSError:
                        pass
        except PermissionError as error:
            self.skipTest(f"the daemon's own mounts cannot be reached: {error}")
        return filler

    def test_a_full_disk_refuses_writes_and_only_writes_until_there_is_room(self):
        self.start(self.disk / "data")
        client = self.fill_in()
        filler = self.fill()
        self.check_refused(client, "full|degraded")

        def says_why():  # what it frees itself when it is refused, it may write into again: that, too, is filled
            self.fill()
            self.can_write(client)
            return "room" in self.daemon.cli("status").stdout
        wait_until(says_why, seconds=20, what="a status that says why")
        filler.unlink()
        wait_until(lambda: self.can_write(client), seconds=20, what="a write")
        for i in range(1, KEYS):
            self.assertEqual(client("GET", f"app/key{i}"), f"value{i}".encode())

    def test_a_cache_on_a_full_disk_is_told_of_in_the_log_and_so_is_its_end(self):
        self.daemon.options = ["--set", f"origin.path={self.daemon.folder}/origin.db"]
        self.start(self.disk / "data")
        client = self.fill_in()
        filler = self.fill()
        for i in range(40):
            client("SET", f"app/more{i % 8}", str(i) * 200000)
        wait_until(lambda: "l3-degraded" in self.daemon.log_text(), what="a line of the log")
        for i in range(KEYS):
            self.assertEqual(client("GET", f"app/key{i}"), f"value{i}".encode())
        filler.unlink()
        wait_until(lambda: "l3-live" in self.daemon.log_text(), seconds=40, what="the end of it")
        said = [json.loads(line) for line in self.daemon.log_text().splitlines()]
        degraded, = (line for line in said if line["event"] == "l3-degraded")
        self.assertEqual((degraded["level"], degraded["component"]), ("error", "cache"))
        self.assertRegex(degraded["message"], "L3 in .* takes no writes: No space left on device; make")
        lately = self.daemon.cli("status").stdout
        self.assertRegex(lately, "ago  l3-degraded  +L3 in .* takes no writes")
        self.assertRegex(lately, "ago  l3-live  +the disk takes writes again")

    def can_write(self, client, value="after"):
        try:
            return client("SET", "app/key0", value) == "OK"
        except ReplyError:
            return False

    def test_what_did_not_fit_on_the_disk_is_not_half_there(self):
        self.start(self.disk / "data")
        client = self.fill_in()
        filler = self.fill()
        self.write_until_refused(client)
        accepted, number = {}, 0
        for number in range(300):
            try:
                client("SET", f"app/key{number % 20}", f"full {number}")
                accepted[number % 20] = number
            except ReplyError:
                pass
        filler.unlink()
        wait_until(lambda: self.can_write(client), seconds=20, what="a write")
        client("MP.LEVEL", "strong")
        for i in range(1, 20):
            want = f"full {accepted[i]}" if i in accepted else f"value{i}"
            self.assertEqual(client("GET", f"app/key{i}"), want.encode())

    def test_who_watches_again_while_the_disk_is_full_is_told_all_when_there_is_room(self):
        self.start(self.disk / "data")
        client = self.fill_in()
        position = client("MP.CHANGES")[0].decode()
        for i in range(400):  # the journal has this room from now on
            client("SET", f"app/key{i % KEYS}", "x" * 10000)
        filler = self.fill()
        http = Http(self.daemon.http)
        self.addCleanup(http.close)

        def is_stuck():  # what was taken does not get into the database, so no list can be told
            self.fill()
            for i in range(20):
                self.can_write(client, "x" * 10000)
            return http.get("/v1/config/app/?limit=1").status == 507
        wait_until(is_stuck, seconds=20, what="a list that cannot be told")
        stream = Stream(self.daemon.http, f"/v1/watch?prefix=app/&from={position}")
        self.addCleanup(stream.close)
        self.assertEqual(http.get("/v1/config/app/?limit=1").status, 507)
        filler.unlink()
        events = stream.until("sync", ("progress", "stale", "fresh"))
        self.assertEqual({event["event"] for event in events[:-1]}, {"put"})
        self.assertEqual([event["revision"] for event in events[:-1]],
                         list(range(KEYS + 1, KEYS + len(events))))
        self.assertGreater(len(events), 400)


class Limited(Disk):
    def setUp(self):
        self.daemon = Daemon()
        self.addCleanup(self.daemon.close)

    def limit(self, size):
        """For the size of each file, as LimitFSIZE= of a unit or ulimit -f."""
        hard = resource.prlimit(self.daemon.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self.daemon.process.pid, resource.RLIMIT_FSIZE, (size, hard))

    def check_refused_by_size(self, client):
        """A file that was begun anew has room again: no refusal is for long until the largest is full."""
        self.assertRegex(self.write_until_refused(client), "full|degraded")
        for i in range(KEYS):
            self.assertEqual(client("GET", f"app/key{i}"), f"value{i}".encode())
        self.assertIsNone(self.daemon.process.poll())

    def test_a_limit_for_the_size_of_files_is_as_a_full_disk(self):
        self.daemon.start()
        client = self.fill_in()
        self.limit(4 << 20)
        self.check_refused_by_size(client)
        self.limit(resource.RLIM_INFINITY)
        self.check_recovered(client)

    def test_a_start_under_a_limit_for_the_size_of_files_serves_what_is_kept(self):
        self.daemon.start()
        client = self.fill_in()
        self.limit(2 << 20)
        self.check_refused_by_size(client)
        self.daemon.kill()
        wrap, self.daemon.wrap = self.daemon.wrap, ["prlimit", "--fsize=1048576:"]
        self.daemon.start()
        client = self.daemon.client()
        for i in range(KEYS):
            self.assertEqual(client("GET", f"app/key{i}"), f"value{i}".encode())
        self.daemon.wrap = wrap
        self.limit(resource.RLIM_INFINITY)
        self.check_recovered(client)

    @unittest.skipIf(os.environ.get("MP_SANITIZER") == "thread", "its runtime needs room itself")
    def test_a_start_without_any_room_tells_of_the_disk(self):
        self.daemon.start()
        self.fill_in()
        self.daemon.kill()
        wrap, self.daemon.wrap = self.daemon.wrap, ["prlimit", "--fsize=0:"]
        self.daemon.start()
        client = self.daemon.client()
        with self.assertRaisesRegex(ReplyError, "^MISCONF .*(full|degraded)"):
            client("SET", "app/key0", "new")
        self.assertEqual(client("GET", "app/key0"), b"value0")
        self.daemon.wrap = wrap
        self.limit(resource.RLIM_INFINITY)
        self.check_recovered(client)


class Deleted(Disk):
    def setUp(self):
        self.daemon = Daemon()
        self.addCleanup(self.daemon.close)
        self.daemon.start()

    def check_kept(self, *names):
        """What was written afterwards is there in the next life, without its origin."""
        client = self.daemon.client()
        for name in names:
            client("SET", f"app/{name}", f"after {name}")
        wait_until(lambda: self.is_kept() and not self.trouble(), 20, "what is written kept again")
        wait_until(lambda: any((self.daemon.data / "l3").glob("*.seg")), what="a segment")
        self.daemon.kill()
        for file in self.daemon.data.glob("origin.db*"):
            file.unlink()
        self.daemon.start()
        client = self.daemon.client()
        for name in names:
            self.assertEqual(client("GET", f"app/{name}"), f"after {name}".encode())

    def trouble(self):
        return json.loads(self.daemon.cli("status", "--json").stdout)["cache"]["l3"]["trouble"]

    def test_a_cache_whose_files_somebody_deletes_begins_others(self):
        self.fill_in()
        for file in (self.daemon.data / "l3").glob("*.seg"):
            file.unlink()
        self.check_kept("a", "b")

    def test_a_cache_whose_folder_somebody_deletes_makes_it_again(self):
        self.fill_in()
        shutil.rmtree(self.daemon.data / "l3")
        self.check_kept("a", "b")


class Flipped(Disk):
    def test_damage_that_the_scrubber_finds_is_told_of_in_the_log(self):
        self.daemon = Daemon("--set", "cache.l3_scrub_rate=1MiB", "--set", "cache.l1_size=10",
                             "--set", "cache.l2_size=0")
        self.addCleanup(self.daemon.close)
        self.daemon.start()
        client = self.fill_in()
        segment, = (self.daemon.data / "l3").glob("*.seg")
        data = segment.read_bytes()
        with open(segment, "r+b") as file:
            for i in (20, 70):
                at = data.index(f"value{i}".encode())
                file.seek(at)
                file.write(b"V")
        wait_until(lambda: "l3-damaged" in self.daemon.log_text(), what="a line of the log")
        self.assertRegex(self.daemon.log_text(), r"[12] damaged records of L3 .*look at the disk")
        self.assertRegex(self.daemon.cli("status").stdout, "ago  l3-damaged  +[12] records")
        for i in range(KEYS):
            self.assertEqual(client("GET", f"app/key{i}"), f"value{i}".encode())


class Failing(Disk):
    def setUp(self):
        self.daemon = Daemon()
        self.addCleanup(self.daemon.close)
        library = os.environ.get("MP_EIO", "")
        if not library or not pathlib.Path(library).exists():
            self.skipTest("the library that lets calls fail was not built")
        if b"__asan_init" in pathlib.Path(BINARY).read_bytes():
            self.skipTest("the sanitizer must be the first library")
        self.switch = pathlib.Path(self.daemon.folder, "fails")
        self.daemon.wrap = ["env", f"LD_PRELOAD={library}", f"MP_EIO_DIR={self.daemon.data}",
                            f"MP_EIO_SWITCH={self.switch}"]

    def test_a_failing_disk_refuses_writes_and_only_writes_until_it_is_well(self):
        self.daemon.start()
        client = self.fill_in()
        self.switch.touch()
        self.check_refused(client, "I/O|Input/output|degraded|disk")
        self.switch.unlink()
        self.check_recovered(client)

    def test_a_daemon_on_a_failing_disk_starts_and_serves(self):
        self.daemon.start()
        self.fill_in()
        self.daemon.kill()
        self.switch.touch()
        self.daemon.start()
        client = self.daemon.client()
        for i in range(KEYS):
            self.assertEqual(client("GET", f"app/key{i}"), f"value{i}".encode())
        self.switch.unlink()
        self.check_recovered(client)


if __name__ == "__main__":
    mp_tap.main()

# SPDX-License-Identifier: Apache-2.0
"""backup and restore: a copy made while the daemon writes at full rate is one moment of it, a damaged
archive changes nothing, and nothing that is there is ever written over."""

import json
import pathlib
import resource
import shutil
import subprocess
import tempfile
import threading
import unittest

import mp_tap
from mp_daemon import BINARY, Daemon, wait_until

KEYS = 97


class Writer(threading.Thread):
    """Writes 1, 2, 3, ... to its keys in turn, each after the one before was acknowledged."""

    def __init__(self, daemon, namespace="app"):
        super().__init__(daemon=True)
        self.namespace = namespace
        self.client = daemon.client()
        self.sent = self.acknowledged = 0
        self.ending = False

    def run(self):
        while not self.ending:
            self.sent += 1
            self.client("SET", f"{self.namespace}/k{self.sent % KEYS}", f"{self.sent}")
            self.acknowledged = self.sent
        self.client.close()


class Backup(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mp-backup-"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.daemon = Daemon("--set", "cache.l3_segment_bytes=64KiB")
        self.addCleanup(self.daemon.close)
        self.archive = self.folder / "archive"

    def run_verb(self, *words, **options):
        return subprocess.run([BINARY, *map(str, words)], capture_output=True, text=True,
                              timeout=120, **options)

    def backup(self):
        run = self.run_verb("backup", "--data-dir", self.daemon.data, "--out", self.archive,
                            "--json")
        self.assertEqual(run.returncode, 0, run.stderr)
        return json.loads(run.stdout)

    def filled(self):
        client = self.daemon.start().client()
        for i in range(300):
            client("SET", f"app/k{i}", f"value {i} " * 30)
        client("SET", "app/gone", "x")
        client("DEL", "app/gone")
        client.close()

    def restored(self, *words):
        other = Daemon()
        self.addCleanup(other.close)
        run = self.run_verb("restore", "--data-dir", other.data, "--from", self.archive, *words)
        return other, run

    def files(self, folder):
        return {str(file.relative_to(folder)): file.read_bytes()
                for file in sorted(folder.rglob("*")) if file.is_file()}

    def test_a_backup_under_full_writing_is_one_moment_between_start_and_end(self):
        self.daemon.start()
        writer = Writer(self.daemon)
        writer.start()
        wait_until(lambda: writer.acknowledged > 500, seconds=30, what="writes")
        least = writer.acknowledged
        self.backup()
        most = writer.sent
        wait_until(lambda: writer.acknowledged > most + 50, seconds=30, what="more writes")
        writer.ending = True
        writer.join()
        other, run = self.restored()
        self.assertEqual(run.returncode, 0, run.stderr)
        client = other.start().client()
        values = [int(client("GET", f"app/k{i}")) for i in range(KEYS)]
        moment = max(values)
        self.assertLessEqual(least, moment)
        self.assertLessEqual(moment, most)
        for i, value in enumerate(values):
            self.assertEqual(value, moment - (moment - i) % KEYS, f"of the moment {moment}")
        client("SET", "app/k0", "writable")
        client.close()

    def test_writes_on_their_way_come_along_and_none_goes_over_a_newer_one(self):
        back = ("--set", "cache.write_modes=orders=back")
        client = self.daemon.start(*back).client()
        for i in range(1000):  # so that copying takes a while
            client("SET", f"app/large{i}", f"{i}" * 8000)
        client.close()
        writer = Writer(self.daemon, "orders")
        writer.start()
        wait_until(lambda: writer.acknowledged > 500, seconds=60, what="writes")
        least = writer.acknowledged
        self.backup()
        most = writer.sent
        writer.ending = True
        writer.join()
        other, run = self.restored()
        self.assertEqual(run.returncode, 0, run.stderr)
        client = other.start(*back).client()
        names = [f"orders/k{i}" for i in range(KEYS)]
        wait_until(lambda: all(client.meta(name)["reason"] != b"pending" for name in names),
                   seconds=60, what="what was on its way")
        for i, name in enumerate(names):
            value = int(client("MP.GET", name, "LEVEL", "strong"))
            self.assertGreaterEqual(value, least - (least - i) % KEYS, name)
            self.assertLessEqual(value, most, name)
            self.assertEqual(value % KEYS, i)
        self.assertFalse((other.data / "conflicts.jsonl").exists())
        client.close()

    def test_a_restored_directory_serves_and_begins_a_new_life(self):
        self.filled()
        before = json.loads(self.daemon.cli("status", "--json").stdout)
        told = self.backup()
        self.assertGreater(told["files"], 3)
        other, run = self.restored("--json")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(json.loads(run.stdout)["files"], told["files"])
        client = other.start().client()
        for i in range(300):
            self.assertEqual(client("GET", f"app/k{i}"), f"value {i} ".encode() * 30)
        self.assertIsNone(client("GET", "app/gone"))
        status = json.loads(other.cli("status", "--json").stdout)
        self.assertEqual(status["origin"]["revision"], before["origin"]["revision"])
        self.assertNotEqual(status["origin"]["epoch"], before["origin"]["epoch"])
        self.assertGreater(status["cache"]["l3"]["entries"], 200)
        client.close()
        # also without the database the values of L3 are there
        self.assertEqual(other.stop(), 0)
        for file in other.data.glob("origin.db*"):
            file.unlink()
        client = other.start().client()
        self.assertEqual(client("GET", "app/k7"), b"value 7 " * 30)
        client.close()

    def test_any_flipped_or_missing_byte_is_refused_and_nothing_changes(self):
        self.filled()
        self.backup()
        for file in sorted(self.archive.rglob("*")):
            if not file.is_file():
                continue
            good = file.read_bytes()
            for bad in (good[:-2], good[:len(good) // 2] +
                        bytes([good[len(good) // 2] ^ 4]) + good[len(good) // 2 + 1:]):
                file.write_bytes(bad)
                other, run = self.restored()
                self.assertEqual(run.returncode, 1, f"{file}: {run.stdout}")
                self.assertRegex(run.stderr, file.name)
                self.assertFalse(other.data.exists())
            file.write_bytes(good)
        (self.archive / "manifest.json").unlink()
        _, run = self.restored()
        self.assertRegex(run.stderr, "no manifest.json")

    def test_an_archive_cannot_write_outside_of_the_directory(self):
        self.filled()
        self.backup()
        manifest = self.archive / "manifest.json"
        text = manifest.read_text()
        for name in ("../evil", "/tmp/evil", "l3/../../evil", "l3/", "..", ".hidden", "a/b"):
            manifest.write_text(text.replace('"l3/l3.id"', json.dumps(name)))
            other, run = self.restored()
            self.assertEqual(run.returncode, 1, name)
            self.assertFalse(other.data.exists())

    def test_nothing_is_written_over(self):
        self.filled()
        self.backup()
        run = self.run_verb("backup", "--data-dir", self.daemon.data, "--out", self.archive)
        self.assertEqual(run.returncode, 1)
        self.assertIn("is there already", run.stderr)
        run = self.run_verb("restore", "--data-dir", self.daemon.data, "--from", self.archive,
                            "--force")
        self.assertEqual(run.returncode, 1)
        self.assertIn("a daemon runs on", run.stderr)
        client = self.daemon.client()
        client("SET", "app/k0", "of after the backup")
        client.close()
        self.assertEqual(self.daemon.stop(), 0)
        before = self.files(self.daemon.data)
        run = self.run_verb("restore", "--data-dir", self.daemon.data, "--from", self.archive)
        self.assertEqual(run.returncode, 1)
        self.assertIn("--force", run.stderr)
        self.assertEqual(self.files(self.daemon.data), before)
        run = self.run_verb("restore", "--data-dir", self.daemon.data, "--from", self.archive,
                            "--force")
        self.assertEqual(run.returncode, 0, run.stderr)
        [aside] = self.daemon.data.glob("before-restore-*")
        before.pop("lock")
        self.assertEqual(self.files(aside), before)
        client = self.daemon.start().client()
        self.assertEqual(client("GET", "app/k0"), b"value 0 " * 30)
        client.close()

    def test_where_there_is_no_room_nothing_is_left_and_the_place_is_named(self):
        def no_room():
            resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))

        self.filled()
        run = self.run_verb("backup", "--data-dir", self.daemon.data, "--out", self.archive,
                            preexec_fn=no_room)
        self.assertEqual(run.returncode, 1, run)
        self.assertRegex(run.stderr, f"cannot be copied to {self.archive}.part/.*: (File too large|No space left)")
        self.assertEqual(list(self.folder.iterdir()), [])
        self.backup()
        data = self.folder / "data"
        run = self.run_verb("restore", "--data-dir", data, "--from", self.archive, preexec_fn=no_room)
        self.assertEqual(run.returncode, 1, run)
        self.assertRegex(run.stderr, f"cannot be copied to {data}: (File too large|No space left)")
        self.assertEqual([path.name for path in data.iterdir()], ["lock"])
        stopped = data / "restore-1234" / "l3"  # as of one that was stopped in the middle
        stopped.mkdir(parents=True)
        (stopped / "l3-0000000001.seg").touch()
        (data / "restore-1234" / "format").touch()
        run = self.run_verb("restore", "--data-dir", data, "--from", self.archive)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn(" ago, are in ", run.stdout)
        self.assertEqual(list(data.glob("*restore-*")), [])

    def test_what_is_no_data_directory_is_said(self):
        for arguments, says in ((("--data-dir", self.folder / "none"), "there is no data directory"),
                                (("--data-dir", self.folder), "is no data directory of marketprism")):
            run = self.run_verb("backup", *arguments, "--out", self.folder / "out")
            self.assertEqual(run.returncode, 1)
            self.assertIn(says, run.stderr)
            self.assertEqual(list(self.folder.glob("out*")), [])
        run = self.run_verb("backup")
        self.assertEqual(run.returncode, 2)


if __name__ == "__main__":
    mp_tap.main()

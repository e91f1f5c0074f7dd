# SPDX-License-Identifier: Apache-2.0
"""marketprism doctor finds what was broken on purpose, says what to do, and changes nothing."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import unittest

import mp_tap
from mp_daemon import BINARY, Daemon, wait_until


class Doctor(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon()
        self.addCleanup(self.daemon.close)

    def fill(self, count=50):
        client = self.daemon.client()
        for i in range(count):
            client("SET", f"app/key{i}", f"value{i}" * 100)
        client.close()

    def doctor(self, *options, data_dir=True, code=None):
        words = [BINARY, "doctor", "--json", "--set", "http.listen=127.0.0.1:0", *options]
        if not any(option.startswith("resp.listen") for option in options) \
                and "--resp" not in options:
            words += ["--set", "resp.listen=127.0.0.1:1"]  # nobody is there
        if data_dir:
            words += ["--data-dir", str(self.daemon.data)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        if code is not None:
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["well"], done.returncode == 0)
        for finding in report["findings"]:  # whatever is wrong comes with what to do
            self.assertEqual(finding["severity"] != "ok", bool(finding["remedy"]), finding)
        return report

    def one(self, report, check, severity, part):
        found = [f for f in report["findings"]
                 if (f["check"], f["severity"]) == (check, severity) and part in f["what"]]
        self.assertTrue(found, f"no {severity} of {check} with {part!r}: {report['findings']}")
        return found[0]

    def test_all_is_well_with_a_daemon_and_without(self):
        self.daemon.start()
        self.fill()
        report = self.doctor("--resp", self.daemon.resp, data_dir=False, code=0)
        self.assertEqual(report["data_dir"], str(self.daemon.data))  # the daemon said so
        self.one(report, "daemon", "ok", "version")
        self.one(report, "data-dir", "ok", "in use by process")
        self.one(report, "ports", "ok", "the system chooses")
        self.assertEqual(self.daemon.stop(), 0)
        before = sorted(p.name for p in self.daemon.data.iterdir())
        report = self.doctor(code=0)
        self.one(report, "daemon", "ok", "none answers")
        self.one(report, "origin", "ok", "hold their checksum")
        self.one(report, "damage", "ok", "records")
        self.one(report, "disk", "ok", "synced write")
        self.assertEqual(sorted(p.name for p in self.daemon.data.iterdir()), before)

    def test_a_folder_is_the_daemons_by_whatever_name(self):
        self.daemon.start()
        link = pathlib.Path(self.daemon.folder, "link")
        link.symlink_to(self.daemon.data)
        for name in (str(link), os.path.relpath(self.daemon.data), str(self.daemon.data) + "/"):
            report = self.doctor("--resp", self.daemon.resp, "--data-dir", name, data_dir=False)
            self.one(report, "data-dir", "ok", "in use by process")
            self.assertFalse([f for f in report["findings"] if f["check"] == "daemon" and f["severity"] != "ok"])
        self.daemon.stop()

    def test_who_runs_it_is_told_as_he_is(self):
        who = [self.one(self.doctor(), "service", "ok", "no daemon runs on it")["what"]]
        if os.geteuid() == 0:
            self.assertIn("root", who[0])
            with tempfile.TemporaryDirectory() as folder:
                os.chmod(folder, 0o755)
                binary = shutil.copy(BINARY, folder)
                done = subprocess.run([binary, "doctor", "--json", "--data-dir", "/nobodys/data"], user=65534,
                                      capture_output=True, text=True, timeout=60, check=False)
                who = [f["what"] for f in json.loads(done.stdout)["findings"] if f["check"] == "service"]
        self.assertNotIn("root", who[0])

    def test_a_database_just_begun_is_no_trouble(self):
        self.daemon.start()
        self.doctor("--resp", self.daemon.resp, code=0)
        self.daemon.kill()
        self.doctor(code=0)

    def test_a_missing_database_is_told_with_both_ways_out(self):
        self.daemon.start()
        self.fill()
        self.daemon.kill()
        for file in self.daemon.data.glob("origin.db*"):
            file.unlink()
        finding = self.one(self.doctor(code=1), "origin", "trouble", "is gone")
        self.assertIn("--new-origin", finding["remedy"])
        self.assertIn("put it back", finding["remedy"])
        self.daemon.start()
        report = self.doctor("--resp", self.daemon.resp, code=1)
        self.one(report, "daemon", "trouble", "lost")

    def test_a_damaged_database_and_a_foreign_one_are_told_apart(self):
        self.daemon.start()
        self.fill(400)
        self.assertEqual(self.daemon.stop(), 0)
        database = self.daemon.data / "origin.db"
        whole = database.read_bytes()
        broken = bytearray(whole)
        broken[4096 * 3 + 100] ^= 0x40
        database.write_bytes(broken)
        finding = self.one(self.doctor(code=1), "origin", "trouble", "page 4")
        self.assertIn("start the daemon", finding["remedy"])
        database.write_bytes(b"not a database" * 1000)
        self.one(self.doctor(code=1), "origin", "trouble", "no database of marketprism")
        newer = bytearray(whole)
        newer[60:64] = (99).to_bytes(4, "big")
        database.write_bytes(newer)
        self.one(self.doctor(code=1), "versions", "trouble", "format 99")

    def test_a_database_elsewhere_that_only_the_daemon_knows_of_is_no_trouble(self):
        elsewhere = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, elsewhere)
        place = f"origin.path={elsewhere / 'o.db'}"
        self.daemon.options += ["--set", place]
        self.daemon.start()
        self.fill()
        report = self.doctor("--resp", self.daemon.resp, code=0)
        finding = self.one(report, "origin", "warning", "is not looked at")
        self.assertIn("--config", finding["remedy"])
        report = self.doctor("--resp", self.daemon.resp, "--set", place, code=0)
        self.one(report, "origin", "ok", "hold their checksum")

    def test_a_database_that_was_cut_is_told_though_all_pages_that_are_left_hold(self):
        self.daemon.start()
        self.fill(400)
        self.assertEqual(self.daemon.stop(), 0)
        self.doctor(code=0)
        database = self.daemon.data / "origin.db"
        pages = database.stat().st_size // 4096
        os.truncate(database, pages // 2 * 4096)
        finding = self.one(self.doctor(code=1), "origin", "trouble",
                           f"was cut: {pages - pages // 2} pages are missing")
        self.assertIn("restore", finding["remedy"])

    def test_journals_that_cannot_be_gone_on_with_are_told(self):
        self.daemon.start()
        self.fill()
        self.assertEqual(self.daemon.stop(), 0)
        (self.daemon.data / "origin.journal").write_bytes(b"no journal" * 1000)
        finding = self.one(self.doctor(code=0), "origin", "warning", "journal beside")
        self.assertIn("start the daemon", finding["remedy"])
        (self.daemon.data / "write-back.log").write_bytes(b"no journal" * 1000)
        finding = self.one(self.doctor(code=1), "damage", "trouble", "write-back.log is no journal")
        self.assertIn("does not start", finding["remedy"])

    def test_a_damaged_segment_is_named(self):
        self.daemon.start()
        self.fill()
        self.assertEqual(self.daemon.stop(), 0)
        segment = sorted((self.daemon.data / "l3").glob("l3-*.seg"))[0]
        data = bytearray(segment.read_bytes())
        data[1000] ^= 1
        segment.write_bytes(data)
        finding = self.one(self.doctor(code=1), "damage", "trouble", segment.name)
        self.assertIn("smartctl", finding["remedy"])
        segment.rename(segment.with_name(segment.name + ".bad"))
        self.one(self.doctor(code=0), "damage", "warning", "set aside")

    def left_segment(self):
        """The newest segment of a daemon that was killed, which is not sealed, and its bytes up to the
        end of the last value."""
        self.daemon.start()
        self.fill()
        folder = self.daemon.data / "l3"
        wait_until(lambda: any(b"app/key49value" in path.read_bytes() for path in folder.glob("l3-*.seg")))
        self.daemon.kill()
        segment = sorted(folder.glob("l3-*.seg"))[-1]
        data = segment.read_bytes()
        last = data.rindex(b"app/key49value")
        return segment, data[:data.rindex(b"MPCR", 0, last) + int.from_bytes(data[last - 107:last - 103], "little")]

    def test_a_torn_tail_is_told_as_one_with_what_goes_and_what_stays(self):
        segment, whole = self.left_segment()
        kept = int(self.one(self.doctor(code=0), "damage", "ok", " records in ")["what"].split()[0])
        last = whole.rindex(b"MPCR")
        for end in (last + 1, last + 95, last + 101, len(whole) - 1):
            segment.write_bytes(whole[:end])
            report = self.doctor(code=0)
            self.one(report, "damage", "ok", f"{segment.name} ends within a record, as a crash leaves it: "
                                             f"its last {end - last} bytes are cut off at the next start, "
                                             f"its {kept - 1} records stay")
            self.assertFalse([f for f in report["findings"]
                              if f["check"] == "damage" and f["severity"] != "ok"])

    def test_a_tail_that_was_not_merely_cut_is_a_warning(self):
        segment, whole = self.left_segment()
        last = whole.rindex(b"MPCR")
        flipped = bytearray(whole)
        flipped[-9] ^= 1
        for data in (flipped, whole[:last] + bytes(4096), whole[:last] + b"garbage" * 99):
            segment.write_bytes(data)
            finding = self.one(self.doctor(code=0), "damage", "warning",
                               f"the last {len(data) - last} bytes of {segment.name} are no whole record")
            self.assertIn("power", finding["remedy"])
            self.assertIn("smartctl", finding["remedy"])

    def test_damage_before_the_last_record_of_a_segment_that_was_not_sealed_is_told(self):
        segment, whole = self.left_segment()
        for place in (whole.index(b"value7") + 3, whole.index(b"MPCR") + 40):
            data = bytearray(whole)
            data[place] ^= 1
            segment.write_bytes(data)
            self.one(self.doctor(code=1), "damage", "trouble", segment.name)

    def test_a_segment_without_a_whole_head_is_a_warning(self):
        segment, whole = self.left_segment()
        segment.write_bytes(whole[:100])
        self.one(self.doctor(code=0), "damage", "warning", f"{segment.name} is shorter than its head")

    def sealed_segment(self):
        """The oldest of several, and whole."""
        self.daemon.options += ["--set", "cache.l3_size_mb=8"]
        self.daemon.start()
        client = self.daemon.client()
        for i in range(60):
            client("SET", f"app/key{i}", os.urandom(50000).hex())
        client.close()
        folder = self.daemon.data / "l3"
        wait_until(lambda: len(list(folder.glob("l3-*.seg"))) > 1)
        self.assertEqual(self.daemon.stop(), 0)
        return sorted(folder.glob("l3-*.seg"))[0]

    def test_a_damaged_last_record_of_a_sealed_segment_is_told(self):
        segment = self.sealed_segment()
        data = bytearray(segment.read_bytes())
        data[data.rindex(b"production/app/key") + 100] ^= 1
        segment.write_bytes(data)
        self.one(self.doctor(code=1), "damage", "trouble", segment.name)

    def test_a_segment_that_is_cut_and_is_not_the_newest_is_a_warning(self):
        segment = self.sealed_segment()
        data = segment.read_bytes()
        segment.write_bytes(data[:data.rindex(b"production/app/key") + 100])
        finding = self.one(self.doctor(code=0), "damage", "warning", f"of {segment.name} are no whole record")
        self.assertIn("smartctl", finding["remedy"])

    def test_a_damaged_file_format_is_told(self):
        self.daemon.start()
        self.assertEqual(self.daemon.stop(), 0)
        for text in (b"garbage\n", b"", b"3\n", b"x" * 5000):
            (self.daemon.data / "format").write_bytes(text)
            report = self.doctor(code=0)
            finding = self.one(report, "versions", "warning", f"{self.daemon.data}/format is damaged")
            self.assertIn("written anew at the next start", finding["remedy"])
            self.assertFalse([f for f in report["findings"] if (f["check"], f["severity"]) == ("versions", "ok")])
        (self.daemon.data / "format").write_bytes(b"7\n")
        self.one(self.doctor(code=1), "versions", "trouble", "format 7")

    def test_a_file_in_the_place_of_the_caches_folder_is_to_be_moved_away(self):
        self.daemon.data.mkdir(mode=0o700)
        (self.daemon.data / "l3").write_text("")
        report = self.doctor(code=1)
        finding = self.one(report, "damage", "trouble", f"{self.daemon.data}/l3 is a file")
        self.assertIn("move it away", finding["remedy"])
        self.daemon.start()
        client = self.daemon.client()
        client("SET", "app/key", "value")
        client.close()
        (self.daemon.data / "l3").unlink()
        wait_until(lambda: list((self.daemon.data / "l3").glob("l3-*.seg")), 30)
        self.assertFalse([f for f in report["findings"] if "chmod" in f["remedy"] and "l3" in f["what"]])

    def test_a_taken_port_is_told_with_its_holder(self):
        self.daemon.data.mkdir()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            report = self.doctor("--set", f"http.listen={address}", code=1)
            finding = self.one(report, "ports", "trouble", f"{address} is held by")
            self.assertIn(str(os.getpid()), finding["what"])
            self.assertIn("another port", finding["remedy"])

    def test_the_daemon_of_the_environment_is_asked_unless_a_configuration_says_another(self):
        self.daemon.start()
        there = {**os.environ, "MARKETPRISM_ADDR": self.daemon.resp}
        plain = subprocess.run([BINARY, "doctor", "--json"], capture_output=True, text=True, env=there)
        report = json.loads(plain.stdout)
        self.one(report, "daemon", "ok", f"answers at {self.daemon.resp}")
        self.assertEqual(report["data_dir"], str(self.daemon.data))
        report = self.doctor("--set", "resp.listen=127.0.0.1:1", data_dir=True)
        self.one(report, "daemon", "ok", "none answers")

    def test_what_is_no_daemon_at_the_port_is_told(self):
        self.daemon.data.mkdir()
        for answer, what in ((b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "does not speak RESP"),
                             (b"-ERR unknown command 'MP.STATUS'\r\n", "it says 'ERR unknown command")):
            with socket.create_server(("127.0.0.1", 0)) as taken:
                def serve():
                    client = taken.accept()[0]
                    client.recv(1000)
                    client.sendall(answer)
                    client.close()

                server = threading.Thread(target=serve)
                server.start()
                address = "127.0.0.1:%d" % taken.getsockname()[1]
                report = self.doctor("--set", f"resp.listen={address}", code=1)
                server.join()
                finding = self.one(report, "daemon", "ok", f"what listens at {address} is no daemon")
                self.assertIn(what, finding["what"])
                self.one(report, "ports", "trouble", f"{address} is held by")

    def test_a_port_that_another_daemon_of_ours_holds_is_told_with_its_folder(self):
        self.daemon.start()
        other = pathlib.Path(self.daemon.folder, "other")
        report = self.doctor("--data-dir", str(other), "--set", f"resp.listen={self.daemon.resp}",
                             "--set", f"http.listen={self.daemon.http}", data_dir=False, code=1)
        told = [f for f in report["findings"] if f["check"] == "ports"]
        self.assertEqual(len(told), 2)
        for finding in told:
            self.assertIn(f"({self.daemon.process.pid}), the daemon that runs on {self.daemon.data}", finding["what"])
            self.assertIn("give this one another port", finding["remedy"])

    def test_permissions_that_are_too_wide_or_too_narrow_are_told(self):
        self.daemon.data.mkdir(mode=0o700)
        self.daemon.data.chmod(0o755)
        self.one(self.doctor(code=0), "data-dir", "warning", "read by others")
        self.daemon.data.chmod(0o777)
        self.one(self.doctor(code=1), "data-dir", "trouble", "written by others")
        self.daemon.data.chmod(0o700)
        config = pathlib.Path(self.daemon.folder, "mp.yaml")
        config.write_text("cache:\n  l1_size: 10\n")
        config.chmod(0o666)
        self.one(self.doctor("--config", str(config), code=1), "config", "trouble", "by everybody")

    def test_keys_that_others_may_read_are_told_with_the_remedy_and_in_the_log(self):
        keys = pathlib.Path(self.daemon.folder, "keys")
        keys.write_text("11" * 32 + "\n")
        options = ["--set", f"cache.l3_key_file={keys}"]
        self.daemon.options += options
        for mode in (0o640, 0o604, 0o644):
            keys.chmod(mode)
            finding = self.one(self.doctor(*options, code=0), "config", "warning",
                               f"cache.l3_key_file: {keys} is open to others (mode {mode:04o})")
            self.assertIn("chmod 600", finding["remedy"])
        self.daemon.start()
        said, = [line for line in map(json.loads, self.daemon.log_text().splitlines()) if line["event"] == "keys-open"]
        self.assertEqual(said["level"], "warn")
        self.assertIn(f"{keys} is open to others (mode 0644)", said["message"])
        self.assertIn("chmod 600", said["message"])
        keys.chmod(0o600)
        self.daemon.stop()
        self.daemon.start()
        self.assertEqual(self.daemon.log_text().count("keys-open"), 1)
        self.assertFalse([f for f in self.doctor(*options)["findings"] if "l3_key_file" in f["what"]])

    def test_what_holds_values_is_made_for_our_user_alone_and_wider_modes_are_told(self):
        before = os.umask(0o022)
        self.addCleanup(os.umask, before)
        self.daemon.start()
        self.daemon.client()("SET", "a", "1")
        for path in [self.daemon.data, *self.daemon.data.rglob("*")]:
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)
        self.assertTrue((self.daemon.data / "origin.db-wal").exists())
        self.assertFalse([f for f in self.doctor()["findings"] if "open to others" in f["what"]])
        (self.daemon.data / "origin.db").chmod(0o644)
        finding = self.one(self.doctor(), "data-dir", "warning", "origin.db is open to others (mode 0644)")
        self.assertIn("chmod 600", finding["remedy"])

    def test_a_folder_that_is_read_only_is_told(self):
        self.daemon.data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            done = subprocess.run(["unshare", "--mount", "sh", "-c",
                                   f'mount --bind "{self.daemon.data}" "{self.daemon.data}" && '
                                   f'mount -o remount,ro,bind "{self.daemon.data}" && exec '
                                   f'"{BINARY}" doctor --json --set resp.listen=127.0.0.1:1 '
                                   f'--set http.listen=127.0.0.1:0 --data-dir "{self.daemon.data}"'],
                                  capture_output=True, text=True, timeout=60)
            if not done.stdout:
                self.skipTest("nothing can be mounted here")
            report = json.loads(done.stdout)
            self.assertEqual(done.returncode, 1)
            self.assertIn("mount", self.one(report, "data-dir", "trouble", "read-only")["remedy"])
        else:
            self.daemon.data.chmod(0o500)
            self.addCleanup(self.daemon.data.chmod, 0o700)
            self.one(self.doctor(code=1), "data-dir", "trouble", "cannot be read and written")

    def test_a_wrong_configuration_is_told_with_its_place_and_the_rest_goes_on(self):
        config = pathlib.Path(self.daemon.folder, "mp.yaml")
        config.write_text("cache:\n  l1_sise: 10\n")
        report = self.doctor("--config", str(config), code=1)
        self.one(report, "config", "trouble", "mp.yaml:2:3")
        self.one(report, "clock", report["findings"][[f["check"] for f in report["findings"]]
                                                     .index("clock")]["severity"], "")

    def test_files_that_do_not_parse_are_told_also_without_a_daemon(self):
        folder = pathlib.Path(self.daemon.folder, "conf", "production")
        folder.mkdir(parents=True)
        (folder / "good.yaml").write_text("a: 1\n")
        options = ["--set", "origin.type=file", "--set", f"origin.path={folder.parent}"]
        self.one(self.doctor(*options, code=0), "origin", "ok", "1 files")
        (folder / "bad.json").write_text('{"a": 1,\n "b": }')
        self.one(self.doctor(*options, code=1), "origin", "trouble", "bad.json:2:")
        self.one(self.doctor("--set", "origin.type=file", code=1), "origin", "trouble",
                 "origin.path is empty")
        self.one(self.doctor("--set", "origin.type=file", "--set", "origin.path=/nowhere", code=1),
                 "origin", "trouble", "/nowhere")

    def test_a_file_that_breaks_its_schema_is_told_with_its_place_and_the_remedy(self):
        folder = pathlib.Path(self.daemon.folder, "conf", "production")
        folder.mkdir(parents=True)
        (folder / "_schema.json").write_text(json.dumps({"app": '{"properties": {"limit": {"maximum": 5}}}'}))
        (folder / "app.yaml").write_text("name: a\nlimit: 3\n")
        options = ("--set", "origin.type=file", "--set", f"origin.path={folder.parent}")
        daemon = Daemon("--set", "origin.type=file", "--set", f"origin.path={folder.parent}", "--set", "origin.settle=1ms").start()
        self.addCleanup(daemon.close)
        (folder / "app.yaml").write_text("name: a\nlimit: 9\n")
        wait_until(lambda: "breaks the schema" in json.loads(daemon.cli("status", "--json").stdout)["trouble"])
        done = subprocess.run([BINARY, "doctor", "--json", "--data-dir", str(daemon.data), "--resp", daemon.resp, *options],
                              capture_output=True, text=True, check=False)
        finding = self.one(json.loads(done.stdout), "origin", "trouble", "production/app.yaml:2:8: the key 'limit' breaks the schema 'app'")
        self.assertIn("mend the file", finding["remedy"])
        self.assertIn("2 keys of its last good version are served", finding["remedy"])

    def test_files_are_judged_by_their_schemas_also_without_a_daemon(self):
        folder = pathlib.Path(self.daemon.folder, "conf")
        options = ("--set", "origin.type=file", "--set", f"origin.path={folder}")
        for name, text in {
                "base/_schema.yaml": 'app: \'{"required": ["name"], "properties": {"limit": {"maximum": 5}}}\'\n',
                "base/app.yaml": "name: a\n", "production/app.yaml": "on: true\nlimit: 3\n",
                "staging/other.yaml": "limit: 9\n"}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        self.one(self.doctor(*options, code=0), "origin", "ok", "4 files")
        (folder / "production/app.yaml").write_text("on: true\nlimit: 9\n")
        found = self.one(self.doctor(*options, code=1), "origin", "trouble",
                         "production/app.yaml:2:8: the key 'limit' breaks the schema 'app'")
        self.assertIn("its schema", found["remedy"])
        # what fits is said of nothing else
        self.assertEqual(sum("breaks" in f["what"] for f in self.doctor(*options, code=1)["findings"]), 1)
        (folder / "production/app.yaml").write_text("limit: 3\n")
        (folder / "base/app.yaml").write_text("other: a\n")  # no key of its own is missing there
        found = [f["what"] for f in self.doctor(*options, code=1)["findings"] if "'name' is missing" in f["what"]]
        self.assertEqual(sorted(w.split("/conf/")[1].split(":")[0] for w in found), ["base/app.yaml", "production/app.yaml"])
        (folder / "base/app.yaml").write_text("name: a\n")
        (folder / "base/_schema.yaml").write_text("app: '{\"type\": 7}'\n")
        self.one(self.doctor(*options, code=1), "origin", "trouble", "base/_schema.yaml:1:6: the key 'app' is no schema")
        # where the base is not looked at, neither are its schemas
        self.one(self.doctor(*options, "--set", "overlay.base=", code=1), "origin", "trouble", "_schema.yaml:1:6")

    def test_people_get_a_line_each_and_the_remedy_below(self):
        self.daemon.data.mkdir()
        self.daemon.data.chmod(0o777)
        done = subprocess.run([BINARY, "doctor", "--data-dir", str(self.daemon.data), "--set",
                               "resp.listen=127.0.0.1:1", "--set", "http.listen=127.0.0.1:0"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        lines = done.stdout.splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith("trouble  data-dir"))
        self.assertIn("-> chmod 700", lines[at + 1])
        self.assertRegex(lines[-1], r"^1 trouble, \d+ warnings?$")


if __name__ == "__main__":
    mp_tap.main()

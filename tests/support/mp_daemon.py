# SPDX-License-Identifier: Apache-2.0
"""A daemon under test, and a small strict RESP2 client. BINARY names the program."""

import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

BINARY = os.environ.get("BINARY", "build/marketprism")


class ReplyError(Exception):
    pass


class Resp:
    def __init__(self, address, timeout=10):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout)
        self.file = self.socket.makefile("rb", 65536)

    def close(self):
        self.file.close()
        self.socket.close()

    @staticmethod
    def encode(*words):
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            data = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        return b"".join(parts)

    def send(self, *words):
        self.socket.sendall(self.encode(*words))

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError(f"closed or broken: {line!r}")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise ReplyError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None
            data = self.file.read(size + 2)
            if len(data) != size + 2 or not data.endswith(b"\r\n"):
                raise ConnectionError("a short bulk string")
            return data[:-2]
        if kind == b"*":
            return None if int(rest) < 0 else [self.read() for _ in range(int(rest))]
        raise ConnectionError(f"an unknown reply: {line!r}")

    def __call__(self, *words):
        self.send(*words)
        return self.read()

    def meta(self, key, *options):
        reply = self("MP.GET", key, "META", *options)
        return dict(zip((name.decode() for name in reply[::2]), reply[1::2]))


class Daemon:
    """A data directory and the daemon on it, which can be killed and started again."""

    def __init__(self, *options, wrap=()):
        self.folder = tempfile.mkdtemp(prefix="mp-e2e-")
        self.data = pathlib.Path(self.folder, "data")
        self.options = list(options)
        self.wrap = list(wrap)
        self.process = None

    def start(self, *more, timeout=20):
        self.log = open(pathlib.Path(self.folder, "log"), "ab")
        self.process = subprocess.Popen(
            self.wrap + [BINARY, "serve", "--data-dir", str(self.data), "--resp", "127.0.0.1:0",
                         "--http", "127.0.0.1:0", "--set", "origin.probe_interval=100ms"]
            + self.options + list(more),
            stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + timeout
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(max(0.1, end - time.monotonic()))
            raise RuntimeError("did not start: " + self.log_text())
        self.ready = json.loads(line)
        self.resp, self.http = self.ready["resp"], self.ready["http"]
        return self

    def client(self):
        return Resp(self.resp)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process:
            self.process.stdout.close()
            self.log.close()
        self.process = None

    def stop(self):
        self.process.terminate()
        code = self.process.wait(20)
        self.process.stdout.close()
        self.log.close()
        self.process = None
        return code

    def close(self):
        """The end of a test: the daemon ends as it should, so that leaks and coverage are seen."""
        code = 0
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                code = self.process.wait(20)
            except subprocess.TimeoutExpired:
                code = "no end within 20 s"
        log = self.log_text() if code else ""
        self.kill()
        if "MP_KEEP" not in os.environ:  # to look at what a failed test left
            shutil.rmtree(self.folder, ignore_errors=True)
        if code:
            raise AssertionError(f"the daemon's end: {code}\n{log[-4000:]}")

    def hang_on(self, lock):
        """From its start on, its calls for its origin hang while somebody holds @lock."""
        preload = os.environ.get("MP_EIO", "")
        if not pathlib.Path(preload).is_file():
            raise unittest.SkipTest("mp_eio.so, which lets calls hang, was not built")
        if b"__asan_init" in pathlib.Path(BINARY).read_bytes():
            raise unittest.SkipTest("the sanitizer must be loaded first")
        self.wrap = ["env", f"LD_PRELOAD={preload}", f"MP_HANG_PATH={self.data}/origin.db",
                     f"MP_HANG_LOCK={lock.name}"]

    def log_text(self):
        return pathlib.Path(self.folder, "log").read_text(errors="replace")

    def cli(self, *words, text=None, check=False):
        return subprocess.run([BINARY, *words, "--resp", self.resp], capture_output=True, text=True,
                              input=text, check=check, timeout=60)

    def status_kb(self, name):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
        return 0

    def rss_kb(self):
        return self.status_kb("VmRSS")

    def peak_from_here(self):
        """Let peak_kb() begin with what it has now."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak_kb(self):
        return self.status_kb("VmHWM")

    def cpu_of(self, name):
        """Seconds that its thread @name has taken of the cores; 0: there is none."""
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            if (task / "comm").read_text().strip() == name:
                fields = (task / "stat").read_text().rsplit(") ", 1)[1].split()
                return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
        return 0

    def cpu_s(self):
        """What it took of the cores since it began: what else the machine does is not counted."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def cpu_of_children():
    """Seconds that processes of ours have taken of the cores which have ended, and theirs."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def wait_until(condition, seconds=10, what="the condition"):
    """Wait for an event, looked for each 10 ms; no test sleeps for a time it hopes to be enough."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come within {seconds} s")


class Served(unittest.TestCase):
    """Tests of one daemon, which all of them share."""

    options = ()  # of serve

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(*cls.options).start()
        cls.addClassCleanup(cls.daemon.close)


class Spoken(Served):
    """And one client of RESP, `c`, which they share, too."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.c = cls.daemon.client()
        cls.addClassCleanup(cls.c.close)

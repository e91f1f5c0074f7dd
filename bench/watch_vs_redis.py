#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From a write's reply, and from its request, until 1,000 watchers have read of it, and until it is in
their sockets, against redis-server's publish to as many subscribers in the same run; and the memory of
watchers that wait and do nothing.

    watch_vs_redis.py [--rounds N] [--writes N] [--watchers N] [--idle N]

A redis PUBLISH makes nothing durable and keeps no value, so the reference is what telling 1,000
sockets costs on this machine, not what a store costs. Ours and the reference take turns, A B A B.
BINARY names the daemon, WATCH_LOAD the generator (bench/watch_load.c)."""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

from resp_vs_redis import free_port, wait_for

ROOT = pathlib.Path(__file__).parents[1]
BINARY = os.environ.get("BINARY", ROOT / "build/marketprism")
LOAD = os.environ.get("WATCH_LOAD", ROOT / "build/bench/watch_load")


def load(*words):
    run = subprocess.run([LOAD, *map(str, words)], capture_output=True, text=True)
    if run.returncode:
        sys.exit(run.stderr)
    return json.loads(run.stdout)


class Ours(contextlib.AbstractContextManager):
    """A daemon that ends with the block, also where the load fails."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [BINARY, "serve", "--data-dir", folder / "data", "--resp", "127.0.0.1:0", "--http",
             "127.0.0.1:0", "--set", "http.max_clients=20000", "--set", "resp.max_clients=20000"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        ready = json.loads(self.process.stdout.readline())
        self.where = ["--resp", ready["resp"], "--http", ready["http"], "--pid", self.process.pid]

    def __exit__(self, *_):
        end(self.process)


def end(process):
    process.terminate()
    process.wait(30)


def turns(a, folder, mixed):
    """What each round says of ours and of the reference, if there is one."""
    rounds = {"ours": [], "redis": []}
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(Ours(folder))
        redis = None
        if shutil.which("redis-server"):
            port = free_port()
            redis = subprocess.Popen(["redis-server", "--port", str(port), "--save", "",
                                      "--dir", folder], stdout=subprocess.DEVNULL)
            stack.callback(end, redis)
            wait_for(port, redis)
        for _ in range(a.rounds):
            rounds["ours"].append(load(*ours.where, *mixed, "--writes", a.writes))
            if redis:
                rounds["redis"].append(load("--resp", f"127.0.0.1:{port}", "--pid", redis.pid,
                                            "--publish", "--watch", a.watchers, "--writes", a.writes))
    return rounds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--writes", type=int, default=200)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--idle", type=int, default=10000)
    a = parser.parse_args()
    third = a.watchers // 3
    mixed = ["--sse", a.watchers - 2 * third, "--poll", third, "--watch", third]
    with tempfile.TemporaryDirectory(prefix="mp-bench-") as folder:
        folder = pathlib.Path(folder)
        rounds = turns(a, folder, mixed)
        result = {"watchers": a.watchers, "rounds": a.rounds, "load": os.getloadavg()[0]}
        for name, runs in rounds.items():
            if runs:
                result[name] = {figure: round(statistics.median(r[figure] for r in runs), 3)
                                for figure in ("p50_ms", "p99_ms", "max_ms", "asked_p50_ms", "asked_p99_ms",
                                               "socket_p50_ms", "socket_p99_ms",
                                               "socket_after_reply_p50_ms", "socket_after_reply_p99_ms", "cpu_us_a_delivery")}
        for kind in ("sse", "poll", "watch"):  # a daemon of its own each: no memory is used again
            with Ours(folder / kind) as ours:
                idle = load(*ours.where, "--" + kind, a.idle, "--writes", 0)
            result["idle_" + kind + "_kb"] = idle["kb_a_watcher"]
    print(json.dumps(result))


if __name__ == "__main__":
    main()

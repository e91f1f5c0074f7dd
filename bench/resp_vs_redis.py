#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Server CPU a request against redis-server, both in the same run.

Both servers stand on loopback, pinned to core 0; the generator (bench/resp_load.c) is pinned to core
1 and asks them in turns, A B A B. One JSON object a case; exit 1 where a bar is missed.

    resp_vs_redis.py [--rounds N] [--seconds S] [--case NAME] [--no-bars]

BINARY names the daemon (default build/marketprism), RESP_LOAD the generator."""

import argparse
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]

# name: keys, depth (of mget: keys of one request), connections, command, (figure, bar, "at most" or "at least")
CASES = {
    "get-plain": (1000, 1, 16, "get", ("cpu_ratio", 1.0, "most")),
    "get-16-1k": (1000, 16, 16, "get", ("cpu_ratio", 0.65, "most")),
    "get-16-100k": (100000, 16, 16, "get", ("cpu_ratio", 0.45, "most")),
    "mget-100": (1000, 100, 16, "mget", None),
    "set-durable": (1000, 1, 50, "set", ("rate_ratio", 0.7, "least")),
    "set-durable-16": (1000, 16, 16, "set", None),
}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pinned(core, command):
    return ["taskset", "-c", str(core), *command] if os.cpu_count() > 1 else command


def wait_for(port, process):
    """Until the server answers: this is a bench, not a test, so it may look now and then."""
    for _ in range(400):
        if process.poll() is not None:
            sys.exit("resp_vs_redis: a server ended at start")
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as s:
                s.sendall(b"PING\r\n")
                if s.recv(16).startswith(b"+PONG"):
                    return
        except OSError:
            pass
        time.sleep(0.02)
    sys.exit("resp_vs_redis: a server did not answer")


def start_both(binary, redis, folder, ports, durable):
    ours = subprocess.Popen(pinned(0, [
        binary, "serve", "--data-dir", f"{folder}/marketprism", "--resp", f"127.0.0.1:{ports[0]}",
        "--http", "127.0.0.1:0", "--log-level", "warn", "--set", "server.workers=1",
        "--set", "cache.l1_size=200000", "--set", "cache.l1_bytes=256MiB"]),
        stdout=subprocess.DEVNULL)
    theirs = subprocess.Popen(pinned(0, [
        redis, "--port", str(ports[1]), "--bind", "127.0.0.1", "--save", "", "--dir", folder,
        "--appendonly", "yes" if durable else "no", "--appendfsync", "always"]),
        stdout=subprocess.DEVNULL)
    return ours, theirs


def measure(binary, redis, case, args):
    keys, depth, connections, command, bar = CASES[case]
    ports = free_port(), free_port()
    folder = tempfile.mkdtemp(prefix="marketprism-bench-")
    servers = start_both(binary, redis, folder, ports, command == "set")
    try:
        for port, server in zip(ports, servers):
            wait_for(port, server)
        load = os.environ.get("RESP_LOAD", str(ROOT / "build/bench/resp_load"))
        out = subprocess.check_output(pinned(1, [
            load, "--target", f"marketprism=127.0.0.1:{ports[0]},{servers[0].pid}",
            "--target", f"redis=127.0.0.1:{ports[1]},{servers[1].pid}", "--keys", str(keys),
            "--depth", str(depth), "--connections", str(connections), "--command", command,
            "--rounds", str(args.rounds), "--seconds", str(args.seconds)]))
    finally:
        for server in servers:
            server.terminate()
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)
    result = {"case": case, **json.loads(out)}
    ours, theirs = result["targets"]
    result["cpu_ratio"] = result.pop("ratio")
    result["rate_ratio"] = round(ours["requests_per_s"] / theirs["requests_per_s"], 4)
    if bar:
        figure, limit, side = bar
        result["bar"] = f"{figure} at {side} {limit}"
        result["met"] = result[figure] <= limit if side == "most" else result[figure] >= limit
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--no-bars", action="store_true", help="report only")
    args = parser.parse_args()
    redis = shutil.which("redis-server")
    if not redis:
        print("resp_vs_redis: redis-server is not installed (package redis-server): no reference, "
              "no figure", file=sys.stderr)
        return 0
    binary = os.environ.get("BINARY", str(ROOT / "build/marketprism"))
    missed = 0
    for case in [args.case] if args.case else CASES:
        result = measure(binary, redis, case, args)
        print(json.dumps(result), flush=True)
        missed += not result.get("met", True)
    return 1 if missed and not args.no_bars else 0


if __name__ == "__main__":
    sys.exit(main())

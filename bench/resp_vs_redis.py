#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Server CPU a request, against redis-server in the same run.

Both servers run at once on loopback, pinned to core 0, the generator to core 1; runs go A B A B, the
ratio is of the medians. usage: resp_vs_redis.py MARKETPRISM RESP_LOAD [--runs N] [--seconds S]"""
import argparse, json, os, shutil, socket, statistics, subprocess, sys, tempfile, time


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, process):
    for _ in range(400):
        if process.poll() is not None:
            sys.exit("a server ended at start")
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as s:
                s.sendall(b"PING\r\n")
                if s.recv(16).startswith(b"+PONG"):
                    return
        except OSError:
            pass
        time.sleep(0.02)
    sys.exit("a server did not answer")


CASES = [  # name, keys, depth, connections, writes, bar
    ("get-plain", 1000, 1, 16, False, 1.0),
    ("get-16-1k", 1000, 16, 16, False, 0.65),
    ("get-16-100k", 100000, 16, 16, False, 0.45),
    ("set-durable", 1000, 1, 50, True, None),
]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("marketprism")
    p.add_argument("load")
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--seconds", type=int, default=2)
    p.add_argument("--case", default="")
    a = p.parse_args()
    redis = shutil.which("redis-server")
    if not redis:
        sys.exit("redis-server is not installed: no reference, no figure")
    pin = lambda core, cmd: ["taskset", "-c", str(core)] + cmd if os.cpu_count() > 1 else cmd
    folder = tempfile.mkdtemp(prefix="mp-bench-")
    results = []
    for name, keys, depth, connections, writes, bar in CASES:
        if a.case and a.case != name:
            continue
        ports = [free_port(), free_port(), free_port()]
        mp = subprocess.Popen(pin(0, [a.marketprism, "serve", "--data-dir", folder + "/" + name, "--resp",
                                      "127.0.0.1:%d" % ports[0], "--http", "127.0.0.1:%d" % ports[1],
                                      "--set", "cache.l1_size=200000", "--set", "cache.l1_bytes=256MiB",
                                      "--set", "server.workers=1", "--log-level", "warn"]),
                              stdout=subprocess.DEVNULL)
        rd = subprocess.Popen(pin(0, [redis, "--port", str(ports[2]), "--bind", "127.0.0.1", "--save", "",
                                      "--appendonly", "yes" if writes else "no", "--appendfsync", "always",
                                      "--dir", folder]),
                              stdout=subprocess.DEVNULL)
        try:
            wait_for(ports[0], mp)
            wait_for(ports[2], rd)
            figures = {"marketprism": [], "redis": []}
            for run in range(a.runs):
                for who, port, pid in (("marketprism", ports[0], mp.pid), ("redis", ports[2], rd.pid)):
                    env = dict(os.environ, **({"NO_PRELOAD": "1"} if run else {}))
                    out = subprocess.check_output(
                        pin(1, [a.load, "127.0.0.1", str(port), str(pid), str(keys), str(depth),
                                str(connections), str(a.seconds)] + (["set"] if writes else [])), env=env)
                    figures[who].append(json.loads(out))
        finally:
            for s in (mp, rd):
                s.terminate()
                s.wait()
        med = lambda who, what: statistics.median(f[what] for f in figures[who])
        r = {"case": name, "keys": keys, "depth": depth, "runs": a.runs}
        for who in figures:
            r[who] = {k: med(who, k) for k in ("server_cpu_us", "per_second", "p50_us", "p99_us")}
        r["cpu_ratio"] = round(r["marketprism"]["server_cpu_us"] / r["redis"]["server_cpu_us"], 3)
        r["rate_ratio"] = round(r["marketprism"]["per_second"] / r["redis"]["per_second"], 3)
        if bar:
            r["cpu_ratio_bar"] = bar
        else:
            r["rate_ratio_bar"] = 0.7
        print(json.dumps(r), flush=True)
        results.append(r)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

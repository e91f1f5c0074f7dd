#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Server CPU a request of an HTTP GET against nginx and varnish, all in the same run.

All servers stand on loopback, pinned to core 0; the generator (bench/http_load.c) is pinned to core 1
and asks them in turns, A B C A B C. nginx answers by itself (`return 200`, the least it can do for the
same bytes), varnish from its cache. One JSON object a case; exit 1 where a bar is missed.

    http_vs_nginx.py [--rounds N] [--seconds S] [--case NAME] [--no-bars]

BINARY names the daemon (default build/marketprism), HTTP_LOAD the generator."""

import argparse
import http.client
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
PATH = "/v1/config/default/db.host"
VALUE = "v" * 200

# name: depth, connections, header, {reference: bar}
CASES = {
    "get-plain": (1, 16, None, {"nginx": 1.0, "varnish": 0.45}),
    "get-8-deep": (8, 16, None, {"nginx": 0.2}),
    "not-modified": (1, 16, "If-None-Match: {etag}", {"get": 1.0}),
    "not-modified-8-deep": (8, 16, "If-None-Match: {etag}", {"get": 1.0}),
}

NGINX = """daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log crit;
events {{ worker_connections 2048; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port} reuseport; default_type text/plain;
    location / {{ add_header ETag '"0123456789abcdef"'; return 200 "{value}"; }} }}
}}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pinned(core, command):
    return ["taskset", "-c", str(core), *command] if os.cpu_count() > 1 else command


def ask(port, method="GET", body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, PATH, body=body, headers={"Content-Type": "text/plain"} if body else {})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data


def wait_for(name, port, process):
    """Until the server answers: this is a bench, not a test, so it may look now and then."""
    for _ in range(400):
        if process.poll() is not None:
            sys.exit(f"http_vs_nginx: {name} ended at start")
        try:
            ask(port)
            return
        except (OSError, http.client.HTTPException):
            time.sleep(0.02)
    sys.exit(f"http_vs_nginx: {name} did not answer")


def children(pid):
    """@pid and all below it: varnish has a manager and a child that does the work."""
    below = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [pid] + [p for child in below for p in children(int(child))]


class Servers:
    def __init__(self, folder):
        self.folder, self.processes, self.ports = folder, {}, {}

    def start(self, name, command, port, **more):
        self.ports[name] = port
        self.processes[name] = subprocess.Popen(pinned(0, command), stdout=subprocess.DEVNULL, **more)
        wait_for(name, port, self.processes[name])

    def start_all(self, binary):
        port = free_port()
        self.start("marketprism", [binary, "serve", "--data-dir", f"{self.folder}/data", "--resp", "127.0.0.1:0", "--http",
                                   f"127.0.0.1:{port}", "--log-level", "warn", "--set", "server.workers=1"], port)
        status, data = ask(port, "PUT", VALUE)
        if status >= 300:
            sys.exit(f"http_vs_nginx: the value could not be written: {data}")
        port = free_port()
        config = pathlib.Path(self.folder, "nginx.conf")
        config.write_text(NGINX.format(folder=self.folder, port=port, value=VALUE), encoding="utf-8")
        self.start("nginx", [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(config), "-p", self.folder], port)
        varnish = shutil.which("varnishd") or "/usr/sbin/varnishd"
        if os.path.exists(varnish):
            port = free_port()
            vcl = pathlib.Path(self.folder, "bench.vcl")
            vcl.write_text(f'vcl 4.1; backend d {{ .host = "127.0.0.1"; .port = "{self.ports["nginx"]}"; }}\n'
                           "sub vcl_backend_response { set beresp.ttl = 1d; }\n", encoding="utf-8")
            self.start("varnish", [varnish, "-F", "-a", f"127.0.0.1:{port}", "-f", str(vcl), "-n", f"{self.folder}/varnish",
                                   "-T", "none", "-j", "none", "-s", "malloc,64m"], port, stderr=subprocess.DEVNULL)
        else:
            print("http_vs_nginx: varnish is not installed (package varnish): no figure beside it", file=sys.stderr)

    def stop(self):
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait()


def load(servers, targets, depth, connections, args):
    """@targets: (name, server, header or None)."""
    command = [os.environ.get("HTTP_LOAD", str(ROOT / "build/bench/http_load")), "--path", PATH, "--depth", str(depth),
               "--connections", str(connections), "--rounds", str(args.rounds), "--seconds", str(args.seconds)]
    for name, server, header in targets:
        pids = "+".join(str(p) for p in children(servers.processes[server].pid))
        command += ["--target", f"{name}=127.0.0.1:{servers.ports[server]},{pids}"]
        command += ["--header", header] if header else []
    return json.loads(subprocess.check_output(pinned(1, command)))


def measure(servers, case, args):
    depth, connections, header, bars = CASES[case]
    targets = [(n, n, header) for n in ("marketprism", "nginx", "varnish") if n in servers.processes]
    if "get" in bars:
        targets = [targets[0], ("get", "marketprism", None)]
    result = {"case": case, **load(servers, targets, depth, connections, args)}
    cpu = {t["name"]: t["cpu_us_per_request"] for t in result["targets"]}
    result["ratios"] = {n: round(cpu["marketprism"] / c, 4) for n, c in cpu.items() if n != "marketprism" and c}
    result["bars"] = {n: bar for n, bar in bars.items() if n in result["ratios"]}
    result["met"] = all(result["ratios"][n] <= bar for n, bar in result["bars"].items())
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--no-bars", action="store_true", help="report only")
    args = parser.parse_args()
    if not (shutil.which("nginx") or os.path.exists("/usr/sbin/nginx")):
        print("http_vs_nginx: nginx is not installed (package nginx-light): no reference, no figure", file=sys.stderr)
        return 0
    folder = tempfile.mkdtemp(prefix="marketprism-bench-")
    servers, missed = Servers(folder), 0
    try:
        servers.start_all(os.environ.get("BINARY", str(ROOT / "build/marketprism")))
        for case in [args.case] if args.case else CASES:
            result = measure(servers, case, args)
            print(json.dumps(result), flush=True)
            missed += not result["met"]
    finally:
        servers.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if missed and not args.no_bars else 0


if __name__ == "__main__":
    sys.exit(main())

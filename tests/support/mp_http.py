# SPDX-License-Identifier: Apache-2.0
"""A small HTTP client of the tests: one connection, answers as Answer, nothing done behind one's back."""

import gzip
import http.client
import json
import socket

import mp_daemon


class Answer:
    def __init__(self, response, body):
        self.status, self.headers, self.body = response.status, response.headers, body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    def __getitem__(self, name):
        return self.headers[name]

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:300]!r}"


class Http:
    def __init__(self, address, timeout=10):
        host, port = address.rsplit(":", 1)
        self.address = address
        self.connection = http.client.HTTPConnection(host, int(port), timeout=timeout)

    def close(self):
        self.connection.close()

    def __call__(self, method, path, body=None, type=None, **headers):
        """Header names are given with _ for -: If_Match="..."."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if type:
            sent["Content-Type"] = type
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        self.connection.request(method, path, body=body, headers=sent)
        response = self.connection.getresponse()
        data = response.read()
        if response.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        return Answer(response, data)

    def get(self, path, **headers):
        return self("GET", path, **headers)

    def put(self, path, body, type=None, **headers):
        return self("PUT", path, body, type, **headers)

    def raw(self, data, timeout=10, half=True):
        """Send bytes on a connection of their own, read to the end."""
        host, port = self.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout) as sock:
            sock.sendall(data)
            if half:
                sock.shutdown(socket.SHUT_WR)
            parts = []
            while True:
                part = sock.recv(65536)
                if not part:
                    return b"".join(parts)
                parts.append(part)


def gauge(daemon, name):
    for line in Http(daemon.http).get("/metrics").text.splitlines():
        if line.startswith("marketprism_" + name + " "):
            return float(line.split()[1])
    raise AssertionError(name + " is no metric")


class Served(mp_daemon.Served):
    """The same, with a connection over HTTP."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.http = Http(cls.daemon.http)
        cls.addClassCleanup(cls.http.close)

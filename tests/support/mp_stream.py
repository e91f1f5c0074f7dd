# SPDX-License-Identifier: Apache-2.0
"""A stream of /v1/watch under test."""

import http.client
import json
import socket


class Stream:
    """One stream of /v1/watch, event by event: each a dict with the name of the event in "event" and
    its position in "position", whatever the transport."""

    def __init__(self, address, path, accept="text/event-stream", timeout=20, small=False, **headers):
        host, port = address.rsplit(":", 1)
        self.connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
        if small:  # so that what is not read stays with the daemon
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(timeout)
            sock.connect((host, int(port)))
            self.connection.sock = sock
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request("GET", path, headers={"Accept": accept, **headers})
        self.response = self.connection.getresponse()
        self.sse = self.response.headers["Content-Type"] == "text/event-stream"

    def close(self):
        self.response.close()
        self.connection.close()

    def line(self):
        line = self.response.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the stream ended")
        return line[:-1].decode()

    def next(self):
        if not self.sse:
            return json.loads(self.line())
        fields = {}
        while line := self.line():
            name, value = line.split(": ", 1)
            fields[name] = value
        event = json.loads(fields["data"])
        assert event["event"] == fields["event"]
        if "id" in fields:
            event["position"] = fields["id"]
        return event

    def until(self, word, ignore=("progress",)):
        """All up to the first event of this name, which comes last."""
        events = []
        while not events or events[-1]["event"] != word:
            event = self.next()
            if event["event"] == word or event["event"] not in ignore:
                events.append(event)
        return events

    def change(self):
        """The next put or delete."""
        while True:
            event = self.next()
            if event["event"] in ("put", "delete"):
                return event

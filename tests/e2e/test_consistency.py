# SPDX-License-Identifier: Apache-2.0
"""Two daemons on one database, one of them stopped (SIGSTOP) again and again: strong reads at
either are linearizable with the writes at both, and nobody who reads at the default level is told
that a value is fresh when it is older than its bound."""

import os
import random
import signal
import threading
import time
import unittest

import mp_tap
from mp_daemon import Daemon, ReplyError

SECONDS = 4 * int(os.environ.get("MP_SOAK", "1"))
KEYS = 4
# A watch looks at the database each 100 ms; what is held by it may be so much older, and what is
# not is verified at the latest after cache.hard_bound.
BOUND_S = 1.0
LAG_S = 0.6


class History:
    """Numbers that one writer a key counts up, so that what may be read is an interval."""

    def __init__(self):
        self.lock = threading.Lock()
        self.begun = [0] * KEYS      # greatest number whose write began
        self.done = [0] * KEYS       # greatest number whose write was acknowledged
        self.seen = [0] * KEYS       # greatest number that a strong read brought
        self.times = [[(0.0, 0)] for _ in range(KEYS)]  # when which was acknowledged
        self.wrong = []
        self.reads = {"strong": 0, "fresh": 0, "stale": 0}

    def floor(self, key):
        with self.lock:
            return max(self.done[key], self.seen[key])

    def check_strong(self, key, number, floor):
        with self.lock:
            self.reads["strong"] += 1
            if not floor <= number <= self.begun[key]:
                self.wrong.append(f"strong read of key {key}: {number}, not from {floor} "
                                  f"to {self.begun[key]}")
            self.seen[key] = max(self.seen[key], number)

    def check_bound(self, key, number, began, stale):
        """What was acknowledged longer ago than the bound must be seen."""
        with self.lock:
            if stale:
                self.reads["stale"] += 1
                return
            self.reads["fresh"] += 1
            old = [n for at, n in self.times[key] if at < began - BOUND_S - LAG_S]
            if number < old[-1]:
                self.wrong.append(f"fresh read of key {key}: {number}, {old[-1]} was written "
                                  f"longer ago than the bound")


class Consistency(unittest.TestCase):
    def setUp(self):
        options = ["--set", f"cache.hard_bound={int(BOUND_S * 1000)}ms",
                   "--set", "cache.eventual_bound=200ms"]
        first = Daemon(*options).start()
        self.addCleanup(first.close)
        second = Daemon(*options, "--set", f"origin.path={first.data}/origin.db").start()
        self.addCleanup(second.close)
        self.daemons = [first, second]
        self.history, self.over = History(), threading.Event()
        self.errors = []

    def guarded(self, work):
        def run():
            try:
                work()
            except Exception as error:  # pylint: disable=broad-except
                self.errors.append(error)
        return threading.Thread(target=run, daemon=True)

    def writer(self, key):
        history, number = self.history, 0
        clients = [daemon.client() for daemon in self.daemons]
        rand = random.Random(key)
        while not self.over.is_set():
            with history.lock:
                history.begun[key] = number = number + 1
            try:
                rand.choice(clients)("SET", f"app/k{key}", number)
            except ReplyError:
                continue  # a lock of the stopped one: it may have happened or not
            with history.lock:
                history.done[key] = number
                history.times[key].append((time.monotonic(), number))
            self.over.wait(0.002)

    def reader(self, daemon, level, seed):
        history, rand = self.history, random.Random(seed)
        client = daemon.client()
        while not self.over.is_set():
            key = rand.randrange(KEYS)
            floor, began = history.floor(key), time.monotonic()
            try:
                meta = client.meta(f"app/k{key}", "LEVEL", level)
            except ReplyError:
                continue  # refused
            number = int(meta["value"] or 0)  # absent: as it was before the first write
            if level == "strong":
                history.check_strong(key, number, floor)
            else:
                history.check_bound(key, number, began, meta["stale"])
            self.over.wait(0.001)

    def stopper(self):
        rand = random.Random(11)
        while not self.over.is_set():
            process = rand.choice(self.daemons).process
            process.send_signal(signal.SIGSTOP)
            self.over.wait(rand.uniform(0.02, 0.5))
            process.send_signal(signal.SIGCONT)
            self.over.wait(rand.uniform(0.02, 0.2))

    def test_what_two_daemons_tell_can_be_the_truth(self):
        threads = [self.guarded(lambda key=key: self.writer(key)) for key in range(KEYS)]
        for seed, daemon in enumerate(self.daemons):
            for level in ("strong", "eventual"):
                threads.append(self.guarded(
                    lambda d=daemon, l=level, s=seed: self.reader(d, l, s)))
        threads.append(self.guarded(self.stopper))
        for thread in threads:
            thread.start()
        self.over.wait(SECONDS)
        self.over.set()
        for thread in threads:
            thread.join(20)
        self.assertEqual(self.errors, [])
        self.assertEqual(self.history.wrong, [])
        self.assertGreater(min(self.history.done), 5, "a run without writes proves nothing")
        self.assertGreater(self.history.reads["strong"], 50)
        self.assertGreater(self.history.reads["fresh"], 50)


class Checker(unittest.TestCase):
    """The checker sees lies that are planted."""

    def setUp(self):
        self.history = History()
        self.history.begun[1], self.history.done[1] = 3, 2
        self.history.times[1] += [(10.0, 1), (20.0, 2)]

    def test_a_value_from_before_an_acknowledged_write_is_a_lie(self):
        self.history.check_strong(1, 1, self.history.floor(1))
        self.assertEqual(len(self.history.wrong), 1)

    def test_a_value_that_nobody_wrote_is_a_lie(self):
        self.history.check_strong(1, 4, self.history.floor(1))
        self.assertEqual(len(self.history.wrong), 1)

    def test_going_back_is_a_lie(self):
        self.history.check_strong(1, 3, self.history.floor(1))
        self.assertEqual(self.history.wrong, [])
        self.history.check_strong(1, 2, self.history.floor(1))
        self.assertEqual(len(self.history.wrong), 1)

    def test_older_than_the_bound_is_a_lie_unless_it_is_marked(self):
        self.history.check_bound(1, 1, 21.0, 0)
        self.history.check_bound(1, 1, 30.0, 1)
        self.assertEqual(self.history.wrong, [])
        self.history.check_bound(1, 1, 30.0, 0)
        self.assertEqual(len(self.history.wrong), 1)


if __name__ == "__main__":
    mp_tap.main()

# SPDX-License-Identifier: Apache-2.0
"""marketprism replay: reads traces however they come, and hits what the reference policies hit.

The reference is ../shared/traces/hit-ratios.tsv, made with libCacheSim on public traces; where that
folder is not, the comparison is skipped."""

import collections
import json
import os
import pathlib
import random
import resource
import subprocess
import tempfile
import unittest

import mp_tap

BINARY = os.environ["BINARY"]
TRACES = pathlib.Path(os.environ["SOURCE"]).parent / "shared" / "traces"
REFERENCE = {"lru": "LRU", "fifo": "FIFO", "lfu": "LFU", "s3-fifo": "S3-FIFO", "lirs": "LIRS",
             "arc": "ARC", "sieve": "Sieve", "2q": "TwoQ"}
LARGE = {"cache2k-orm-busy", "arc-P3"}  # only with MP_SOAK: millions of requests
SLOW = "MP_SANITIZER" in os.environ  # such a build is ten times slower and hits the same: short traces
LEAST = 20  # entries; the reference itself degenerates below (its S3-FIFO then never hits)


def replay(*words, data=None):
    return subprocess.run([BINARY, "replay", *map(str, words)], input=data, capture_output=True,
                          check=False)


def lines(*words, data=None):
    done = replay(*words, "--json", data=data)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


class Replay(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def test_requests_are_counted_with_and_without_sizes(self):
        for text in ("1\n2\n1\n3\n1\n", "1 10\n2 999\n1 10\r\n3\n1 10", "a\nb/c.d\na\nx\na\n",
                     "1\r\n\r\n2\r\n1\r\n \t\r\n\n3\r\n1\r\n"):
            got, = lines("--trace", "-", "--capacity", 2, "--policy", "lru", data=text.encode())
            self.assertEqual((got["policy"], got["capacity"], got["requests"], got["hits"]),
                             ("lru", 2, 5, 2))
            self.assertAlmostEqual(got["hit_ratio"], 0.4)
            self.assertGreater(got["ns_per_request"], 0)

    def test_tabs_part_and_a_byte_order_mark_is_no_part_of_a_key(self):
        for text in ("\ufeffa\t1\nb\t22\na\n", "a\t1\n\tb 22\n a\t\n", "\ufeff\na\nb\na"):
            got, = lines("--trace", "-", "--capacity", 2, "--policy", "lru", data=text.encode())
            self.assertEqual((got["requests"], got["hits"]), (3, 1), text)
        two = self.write("one", "\ufeffa\n"), self.write("two", "\ufeffa\n")
        got, = lines("--trace", two[0], "--trace", two[1], "--policy", "lru")
        self.assertEqual((got["requests"], got["hits"]), (2, 1))

    @unittest.skipIf(SLOW, "a sanitizer's own memory is beyond every limit")
    def test_one_that_has_no_memory_does_not_take_the_others_along(self):
        done = subprocess.run([BINARY, "replay", "--trace", "-", "--policy", "arc,lirs", "--threads", "1", "--json",
                               "--capacity", "1000000000,10"], input=b"a\nb\na\n", capture_output=True, check=False,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)))
        self.assertEqual(done.returncode, 1)
        self.assertEqual([(one["policy"], one["capacity"], one["hits"]) for one in
                          map(json.loads, done.stdout.splitlines())], [("arc", 10, 1), ("lirs", 10, 1)])
        for policy in ("arc", "lirs"):
            self.assertIn(f"{policy} with 1000000000 entries: ", done.stderr.decode())

    def test_a_trace_that_is_not_there_is_said_to_be_so(self):
        done = replay("--trace", "/none/there")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"No such file", done.stderr)

    def test_compressed_traces_are_read_whatever_they_are_called(self):
        plain = self.write("plain", "".join(f"{i % 700}\n" for i in range(300000)))
        packed = self.folder / "packed"
        try:
            subprocess.run(["zstd", "-q", "-o", packed, plain], check=True)
        except FileNotFoundError:
            self.skipTest("there is no zstd")
        a, = lines("--trace", plain, "--policy", "lru", "--capacity", 700)
        b, = lines("--trace", packed, "--policy", "lru", "--capacity", 700)
        self.assertEqual((a["requests"], a["hits"]), (300000, 299300))
        self.assertEqual((b["requests"], b["hits"]), (300000, 299300))
        packed.write_bytes(packed.read_bytes()[:40] + b"rubbish" * 20)
        done = replay("--trace", packed)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"damaged", done.stderr)

    def test_traces_follow_one_another_in_the_order_given(self):
        a, b = self.write("a", "1\n2\n"), self.write("b", "2\n1\n3\n")
        got, = lines("--trace", a, "--trace", b, "--trace", a, "--policy", "lru", "--capacity", 2)
        self.assertEqual((got["requests"], got["hits"]), (7, 3))

    def test_every_policy_and_capacity_is_a_line_in_order(self):
        trace = self.write("t", "".join(f"{random.Random(1).randrange(50)}\n" for _ in range(999)))
        got = lines("--trace", trace, "--policy", "lru,w-tinylfu:40", "--capacity", "5,10")
        self.assertEqual([(j["policy"], j["capacity"]) for j in got],
                         [("lru", 5), ("lru", 10), ("w-tinylfu:40", 5), ("w-tinylfu:40", 10)])
        everything = lines("--trace", trace, "--policy", "all", "--capacity", 60)
        self.assertGreaterEqual(len(everything), 10)
        for j in everything:  # all fits: only first requests miss, whatever the policy
            self.assertEqual(j["hits"], 998, j["policy"])

    def test_a_prediction_without_a_sample_is_told_as_unknown(self):
        done = replay("--trace", self.write("t", "1\n2\n1\n"), "--predict", "4,100000")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout.decode(), r"predicted +4 +0\.3333 +from 0\.3333 to 0\.3333\n")
        self.assertRegex(done.stdout.decode(), r"predicted +100000 +unknown +too few keys")

    def test_of_the_size_that_is_replayed_the_prediction_is_what_was_counted(self):
        dice = random.Random(1)
        trace = self.write("t", "".join(f"{int(dice.paretovariate(0.3)) % 9999}\n" for _ in range(60000)))
        for policy in "adaptive", "s3-fifo":
            one, two = lines("--trace", trace, "--policy", policy, "--capacity", "1000,2000",
                             "--predict", "1000,2000")
            for ran, same, other in (one, 0, 1), (two, 1, 0):
                is_, not_ = ran["predictions"][same], ran["predictions"][other]
                self.assertEqual({is_["hit_ratio"], is_["low"], is_["high"]}, {ran["hit_ratio"]})
                self.assertEqual((is_["sample"], is_["sampled_requests"]), (1, 60000))
                self.assertLess(not_["low"], not_["high"])

    def test_another_seed_predicts_from_another_sample_of_the_same_requests(self):
        dice = random.Random(1)
        trace = self.write("t", "".join(f"{int(dice.paretovariate(0.3)) % 9999}\n" for _ in range(60000)))
        words = ["--trace", trace, "--policy", "lru", "--capacity", 1000, "--predict", 2000]
        one, = lines(*words)
        again, = lines(*words, "--seed", 0)
        other, = lines(*words, "--seed", 7)
        self.assertEqual(one["predictions"], again["predictions"])
        self.assertEqual(one["hits"], other["hits"])
        self.assertNotEqual(one["predictions"][0]["hit_ratio"], other["predictions"][0]["hit_ratio"])
        self.assertAlmostEqual(one["predictions"][0]["hit_ratio"],
                               other["predictions"][0]["hit_ratio"], delta=0.02)

    def test_mistakes_are_told_with_what_to_do(self):
        good, trace = self.write("o", "1"), self.write("t", "1\n\n2 3 4\n")
        for words, code, text in ((["--trace", good, "--trace", trace], 1,
                                   "/t:3:1: neither `key` nor `key size`"),
                                  (["--trace", self.write("l", "x" * 4097)], 1,
                                   "/l:1:1: a key of more than 4096 bytes"),
                                  (["--trace", self.folder], 1, "Is a directory"),
                                  (["--trace", good, "--threads", "2x"], 2, "--threads: a number"),
                                  (["--trace", good, "--seed", "-1"], 2, "--seed: a whole"),
                                  (["--trace", good, "--policy", ",".join(["lru"] * 65)], 2,
                                   "--policy: more than 64"),
                                  (["--trace", self.folder / "none"], 1, "cannot read"),
                                  ([], 2, "--trace FILE"),
                                  (["--trace", self.write("e", "")], 1, "no request"),
                                  (["--trace", good, "--policy", "lur"], 2,
                                   "did you mean 'lru'"),
                                  (["--trace", good, "--policy", "w-tinylfu:0"], 2,
                                   "no policy 'w-tinylfu:0'; its window is from 1 to 99 %"),
                                  (["--trace", good, "--capacity", "0"], 2,
                                   "'0' is no number")):
            done = replay(*words)
            self.assertEqual(done.returncode, code, words)
            self.assertIn(text, done.stderr.decode())

    def test_hit_ratios_are_within_three_tenths_of_a_point_of_the_reference(self):
        if not TRACES.is_dir():
            self.skipTest("there is no ../shared/traces")
        rows = collections.defaultdict(dict)
        for line in (TRACES / "hit-ratios.tsv").read_text(encoding="utf-8").splitlines()[1:]:
            trace, capacity, _, algorithm, ratio = line.split("\t")
            rows[trace, int(capacity)][algorithm] = float(ratio)
        checked, far = 0, []
        for trace in sorted({trace for trace, _ in rows}):
            file = TRACES / f"{trace}.txt.zst"
            if trace in LARGE and not os.environ.get("MP_SOAK") or SLOW and file.stat().st_size > 200_000:
                continue
            capacities = [c for t, c in rows if t == trace and c >= LEAST]
            for got in lines("--trace", file, "--policy", ",".join(REFERENCE), "--capacity",
                             ",".join(map(str, capacities))):
                want = rows[trace, got["capacity"]].get(REFERENCE[got["policy"]])
                if want is None:
                    continue
                checked += 1
                if abs(got["hit_ratio"] - want) > (0.004 if got["policy"] == "2q" else 0.003):
                    far.append((trace, got["policy"], got["capacity"], got["hit_ratio"], want))
        self.assertEqual(far, [])
        self.assertGreater(checked, 200 if SLOW else 400)


if __name__ == "__main__":
    mp_tap.main()

# SPDX-License-Identifier: Apache-2.0
"""examples/config is what it claims to be: large enough, read by our own parsers, the environments
consistent with each other, and without secrets. LEAVES names the program that reads a file."""

import os
import pathlib
import re
import subprocess
import unittest

import mp_tap

CONFIG = pathlib.Path(__file__).parents[2] / "examples" / "config"
ENVIRONMENTS = ("development", "staging", "production")
# Names that one environment may have for itself.
OWN_NAMES = {"development": ("default.replay.",)}
# Where this many or more of something would be larger than production, somebody mistyped.
NOT_LARGER = re.compile(r"exchanges\..*\.limits\.|\.retention_h$|\.ttl_days$|\.until_days$|\.bytes_max_gb$|"
                        r"\.replicas$|\.partitions$|\.keep_\w+$|\.memory_mb$|SESSIONS_MAX$")


def read_file(path):
    """{key: (media type, value)} as the import sees the file."""
    done = subprocess.run([os.environ["LEAVES"], path], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    fields = done.stdout.decode().split("\0")[:-1]
    return {fields[i]: (fields[i + 1], fields[i + 2]) for i in range(0, len(fields), 3)}


def read_environment(name):
    """{namespace.key: (media type, value)} of a folder."""
    leaves = {}
    for path in sorted((CONFIG / name).iterdir()):
        for key, leaf in read_file(path).items():
            leaves[f"{path.stem}.{key}"] = leaf
    return leaves


def name_of(key):
    """The key with its positions in lists left out: lists may have other lengths."""
    return re.sub(r"\[\d+\]", "", key)


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.all = {name: read_environment(name) for name in ENVIRONMENTS}

    def names(self, environment):
        return {name_of(key) for key in self.all[environment]}

    def value(self, environment, key):
        return self.all[environment][key][1]

    def children(self, environment, prefix):
        """The first words below a prefix: the venues, the collectors, the rules."""
        return {key[len(prefix):].split(".")[0] for key in self.all[environment]
                if key.startswith(prefix)}

    def test_there_are_enough_keys(self):
        total = sum(len(leaves) for leaves in self.all.values())
        self.assertGreaterEqual(total, 400)
        self.assertGreaterEqual(len(self.all["production"]), 300)

    def test_the_readme_says_how_many(self):
        text = (CONFIG.parent / "README.md").read_text(encoding="utf-8")
        for environment in ENVIRONMENTS:
            self.assertIn(f"| `{environment}` | {len(self.all[environment])} |", text)

    def test_there_is_nothing_but_the_environments(self):
        self.assertEqual({path.name for path in CONFIG.iterdir()}, set(ENVIRONMENTS))

    def test_every_environment_has_the_same_files(self):
        files = {name: {path.name for path in (CONFIG / name).iterdir()} for name in ENVIRONMENTS}
        self.assertEqual(files["staging"], files["production"])
        self.assertEqual(files["development"], files["production"])

    def test_all_three_formats_are_shown(self):
        endings = {path.suffix for path in (CONFIG / "production").iterdir()}
        self.assertEqual(endings, {".yaml", ".json", ".env"})

    def test_production_knows_every_name(self):
        known = self.names("production")
        for environment in ("staging", "development"):
            strange = {name for name in self.names(environment) - known
                       if not name.startswith(OWN_NAMES.get(environment, ("\0",)))}
            self.assertEqual(strange, set(), environment)

    def test_what_every_service_reads_is_in_every_environment(self):
        def needed(environment):
            return {name for name in self.names(environment)
                    if name.split(".")[0] in ("default", "gateway", "features")
                    and not name.startswith("default.replay.")}
        self.assertEqual(needed("staging"), needed("production"))
        self.assertEqual(needed("development"), needed("production"))

    def test_a_venue_that_is_there_is_complete(self):
        for environment in ("staging", "development"):
            for venue in self.children(environment, "exchanges."):
                prefix = f"exchanges.{venue}."
                self.assertEqual({name for name in self.names(environment) if name.startswith(prefix)},
                                 {name for name in self.names("production") if name.startswith(prefix)},
                                 f"{environment} {venue}")

    def test_a_value_has_the_same_type_everywhere(self):
        for environment in ("staging", "development"):
            for key, (media_type, value) in self.all[environment].items():
                other = self.all["production"].get(key)
                if other and value not in ("[]", "{}"):
                    self.assertEqual(media_type, other[0], f"{environment} {key}")

    def test_each_environment_says_its_own_name(self):
        for environment in ENVIRONMENTS:
            self.assertEqual(self.value(environment, "default.platform.environment"), environment)

    def test_collectors_and_features_speak_of_venues_that_are_there(self):
        for environment in ENVIRONMENTS:
            venues = self.children(environment, "exchanges.")
            for key, (_, value) in self.all[environment].items():
                if re.fullmatch(r"collectors\.[\w-]+\.venue|features\.\w+\.venues\[\d+\]", key):
                    self.assertIn(value, venues, f"{environment} {key}")
            collected = {value for key, (_, value) in self.all[environment].items()
                         if re.fullmatch(r"collectors\.[\w-]+\.venue", key)}
            self.assertEqual(collected, venues, environment)

    def test_every_rule_has_a_route(self):
        for environment in ENVIRONMENTS:
            routes = self.children(environment, "alerts.routes.")
            for rule in self.children(environment, "alerts.rules."):
                self.assertIn(self.value(environment, f"alerts.rules.{rule}.severity"), routes)

    def test_nothing_is_larger_than_in_production(self):
        for environment in ("staging", "development"):
            for key, (media_type, value) in self.all[environment].items():
                if NOT_LARGER.search(key) and key in self.all["production"]:
                    ours, theirs = float(value), float(self.value("production", key))
                    self.assertTrue(theirs < 0 or ours <= theirs, f"{environment} {key}: {ours}")

    def test_environments_do_not_reach_into_each_other(self):
        for key, (_, value) in self.all["production"].items():
            self.assertNotIn(".stg.", value, key)
            self.assertNotRegex(value, r"127\.0\.0\.1|localhost", key)
        for key, (_, value) in self.all["staging"].items():
            self.assertNotIn(".svc.prism.example", value, key)
            self.assertNotRegex(value, r"127\.0\.0\.1|localhost", key)
        for key, (_, value) in self.all["development"].items():
            if key != "default.support.runbooks":
                self.assertNotIn("prism.example", value, key)

    def test_hosts_are_nobodys(self):
        for environment in ENVIRONMENTS:
            for key, (_, value) in self.all[environment].items():
                for host in re.findall(r"\w+://([^/:\s]+)", value):
                    self.assertRegex(host, r"\.example$|^127\.0\.0\.1$|^localhost$|^10\.", key)

    def test_there_are_no_secrets(self):
        for environment in ENVIRONMENTS:
            for key, (_, value) in self.all[environment].items():
                if re.search(r"password|secret|credentials|TLS_KEY|token", key):
                    self.assertRegex(value, r"^(file:.*|none|)$", f"{environment} {key}")

    def test_every_file_begins_by_saying_what_it_is(self):
        for path in CONFIG.glob("*/*"):
            if path.suffix != ".json":
                self.assertTrue(path.read_text(encoding="utf-8").startswith("# "), path)


if __name__ == "__main__":
    mp_tap.main()

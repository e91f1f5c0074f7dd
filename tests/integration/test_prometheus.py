# SPDX-License-Identifier: Apache-2.0
"""deploy/prometheus and deploy/grafana against promtool: they are well-formed, ask only for metrics that
there are, and each alert comes when it should and not in good health. BINARY names the program."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import mp_tap

FOLDER = pathlib.Path(__file__).parents[2] / "deploy" / "prometheus"
RULES = (FOLDER / "marketprism.rules.yml").read_text(encoding="utf-8")
LABELS = 'job="marketprism",instance="a"'

# What a daemon in good health says, as promtool writes series: counters that stand or grow as they do.
HEALTHY = {
    "up": "1x100",
    "process_start_time_seconds": "5x100",
    "marketprism_ready": "1x100",
    "marketprism_origin_up": "1x100",
    "marketprism_unknown_total": "7x100",
    "marketprism_stale_served_total": "7x100",
    "marketprism_writes_refused_total": "7x100",
    "marketprism_errors_total": "0+1x100",
    'marketprism_operations_total{operation="get",tier="L1"}': "0+1000x100",
    'marketprism_operations_total{operation="set",tier="origin"}': "0+10x100",
    "marketprism_l3_corrupt_total": "7x100",
    "marketprism_l3_errors_total": "7x100",
    "marketprism_l3_dropped_total": "7x100",
    "marketprism_l3_forgotten_total": "7x100",
    "marketprism_connections_refused_total": "7x100",
}
# What makes each alert come, all else as in good health.
ILL = {
    "MarketPrismDown": {"up": "0x100"},
    "MarketPrismNotReady": {"marketprism_ready": "0x100"},
    "MarketPrismUnknownAnswers": {"marketprism_unknown_total": "7x90 8x10"},
    "MarketPrismRestarts": {"process_start_time_seconds": "5x70 6x5 7x5 8x20"},
    "MarketPrismDamage": {"marketprism_l3_corrupt_total": "7x60 8x40"},
    "MarketPrismOriginDown": {"marketprism_origin_up": "0x100"},
    "MarketPrismServesStale": {"marketprism_stale_served_total": "7+1x100"},
    "MarketPrismWritesRefused": {"marketprism_writes_refused_total": "7x90 8x10"},
    "MarketPrismErrors": {"marketprism_errors_total": "0+11x100"},
    "MarketPrismDiskErrors": {"marketprism_l3_dropped_total": "7x90 9x10"},
    "MarketPrismForgets": {"marketprism_l3_forgotten_total": "7x60 8x40"},
    "MarketPrismConnectionsRefused": {"marketprism_connections_refused_total": "7x90 8x10"},
}


def series(name, values):
    metric, _, labels = name.partition("{")
    labels = ",".join(filter(None, [LABELS, labels.rstrip("}")]))
    return {"series": f"{metric}{{{labels}}}", "values": values}


def promtool(*words):
    return subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, check=False)


def metrics():
    listed = subprocess.run([os.environ["BINARY"], "metrics", "--json"], capture_output=True,
                            check=True).stdout
    return {metric["name"]: metric for metric in json.loads(listed)}


class Dashboard(unittest.TestCase):
    def setUp(self):
        path = FOLDER.parent / "grafana" / "marketprism.json"
        self.dashboard = json.loads(path.read_text(encoding="utf-8"))
        self.panels = [panel for panel in self.dashboard["panels"] if panel["type"] != "row"]

    def test_every_metric_has_one_panel(self):
        self.assertEqual(sorted(f"marketprism_{panel['title']}" for panel in self.panels),
                         sorted(metrics()))

    def test_panels_do_not_overlap(self):
        taken, ids = set(), set()
        for panel in self.dashboard["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                     for y in range(at["y"], at["y"] + at["h"])}
            self.assertEqual(taken & cells, set(), panel["title"])
            self.assertLessEqual(at["x"] + at["w"], 24)
            taken |= cells
            ids.add(panel["id"])
        self.assertEqual(len(ids), len(self.dashboard["panels"]))

    @unittest.skipUnless(shutil.which("promtool"), "promtool is not installed")
    def test_promtool_understands_every_query(self):
        queries = [target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")
                   for panel in self.panels for target in panel["targets"]]
        rules = [{"record": f"query:{i}", "expr": query} for i, query in enumerate(queries)]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "rules.yml")
            path.write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}), encoding="utf-8")
            done = promtool("check", "rules", path)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(f"{len(queries)} rules found", done.stdout)


class Rules(unittest.TestCase):
    def alerts(self):
        return re.findall(r"- alert: (\w+)", RULES)

    def test_they_ask_only_for_metrics_that_there_are(self):
        there = set(metrics())
        asked = set(re.findall(r"\b(marketprism_\w+)", RULES))
        self.assertGreater(len(asked), 8)
        self.assertEqual(asked - there, set())

    def test_every_alert_is_tested_and_told_in_the_manual(self):
        self.assertEqual(set(self.alerts()), set(ILL))
        manual = (FOLDER.parents[1] / "docs" / "operations.md").read_text(encoding="utf-8")
        self.assertEqual([name for name in ILL if f"`{name}`" not in manual], [])

    @unittest.skipUnless(shutil.which("promtool"), "promtool is not installed")
    def test_promtool_finds_both_files_well_formed(self):
        done = promtool("check", "config", FOLDER / "prometheus.yml")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(f"{len(ILL)} rules found", done.stdout)

    @unittest.skipUnless(shutil.which("promtool"), "promtool is not installed")
    def test_each_alert_comes_when_it_should_and_none_in_good_health(self):
        tests = [self.case("good health", HEALTHY, set())]
        for alert, worse in ILL.items():
            self.assertEqual(set(worse) - set(HEALTHY), set(), alert)
            tests.append(self.case(alert, HEALTHY | worse, {alert}))
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "test.yml")
            path.write_text(json.dumps({"rule_files": [str(FOLDER / "marketprism.rules.yml")],
                                        "evaluation_interval": "15s", "tests": tests}),
                            encoding="utf-8")  # JSON is YAML
            done = promtool("test", "rules", path)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def case(self, name, values, firing):
        """At the end of the series exactly @firing is firing. ALERTS tells names without texts."""
        samples = [{"labels": f'{{__name__="ALERTS",alertname="{alert}"}}', "value": 1}
                   for alert in sorted(firing)]
        return {"name": name, "interval": "15s",
                "input_series": [series(metric, text) for metric, text in values.items()],
                "promql_expr_test": [{
                    "expr": 'sum by (__name__, alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": "25m", "exp_samples": samples}]}


if __name__ == "__main__":
    mp_tap.main()

"""docs/OPERATIONS.md has an entry for each alert, and the documentation explains each metric that is asked for."""

import fnmatch
import re

import pytest
import yaml
from queries import DASHBOARD, MONITORING, ROOT, metrics, rules, whole
from test_rules import promtool

OPERATIONS = (ROOT / "docs/OPERATIONS.md").read_text()
ENTRIES = dict(re.findall(r"^### (Valetkey\w+)\n(.*?)(?=^##|\Z)", OPERATIONS, re.M | re.S))
EXPLAINED = {name for page in (ROOT / "docs").glob("*.md") for name in re.findall(r"^\| `([\w*]+)", page.read_text(), re.M)}
ALERTS = {rule["alert"]: rule for rule in rules("alert")}


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_an_entry_that_its_link_leads_to(alert):
    entry = ENTRIES[alert]
    assert ALERTS[alert]["annotations"]["runbook_url"] == f"docs/OPERATIONS.md#{alert.lower()}"
    for part in ("**Means**", "**People notice**", "**Look at**", "**Do**"):
        assert entry.count(part) == 1, part


def test_no_entry_is_of_an_alert_that_there_is_not():
    assert ENTRIES.keys() == ALERTS.keys()
    assert list(ENTRIES) == list(ALERTS), "they stand in the order of the rules"


def test_rows_and_panels_that_entries_name_are_the_dashboards():
    titles = {panel["title"] for panel in DASHBOARD["panels"]}
    named = re.findall(r"dashboard's (?:rows?|panel) ([A-Z][a-z]+)", OPERATIONS)
    assert len(named) > 6
    for name in named:
        assert any(title.startswith(name) for title in titles), name


def test_the_configuration_of_prometheus_is_one(rules_made):
    text = re.search(r"^```yaml\n(# prometheus.yml\n.*?)^```", OPERATIONS, re.M | re.S)[1]
    rules_made("rules.yaml", (MONITORING / "rules.yaml").read_text())
    promtool("check", "config", rules_made("prometheus.yml", text))
    assert yaml.safe_load(text)["scrape_configs"][0]["job_name"] == "valetkey"


def test_each_metric_that_is_asked_for_is_explained():
    assert len(metrics()) > 20
    missing = {whole(metric): where for metric, where in metrics().items() if not explained(metric)}
    assert not missing, "\n".join(f"{metric}: {where}" for metric, where in missing.items())


def explained(metric: str) -> bool:
    """Whether a table of the documentation has the metric, or the histogram that it is a part of."""
    return any(fnmatch.fnmatch(name, pattern) for name in (metric, whole(metric)) for pattern in EXPLAINED)

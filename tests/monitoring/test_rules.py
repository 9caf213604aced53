"""promtool takes the rules and what they are to do; every alert has a case in which it fires, and one in which it doesn't."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from queries import MONITORING, RULES, rules

CASES = yaml.safe_load((MONITORING / "rules_test.yaml").read_text())["tests"]
ALERTS = [rule["alert"] for rule in rules("alert")]
SEVERITIES = {"critical", "warning", "info"}


def promtool(*arguments: str | Path, given: str | None = None) -> str:
    """Runs promtool, which has nothing to object; what it printed."""
    done = subprocess.run(["promtool", *arguments], cwd=MONITORING, input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_the_rules():
    promtool("check", "rules", "--lint=all", "--lint-fatal", "rules.yaml")


def test_each_alert_fires_when_it_should_and_not_when_it_should_not():
    promtool("test", "rules", "rules_test.yaml")


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_a_case_that_fires_and_one_that_does_not(alert):
    # A case's name begins with its alert's.
    cases = [case for case in CASES if case["name"].startswith(f"{alert} ")]
    fires = [case for case in cases if any(f'alertname="{alert}"' in sample["labels"] for asked in case["promql_expr_test"] for sample in asked["exp_samples"])]
    quiet = [case for case in cases if all(asked["expr"].startswith(("ALERTS", "count_over_time(ALERTS")) and asked["exp_samples"] == [] for asked in case["promql_expr_test"])]
    assert fires and quiet
    # Something happens there.
    assert all(case["input_series"] for case in quiet)


def test_alerts_have_a_severity_and_tell_what_is_wrong():
    for rule in rules("alert"):
        assert rule["labels"]["severity"] in SEVERITIES, rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}, rule["alert"]
        # A page must bear a scrape that failed.
        assert rule["labels"]["severity"] != "critical" or "for" in rule, rule["alert"]


def test_texts_of_alerts_name_only_labels_that_the_alert_has():
    for rule in rules("alert"):
        kept = re.findall(r"by \(([^)]*)\)", rule["expr"])
        # Without an aggregation all are there.
        there = set(kept[0].split(", ")) if kept and not rule["expr"].startswith(("up", "process", "changes", "service:", "operation:")) else None
        for label in re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())):
            assert there is None or label in there, f"{rule['alert']}: {label}"


def test_names_are_unique_and_each_rule_is_about_the_job():
    names = [rule.get("alert") or rule["record"] for group in RULES["groups"] for rule in group["rules"]]
    assert len(names) == len(set(names))
    for group in RULES["groups"]:
        for rule in group["rules"]:
            # The chart puts the release's job and namespace there.
            assert rule["expr"].count("{") == rule["expr"].count('{job="valetkey"'), rule


def test_no_alert_fires_because_something_is_absent():
    assert "absent" not in (MONITORING / "rules.yaml").read_text().split("groups:")[1]

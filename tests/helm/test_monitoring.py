"""Alerts and the dashboard in a cluster: those of monitoring/, for the release that brings them."""

import copy
import json

import pytest
import yaml
from chart import CHART, GONE, NAMESPACE, ROOT, Rendered, merged, render, values_of
from test_modes import with_text

RULES = yaml.safe_load((ROOT / "monitoring/rules.yaml").read_text())
DASHBOARD = (ROOT / "monitoring/dashboard.json").read_text()


def with_monitoring(**change) -> Rendered:
    """The set `monitoring` with other values of that name."""
    return render(merged(values_of("monitoring"), {"monitoring": change}))


def made_for(namespace: str, job: str) -> list[dict]:
    """The groups of the plain file, for a namespace and a job."""
    groups = copy.deepcopy(RULES["groups"])
    for group in groups:
        for rule in group["rules"]:
            assert 'job="valetkey"' in rule["expr"]
            rule["expr"] = rule["expr"].replace('job="valetkey"', f'namespace="{namespace}", job="{job}"')
    return groups


def test_neither_is_there_unless_asked_for():
    only = with_monitoring(rules={"enabled": False}, dashboards={"enabled": False})
    assert only.one("Service", "-metrics")
    assert only.all("PrometheusRule") == []
    assert [each for each in only.all("ConfigMap") if "valetkey.yaml" not in each["data"]] == []


def test_the_rules_are_those_of_the_plain_file_for_this_release():
    plain = with_monitoring(rules={"leaveOut": GONE, "alertLabels": GONE, "runbookUrl": GONE})
    assert plain.one("PrometheusRule")["spec"] == {"groups": made_for(NAMESPACE, "valetkey")}
    renamed = render(merged(values_of("monitoring"), {"nameOverride": "tokens", "monitoring": {"rules": {"leaveOut": GONE, "alertLabels": GONE, "runbookUrl": GONE}}}))
    assert renamed.one("PrometheusRule")["spec"] == {"groups": made_for(NAMESPACE, "tokens")}


def test_alerts_bear_the_values_labels_and_lead_to_their_runbook(rendered):
    found = rendered["monitoring"].one("PrometheusRule")
    assert found["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    alerts = {rule["alert"]: rule for group in found["spec"]["groups"] for rule in group["rules"] if "alert" in rule}
    there = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}
    assert there.keys() - alerts.keys() == {"ValetkeyRefreshInterrupted"}
    for name, alert in alerts.items():
        assert alert["labels"] == there[name]["labels"] | {"team": "identity"}
        assert alert["annotations"]["runbook_url"] == f"https://wiki.example.com/valetkey/operations#{name.lower()}"
        assert alert["annotations"]["description"] == there[name]["annotations"]["description"]


def test_a_label_of_the_values_never_takes_the_severitys_place():
    found = with_monitoring(rules={"alertLabels": {"severity": "none"}}).one("PrometheusRule")
    assert "none" not in {rule["labels"]["severity"] for group in found["spec"]["groups"] for rule in group["rules"] if "alert" in rule}


def test_grafanas_sidecar_finds_the_dashboard_as_it_is(rendered):
    found = rendered["monitoring"].one("ConfigMap", "-dashboard")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"]["grafana_folder"] == "Identity"
    ((name, text),) = found["data"].items()
    assert name == f"{NAMESPACE}-prod-valetkey.json"
    assert json.loads(text) == json.loads(DASHBOARD)
    assert len(text) < 500_000, "a ConfigMap has room for 1 MiB, and Helm's record of the release for as much, compressed"


def test_targets_have_no_label_that_hides_a_metrics_own(tmp_path):
    """The operator gives each target the Kubernetes Service's name as `service`: `valetkey_requests_total` would show its own as `exported_service`."""
    known = Rendered(with_text(tmp_path, 'Has "monitoring.coreos.com/v1"', 'Has "apps/v1"'), merged(values_of("monitoring"), {"monitoring": {"relabelings": [{"action": "labeldrop", "regex": "pod"}]}}))
    monitor = known.one("ServiceMonitor")["spec"]
    assert monitor["endpoints"][0]["relabelings"] == [{"action": "labeldrop", "regex": "service"}, {"action": "labeldrop", "regex": "pod"}]
    assert monitor["scrapeNativeHistograms"] is True
    assert monitor["scrapeProtocols"][0] == "PrometheusProto"


def test_an_operator_that_knows_no_native_histograms_is_told_of_none():
    monitor = with_monitoring(serviceMonitor="always", nativeHistograms=False).one("ServiceMonitor")["spec"]
    assert not {"scrapeNativeHistograms", "scrapeProtocols"} & monitor.keys()


@pytest.mark.parametrize("name", ["rules.yaml", "dashboard.json"])
def test_the_charts_copies_are_the_plain_files(name):
    assert (CHART / "monitoring" / name).read_bytes() == (ROOT / "monitoring" / name).read_bytes()

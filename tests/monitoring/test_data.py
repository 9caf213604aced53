"""A real Prometheus scrapes the real binary, which nobody has called yet, and each query returns data: every series is there from the start."""

import pytest
from queries import metrics, of_dashboard, of_rules, whole
from servers import fetched, prometheus, valetkey
from test_rules import promtool


@pytest.fixture(scope="module")
def admin(tmp_path_factory):
    """The admin port of a Valetkey."""
    with valetkey(tmp_path_factory.mktemp("valetkey") / "serving") as port:
        yield port


@pytest.fixture(scope="module", params=["classic", "native"])
def server(admin, tmp_path_factory, request):
    """A Prometheus that scrapes histograms by their buckets, and one that scrapes native ones and therefore no buckets."""
    features = ["native-histograms"] if request.param == "native" else []
    with prometheus(admin, tmp_path_factory.mktemp("prometheus") / request.param, *features) as running:
        yield running


def test_the_target_is_up(server):
    assert server.asked('up{job="valetkey"} == 1')


def test_each_query_returns_data(server):
    nothing = [query for query in dict.fromkeys(of_dashboard() + of_rules()) if not server.asked(query.expr)]
    # A histogram is there as buckets, or whole.
    lacking = sorted(metric for metric in set(map(whole, metrics())) if not server.asked(f'{{__name__=~"{metric}(_bucket)?"}}'))
    said = [f"{len(nothing)} queries return nothing:", *(f"  {query.where}: {' '.join(query.expr.split())}" for query in nothing), "No series has the name:", *(f"  {metric}" for metric in lacking)]
    assert not nothing, "\n".join(said)


def test_prometheus_evaluates_each_rule_and_no_alert_fires(server):
    for group in server.groups():
        for rule in group["rules"]:
            assert rule["health"] == "ok", f"{rule['name']}: {rule.get('lastError')}"
            assert rule.get("state", "inactive") == "inactive", rule["name"]


def test_promtool_takes_the_metrics(admin):
    promtool("check", "metrics", given=fetched(f"http://127.0.0.1:{admin}/metrics", Accept="text/plain; version=0.0.4"))

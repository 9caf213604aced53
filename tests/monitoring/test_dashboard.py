"""The dashboard is fresh, and Grafana and Prometheus can read it."""

import re
import subprocess
import sys

import pytest
import yaml
from queries import DASHBOARD, ROOT, of_dashboard, of_rules, panels
from test_rules import promtool

PANELS = panels()


def test_it_is_what_the_script_makes():
    done = subprocess.run([sys.executable, ROOT / "scripts/dashboard.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_each_query_can_be_parsed(rules_made):
    queries = [query.expr for query in of_dashboard() + of_rules() if "[" not in query.expr[-5:]]
    groups = [{"name": "all", "rules": [{"record": f"query:{at}", "expr": expr} for at, expr in enumerate(queries)]}]
    promtool("check", "rules", rules_made("parsed.yaml", yaml.safe_dump({"groups": groups})))


def test_a_query_that_is_none_is_seen(rules_made):
    with pytest.raises(AssertionError, match="parse"):
        promtool("check", "rules", rules_made("wrong.yaml", yaml.safe_dump({"groups": [{"name": "all", "rules": [{"record": "x", "expr": "sum(rate(x[5m])"}]}]})))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_each_panel_says_what_it_shows_and_asks_the_chosen_source(panel):
    assert panel["title"] and panel["description"]
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        # What is chosen above the panels holds in all of them.
        assert re.search(r'namespace=~"\$namespace"', target["expr"]), target["expr"]
        named = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
        kept = re.findall(r"(?:sum|count|max) by \(([^)]*)\)", target["expr"])
        assert not kept or set(named) <= set(kept[0].split(", ")), f"{named} of {kept[0]}"
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_panels_have_their_own_place():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_its_variables_are_the_source_the_namespace_and_the_service():
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "namespace", "service"]
    for name in ("namespace", "service"):
        # All, also where no series has the label: outside of Kubernetes there are no namespaces.
        assert variables[name]["allValue"] == ".*" and variables[name]["current"]["value"] == ["$__all"]
    used = set(re.findall(r"\$(\w+)", str([target["expr"] for panel in PANELS for target in panel["targets"]])))
    assert used == {"namespace", "service", "__rate_interval", "__range"}

"""Every query of the dashboard and of the rules."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
MONITORING = ROOT / "monitoring"
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
RULES = yaml.safe_load((MONITORING / "rules.yaml").read_text())
# What Grafana puts in: no namespaces are chosen, and no services.
FILLED = {"$namespace": ".*", "$service": ".*", "$__rate_interval": "1m", "$__range": "6h"}
# A metric with its matchers, and a window where it has one.
SELECTOR = re.compile(r"([a-zA-Z_][\w:]*)(\{[^}]*\})(\[\w+\])?")


@dataclass(frozen=True)
class Query:
    """A query, and where it stands."""

    where: str
    expr: str


def panels() -> list[dict]:
    """The dashboard's panels without its rows' titles."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def rules(kind: str) -> list[dict]:
    """The rules of a kind: `alert` or `record`."""
    return [rule for group in RULES["groups"] for rule in group["rules"] if kind in rule]


def filled(expr: str) -> str:
    """A panel's query as Grafana sends it."""
    for name, value in FILLED.items():
        expr = expr.replace(name, value)
    return expr


def of_dashboard() -> list[Query]:
    """The queries of panels and of variables."""
    found = [Query(f"panel {panel['title']}, {target['refId']}", filled(target["expr"])) for panel in panels() for target in panel["targets"]]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            metric = re.fullmatch(r"label_values\((.*), \w+\)", variable["definition"])[1]
            found.append(Query(f"variable {variable['name']}", filled(metric)))
    return found


def of_rules() -> list[Query]:
    """What rules record; of alerts, which return nothing while all is well, each series that they are made of."""
    found = [Query(f"record {rule['record']}", rule["expr"]) for rule in rules("record")]
    for rule in rules("alert"):
        found += [Query(f"alert {rule['alert']}", match[0]) for match in SELECTOR.finditer(rule["expr"])]
    return found


def metrics() -> dict[str, str]:
    """The metrics that are asked for, as a scrape has them, and where; without what rules record and what Prometheus itself adds."""
    asked = of_dashboard() + of_rules()
    return {match[1]: query.where for query in asked for match in re.finditer(r"\b((?:valetkey|process)_\w+)\b", re.sub(r"\w+:\w+:\w+", "", query.expr))}


def whole(metric: str) -> str:
    """The histogram that a series is a part of, or the metric itself."""
    return re.sub(r"_(bucket|count|sum)$", "", metric)

#!/usr/bin/env python3
"""Makes monitoring/dashboard.json, the Grafana dashboard, from the rows and panels below. `--check` only says whether it is stale. Needs nothing but
Python.

A panel is a title, a sentence for whoever reads it, and queries with their legends. Queries are written for the dashboard's variables: `$namespace`,
which outside of Kubernetes is nothing and stands for all, and `$service`. Gauges that every replica tells of the same thing are taken by `max`.
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "monitoring/dashboard.json"
# Grafana's grid: so many columns; a row's panels share them.
COLUMNS, HEIGHT, STAT_HEIGHT = 24, 8, 4
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
IN_NAMESPACE = 'namespace=~"$namespace"'
STAGES = ["offered", "opened", "initiated", "authorized", "completed"]


@dataclass
class Panel:
    """One panel. `queries` are (PromQL, legend); `limits` are the values from which it is yellow and red."""

    title: str
    says: str
    queries: list[tuple[str, str]]
    unit: str = "short"
    kind: str = "timeseries"
    stacked: bool = False
    limits: list[float] = field(default_factory=list)
    exemplars: bool = False
    # Of one moment, not over time.
    instant: bool = False
    mappings: list[dict] = field(default_factory=list)
    most: float | None = None


def selected(metric: str, *matchers: str) -> str:
    """A metric with what must hold of its labels."""
    return metric + "{" + ", ".join(matchers) + "}"


def service(metric: str, *more: str) -> str:
    """A metric that has the label `service`, of the services that are looked at."""
    return selected(metric, IN_NAMESPACE, 'service=~"$service"', *more)


def process(metric: str, *more: str) -> str:
    """A metric that has no service."""
    return selected(metric, IN_NAMESPACE, *more)


def ours(metric: str) -> str:
    """A metric whose name others have, too: of Valetkey's processes."""
    return f"({process(metric)} and on (namespace, job, instance) {process('valetkey_build_info')})"


def summed(of: str, by: str = "") -> str:
    """A sum over replicas, and over all labels but these."""
    return f"sum by ({by}) ({of})" if by else f"sum({of})"


def rate(of: str, by: str = "") -> str:
    """How often a second."""
    return summed(f"rate({of}[$__rate_interval])", by)


def increase(of: str, window: str = "$__range", by: str = "") -> str:
    """How many within a time; within that which is looked at, where none is named."""
    return summed(f"increase({of}[{window}])", by)


def told_alike(of: str, by: str) -> str:
    """A gauge that every replica tells of the same thing, once; `by` are its own labels."""
    return f"max by (namespace, {by}) ({of})"


def share(part: str, whole: str) -> str:
    """A part of a whole, from 0 to 1."""
    return f"{part} / {whole}"


def quantile(of: float, metric: str, by: str = "", select=service) -> str:
    """A quantile of a histogram: of a native one where it is scraped so, else of its buckets."""
    native = f"histogram_quantile({of}, {rate(select(metric), by)})"
    classic = f"histogram_quantile({of}, {rate(select(metric + '_bucket'), ', '.join(filter(None, [by, 'le'])))})"
    return f"{native} or {classic}"


def counted(metric: str, by: str, select=service) -> str:
    """How many values a second a histogram of either kind got."""
    return f"histogram_count({rate(select(metric), by)}) or {rate(select(metric + '_count'), by)}"


def p50_p99(metric: str, by: str = "", select=service) -> list[tuple[str, str]]:
    """Both quantiles that the dashboard shows."""
    named = f"{{{{{by}}}}} " if by else ""
    return [(quantile(of, metric, by, select), f"{named}{name}") for of, name in ((0.5, "p50"), (0.99, "p99"))]


def stage(name: str) -> str:
    """How many attempts to connect have reached a stage."""
    return increase(connect(name))


def connect(outcome: str) -> str:
    """Attempts to connect."""
    return service("valetkey_connect_total", f'outcome="{outcome}"')


def refreshes(outcome: str) -> str:
    """Refreshes that ended so."""
    return service("valetkey_refreshes_total", f'outcome=~"{outcome}"')


REQUESTS = "valetkey_requests_total"
OWN_FAILURES = 'outcome=~"unavailable|error|refresh_failed"'
UPSTREAM_FAILURES = 'outcome=~"upstream_unreachable|upstream_timeout"'

ROWS: list[tuple[str, list[Panel]]] = [
    ("At a glance", [
        Panel("Replicas", "How many are scraped, by version. Two versions: a rollout.", [(f"count by (version) ({process('valetkey_build_info')})", "{{version}}")], kind="stat", instant=True),
        Panel("Calls", "Calls a second, to all chosen services.", [(rate(service(REQUESTS)), "calls")], "reqps", "stat"),
        Panel("Failed here", "Share of calls that ended with `unavailable`, `error` or `refresh_failed`.", [(share(rate(service(REQUESTS, OWN_FAILURES)), rate(service(REQUESTS))), "failed")], "percentunit", "stat", limits=[0.01, 0.05]),
        Panel("Overhead, p99", "Valetkey's own time.", [(quantile(0.99, "valetkey_overhead_seconds"), "p99")], "s", "stat", limits=[0.05, 0.25]),
        Panel("Connections", "In the store, in every state.", [(summed(told_alike(service("valetkey_connections"), "service, state")), "connections")], kind="stat"),
        Panel("Got through connecting", "Of those who went to a provider in the time shown, how many came back connected.", [(share(stage("completed"), stage("initiated")), "completed")], "percentunit", "stat", instant=True),
    ]),
    ("Calls and errors", [
        Panel("Calls by outcome", "`answered` is by the upstream; all else is Valetkey's own answer (docs/ERRORS.md).", [(rate(service(REQUESTS), "outcome"), "{{outcome}}")], "reqps", stacked=True),
        Panel("Calls by service", "`-` stands for calls that reached none.", [(rate(service(REQUESTS), "service"), "{{service}}")], "reqps", stacked=True),
        Panel("Failures by side", "Who failed: Valetkey with its store and token endpoints, the way to the upstream, or the upstream by its own 5xx.", [
            (share(rate(service(REQUESTS, OWN_FAILURES)), rate(service(REQUESTS))), "Valetkey"),
            (share(rate(service(REQUESTS, UPSTREAM_FAILURES)), rate(service(REQUESTS))), "no answer of the upstream"),
            (share(rate(service(REQUESTS, 'outcome="answered"', 'code="5xx"')), rate(service(REQUESTS))), "5xx of the upstream"),
        ], "percentunit"),
        Panel("Callers refused", "JWTs that weren't believed, by reason.", [(rate(process("valetkey_caller_rejections_total"), "reason"), "{{reason}}")], "reqps", stacked=True),
        Panel("In flight", "Requests that are being served.", [(f"sum({process('valetkey_in_flight')})", "requests")]),
    ]),
    ("Time: Valetkey's own, and the upstream's", [
        Panel("Overhead", "What Valetkey adds to a call: its own time, without the upstream's.", p50_p99("valetkey_overhead_seconds", "service"), "s", exemplars=True),
        Panel("Upstream", "From the request's way out to the end of the answer.", p50_p99("valetkey_upstream_duration_seconds", "service"), "s", exemplars=True),
        Panel("Whole calls", "From a request's head to the end of its answer; downloads and event streams count whole.", p50_p99("valetkey_request_duration_seconds", "service"), "s"),
    ]),
    ("Who has to connect, and where people leave", [
        Panel("Calls without a connection", "Answers that carry a link: `auth_required`, or `additional_scopes_required`.", [(rate(service(REQUESTS, 'outcome=~"auth_required|additional_scopes_required"'), "service, outcome"), "{{service}} {{outcome}}")], "reqps"),
        Panel("Attempts by the stage that they reached", "offered: a link was made. opened. initiated: gone to the provider. authorized: came back with consent. completed: connected.", [(stage(name), name) for name in STAGES], kind="bargauge", instant=True),
        Panel("Share that goes on", "Of those who reached a stage, how many reached the next. The lowest bar is where people leave.", [(share(stage(after), stage(before)), f"{before} → {after}") for before, after in zip(STAGES, STAGES[1:])], "percentunit", "bargauge", instant=True, most=1),
        Panel("Completed, of those who went to the provider", "By service, over six hours.", [(share(increase(connect("completed"), "6h", "service"), increase(connect("initiated"), "6h", "service")), "{{service}}")], "percentunit"),
        Panel("Failed attempts", "Attempts to connect that came to another end, a second.", [(rate(connect("failed"), "service"), "{{service}}")], "cps"),
    ]),
    ("Refreshes", [
        Panel("Refreshes by outcome", "renewed; adopted from another replica; refused for good; failed for now; interrupted.", [(rate(service("valetkey_refreshes_total"), "outcome"), "{{outcome}}")], "cps", stacked=True),
        Panel("Share that failed for now", "By service. Nobody loses a connection by that.", [(share(rate(refreshes("failed|interrupted"), "service"), rate(service("valetkey_refreshes_total"), "service")), "{{service}}")], "percentunit"),
        Panel("Refused for good", "Connections that a provider ended, in the hour before: these people connect again.", [(increase(refreshes("refused"), "1h", "service"), "{{service}}")]),
        Panel("Time of a refresh", "Until the new grant is stored.", p50_p99("valetkey_refresh_duration_seconds", "service"), "s"),
        Panel("Circuits", "Open: the token endpoint is asked now and then only.", [(f"max by (service) ({service('valetkey_circuit_open')})", "{{service}}")], kind="state-timeline", mappings=[{"type": "value", "options": {"0": {"text": "closed", "color": "green", "index": 0}, "1": {"text": "open", "color": "red", "index": 1}}}]),
        Panel("Wait for a lease", "How long a replica waits for another that renews the same token.", p50_p99("valetkey_lease_wait_seconds", select=process), "s"),
    ]),
    ("Store", [
        Panel("Latency, p99", "By operation.", [(quantile(0.99, "valetkey_store_operation_duration_seconds", "operation", process), "{{operation}}")], "s", limits=[0.1, 0.25]),
        Panel("Operations", "A second.", [(counted("valetkey_store_operation_duration_seconds", "operation", process), "{{operation}}")], "ops", stacked=True),
        Panel("Errors", "Operations that failed, a second.", [(rate(process("valetkey_store_errors_total")), "errors")], "ops"),
        Panel("Credentials in memory", "hit; miss: read or renewed; offline: served although the store is away.", [(rate(process("valetkey_credential_cache_total"), "outcome"), "{{outcome}}")], "ops", stacked=True),
    ]),
    ("Connections", [
        Panel("By state", "Of all chosen services.", [(summed(told_alike(service("valetkey_connections"), "service, state"), "state"), "{{state}}")], stacked=True),
        Panel("By service", "In every state.", [(summed(told_alike(service("valetkey_connections"), "service, state"), "service"), "{{service}}")], stacked=True),
        Panel("Expected to end", "By what is known of each provider's lifetimes; within 7 days has those within a day in it.", [(summed(told_alike(service("valetkey_connections_ending"), "service, within"), "service, within"), "{{service}} {{within}}")]),
        Panel("API keys in use", "Connections that rest on a key and not on OAuth.", [(summed(told_alike(service("valetkey_api_keys_in_use"), "service"), "service"), "{{service}}")]),
    ]),
    ("Alerts, notices, audit", [
        Panel("Alerts of Valetkey's own", "Raised and resolved, in the hour before.", [(increase(process("valetkey_alerts_total"), "1h", "outcome"), "{{outcome}}")]),
        Panel("Notices", "To operators and people, a second. `dead`: somebody wasn't told.", [(rate(process("valetkey_notifications_total"), "channel, outcome"), "{{channel}} {{outcome}}")], "cps"),
        Panel("Audit: lag", "How far the log is behind, at the replica that is farthest.", [(f"max({process('valetkey_audit_lag_seconds')})", "lag")], "s", limits=[120, 300]),
        Panel("Audit: dropped", "Frequent events that were counted and not written, in the hour before.", [(increase(process("valetkey_audit_dropped_total"), "1h"), "dropped")], limits=[1]),
    ]),
    ("Process", [
        Panel("Last reload", "Whether the configuration that was read last is in force, by replica.", [(process("valetkey_config_last_reload_successful"), "{{instance}}")], kind="state-timeline", mappings=[{"type": "value", "options": {"0": {"text": "refused", "color": "red", "index": 1}, "1": {"text": "in force", "color": "green", "index": 0}}}]),
        Panel("Configuration in force since", "How long ago it was loaded.", [(f"time() - {process('valetkey_config_last_reload_success_timestamp_seconds')}", "{{instance}}")], "s"),
        Panel("CPU", "Cores, by replica.", [(f"rate({process('process_cpu_seconds_total')}[$__rate_interval]) and on (namespace, job, instance) {process('valetkey_build_info')}", "{{instance}}")]),
        Panel("Memory", "Resident, by replica.", [(ours("process_resident_memory_bytes"), "{{instance}}")], "bytes"),
        Panel("File descriptors", "Open ones, as a share of those that the process may have.", [(share(ours("process_open_fds"), process("process_max_fds")), "{{instance}}")], "percentunit", limits=[0.6, 0.8]),
        Panel("Running since", "A saw is a process that starts again and again.", [(f"time() - {ours('process_start_time_seconds')}", "{{instance}}")], "s"),
    ]),
]


def steps(limits: list[float]) -> dict:
    """Thresholds: green, from the first limit on yellow, from the second on red; where there is one, red."""
    colours = ["red"] if len(limits) == 1 else ["yellow", "red"]
    return {"mode": "absolute", "steps": [{"color": "green", "value": None}, *({"color": colour, "value": limit} for colour, limit in zip(colours, limits))]}


def options(panel: Panel) -> tuple[dict, dict]:
    """What a kind of panel is told, and how its lines are drawn."""
    reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match panel.kind:
        case "timeseries":
            drawn = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 25 if panel.stacked else 5, "showPoints": "never", "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"}}
            if panel.limits:
                drawn["thresholdsStyle"] = {"mode": "dashed"}
            return {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}}, drawn
        case "stat":
            return {"reduceOptions": reduced, "colorMode": "value" if panel.limits else "none", "graphMode": "none" if panel.instant else "area", "textMode": "auto"}, {}
        case "bargauge":
            return {"reduceOptions": reduced, "orientation": "horizontal", "displayMode": "basic", "showUnfilled": True}, {}
        case "state-timeline":
            return {"showValue": "never", "mergeValues": True, "rowHeight": 0.8, "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}}, {"fillOpacity": 70, "lineWidth": 0}
    raise ValueError(panel.kind)


def target(panel: Panel, at: int, expr: str, legend: str) -> dict:
    """One query."""
    made = {"datasource": DATASOURCE, "expr": expr, "legendFormat": legend, "refId": chr(ord("A") + at), "editorMode": "code"}
    made |= {"instant": True, "range": False} if panel.instant else {"instant": False, "range": True}
    return made | ({"exemplar": True} if panel.exemplars else {})


def drawn(panel: Panel, number: int, place: dict) -> dict:
    """A panel as Grafana has it."""
    told, custom = options(panel)
    defaults = {"unit": panel.unit, "min": 0, "thresholds": steps(panel.limits), "custom": custom, "mappings": panel.mappings, "color": {"mode": "thresholds" if panel.kind in ("stat", "state-timeline") else "palette-classic"}}
    if panel.most is not None:
        defaults["max"] = panel.most
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": told,
        "targets": [target(panel, at, *query) for at, query in enumerate(panel.queries)],
    }


def laid_out() -> list[dict]:
    """All rows with their panels, side by side as far as there is room."""
    made, number, y = [], 0, 0
    for title, panels in ROWS:
        number += 1
        made.append({"id": number, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}})
        y += 1
        stats = all(panel.kind == "stat" for panel in panels)
        height, across = (STAT_HEIGHT, len(panels)) if stats else (HEIGHT, 2 if len(panels) in (2, 4) else 3)
        for first in range(0, len(panels), across):
            line = panels[first : first + across]
            for at, panel in enumerate(line):
                number += 1
                width = COLUMNS // len(line)
                made.append(drawn(panel, number, {"x": at * width, "y": y, "w": width, "h": height}))
            y += height
    return made


def variable(name: str, label: str, asked: str) -> dict:
    """A variable whose values are a label's; any number of them, and at first all, also where no series has the label."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": asked, "refId": name},
        "definition": asked,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def dashboard() -> dict:
    """The whole of it."""
    return {
        "uid": "valetkey",
        "title": "Valetkey",
        "description": "Calls, what Valetkey adds to them, and whether people are connected. Alerts and what to do: docs/OPERATIONS.md.",
        "tags": ["valetkey"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "annotations": {"list": []},
        "links": [],
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}, "refresh": 1},
                variable("namespace", "Namespace", "label_values(valetkey_build_info, namespace)"),
                variable("service", "Service", 'label_values(valetkey_requests_total{namespace=~"$namespace"}, service)'),
            ]
        },
        "panels": laid_out(),
    }


def main() -> int:
    """Writes, or checks."""
    text = json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"
    if FILE.exists() and FILE.read_text() == text:
        return 0
    if "--check" in sys.argv[1:]:
        print(f"{FILE.relative_to(ROOT)} is stale: run scripts/dashboard.py", file=sys.stderr)
        return 1
    FILE.write_text(text)
    print(f"made {FILE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

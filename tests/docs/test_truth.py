"""What pages say in lists is what the program has: providers, metrics, reasons of /readyz, lines of the log."""

import json
import os
import re

from pages import ROOT

DOCS = ROOT / "docs"
OPERATIONS = (DOCS / "OPERATIONS.md").read_text()
BEGIN, END = (f"<!-- made by tests/docs from `valetkey providers`: {word} -->\n" for word in ("begin", "end"))


def providers(valetkey) -> str:
    """The table of providers."""
    rows = ["", "| name | is | calls go to | scopes | calls whose scopes are known | ends grants at the vendor |", "| --- | --- | --- | --- | --: | --- |"]
    for name in json.loads(valetkey("providers", "--json")):
        it = json.loads(valetkey("providers", name))
        scopes = ", ".join(f"`{scope}`" for scope in it.get("scopes", []))
        address = f"`{it['base_url']}`" if "base_url" in it else "set `base_url`, or use a preset"
        ends = "yes" if "revoke_url" in it else "no"
        rows.append(f"| `{name}` | {it['title']} | {address} | {scopes} | {len(it.get('scope_rules', []))} | {ends} |")
    return "\n".join([*rows, "", ""])


def test_the_list_of_providers_is_what_there_is(valetkey):
    page = DOCS / "PROVIDERS.md"
    before, rest = page.read_text().split(BEGIN)
    listed, after = rest.split(END)
    if os.environ.get("UPDATE_DOCS"):
        page.write_text(before + BEGIN + providers(valetkey) + END + after)
        return
    assert listed == providers(valetkey), "UPDATE_DOCS=1 make test-docs writes it anew"


def test_every_metric_is_explained_and_no_other():
    source = (ROOT / "src/telemetry/metrics.rs").read_text()
    # The library adds how a counter and an info end.
    there = {f"valetkey_{name}" for name in re.findall(r'\.register\(\s*"([a-z_]+)"', source)}
    assert len(there) > 10
    table = OPERATIONS.split("### Metrics")[1].split("### ")[0]
    assert {bare(name) for name in re.findall(r"^\| `(valetkey_\w+)`", table, re.M)} == there
    # Those that alerts are made of are among them.
    assert {bare(name) for name in re.findall(r"\bvaletkey_[a-z_]+", OPERATIONS)} <= there


def bare(name: str) -> str:
    """A metric's name as it is registered."""
    return re.sub(r"_(total|info)$", "", name)


def test_every_label_of_a_metric_that_is_explained_is_one():
    labels = (ROOT / "src/telemetry/metrics/labels.rs").read_text()
    there = set(re.findall(r' = "([a-z_]+)"', labels))
    named = set(re.findall(r'outcome="([a-z_]+)"', OPERATIONS))
    assert named and named <= there
    for kind in ("RefreshOutcome", "ConnectOutcome", "NoticeChannel", "NoticeOutcome", "CacheOutcome"):
        block = re.search(rf"\b{kind} \{{(.*?)\n    \}}", labels, re.S)[1]
        for label in re.findall(r' = "([a-z_]+)"', block):
            assert f"`{label}`" in OPERATIONS, f"{kind}: {label}"


def test_every_reason_of_readyz_is_explained_and_no_other():
    health = (ROOT / "src/serve/health.rs").read_text()
    there = set(re.findall(r'\binsert\("(\w+)"', health))
    assert len(there) > 5
    table = OPERATIONS.split("What may stand in `detail`")[1].split("###")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == there


def test_log_lines_that_a_runbook_goes_by_are_written_so():
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    lines = [line for line in re.findall(r"`([a-z][A-Za-z_ ,:;.]{20,})`", OPERATIONS) if " " in line and "valetkey" not in line]
    assert len(lines) > 6
    for line in lines:
        assert line in source, line

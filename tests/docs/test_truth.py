"""What pages say in lists is what the program has: providers, metrics, reasons of /readyz, lines of the log."""

import json
import os
import re

from pages import ROOT

DOCS = ROOT / "docs"
OPERATIONS, OBSERVABILITY = ((DOCS / name).read_text() for name in ("OPERATIONS.md", "OBSERVABILITY.md"))
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
    room = ROOT / "src/telemetry/metrics"
    source = (room / "gather.rs").read_text() + (room / "process.rs").read_text().split("#[cfg(test)]")[0]
    there = set(re.findall(r'"((?:valetkey|process)_[a-z_]+)"', source))
    assert len(there) > 30
    tables = OBSERVABILITY.split("## Metrics")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`(?:valetkey|process)_[^|]*) \|", tables, re.M)
    assert {name for row in rows for name in re.findall(r"\w+", row)} == there
    # Those that alerts and runbooks go by are among them.
    histogram = re.compile(r"_(bucket|count|sum)$")
    named = re.findall(r"\bvaletkey_[a-z_]+", OPERATIONS + OBSERVABILITY)
    assert {name if name in there else histogram.sub("", name) for name in named} <= there


def test_every_label_of_a_metric_that_is_explained_is_one():
    labels = (ROOT / "src/telemetry/metrics/labels.rs").read_text()
    there = set(re.findall(r' = "([a-z_]+)"', labels))
    named = set(re.findall(r'outcome="([a-z_]+)"', OPERATIONS))
    assert named and named <= there
    kinds = set(re.findall(r"^    (\w+) \{$", labels, re.M)) - {"RequestOutcome"}
    assert len(kinds) > 7
    for kind in kinds:
        block = re.search(rf"\b{kind} \{{(.*?)\n    \}}", labels, re.S)[1]
        for label in re.findall(r' = "([a-z_]+)"', block):
            assert f"`{label}`" in OBSERVABILITY, f"{kind}: {label}"


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

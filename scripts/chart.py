#!/usr/bin/env python3
"""Makes what of the chart is made: README.md from the comments of values.yaml, of values.schema.json the part for
`config` from config/valetkey.schema.json, and copies of dashboard and rules, as a chart reads its own files only. `--check` only says whether something is stale. Needs nothing but Python."""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "helm/valetkey"
WHOLE = "Configuration"


def schema() -> str:
    """The values' schema with the configuration's definitions in it, in the dialect that every Helm reads."""
    values = json.loads((CHART / "values.schema.json").read_text())
    config = json.loads((ROOT / "config/valetkey.schema.json").read_text())
    definitions = config.pop("$defs")
    config.pop("$schema")
    # The chart writes the listeners (and says so where somebody else does), and a trial's store.
    config["properties"]["listeners"] = {}
    config["required"].remove("store")
    definitions = {WHOLE: config, **definitions}
    values["definitions"] = {name: draft_07(part) for name, part in definitions.items()}
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def draft_07(part):
    """Older versions of Helm know draft 7 only, in which nothing counts beside a `$ref`."""
    if isinstance(part, list):
        return [draft_07(each) for each in part]
    if not isinstance(part, dict):
        return part
    part = {key: draft_07(value) for key, value in part.items()}
    if isinstance(part.get("$ref"), str):
        part["$ref"] = part["$ref"].replace("#/$defs/", "#/definitions/")
    if "prefixItems" in part:
        part["items"] = part.pop("prefixItems")
    return part


def entries(text: str):
    """What values.yaml documents: ("section", title) and ("value", path, default, description)."""
    lines = text.splitlines()
    path: list[tuple[int, str]] = []
    described: list[str] | None = None
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if match := re.match(r"# == (.*)", line):
            yield "section", match[1]
        elif match := re.match(r"\s*# -- (.*)", line):
            described = [match[1]]
        elif described is not None and (match := re.match(r"\s*# (.*)", line)):
            described.append(match[1])
        elif match := re.match(r"\s*([A-Za-z]+):(?: (.*))?$", line):
            while path and path[-1][0] >= indent:
                path.pop()
            path.append((indent, match[1]))
            if described is not None:
                default = match[2] or block(lines[number + 1 :], indent)
                yield "value", ".".join(name for _, name in path), default, " ".join(described)
            described = None
        elif line.strip() == "":
            described = None


def block(lines: list[str], indent: int) -> str:
    """A default of several lines, as one."""
    inner = []
    for line in lines:
        if not line.strip() or len(line) - len(line.lstrip()) <= indent:
            break
        inner.append(line.strip())
    return "{ " + ", ".join(inner) + " }"


def readme() -> str:
    """The table of all values."""
    chart = dict(re.findall(r'^(\w+): "?([^"\n]*)"?$', (CHART / "Chart.yaml").read_text(), re.M))
    out = [
        "# The chart valetkey",
        "",
        chart["description"],
        "",
        f"Version {chart['version']}, for Valetkey {chart['appVersion']}, Kubernetes {chart['kubeVersion'].removesuffix('-0')}. How to use it, and what",
        "goes on in a cluster, is told in [docs/KUBERNETES.md](../../docs/KUBERNETES.md); [ci/](ci/) has whole value sets.",
        "",
        "This page is made from the comments of [values.yaml](values.yaml): `scripts/chart.py`.",
    ]
    for kind, *rest in entries((CHART / "values.yaml").read_text()):
        if kind == "section":
            out += ["", f"## {rest[0]}", "", "| value | default | meaning |", "| --- | --- | --- |"]
        else:
            path, default, description = rest
            out.append(f"| `{path}` | `{default}` | {description.replace('|', chr(92) + '|')} |")
    return "\n".join(out) + "\n"


def main() -> int:
    """Writes, or checks."""
    made = {CHART / "values.schema.json": schema(), CHART / "README.md": readme()}
    made |= {CHART / "monitoring" / name: (ROOT / "monitoring" / name).read_text() for name in ("dashboard.json", "rules.yaml")}
    stale = [file for file, text in made.items() if not file.exists() or file.read_text() != text]
    if "--check" in sys.argv[1:]:
        for file in stale:
            print(f"{file.relative_to(ROOT)} is stale: run scripts/chart.py", file=sys.stderr)
        return 1 if stale else 0
    for file in stale:
        file.parent.mkdir(exist_ok=True)
        file.write_text(made[file])
        print(f"made {file.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

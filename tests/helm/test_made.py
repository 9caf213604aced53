"""What is made of something else is fresh, and every value is documented and known to the schema."""

import json
import re
import subprocess
import sys

import yaml
from chart import CHART, ROOT

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DOCUMENTED = set(re.findall(r"^\| `([\w.]+)` \|", (CHART / "README.md").read_text(), re.M))


def leaves(part: dict, path: str = ""):
    """Every value, by its path; a map of the schema's that has no keys of its own is one value."""
    for key, value in part.items():
        at = f"{path}{key}"
        if value.get("type") == "object" and value.get("properties"):
            yield from leaves(value["properties"], f"{at}.")
        else:
            yield at


def test_readme_and_schema_are_fresh():
    done = subprocess.run([sys.executable, ROOT / "scripts/chart.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_value_of_the_schema_is_documented_and_has_a_default():
    for path in leaves(SCHEMA["properties"]):
        if path in ("global", "enabled"):
            continue
        # The probes' timings are told of in one line.
        assert path in DOCUMENTED or (path.startswith("probes.") and "probes" in DOCUMENTED), path
        if not path.startswith("probes."):
            value = VALUES
            for key in path.split("."):
                assert key in value, path
                value = value[key]


def test_every_documented_value_is_in_the_schema():
    for path in DOCUMENTED:
        part = SCHEMA
        for key in path.split("."):
            assert key in part.get("properties", {}), path
            part = part["properties"][key]


def test_nothing_in_the_templates_changes_from_one_rendering_to_the_next():
    for file in (CHART / "templates").rglob("*"):
        if file.is_file():
            found = re.search(r"\b(rand\w+|uuidv4|lookup|now|genCA|genSelfSigned\w*|genSignedCert|genPrivateKey|derivePassword|htpasswd)\b(?=[ )])", code(file.read_text()))
            assert not found, f"{file.name}: {found}"


def code(text: str) -> str:
    """What of a template is a template."""
    return "\n".join(re.findall(r"\{\{(?!-? ?/\*)(.*?)\}\}", text, re.S))


def test_the_chart_has_no_dependency():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert "dependencies" not in chart
    assert not (CHART / "charts").exists()


def test_the_versions_are_the_programs():
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == version

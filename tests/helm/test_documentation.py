"""The values in docs/KUBERNETES.md and docs/SIZING.md render, and the walk through a trial ends where it says, as far as no cluster is needed."""

import json
import re
import subprocess
import textwrap
import time
import urllib.error
import urllib.request

import pytest
import yaml
from chart import BINARY, ROOT, merged, render, render_in, values_of
from ports import free_ports
from test_sidecar import old


def blocks(page: str) -> dict[str, dict]:
    """The YAML of a page, by the file name in its first line."""
    found = re.findall(r"^( *)```yaml\n(.*?)^ *```$", (ROOT / page).read_text(), re.S | re.M)
    return {re.search(r"# ([\w.]+)", text)[1]: yaml.safe_load(textwrap.dedent(text)) for _, text in found}


BLOCKS = blocks("docs/KUBERNETES.md")
SIZING = blocks("docs/SIZING.md")


def test_trial_and_gateway_render_and_pass_valetkeys_check(stage):
    for name in ("trial.yaml", "gateway.yaml"):
        said = stage.check(render(BLOCKS[name]))
        assert (said["problems"], said["warnings"]) == ([], []), name


def test_the_sidecar_of_the_document_renders(charts, stage):
    rendered = render_in("app", BLOCKS["values.yaml"]["valetkey"], charts)
    assert stage.check(rendered)["ok"]


def test_jobs_before_1_29_end_as_the_document_says(charts):
    for name in ("job.yaml", "wrapped.yaml"):
        old(charts, quit=" ".join(BLOCKS[name]["command"]).replace('"', ""))


def test_the_way_of_secrets_renders(stage):
    assert stage.check(render(merged(values_of("minimum"), BLOCKS["secrets.yaml"])))["ok"]


def test_monitoring_renders_with_alerts_and_the_dashboard(stage):
    rendered = render(merged(BLOCKS["gateway.yaml"], BLOCKS["monitoring.yaml"]))
    assert stage.check(rendered)["ok"]
    assert rendered.one("PrometheusRule") and rendered.one("ConfigMap", "-dashboard")


@pytest.mark.parametrize("name", SIZING)
def test_the_values_of_the_sizing_guide_render_beside_a_gateways(stage, name):
    said = stage.check(render(merged(BLOCKS["gateway.yaml"], SIZING[name])))
    assert (said["problems"], said["warnings"]) == ([], [])


def test_the_walk_ends_with_a_link(stage):
    proxy, connect, admin = free_ports(3)
    ports = {"proxy": {"port": proxy}, "connect": {"port": connect}, "admin": {"port": admin}}
    config = stage.write(render(merged(BLOCKS["trial.yaml"], {"listen": ports})))
    serving = subprocess.Popen([BINARY, "serve", "--config", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ready = [BINARY, "health", "--address", f"127.0.0.1:{admin}"]
        assert any(subprocess.run(ready, capture_output=True).returncode == 0 or time.sleep(0.1) for _ in range(300))
        # As the pod of `helm test` asks.
        asked = subprocess.run([BINARY, "health", "--address", f"127.0.0.1:{proxy}", "--expect", "answering"], capture_output=True)
        assert asked.returncode == 0
        jwt = subprocess.run([BINARY, "mint", "--user", "ada", "--config", config], capture_output=True, text=True, check=True).stdout.strip()
        call = urllib.request.Request(f"http://127.0.0.1:{proxy}/proxy/github/user", headers={"Authorization": f"Bearer {jwt}"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(call, timeout=10)
        answer = json.load(refused.value)
        assert answer["status"] == "auth_required"
        assert answer["auth_url"].startswith("http://localhost:8081/connect/github?ticket=")
        page = answer["auth_url"].replace("localhost:8081", f"127.0.0.1:{connect}")
        assert urllib.request.urlopen(page, timeout=10).status == 200
    finally:
        serving.kill()
        serving.wait()

"""examples/kubernetes: the chart's values and the manifests beside them are right, and fit each other and the README's commands."""

import re
import subprocess

import kubernetes_validate
import pytest
import yaml
from chart import CHART, NEWEST, ROOT, Rendered, mounted_file, paths_in
from test_sets import PLAIN_REDIS

FOLDER = ROOT / "examples/kubernetes"
README = (FOLDER / "README.md").read_text()
VALUES = yaml.safe_load((FOLDER / "values.yaml").read_text())
MANIFESTS = {name: list(yaml.safe_load_all((FOLDER / name).read_text())) for name in ("redis.yaml", "app.yaml")}
# As `helm -n identity install valetkey` names them.
RELEASE, NAMESPACE = "valetkey", "identity"


@pytest.fixture(scope="module")
def release():
    """What the README installs."""
    return Rendered(CHART, VALUES, RELEASE, NAMESPACE)


def manifest(name: str, kind: str) -> dict:
    """The one object of a kind in a file."""
    (found,) = [each for each in MANIFESTS[name] if each["kind"] == kind]
    return found


def test_the_readme_installs_it_so():
    assert f"helm -n {NAMESPACE} install {RELEASE} ../../helm/valetkey --values values.yaml" in README
    assert all(f"--filename {name}" in README for name in MANIFESTS)


def test_valetkey_takes_the_configuration(release, stage):
    said = stage.check(release)
    assert said["problems"] == []
    # Redis is in the same namespace, and its NetworkPolicy lets nobody else in.
    assert [warning["message"] for warning in said["warnings"]] == [PLAIN_REDIS]


@pytest.mark.parametrize("version", NEWEST)
def test_kubernetes_takes_the_manifests(version, release):
    for each in [*release.objects, *(each for found in MANIFESTS.values() for each in found)]:
        kubernetes_validate.validate(each, version, strict=True)


def test_the_secret_of_the_readme_has_what_is_read(release):
    made = set(re.findall(r"--from-literal=([\w-]+)=", README))
    (spec, container) = release.valetkey_pods()[0]
    read = {mounted_file(spec, container, path)[1] for _, path in paths_in(release.config)}
    redis = manifest("redis.yaml", "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    read |= {each["valueFrom"]["secretKeyRef"]["key"] for each in redis["env"]}
    assert read == made
    assert f"create secret generic {VALUES['secrets']['main']['secretName']} " in README
    assert {each["valueFrom"]["secretKeyRef"]["name"] for each in redis["env"]} == {VALUES["secrets"]["main"]["secretName"]}


def test_the_application_reaches_valetkey(release):
    container = manifest("app.yaml", "Deployment")["spec"]["template"]["spec"]["containers"][0]
    (address,) = [each["value"] for each in container["env"] if each["name"] == "GITHUB_API_URL"]
    service = release.one("Service", ends=RELEASE)
    assert address == f"http://{service['metadata']['name']}.{NAMESPACE}.svc:{service['spec']['ports'][0]['port']}/proxy/github"
    # A namespace has its name as a label.
    (callers,) = VALUES["networkPolicy"]["callers"]
    namespace = manifest("app.yaml", "Namespace")["metadata"]["name"]
    assert callers == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    assert manifest("app.yaml", "Deployment")["metadata"]["namespace"] == namespace


def test_valetkey_and_nobody_else_reaches_redis(release):
    service = manifest("redis.yaml", "Service")
    assert service["metadata"]["namespace"] == NAMESPACE
    port = service["spec"]["ports"][0]["port"]
    assert release.config["store"]["redis"]["url"] == f"redis://{service['metadata']['name']}:{port}/0"
    policy = manifest("redis.yaml", "NetworkPolicy")["spec"]
    pod = manifest("redis.yaml", "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= pod.items() and service["spec"]["selector"].items() <= pod.items()
    ((rule,), labels) = policy["ingress"], release.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    (peer,) = rule["from"]
    assert peer["podSelector"]["matchLabels"].items() <= labels.items()
    assert rule["ports"] == [{"port": port}]
    # What the chart lets Valetkey's pods out to.
    out = [rule for rule in release.one("NetworkPolicy")["spec"]["egress"] if {"port": port, "protocol": "TCP"} in rule.get("ports", [])]
    assert out


def test_pods_are_restricted():
    for name, kind in [("redis.yaml", "StatefulSet"), ("app.yaml", "Deployment")]:
        spec = manifest(name, kind)["spec"]["template"]["spec"]
        assert spec["automountServiceAccountToken"] is False and spec["securityContext"]["runAsNonRoot"] is True
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def test_the_redis_of_the_manifest_starts(tmp_path):
    """Its command, as its shell runs it, with another folder and a free port."""
    container = manifest("redis.yaml", "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["sh", "-c"]
    (script,) = container["args"]
    socket = tmp_path / "redis.sock"
    script = f"{script.replace('/data', str(tmp_path))} --port 0 --unixsocket {socket}"
    password = "of-the-test"
    process = subprocess.Popen(["sh", "-c", script], env={"PATH": "/usr/bin:/bin", "REDIS_PASSWORD": password}, stdout=subprocess.PIPE, text=True)
    try:
        assert any("ready to accept connections" in line.lower() for line in process.stdout)
        probe = container["readinessProbe"]["exec"]["command"]
        assert probe[:2] == ["sh", "-c"]
        asked = ["sh", "-c", probe[2].replace("redis-cli", f"redis-cli -s {socket}")]
        assert subprocess.run(asked, env={"PATH": "/usr/bin:/bin", "REDISCLI_AUTH": password}).returncode == 0
        assert subprocess.run(asked, env={"PATH": "/usr/bin:/bin"}, stderr=subprocess.DEVNULL).returncode != 0
    finally:
        process.kill()
        process.wait()

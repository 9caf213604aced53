"""What holds for every value set: the engine, the linter, Kubernetes' schemas, Valetkey's own check, and the chart's promises."""

import re

import helm_python
import kubernetes_validate
import pytest
import yaml
from chart import CHART, INSIDE, NEWEST, SETS, assemble, mounted_file, parent_values, paths_in, render_set, values_of

# Kinds that Kubernetes itself knows; all else are custom resources.
BUILT_IN = re.compile(r"^(v1|apps/v1|batch/v1|autoscaling/v2|policy/v1|networking\.k8s\.io/v1)$")

pytestmark = pytest.mark.parametrize("name", SETS)


def test_the_names_are_known(name):
    """A set nobody asserts anything of would be decoration."""
    assert name in WARNINGS


def test_lint_has_nothing_to_say(name, charts):
    if name in INSIDE:
        report = helm_python.lint(assemble(INSIDE[name], charts), parent_values(values_of(name)), strict=True)
    else:
        report = helm_python.lint(CHART, values_of(name), strict=True)
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 1] == []


@pytest.mark.parametrize("version", NEWEST)
def test_kubernetes_takes_every_object(name, version, rendered):
    objects = [each for each in rendered[name].objects if BUILT_IN.match(each["apiVersion"])]
    assert objects
    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)


def test_the_oldest_kubernetes_of_the_chart_takes_every_object(name, rendered):
    """Native sidecars came with 1.29; before that, tests/helm/test_sidecar.py has the other form."""
    oldest = re.search(r">=(\d+\.\d+)", (CHART / "Chart.yaml").read_text())[1]
    for each in rendered[name].objects:
        if BUILT_IN.match(each["apiVersion"]):
            kubernetes_validate.validate(each, "1.29" if name == "sidecar" else oldest, strict=True)


def test_rendering_twice_gives_the_same_bytes(name, rendered, charts):
    assert render_set(name, charts).files == rendered[name].files


# What `check` warns of, and why that is meant.
TOKEN_IN_CLEAR = "The admin token crosses the network in clear here"
PLAIN_REDIS = "Plain `redis://` beyond this machine: its password and the sealed records can be read on the way"
WARNINGS = {name: [] for name in (
    "air-gapped", "cluster-dual-stack", "cluster-ipv6", "gitops", "high-availability", "minimum", "monitoring", "openshift", "routes",
    "sentinel", "sidecar", "subchart", "trial",
)} | {"trial-redis": [PLAIN_REDIS]}


def test_valetkey_takes_the_configuration(name, rendered, stage):
    said = stage.check(rendered[name])
    assert said["problems"] == []
    assert [warning["message"] for warning in said["warnings"]] == WARNINGS[name]


def test_every_file_of_the_configuration_is_mounted(name, rendered):
    pods = rendered[name].valetkey_pods()
    assert pods
    for spec, container in pods:
        for where, path in paths_in(rendered[name].config):
            secret = where.rsplit(".", 1)[1] in ("token_file", "secret_file", "password_file", "key_file", "client_secret_file")
            found = mounted_file(spec, container, path)
            assert found, f"{where}: {path}"
            assert found[0] == "secret" or not secret, where


def test_changes_arrive_without_a_restart(name, rendered):
    """Directories are swapped by the kubelet; a subPath never is, and a checksum in the pod would restart it."""
    for _, container in rendered[name].valetkey_pods():
        for mount in container["volumeMounts"]:
            assert "subPath" not in mount
    assert "checksum" not in yaml.safe_dump(rendered[name].objects)


def test_nothing_secret_is_in_a_config_map(name, rendered):
    for found in rendered[name].all("ConfigMap"):
        text = yaml.safe_dump(found)
        assert not re.search(r"(?<!_)\b(client_secret|password|secret|token):", text), text
        assert "PRIVATE KEY" not in text
    assert rendered[name].all("Secret") == []


def test_pods_are_restricted_without_a_fixed_user(name, rendered):
    """Pod Security `restricted`, and nothing that OpenShift's `restricted-v2` would refuse; a trial's volume needs a group."""
    for spec, container in rendered[name].valetkey_pods():
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["runAsNonRoot"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert "runAsUser" not in context
        if container["name"] == "valetkey" and name not in INSIDE:
            assert "runAsUser" not in spec["securityContext"]
            assert ("fsGroup" in spec["securityContext"]) == (name == "trial")
            assert spec["automountServiceAccountToken"] is False
        assert "hostNetwork" not in spec and "hostPID" not in spec and "hostIPC" not in spec
        assert not any("hostPath" in volume for volume in spec["volumes"])


def test_names_and_labels_have_a_length_that_kubernetes_takes(name, rendered):
    for found in rendered[name].objects:
        longest = 52 if found["kind"] in ("StatefulSet", "CronJob") else 63
        assert len(found["metadata"]["name"]) <= longest, found["metadata"]["name"]
        for value in found["metadata"].get("labels", {}).values():
            assert re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?", value) and len(value) <= 63, value
    names = [(found["kind"], found["metadata"]["name"]) for found in rendered[name].objects]
    assert len(names) == len(set(names))


def test_selectors_find_their_pods_and_no_others(name, rendered):
    pods = {}
    for found in rendered[name].objects:
        if found["kind"] in ("Deployment", "StatefulSet"):
            pods[found["kind"], found["metadata"]["name"]] = found["spec"]["template"]["metadata"]["labels"]
            assert found["spec"]["selector"]["matchLabels"].items() <= found["spec"]["template"]["metadata"]["labels"].items()
    for service in rendered[name].all("Service"):
        found = [labels for labels in pods.values() if service["spec"]["selector"].items() <= labels.items()]
        assert len(found) == 1, service["metadata"]["name"]


def test_each_service_leads_to_the_listener_that_it_is_named_after(name, rendered):
    listeners = {each["serves"][0]: int(each["address"].rsplit(":", 1)[1]) for each in rendered[name].config["listeners"]}
    roles = {"proxy": "proxy", "connect": "connect", "metrics": "admin"}
    for service in rendered[name].all("Service"):
        (port,) = service["spec"]["ports"]
        if port["name"] == "redis":
            continue
        _, container = rendered[name].valetkey_pods()[0]
        target = {each["name"]: each["containerPort"] for each in container["ports"]}[port["targetPort"]]
        assert target == listeners[roles[port["name"]]], port


def test_the_admin_port_is_in_no_service_but_prometheus_own(name, rendered):
    for service in rendered[name].all("Service"):
        headless = service["metadata"]["name"].endswith("-metrics")
        for port in service["spec"]["ports"]:
            assert (port["targetPort"] == "admin") == headless
        assert not headless or service["spec"]["clusterIP"] == "None"
    monitored = bool(rendered[name].config["listeners"][-1]["address"].startswith(("0.0.0.0", "[::]")))
    assert monitored == (name in ("gitops", "monitoring", "subchart"))


def test_the_proxy_is_reached_inside_the_cluster_only(name, rendered):
    for found in rendered[name].all("Ingress"):
        for rule in found["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                assert path["path"].startswith(("/connect", "/oauth", "/dashboard"))
                assert path["backend"]["service"]["port"] == {"name": "connect"}
    for service in rendered[name].all("Service"):
        assert service["spec"]["type"] == "ClusterIP"


def test_policies_keep_metadata_services_away(name, rendered):
    for found in rendered[name].all("NetworkPolicy"):
        for rule in found["spec"].get("egress", []):
            assert rule.get("to"), "a rule without peers reaches everything"
            for peer in rule["to"]:
                block = peer.get("ipBlock", {})
                if block.get("cidr") == "0.0.0.0/0":
                    assert "169.254.0.0/16" in block["except"]
                if block.get("cidr") == "::/0":
                    assert "fd00:ec2::254/128" in block["except"]


def test_a_drain_has_time_to_end(name, rendered):
    units = {"s": 1, "m": 60}
    shutdown = {"delay": "5s", "grace": "30s"} | rendered[name].config.get("shutdown", {})
    drain = sum(int(number) * units[unit] for text in shutdown.values() for number, unit in re.findall(r"(\d+)([sm])", text))
    for spec, container in rendered[name].valetkey_pods():
        assert spec["terminationGracePeriodSeconds"] >= drain + 5
        assert "preStop" not in container.get("lifecycle", {})

"""What each value set is for: the one thing that it shows, asserted."""

import ipaddress
import shutil
import tarfile
from pathlib import Path

import helm_python
import pytest
from chart import CHART, LONGEST_RELEASE, NAMESPACE, RELEASE, Rendered, assemble, merged, render, values_of


def ports(rule: dict) -> list[int]:
    """The ports of a policy's rule."""
    return [port["port"] for port in rule["ports"]]


def the_container(rendered):
    """The pod and container of the one workload."""
    pods = rendered.valetkey_pods()
    assert len(pods) == 1
    return pods[0]


def test_minimum_has_a_gateway_of_two_and_tells_what_to_register(rendered):
    minimum = rendered["minimum"]
    deployment = minimum.one("Deployment")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    budget = minimum.one("PodDisruptionBudget")["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    assert {each["topologyKey"] for each in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]} == {
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    }
    assert "https://connect.example.com/oauth/callback/github" in minimum.notes
    assert minimum.all("Ingress") == minimum.all("HTTPRoute") == minimum.all("ServiceMonitor") == []
    account = minimum.one("ServiceAccount")
    assert account["automountServiceAccountToken"] is False


def test_probes_tell_listening_from_ready(rendered):
    _, container = the_container(rendered["minimum"])
    expected = {name: container[f"{name}Probe"]["exec"]["command"] for name in ("startup", "readiness", "liveness")}
    asks = {name: command[command.index("--expect") + 1] for name, command in expected.items()}
    assert asks == {"startup": "listening", "readiness": "ready", "liveness": "listening"}
    assert all(command[command.index("--address") + 1] == "127.0.0.1:9090" for command in expected.values())


def test_listeners_have_one_role_each_and_admin_stays_on_loopback(rendered):
    assert rendered["minimum"].config["listeners"] == [
        {"address": "0.0.0.0:8080", "serves": ["proxy"]},
        {"address": "0.0.0.0:8081", "serves": ["connect"]},
        {"address": "127.0.0.1:9090", "serves": ["admin"]},
    ]


def test_the_configuration_is_passed_on_as_it_stands(rendered):
    given, made = values_of("high-availability")["config"], rendered["high-availability"].config
    assert {key: made[key] for key in given} == given
    assert made["connect"]["confirm"] is False, "what is false must not get lost"
    assert "credentials: 1000000" in rendered["high-availability"].config_text, "no 1e+06"


def test_the_test_pod_checks_the_configuration_and_asks_the_service(rendered):
    tests = [each for each in rendered["minimum"].objects if each["kind"] == "Pod"]
    assert [each["metadata"]["annotations"]["helm.sh/hook"] for each in tests] == ["test"]
    check, ask = tests[0]["spec"]["containers"]
    assert check["args"] == ["check", "--config", "/etc/valetkey/config/valetkey.yaml"]
    assert f"{RELEASE}-valetkey.{NAMESPACE}.svc:8080" in ask["args"]


def test_what_an_operator_says_of_the_security_context_counts():
    own = {"securityContext": {"readOnlyRootFilesystem": False, "runAsUser": 1000}, "podSecurityContext": {"runAsNonRoot": False, "fsGroup": 2000}}
    spec, container = the_container(render(merged(values_of("minimum"), own)))
    assert container["securityContext"].items() >= {"readOnlyRootFilesystem": False, "runAsUser": 1000, "allowPrivilegeEscalation": False}.items()
    assert spec["securityContext"] == {"runAsNonRoot": False, "fsGroup": 2000, "seccompProfile": {"type": "RuntimeDefault"}}


def test_the_packaged_chart_is_whole(tmp_path):
    package = helm_python.package(CHART, destination=tmp_path)
    assert Rendered(Path(package), values_of("minimum")).files == render(values_of("minimum")).files
    with tarfile.open(package) as archive:
        assert not [name for name in archive.getnames() if "/ci/" in name]


def test_trial_keeps_one_replica_and_a_volume(rendered):
    workload = rendered["trial"].one("StatefulSet")["spec"]
    assert workload["replicas"] == 1
    assert workload["volumeClaimTemplates"][0]["spec"]["accessModes"] == ["ReadWriteOnce"]
    spec, container = the_container(rendered["trial"])
    assert {"name": "data", "mountPath": "/var/lib/valetkey"} in container["volumeMounts"]
    assert rendered["trial"].config["store"] == {"embedded": {"path": "/var/lib/valetkey/valetkey.redb"}}
    assert spec["securityContext"]["fsGroup"] == 65532
    assert rendered["trial"].all("PodDisruptionBudget") == []


def test_trial_takes_a_claim_that_exists():
    workload = render(merged(values_of("trial"), {"trial": {"storage": {"existingClaim": "mine"}}})).one("StatefulSet")["spec"]
    assert "volumeClaimTemplates" not in workload
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "mine"}} in workload["template"]["spec"]["volumes"]


def test_trial_redis_is_named_so_and_open_to_valetkey_alone(rendered):
    trial = rendered["trial-redis"]
    assert trial.one("StatefulSet", "-trial-redis")["spec"]["replicas"] == 1
    assert trial.config["store"]["redis"] == {
        "url": f"redis://{RELEASE}-valetkey-trial-redis:6379/0",
        "password_file": "/etc/valetkey/secrets/redis/password",
    }
    policy = trial.one("NetworkPolicy", "-trial-redis")["spec"]
    assert policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "trial"
    container = trial.one("StatefulSet", "-trial-redis")["spec"]["template"]["spec"]["containers"][0]
    assert container["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "valetkey", "key": "redis-password"}
    assert "noeviction" in container["args"] and "$(REDIS_PASSWORD)" in container["args"]


def test_high_availability_leaves_the_number_to_the_autoscaler(rendered):
    many = rendered["high-availability"]
    assert "replicas" not in many.one("Deployment")["spec"]
    scaler = many.one("HorizontalPodAutoscaler")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 30)
    assert [metric["resource"]["name"] for metric in scaler["metrics"]] == ["cpu", "memory"]
    spec, _ = the_container(many)
    assert spec["terminationGracePeriodSeconds"] == 10 + 90 + 5 + 5
    assert spec["topologySpreadConstraints"][0]["labelSelector"] == many.one("Deployment")["spec"]["selector"]
    annotations = many.one("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["example.com/release"] == RELEASE
    assert "github-uploads" not in many.notes, "a service on another's connection has no callback of its own"


def test_sentinel_takes_every_secret_from_a_key_of_its_own(rendered):
    sentinel = rendered["sentinel"]
    spec, _ = the_container(sentinel)
    keys = {item["key"] for volume in spec["volumes"] if "secret" in volume for item in volume["secret"]["items"]}
    assert {"ADMIN_TOKEN", "VAULT_KEY_CURRENT", "REDIS_ACL_PASSWORD", "GITHUB_CLIENT_SECRET", "tls.key"} <= keys
    names, redis, upstreams = sentinel.one("NetworkPolicy")["spec"]["egress"]
    assert ports(names) == [53, 53, 5353, 5353]
    assert ports(redis) == [26379, 6379]
    assert redis["to"] == values_of("sentinel")["networkPolicy"]["redis"]
    assert ports(upstreams) == [443, 465, 8443, 9443]


@pytest.mark.parametrize(("name", "families"), [("cluster-ipv6", ["IPv6"]), ("cluster-dual-stack", ["IPv4", "IPv6"])])
def test_cluster_sets_listen_on_every_family(name, families, rendered):
    cluster = rendered[name]
    listeners = [ipaddress.ip_address(each["address"].rsplit(":", 1)[0].strip("[]")) for each in cluster.config["listeners"]]
    assert [str(address) for address in listeners[:2]] == ["::", "::"]
    assert listeners[2].is_loopback
    assert listeners[2].version == (6 if families == ["IPv6"] else 4)
    for service in cluster.all("Service"):
        assert service["spec"]["ipFamilies"] == families
    assert ports(cluster.one("NetworkPolicy")["spec"]["egress"][1]) == [6379, 6380]


def test_gitops_renders_templates_in_annotations_and_extra_objects(rendered):
    gitops = rendered["gitops"]
    external = gitops.one("ExternalSecret")
    assert external["metadata"]["name"] == f"{RELEASE}-valetkey"
    assert external["spec"]["target"]["name"] == f"{RELEASE}-secrets"
    spec, container = the_container(gitops)
    assert next(volume for volume in spec["volumes"] if "secret" in volume)["secret"]["secretName"] == f"{RELEASE}-secrets"
    assert gitops.one("ConfigMap", "-note")["data"]["where"] == "https://connect.example.com"
    account = gitops.one("ServiceAccount")
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].endswith(f"role/{RELEASE}")
    assert account["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] == f"{NAMESPACE}/{RELEASE}"
    assert account["metadata"]["labels"]["team"] == "platform"
    token = next(volume for volume in spec["volumes"] if "projected" in volume)["projected"]["sources"][0]["serviceAccountToken"]
    assert token == {"path": "vault", "audience": "vault.example.com", "expirationSeconds": 1800}
    assert any(mount["mountPath"] == "/var/run/secrets/valetkey" for mount in container["volumeMounts"])
    assert gitops.one("ServiceMonitor")


def test_openshift_names_no_user_and_no_group():
    for name in ("openshift", "trial", "trial-redis"):
        given = merged(values_of(name), {"trial": {"fsGroup": None}})
        for spec in render(given).pods():
            for context in [spec["securityContext"]] + [each["securityContext"] for each in spec["containers"]]:
                assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(context), name


def test_openshift_is_known_by_its_api(tmp_path):
    """The group is left out by itself where the cluster says that it is OpenShift; any API that this engine knows stands for it."""
    chart = with_text(tmp_path, "security.openshift.io/v1", "apps/v1")
    for spec, _ in Rendered(chart, values_of("trial")).valetkey_pods():
        assert "fsGroup" not in spec["securityContext"]


def test_routes_expose_what_browsers_need_and_nothing_else(rendered):
    routes = rendered["routes"]
    route = routes.one("HTTPRoute")["spec"]
    assert route["hostnames"] == ["connect.example.com"]
    assert [match["path"]["value"] for rule in route["rules"] for match in rule["matches"]] == ["/connect", "/oauth", "/dashboard"]
    assert {ref["name"] for rule in route["rules"] for ref in rule["backendRefs"]} == {f"{RELEASE}-valetkey-connect"}
    ingress = routes.one("Ingress")
    assert ingress["spec"]["tls"] == [{"hosts": ["connect.example.com"], "secretName": f"{RELEASE}-valetkey-connect-tls"}]
    assert ingress["metadata"]["annotations"] == {"cert-manager.io/cluster-issuer": "letsencrypt", "example.com/for": RELEASE}
    assert routes.config["listeners"][0]["tls"]["key_file"] == "/etc/valetkey/secrets/proxy-tls/tls.key"
    assert routes.one("Service", f"{RELEASE}-valetkey")["spec"]["ports"][0]["appProtocol"] == "https"
    # The test pod speaks no TLS: it checks the configuration only.
    assert [[each["name"] for each in spec["containers"]] for spec in routes.pods() if spec.get("restartPolicy") == "Never"] == [["check"]]


def test_a_public_url_with_a_path_is_rewritten_by_the_route():
    values = merged(values_of("routes"), {"ingress": {"enabled": False}, "config": {"public_url": "https://example.com/keys/"}})
    rules = render(values).one("HTTPRoute")["spec"]["rules"]
    assert rules[1]["matches"][0]["path"]["value"] == "/keys/oauth"
    assert rules[1]["filters"][0]["urlRewrite"]["path"] == {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/oauth"}


def test_air_gapped_pulls_from_its_own_registry_and_trusts_its_own_authority(rendered):
    gapped = rendered["air-gapped"]
    spec, container = the_container(gapped)
    assert container["image"].startswith("registry.internal.example:5000/mirror/valetkey@sha256:0123")
    assert spec["imagePullSecrets"] == [{"name": "mirror"}, {"name": "registry"}]
    authority = next(volume for volume in spec["volumes"] if volume["name"] == "valetkey-file-authorities")["configMap"]
    assert authority == {"name": "internal-authorities", "optional": False, "items": [{"key": "bundle.pem", "path": "ca.crt"}]}
    assert ports(gapped.one("NetworkPolicy")["spec"]["egress"][2]) == [443, 8443]
    for rule in gapped.one("NetworkPolicy")["spec"]["egress"]:
        assert all(peer.get("ipBlock", {}).get("cidr") not in ("0.0.0.0/0", "::/0") for peer in rule["to"])


def test_a_subchart_shares_what_is_global_and_cuts_long_names(rendered, charts):
    sub = rendered["subchart"]
    _, container = the_container(sub)
    assert container["image"] == "registry.example.com/valetkey:0.1.0"
    assert len(LONGEST_RELEASE) == 53
    full = values_of("subchart")["fullnameOverride"]
    assert len(full) == 63
    assert sub.one("Deployment")["metadata"]["name"] == full
    connect = sub.one("Ingress")["metadata"]["name"]
    assert len(connect) == 63 and connect.endswith("-connect") and connect != sub.one("Service", "-metrics")["metadata"]["name"]
    assert sub.one("Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] == connect


def test_long_names_that_begin_alike_stay_apart():
    full = values_of("subchart")["fullnameOverride"]
    names = [render(merged(values_of("minimum"), {"fullnameOverride": full[:-1] + end})).one("ConfigMap")["metadata"]["name"] for end in "xy"]
    assert len(set(names)) == 2


def test_a_dependency_that_is_switched_off_needs_no_values(charts):
    chart = assemble("umbrella", charts)
    off = Rendered(chart, {"valetkey": {"enabled": False}})
    assert [found["metadata"]["name"] for found in off.objects] == ["umbrella"]


def test_monitoring_waits_for_the_resource_that_it_needs(rendered, tmp_path):
    assert rendered["monitoring"].all("ServiceMonitor") == []
    known = Rendered(with_text(tmp_path, 'Has "monitoring.coreos.com/v1"', 'Has "apps/v1"'), values_of("monitoring"))
    monitor = known.one("ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    service = known.one("Service", "-metrics")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    others = [each for each in known.all("Service") if each is not service]
    assert not any(monitor["spec"]["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items() for each in others)
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    never = render(merged(values_of("gitops"), {"monitoring": {"serviceMonitor": "never"}}))
    assert never.all("ServiceMonitor") == []


def test_default_deny_leaves_open_what_is_needed(rendered):
    monitoring = rendered["monitoring"]
    assert monitoring.one("NetworkPolicy", "default-deny")["spec"]["podSelector"] == {}
    policy = monitoring.one("NetworkPolicy", "-valetkey")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    callers, browsers, prometheus = policy["ingress"]
    assert (ports(callers), ports(browsers), ports(prometheus)) == ([8080], [8081], [9090])
    assert callers["from"][1]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"
    assert prometheus["from"] == values_of("monitoring")["networkPolicy"]["monitoring"]
    test = next(each for each in monitoring.objects if each["kind"] == "NetworkPolicy" and each["metadata"]["name"].endswith("-test"))
    assert ports(test["spec"]["egress"][1]) == [8080]


def with_text(folder, old: str, new: str):
    """A copy of the chart in which another text stands: the engine's own list of APIs can't be changed."""
    chart = folder / "valetkey"
    shutil.copytree(CHART, chart)
    changed = 0
    for file in chart.glob("templates/*.yaml"):
        text = file.read_text()
        changed += text.count(old)
        file.write_text(text.replace(old, new))
    assert changed
    return chart


def test_pods_as_callers_bring_what_it_takes_to_fetch_the_cluster_s_keys(rendered):
    pods = {"kubernetes": {"audience": "valetkey", "service_accounts": ["jobs/nightly"]}}
    for name, callers, mounted in [
        ("minimum", [pods], True),
        ("minimum", [{"kubernetes": {**pods["kubernetes"], "jwks_url": "https://oidc.example.com/keys"}}], False),
        ("minimum", values_of("minimum")["config"]["callers"], False),
    ]:
        made = render(merged(values_of(name), {"config": {"callers": callers}}))
        spec, container = the_container(made)
        paths = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert ("/var/run/secrets/kubernetes.io/serviceaccount" in paths) is mounted
        sources = [source for volume in spec["volumes"] for source in volume.get("projected", {}).get("sources", [])]
        assert any("audience" not in source.get("serviceAccountToken", {"audience": ""}) for source in sources) is mounted
        assert any(source.get("configMap", {}).get("name") == "kube-root-ca.crt" for source in sources) is mounted
        egress = [port for rule in made.one("NetworkPolicy")["spec"]["egress"] for port in ports(rule)]
        # Policies see the API server's own port where a Service's address leads to it.
        assert (6443 in egress) is mounted
        assert spec["automountServiceAccountToken"] is False

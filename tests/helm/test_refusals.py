"""What the chart refuses, and that it says which key and why."""

import json

import helm_python
import pytest
from chart import CHART, GONE, ROOT, merged, render, values_of

SECRET = "hunter2-hunter2-hunter2-hunter2-hunter2"


def refusal(name: str, change: dict) -> str:
    """What Helm says of a value set with a change in it."""
    with pytest.raises(helm_python.HelmError) as refused:
        render(merged(values_of(name), change))
    return str(refused.value)


def ingress(**more) -> dict:
    """The values of an Ingress."""
    return {"ingress": {"enabled": True, **more}}


def route_to(port, kind: str = "Ingress") -> dict:
    """An object of the operator's own that leads to a port of the gateway."""
    backend = {"service": {"name": "prod-valetkey", "port": port}}
    return {"extraObjects": [{"apiVersion": "networking.k8s.io/v1", "kind": kind, "metadata": {"name": "x"}, "spec": {"defaultBackend": backend}}]}


REFUSED = {
    # A misspelt key, at every depth, the configuration's own included.
    "root": ("minimum", {"replicaCount": 3}, ["additional properties 'replicaCount' not allowed"]),
    "nested": ("minimum", {"ingress": {"enable": True}}, ["/ingress", "'enable' not allowed"]),
    "config": ("minimum", {"config": {"services": {"github": {"client_ids": "x"}}}}, ["/config/services/github", "'client_ids' not allowed"]),
    "config type": ("minimum", {"config": {"shutdown": {"delay": 5}}}, ["/config/shutdown/delay"]),
    "config missing": ("minimum", {"config": {"callers": GONE}}, ["missing property 'callers'"]),
    "no store": ("minimum", {"config": {"store": GONE}}, ["config.store is missing"]),
    "listeners": ("minimum", {"config": {"listeners": [{"address": "0.0.0.0:1", "serves": ["admin"]}]}}, ["config.listeners", "listen.proxy"]),
    # The embedded store is one process's.
    "embedded, replicas": ("minimum", {"replicas": 3, "config": {"store": {"redis": GONE, "embedded": {"path": "/x"}}}}, ["config.store.embedded", "3 replicas"]),
    "embedded, scaled": ("high-availability", {"config": {"store": {"redis": GONE, "embedded": {"path": "/x"}}}}, ["config.store.embedded", "up to 30 replicas"]),
    "embedded, sidecar": ("sidecar", {"config": {"store": {"redis": GONE, "embedded": {"path": "/x"}}}}, ["config.store.embedded", "lose it"]),
    "trial, replicas": ("trial", {"replicas": 2}, ["mode: trial has one replica"]),
    "trial, scaled": ("trial", {"autoscaling": {"enabled": True}}, ["mode: trial has one replica"]),
    # Secrets in a ConfigMap.
    "password in URL": ("minimum", {"config": {"store": {"redis": {"url": f"rediss://u:{SECRET}@redis:6379"}}}}, ["config.store.redis.url has a password", "password_file"]),
    "header": ("minimum", {"config": {"services": {"github": {"headers": {"X-Api-Key": SECRET}}}}}, ["config.services.github.headers.X-Api-Key"]),
    "looks like one": ("minimum", {"config": {"services": {"github": {"authorize_params": {"x": "ghp_" + SECRET}}}}}, ["config.services.github.authorize_params.x looks like a secret"]),
    "private key": ("minimum", {"config": {"callers": [{"issuer": "x", "audience": "a", "algorithms": ["RS256"], "public_key": "-----BEGIN PRIVATE KEY-----"}]}}, ["config.callers[0].public_key looks like a secret"]),
    "secret from a ConfigMap": ("minimum", {"files": {"all": {"configMapName": "x"}}, "config": {"admin": {"token_file": "/etc/valetkey/files/all/token"}}}, ["config.admin.token_file", "belongs into a Secret"]),
    # Files that nothing mounts.
    "file, elsewhere": ("minimum", {"config": {"admin": {"token_file": "/run/secrets/admin"}}}, ["config.admin.token_file", "nothing is mounted at /run/secrets/admin"]),
    "file, relative": ("minimum", {"config": {"admin": {"token_file": "secrets/admin"}}}, ["config.admin.token_file", "nothing is mounted"]),
    "file, no such entry": ("minimum", {"config": {"admin": {"token_file": "/etc/valetkey/secrets/mian/t"}}}, ["config.admin.token_file", "there: main"]),
    "file, no such key": ("sentinel", {"config": {"admin": {"token_file": "/etc/valetkey/secrets/admin/tok"}}}, ["secrets.admin.files has no file tok (but token)"]),
    "file of a listener": ("minimum", {"listen": {"proxy": {"tls": {"certificate_file": "/tls.crt", "key_file": "/tls.key"}}}}, ["listen.proxy.tls.certificate_file"]),
    # The admin port.
    "admin port": ("minimum", {"listen": {"connect": {"port": 9090}}}, ["listen: proxy (8080), connect (9090) and admin (9090)", "may be in no Ingress"]),
    "admin port by number": ("minimum", route_to({"number": 9090}), ["extraObjects[0] (Ingress)", "leads to the admin port"]),
    "admin port by name": ("minimum", route_to({"name": "metrics"}), ["extraObjects[0] (Ingress)", "leads to the admin port"]),
    "admin Service": ("monitoring", {"extraObjects": [{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "x"}, "spec": {"rules": [{"backendRefs": [{"name": "prod-valetkey-metrics", "port": 80}]}]}}]}, ["extraObjects[0] (HTTPRoute)", "leads to the admin port"]),
    "admin port, text": ("minimum", {"extraObjects": ["kind: ConfigMap\n---\nkind: VirtualService\nspec: {http: [{route: [{destination: {host: prod-valetkey.identity.svc, port: {number: 9090}}}]}]}"]}, ["extraObjects[0] (VirtualService)", "leads to the admin port"]),
    "admin port, node": ("minimum", {"extraObjects": [{"kind": "Service", "spec": {"type": "NodePort", "ports": [{"port": 80, "targetPort": 9090}]}}]}, ["extraObjects[0] (Service)", "leads to the admin port"]),
    # Grace periods.
    "grace": ("minimum", {"terminationGracePeriodSeconds": 39}, ["terminationGracePeriodSeconds: 39 is too short", "up to 40 seconds"]),
    "grace, long drain": ("high-availability", {"terminationGracePeriodSeconds": 60}, ["60 is too short", "up to 105 seconds"]),
    # Images.
    "tag and digest": ("air-gapped", {"image": {"tag": "1.0"}}, ["image.tag and image.digest are both set"]),
    "digest": ("air-gapped", {"image": {"digest": "sha256:12"}}, ["/image/digest"]),
    # The sidecar.
    "sidecar, everywhere": ("sidecar", {"sidecar": {"address": "0.0.0.0"}}, ["sidecar.address: 0.0.0.0 is not on loopback"]),
    "sidecar, IPv6": ("sidecar", {"sidecar": {"address": "::"}}, ["sidecar.address: :: is not on loopback"]),
    "sidecar, like loopback": ("sidecar", {"sidecar": {"address": "127.0.0.1.example.com"}}, ["is not on loopback"]),
    "sidecar, Ingress": ("sidecar", ingress(), ["ingress.enabled with mode: sidecar"]),
    "rules, unscraped": ("minimum", {"monitoring": {"rules": {"enabled": True}}}, ["monitoring.rules.enabled without monitoring.enabled"]),
    "dashboard, unscraped": ("minimum", {"monitoring": {"dashboards": {"enabled": True}}}, ["monitoring.dashboards.enabled without monitoring.enabled"]),
    "no such alert": ("monitoring", {"monitoring": {"rules": {"leaveOut": ["ValetkeyDwon"]}}}, ['there is no alert "ValetkeyDwon"', "ValetkeyDown"]),
    "runbook with its own anchor": ("monitoring", {"monitoring": {"rules": {"runbookUrl": "https://wiki.example.com/x#y"}}}, ["/monitoring/rules/runbookUrl"]),
    "sidecar, metrics": ("sidecar", {"monitoring": {"enabled": True}}, ["monitoring.enabled with mode: sidecar"]),
    # Routes.
    "Ingress /": ("minimum", ingress(paths=["/"]), ['ingress.paths: "/" is not for browsers']),
    "Ingress /proxy": ("minimum", ingress(paths=["/connect", "/proxy"]), ['ingress.paths: "/proxy" is not for browsers']),
    "Ingress /proxy/github": ("minimum", ingress(paths=["/proxy/github"]), ['"/proxy/github" is not for browsers']),
    "Ingress /connect-links": ("minimum", ingress(paths=["/connect-links"]), ['"/connect-links" is not for browsers']),
    "Ingress, pattern": ("minimum", ingress(paths=["/connect/.*|/proxy"]), ["is not for browsers"]),
    "HTTPRoute /": ("routes", {"httpRoute": {"paths": ["/"]}}, ['httpRoute.paths: "/" is not for browsers']),
    "HTTPRoute, nowhere": ("routes", {"httpRoute": {"parentRefs": []}}, ["httpRoute.parentRefs is empty"]),
    "Ingress, path in URL": ("minimum", {**ingress(), "config": {"public_url": "https://example.com/keys"}}, ["config.public_url has the path /keys"]),
    "public_url, variable": ("minimum", {"config": {"public_url": "${PUBLIC_URL}"}}, ["config.public_url must be written out"]),
    "proxy outside": ("minimum", {"service": {"type": "LoadBalancer"}}, ["'type' not allowed"]),
    # The metadata service.
    "metadata, wide": ("minimum", {"networkPolicy": {"upstreams": [{"ipBlock": {"cidr": "128.0.0.0/1", "except": ["10.0.0.0/8"]}}]}}, ["networkPolicy.upstreams: 128.0.0.0/1"]),
    "metadata, IPv6": ("minimum", {"networkPolicy": {"upstreams": [{"ipBlock": {"cidr": "::/0"}}]}}, ["networkPolicy.upstreams: ::/0"]),
    "metadata, further rule": ("minimum", {"networkPolicy": {"extraEgress": [{"ports": [{"port": 80}]}]}}, ["networkPolicy.extraEgress[0] has no `to`"]),
    "metadata, further peer": ("minimum", {"networkPolicy": {"extraEgress": [{"to": [{"ipBlock": {"cidr": "169.254.0.0/16"}}]}]}}, ["networkPolicy.extraEgress[0]: 169.254.0.0/16"]),
    "metadata": ("minimum", {"networkPolicy": {"upstreams": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}}, ["networkPolicy.upstreams", "metadata service"]),
    "metadata itself": ("minimum", {"networkPolicy": {"redis": [{"ipBlock": {"cidr": "169.254.169.254/32"}}]}}, ["networkPolicy.redis", "metadata service"]),
    "duration": ("minimum", {"config": {"shutdown": {"delay": "5 parsecs"}}}, ["/config/shutdown/delay"]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_is_refused_by_name(what):
    name, change, words = REFUSED[what]
    said = refusal(name, change)
    for word in words:
        assert word in said
    assert SECRET not in said


def secret_keys() -> list[str]:
    """Definitions of the configuration and their keys that can be given as `x` and as `x_file`; public keys aren't secret."""
    whole = json.loads((ROOT / "config/valetkey.schema.json").read_text())
    parts = whole["$defs"] | {"": whole}
    found = [f"{name}.{key}" for name, part in parts.items() for key in part.get("properties", {}) if f"{key}_file" in part["properties"]]
    return [each for each in found if not each.endswith(".public_key")]


# Where in a configuration each of them stands.
PLACES = {
    "Admin.token": ({"admin": {"token": SECRET}}, "config.admin.token"),
    "Admin.read_token": ({"admin": {"read_token": SECRET}}, "config.admin.read_token"),
    "Caller.secret": ({"callers": [{"issuer": "x", "audience": "a", "algorithms": ["HS256"], "secret": SECRET}]}, "config.callers[0].secret"),
    "Redis.password": ({"store": {"redis": {"password": SECRET}}}, "config.store.redis.password"),
    "VaultKey.key": ({"vault": {"keys": [{"id": "1", "key": SECRET}]}}, "config.vault.keys[0].key"),
    "Service.client_secret": ({"services": {"github": {"client_secret": SECRET}}}, "config.services.github.client_secret"),
    "Webhook.secret": ({"notifications": {"webhooks": [{"url": "https://x.example", "secret": SECRET}]}}, "config.notifications.webhooks[0].secret"),
    "Otlp.headers": ({"telemetry": {"otlp": {"endpoint": "https://x.example", "headers": {"x-whatever": SECRET}}}}, "config.telemetry.otlp.headers"),
    "Alerts.slack_webhook": ({"alerts": {"slack_webhook": SECRET}}, "config.alerts.slack_webhook"),
    "AlertWebhook.secret": ({"alerts": {"webhook": {"url": "https://x.example", "secret": SECRET}}}, "config.alerts.webhook.secret"),
    "AlertEmail.password": ({"alerts": {"email": {"to": ["a@b.example"], "smtp_url": "smtps://x.example", "from": "a@b.example", "password": SECRET}}}, "config.alerts.email.password"),
    "Email.password": ({"notifications": {"email": {"smtp_url": "smtps://x.example", "from": "a@b.example", "password": SECRET}}}, "config.notifications.email.password"),
}


@pytest.mark.parametrize("key", secret_keys())
def test_no_secret_of_the_configuration_may_stand_in_it(key):
    """A new one in the configuration fails here until it has its place."""
    change, path = PLACES[key]
    said = refusal("minimum", {"config": change})
    assert f"{path} would stand in a ConfigMap" in said and f"{path}_file" in said
    assert SECRET not in said
    variable = json.loads(json.dumps(change).replace(SECRET, "${SOME_SECRET}"))
    assert f"{path} would stand" in refusal("minimum", {"config": variable}), "an environment variable doesn't reload"


def test_what_only_sounds_secret_is_let_through():
    claims = [{"allow": {"claims": {"token": "x", "secret": "y"}}}]
    change = {"services": {"github": {"policy": claims, "scope_titles": {"token": "Read tokens"}, "authorize_params": {"prompt": "consent"}}}}
    assert render(merged(values_of("minimum"), {"config": change})).config["services"]["github"]["policy"] == claims


def test_what_only_looks_like_the_admin_port_is_let_through():
    """Another application's Ingress to a port of the same number, and blocks that leave the metadata service out."""
    other = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "x"}, "spec": {"defaultBackend": {"service": {"name": "prometheus", "port": {"number": 9090}}}}}
    blocks = [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}}, {"ipBlock": {"cidr": "169.254.20.10/32"}}, {"ipBlock": {"cidr": "170.0.0.0/8"}}]
    rendered = render(merged(values_of("minimum"), {"extraObjects": [other], "networkPolicy": {"upstreams": blocks}}))
    assert len(rendered.all("Ingress")) == 1


def test_the_schema_alone_refuses_misspelt_keys():
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(merged(values_of("minimum"), {"global": {"any": ["thing"]}, "enabled": True}))
        with pytest.raises(helm_python.HelmValuesError, match="'tags' not allowed"):
            chart.validate_schema(merged(values_of("minimum"), {"tags": {}}))

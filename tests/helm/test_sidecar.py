"""The template `valetkey.sidecar` in an application's chart, and that the real binary does what its probes rely on."""

import signal
import socket
import subprocess
import time
import urllib.request

import helm_python
import kubernetes_validate
import pytest
from chart import BINARY, GONE, NEWEST, merged, pod_of, render_in, values_of
from ports import free_ports

KINDS = ["Deployment", "StatefulSet", "Job", "CronJob"]
QUIT = "curl -fsS -X POST http://127.0.0.1:9090/quitquitquit"


def app(charts, change: dict | None = None, **of_the_app):
    """The application's chart, with values of the dependency and of its own."""
    return render_in("app", merged(values_of("sidecar"), change or {}), charts, beside=of_the_app)


def old(charts, change: dict | None = None, **of_the_app):
    """The same for a cluster before 1.29."""
    return app(charts, merged({"sidecar": {"native": False}}, change or {}), **({"quit": QUIT} | of_the_app))


@pytest.mark.parametrize("kind", KINDS)
def test_a_native_sidecar_comes_first_and_stays(kind, charts):
    spec = pod_of(app(charts).one(kind))
    first, own = spec["initContainers"]
    assert (first["name"], first["restartPolicy"]) == ("valetkey", "Always")
    assert own["name"] == "migrate", "the application's own init containers can call it, too"
    assert [each["name"] for each in spec["containers"]] == ["app"]
    assert "lifecycle" not in first and "ports" not in first
    asks = {name: first[f"{name}Probe"]["exec"]["command"] for name in ("startup", "readiness", "liveness")}
    expected = {name: command[command.index("--expect") + 1] for name, command in asks.items()}
    assert expected == {"startup": "listening", "readiness": "ready", "liveness": "listening"}
    assert spec["volumes"][0] == {"name": "data", "emptyDir": {}}, "the application's volumes stay"
    assert spec["containers"][0]["volumeMounts"] == [{"name": "data", "mountPath": "/data"}], "and no secret of Valetkey's is in its container"
    assert spec["securityContext"]["runAsUser"] == 1000


@pytest.mark.parametrize("kind", KINDS)
def test_before_1_29_the_application_waits_for_its_first_container(kind, charts):
    spec = pod_of(old(charts).one(kind))
    assert [each["name"] for each in spec["initContainers"]] == ["migrate"]
    first, own = spec["containers"]
    assert (first["name"], own["name"]) == ("valetkey", "app")
    assert first["lifecycle"]["postStart"]["exec"]["command"] == ["valetkey", "await", "--expect", "listening"]
    assert "restartPolicy" not in first


@pytest.mark.parametrize("change", [{"sidecar": {"native": False}}, {"sidecar": {"socket": "/run/valetkey/proxy.sock"}}, {"sidecar": {"native": False, "socket": "/run/valetkey/proxy.sock"}}])
def test_kubernetes_takes_every_kind_in_every_form(change, charts):
    for version in ["1.28", *NEWEST] if change["sidecar"].get("native") is False else NEWEST:
        for found in app(charts, change, quit=QUIT).objects:
            kubernetes_validate.validate(found, version, strict=True)


def test_a_job_before_1_29_must_say_that_it_is_done(charts):
    with pytest.raises(helm_python.HelmError, match="would never end.*curl -X POST http://127.0.0.1:9090/quitquitquit"):
        old(charts, quit="")


def test_a_job_before_1_29_may_have_valetkey_as_its_parent(charts):
    ours = "valetkey await --quit -- run-job"
    assert ours in str(pod_of(old(charts, quit=ours).one("Job"))["containers"])


def test_the_cluster_says_whether_sidecars_are_native(charts):
    """The engine stands for a newest cluster."""
    spec = pod_of(app(charts, {"sidecar": {"native": "auto"}}).one("Job"))
    assert spec["initContainers"][0]["name"] == "valetkey"


def test_only_loopback_is_listened_on(charts):
    assert [each["address"] for each in app(charts).config["listeners"]] == ["127.0.0.1:8080", "127.0.0.1:9090"]
    assert [each["serves"] for each in app(charts).config["listeners"]] == [["proxy"], ["admin"]]
    six = app(charts, {"sidecar": {"address": "::1", "connect": True}})
    assert [each["address"] for each in six.config["listeners"]] == ["[::1]:8080", "[::1]:9090"]
    assert six.config["listeners"][0]["serves"] == ["proxy", "connect"]
    url = pod_of(six.one("Deployment"))["containers"][0]["env"][0]["value"]
    assert url == "http://[::1]:8080/proxy/github"


def test_a_unix_socket_is_shared_with_the_application(charts, stage):
    unix = app(charts, {"sidecar": {"socket": "/run/valetkey/proxy.sock"}})
    assert stage.check(unix)["problems"] == []
    assert unix.config["listeners"][0] == {"unix": "/run/valetkey/proxy.sock", "mode": "0666", "serves": ["proxy"]}
    spec = pod_of(unix.one("Deployment"))
    volume = {"name": "valetkey-socket", "mountPath": "/run/valetkey"}
    assert volume in spec["initContainers"][0]["volumeMounts"] and volume in spec["containers"][0]["volumeMounts"]


def test_the_sidecar_installs_its_configuration_only(charts):
    kinds = sorted(found["kind"] for found in app(charts).objects if found["metadata"]["name"] != "app")
    assert kinds == ["ConfigMap"]


def test_drains_fit_the_pods_of_applications(charts):
    assert app(charts).config["shutdown"] == {"delay": "0s", "grace": "15s"}
    assert old(charts).config["shutdown"] == {"delay": "10s", "grace": "10s"}
    assert app(charts, {"config": {"shutdown": {"grace": "20s"}}}).config["shutdown"] == {"delay": "0s", "grace": "20s"}
    with pytest.raises(helm_python.HelmError, match="terminationGracePeriodSeconds: 19 of the pod is too short"):
        app(charts, gracePeriod=19)


def test_what_cannot_have_a_sidecar_is_told(charts):
    with pytest.raises(helm_python.HelmError, match="hostNetwork: true"):
        app(charts, hostNetwork=True)
    with pytest.raises(helm_python.HelmError, match="set valetkey.mode: sidecar"):
        app(charts, {"mode": "gateway"})


def test_readiness_without_redis_is_a_choice(charts):
    container = pod_of(app(charts, {"sidecar": {"readiness": "listening"}}).one("Deployment"))["initContainers"][0]
    command = container["readinessProbe"]["exec"]["command"]
    assert command[command.index("--expect") + 1] == "listening"


def test_the_binary_does_what_the_probes_rely_on(charts, stage):
    """Redis is away: the startup probe passes, or the application would never start; readiness waits; SIGTERM ends with 0, or Jobs would fail."""
    proxy, admin, nobody = free_ports(3)
    change = {
        "listen": {"proxy": {"port": proxy}, "admin": {"port": admin}},
        "config": {
            "store": {"redis": {"url": f"redis://127.0.0.1:{nobody}/0", "password_file": GONE}},
            "callers": [{"issuer": "dev", "audience": "valetkey", "algorithms": ["HS256"], "secret_file": "/etc/valetkey/secrets/main/caller"}],
        },
    }
    rendered = app(charts, change)
    container = pod_of(rendered.one("Job"))["initContainers"][0]
    process = subprocess.Popen([BINARY, "serve", "--config", stage.write(rendered)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # As the kubelet does: a probe, and another after a period.
        timing = container["startupProbe"]
        assert any(probe(container, "startup") == 0 or time.sleep(timing["periodSeconds"]) for _ in range(timing["failureThreshold"]))
        socket.create_connection(("127.0.0.1", proxy), timeout=5).close()
        assert probe(container, "liveness") == 0
        assert probe(container, "readiness") == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()


def test_the_binary_does_what_clusters_before_1_29_rely_on(charts, stage):
    """Redis is away: the hook that holds the application up ends, and the Job's last word ends the sidecar with 0, or the pod would go on or fail."""
    proxy, admin, nobody = free_ports(3)
    change = {
        "listen": {"proxy": {"port": proxy}, "admin": {"port": admin}},
        "config": {
            "store": {"redis": {"url": f"redis://127.0.0.1:{nobody}/0", "password_file": GONE}},
            "shutdown": {"delay": "0s"},
            "callers": [{"issuer": "dev", "audience": "valetkey", "algorithms": ["HS256"], "secret_file": "/etc/valetkey/secrets/main/caller"}],
        },
    }
    last_word = QUIT.replace("9090", str(admin))
    rendered = old(charts, change, quit=last_word)
    job = pod_of(rendered.one("Job"))["containers"]
    process = subprocess.Popen([BINARY, "serve", "--config", stage.write(rendered)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        hook = job[0]["lifecycle"]["postStart"]["exec"]["command"]
        assert hook[-1].endswith(str(admin))
        waited = subprocess.run([BINARY, *hook[1:]], capture_output=True, text=True, timeout=90)
        assert waited.returncode == 0, waited.stderr
        socket.create_connection(("127.0.0.1", proxy), timeout=5).close()
        assert last_word in job[1]["command"][-1]
        url = last_word.split()[-1]
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10) as answer:
            assert answer.status == 200
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()


def probe(container: dict, which: str) -> int:
    """The exit code of a probe's command."""
    command = container[f"{which}Probe"]["exec"]["command"]
    return subprocess.run([BINARY, *command[1:]], capture_output=True, timeout=30).returncode

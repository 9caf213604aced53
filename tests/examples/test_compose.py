"""docker-compose.yaml is a Compose file, its parts fit each other, and they work together as far as no container is needed."""

import json
import re

import pytest
import yaml
from compose_spec import PyCompose
from provider import CLIENT_SECRET
from walk import EXAMPLES, PYTHON, Place, blocks, commands, connect, listening

FOLDER = EXAMPLES / "compose"
TEXT = (FOLDER / "docker-compose.yaml").read_text()
COMPOSE = yaml.safe_load(TEXT)
CONFIG = yaml.safe_load((FOLDER / "valetkey.yaml").read_text())
README = blocks((FOLDER / "README.md").read_text())


def test_it_is_a_compose_file():
    # Compose replaces variables first.
    text = re.sub(r"\$\{\w+(?::[-?]([^}]*))?\}", lambda found: found[1] or "value", TEXT)
    assert set(PyCompose.from_yaml(text).service_names()) == {"valetkey", "redis", "app"}
    with pytest.raises(ValueError, match="heathcheck"):
        PyCompose.from_yaml(text.replace("healthcheck:", "heathcheck:", 1))


def test_each_name_in_it_is_defined():
    for name, service in COMPOSE["services"].items():
        assert set(service["networks"]) <= set(COMPOSE["networks"]), name
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"]), name
        assert set(service.get("depends_on", {})) <= set(COMPOSE["services"]), name
    build = COMPOSE["services"]["app"]["build"]
    copied = re.search(r"^COPY (.*) \./$", build["dockerfile_inline"], re.M)[1].split()
    assert all((FOLDER / build["context"] / file).exists() for file in copied)


def test_the_readme_makes_what_it_mounts_and_asks_for(tmp_path):
    first, second, up = commands(README[0])
    place = Place("compose", tmp_path, [])
    asked = {"GITHUB_CLIENT_ID": "an-id", "GITHUB_CLIENT_SECRET": CLIENT_SECRET, "VALETKEY_IMAGE": "registry.example.com/valetkey"}
    place.must(f"{first}\n{second}", **asked)
    for secret in COMPOSE["secrets"].values():
        file = place.folder / secret["file"]
        assert file.stat().st_size and file.stat().st_mode & 0o777 == 0o600, secret
    made = dict(line.split("=", 1) for line in (place.folder / ".env").read_text().splitlines())
    assert set(re.findall(r"\$\{(\w+)", TEXT)) == set(made)
    assert up == "docker compose up --detach --wait"


def test_what_may_reach_what():
    services = COMPOSE["services"]
    assert COMPOSE["networks"]["store"] == {"internal": True}
    assert [name for name, service in services.items() if "store" in service["networks"]] == ["valetkey", "redis"]
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:8081:8081", "127.0.0.1:5000:5000"]
    roles = {each["address"]: each["serves"] for each in CONFIG["listeners"]}
    assert roles == {"0.0.0.0:8080": ["proxy"], "0.0.0.0:8081": ["connect"], "127.0.0.1:9090": ["admin"]}
    assert services["app"]["environment"] == {"GITHUB_API_URL": "http://valetkey:8080/proxy/github"}
    # Longer than a drain by default.
    assert services["valetkey"]["stop_grace_period"] == "40s"


@pytest.fixture
def place(tmp_path):
    """The example with loopback in place of Compose's networks, and files in place of its secrets."""
    place = Place("compose", tmp_path, [8080, 8081, 9090, 6379, 5000])
    text = (place.folder / "valetkey.yaml").read_text()
    for there, here in [("0.0.0.0:", "127.0.0.1:"), ("redis:6379", "127.0.0.1:6379"), ("/run/secrets/", "secrets/")]:
        assert there in text
        text = text.replace(there, here)
    (place.folder / "valetkey.yaml").write_text(place.typed(text))
    place.must(commands(README[0])[0], GITHUB_CLIENT_SECRET=CLIENT_SECRET)
    yield place
    place.close()


def test_valetkey_takes_the_configuration(place):
    file = place.folder / "valetkey.yaml"
    file.write_text((FOLDER / "valetkey.yaml").read_text().replace("/run/secrets/", "secrets/"))
    said = json.loads(place.run("valetkey check --json --config valetkey.yaml", GITHUB_CLIENT_ID="an-id").stdout)
    assert said["problems"] == []
    # Its network leads nowhere else.
    assert [warning["path"] for warning in said["warnings"]] == ["store.redis.url"]


def test_the_parts_work_together(place, provider):
    redis, app = COMPOSE["services"]["redis"], COMPOSE["services"]["app"]
    port = place.ports[6379]
    place.start(f"exec {' '.join(redis['command'])} --port {port} --bind 127.0.0.1 --dir {place.folder.parent}")
    listening(port, place.running[0])
    file = place.folder / "valetkey.yaml"
    config = yaml.safe_load(file.read_text())
    config["services"]["github"].update(provider.service("github") | {"client_id": "${GITHUB_CLIENT_ID}"})
    file.write_text(yaml.safe_dump(config))
    place.start("exec valetkey serve --config valetkey.yaml", GITHUB_CLIENT_ID="an-id")
    listening(place.ports[8080], place.running[1])
    place.must("for i in {1..100}; do valetkey health --address 127.0.0.1:9090 && exit; sleep 0.1; done; exit 1")
    address = app["environment"]["GITHUB_API_URL"].replace("valetkey:", "127.0.0.1:")
    (serve,) = [line for line in app["build"]["dockerfile_inline"].splitlines() if line.startswith("CMD ")]
    arguments = json.loads(serve.removeprefix("CMD "))
    flask = [str(PYTHON), "-m", *arguments[:2], "--port", str(place.ports[5000])]
    at = EXAMPLES / "flask-pygithub"
    place.start(f"cd {at} && PYTHONDONTWRITEBYTECODE=1 GITHUB_API_URL={place.typed(address)} exec {' '.join(flask)}")
    listening(place.ports[5000], place.running[2])
    mint, call = commands(README[1])
    inside = mint.replace("docker compose exec valetkey ", "").replace("/etc/valetkey/", "")
    tries = f"{inside}\n{call}"
    refused = json.loads(place.must(tries, GITHUB_CLIENT_ID="an-id"))
    connect(refused["connect"])
    assert json.loads(place.must(tries, GITHUB_CLIENT_ID="an-id")) == ["octocat/hello-world", "octocat/of-the-second-page"]

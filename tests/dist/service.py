"""A configuration with one service, and calls of it as a person makes them."""

import json
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import yaml
from provider import CLIENT_SECRET, Provider
from walk import connect

PROXY = "http://127.0.0.1:8080"


class Service:
    """Two folders, `config` and `secrets`, as a ConfigMap and a Secret are mounted, readable by all."""

    def __init__(self, folder: Path, provider: Provider, store: str, secrets: str):
        self.config, self.secrets = folder / "config", folder / "secrets"
        config = {
            "public_url": PROXY,
            "listeners": [{"address": "127.0.0.1:8080", "serves": ["proxy", "connect"]}, {"address": "127.0.0.1:9090", "serves": ["admin"]}],
            "callers": [{"issuer": "dev", "audience": "valetkey", "secret_file": f"{secrets}/caller-secret", "algorithms": ["HS256"]}],
            "shutdown": {"delay": "0s"},
            "store": {"embedded": {"path": store}},
            "vault": {"keys": [{"id": "1", "key_file": f"{secrets}/vault-key"}]},
            "services": {"github": provider.service("github") | {"client_secret_file": f"{secrets}/github", "scopes": ["repo"]}},
        }
        self.config.mkdir(parents=True, exist_ok=True)
        self.secrets.mkdir(parents=True, exist_ok=True)
        (self.config / "valetkey.yaml").write_text(yaml.safe_dump(config))
        for name, text in {"vault-key": a_key(), "caller-secret": a_key(), "github": CLIENT_SECRET}.items():
            (self.secrets / name).write_text(text)


def a_key() -> str:
    """32 random bytes in base64."""
    return b64encode(secrets.token_bytes(32)).decode()


def ready(process: subprocess.Popen):
    """Waits until /readyz says so; fails at once when the process has ended."""
    for _ in range(600):
        assert process.poll() is None, f"it ended with {process.returncode}"
        try:
            with urllib.request.urlopen("http://127.0.0.1:9090/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("it never was ready")


def call(jwt: str) -> tuple[int, dict]:
    """A call of the service: status and answer."""
    request = urllib.request.Request(f"{PROXY}/proxy/github/user", headers={"Authorization": f"Bearer {jwt}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def a_connected_call(jwt: str, provider: Provider):
    """Call, link, consent, and the same call: now the provider has seen its own token, and never the JWT."""
    status, refused = call(jwt)
    assert (status, refused["status"]) == (401, "auth_required"), refused
    connect(refused["auth_url"])
    status, user = call(jwt)
    assert status == 200 and user["login"], user
    assert provider.calls and all(jwt not in presented for _, _, presented in provider.calls)

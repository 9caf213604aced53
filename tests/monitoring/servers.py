"""A Redis, a Valetkey and a Prometheus that scrapes it, on free ports of this machine."""

import base64
import contextlib
import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml
from ports import free_ports
from queries import MONITORING, ROOT

BINARY = Path(os.environ.get("VALETKEY", ROOT / "target/debug/valetkey")).resolve()
# Seconds that a server may take to start.
PATIENCE = 60


@contextlib.contextmanager
def running(arguments: list, log: Path):
    """Runs a program until the end of the block; its log is shown where it ended before."""
    with log.open("wb") as out:
        process = subprocess.Popen(arguments, stdout=out, stderr=out, cwd=log.parent)
    try:
        yield process
        assert process.poll() is None, f"{arguments[0]} ended with {process.returncode}:\n{log.read_text()[-4000:]}"
    finally:
        process.kill()
        process.wait()


def awaited(what: str, ask, process: subprocess.Popen, log: Path):
    """Asks until the answer is true, and gives it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if answer := ask():
                return answer
        assert process.poll() is None, f"it ended with {process.returncode}:\n{log.read_text()[-4000:]}"
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {PATIENCE} s:\n{log.read_text()[-4000:]}")


def fetched(url: str, **headers: str) -> str:
    """The body of an answer."""
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10).read().decode()


@contextlib.contextmanager
def valetkey(folder: Path):
    """A ready Valetkey with two services, that nobody has called yet; the port of its admin listener."""
    folder.mkdir(parents=True)
    redis, proxy, connect, admin = free_ports(4)
    for name, secret in {"vault": base64.b64encode(bytes(32)).decode(), "caller": "c" * 48, "client": "a-client-secret"}.items():
        (folder / name).write_text(secret)
        (folder / name).chmod(0o600)
    service = {"client_id": "a-client", "client_secret_file": str(folder / "client")}
    config = {
        "public_url": f"http://127.0.0.1:{connect}",
        "listeners": [{"address": f"127.0.0.1:{port}", "serves": [role]} for role, port in (("proxy", proxy), ("connect", connect), ("admin", admin))],
        "callers": [{"issuer": "tests", "audience": "valetkey", "secret_file": str(folder / "caller"), "algorithms": ["HS256"]}],
        "store": {"redis": {"url": f"redis://127.0.0.1:{redis}/0"}},
        "vault": {"keys": [{"id": "1", "key_file": str(folder / "vault")}]},
        "services": {"github": service | {"scopes": ["repo"]}, "slack": service},
    }
    file = folder / "valetkey.yaml"
    file.write_text(yaml.safe_dump(config))
    store = ["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with running(store, folder / "redis.log"), running([BINARY, "serve", "--config", file], folder / "valetkey.log") as process:
        awaited("Valetkey is ready", lambda: fetched(f"http://127.0.0.1:{admin}/readyz"), process, folder / "valetkey.log")
        yield admin


class Prometheus:
    """A running Prometheus that scrapes one Valetkey each second, and knows the rules."""

    def __init__(self, port: int):
        self.root = f"http://127.0.0.1:{port}"
        self.url = f"{self.root}/api/v1"

    def asked(self, expr: str) -> list:
        """What a query returns."""
        try:
            answer = json.loads(fetched(f"{self.url}/query?{urllib.parse.urlencode({'query': expr})}"))
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{expr}: {refused.read().decode()}") from None
        return answer["data"]["result"]

    def groups(self) -> list[dict]:
        """The groups of rules with their state."""
        return json.loads(fetched(f"{self.url}/rules"))["data"]["groups"]

    def settled(self) -> bool:
        """Whether there are enough scrapes for rates, and for what is recorded of them: rules are evaluated as often as is scraped."""
        fetched(f"{self.root}/-/ready")
        return bool(self.asked("count_over_time(valetkey_build_info[1m]) >= 8")) and all(group["lastEvaluation"] > "0002" for group in self.groups())


@contextlib.contextmanager
def prometheus(admin: int, folder: Path, *features: str):
    """A Prometheus with some of its optional features, once it has data."""
    folder.mkdir(parents=True)
    (port,) = free_ports(1)
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(MONITORING / "rules.yaml")],
        "scrape_configs": [{"job_name": "valetkey", "static_configs": [{"targets": [f"127.0.0.1:{admin}"]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    arguments = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"]
    log = folder / "prometheus.log"
    with running([*arguments, *(f"--enable-feature={feature}" for feature in features)], log) as process:
        server = Prometheus(port)
        awaited("Prometheus has data", server.settled, process, log)
        yield server

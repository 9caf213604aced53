"""The chart as tests see it: rendered by Helm's own engine, taken apart, and its configuration given to the real binary."""

import base64
import copy
import json
import os
import shutil
import subprocess
from pathlib import Path

import helm_python
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "helm/valetkey"
SETS = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
# Sets whose values are a dependency's, in the test's chart of that name.
INSIDE = {"subchart": "umbrella", "sidecar": "app"}
RELEASE, NAMESPACE = "prod", "identity"
LONGEST_RELEASE = "a-release-name-of-fifty-three-characters-which-is-max"
# Of Kubernetes, those that kubernetes-validate has schemas of.
NEWEST = ["1.35", "1.36", "1.37"]
GONE = object()
BINARY = Path(os.environ.get("VALETKEY", ROOT / "target/debug/valetkey"))


def values_of(name: str) -> dict:
    """A value set of the chart, as it stands in ci/."""
    return yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text())


def merged(values: dict, change: dict) -> dict:
    """Values with others over them, map by map; `GONE` takes a key out."""
    out = copy.deepcopy(values)
    for key, value in change.items():
        if value is GONE:
            del out[key]
        else:
            out[key] = merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


class Rendered:
    """What a chart becomes with some values."""

    def __init__(self, chart: Path, values: dict, release: str = RELEASE, namespace: str = NAMESPACE):
        with helm_python.Chart.load(chart) as loaded:
            self.files = loaded.render(values, name=release, namespace=namespace)
        self.notes = next((text for name, text in self.files.items() if name.endswith("valetkey/templates/NOTES.txt")), "")
        self.objects = [
            found
            for name, text in sorted(self.files.items())
            if not name.endswith("NOTES.txt")
            for found in yaml.safe_load_all(text)
            if found
        ]

    def all(self, kind: str) -> list[dict]:
        """The objects of a kind, without those of `helm test`."""
        return [found for found in self.objects if found["kind"] == kind and not is_hook(found)]

    def one(self, kind: str, ends: str = "") -> dict:
        """The one object of a kind whose name ends so."""
        found = [each for each in self.all(kind) if each["metadata"]["name"].endswith(ends)]
        assert len(found) == 1, f"{len(found)} of {kind} *{ends}"
        return found[0]

    @property
    def config_text(self) -> str:
        """valetkey.yaml."""
        found = [each for each in self.all("ConfigMap") if "valetkey.yaml" in each["data"]]
        assert len(found) == 1
        return found[0]["data"]["valetkey.yaml"]

    @property
    def config(self) -> dict:
        """valetkey.yaml, read."""
        return yaml.safe_load(self.config_text)

    def pods(self) -> list[dict]:
        """The spec of every pod, of `helm test`, too."""
        return [spec for each in self.objects if (spec := pod_of(each))]

    def valetkey_pods(self) -> list[tuple[dict, dict]]:
        """Each pod in which Valetkey serves, and its container there."""
        found = []
        for spec in self.pods():
            for container in spec.get("initContainers", []) + spec["containers"]:
                if container.get("command") == ["valetkey"] and container["args"][0] == "serve":
                    found.append((spec, container))
        return found


def is_hook(found: dict) -> bool:
    """Whether an object is no part of the release."""
    return "helm.sh/hook" in found["metadata"].get("annotations", {})


def pod_of(found: dict) -> dict | None:
    """The spec of an object's pod."""
    match found["kind"]:
        case "Pod":
            return found["spec"]
        case "Deployment" | "StatefulSet" | "Job":
            return found["spec"]["template"]["spec"]
        case "CronJob":
            return found["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return None


def render(values: dict, release: str = RELEASE) -> Rendered:
    """The chart with these values."""
    return Rendered(CHART, values, release)


def render_in(parent: str, values: dict, folder: Path, release: str = RELEASE, beside: dict | None = None) -> Rendered:
    """One of the test's charts, with this one as its dependency."""
    return Rendered(assemble(parent, folder), parent_values(values) | (beside or {}), release)


def parent_values(values: dict) -> dict:
    """Values of a dependency as its parent has them: what is global is the parent's."""
    own = copy.deepcopy(values)
    shared = own.pop("global", {})
    return {"global": shared, "valetkey": own}


def assemble(parent: str, folder: Path) -> Path:
    """A test's chart with the dependency in its place, as `helm dependency build` leaves it."""
    chart = folder / parent
    if not chart.exists():
        shutil.copytree(Path(__file__).parent / "charts" / parent, chart)
        shutil.copytree(CHART, chart / "charts/valetkey", ignore=shutil.ignore_patterns("ci"))
    return chart


def render_set(name: str, folder: Path) -> Rendered:
    """A value set where it belongs."""
    if name in INSIDE:
        release = LONGEST_RELEASE if name == "subchart" else RELEASE
        return render_in(INSIDE[name], values_of(name), folder, release)
    return render(values_of(name))


def paths_in(part, path: str = "") -> list[tuple[str, str]]:
    """Each `*_file` of a configuration: where, and what path."""
    if isinstance(part, dict):
        found = []
        for key, value in part.items():
            at = f"{path}.{key}" if path else key
            found += [(at, value)] if key.endswith("_file") and isinstance(value, str) else paths_in(value, at)
        return found
    if isinstance(part, list):
        return [pair for index, value in enumerate(part) for pair in paths_in(value, f"{path}[{index}]")]
    return []


def mounted_file(spec: dict, container: dict, path: str) -> tuple[str, str] | None:
    """Which Secret or ConfigMap a path in a container comes from, if any: its kind and the key in it."""
    for mount in container["volumeMounts"]:
        if not path.startswith(mount["mountPath"] + "/"):
            continue
        file = path.removeprefix(mount["mountPath"] + "/")
        volume = next(volume for volume in spec["volumes"] if volume["name"] == mount["name"])
        for kind in ("secret", "configMap"):
            if kind in volume:
                items = volume[kind].get("items")
                keys = {item["path"]: item["key"] for item in items} if items else {file: file}
                return (kind, keys[file]) if file in keys else None
    return None


class Stage:
    """A folder that stands for what the kubelet mounts, with something plausible in each file."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.key, self.certificate = folder / "some.key", folder / "some.crt"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test", "-keyout", self.key, "-out", self.certificate],
            check=True,
            capture_output=True,
        )

    def content(self, where: str) -> str:
        """What the file of a key in the configuration may hold."""
        name = where.rsplit(".", 1)[1]
        if where.startswith("vault."):
            return base64.b64encode(bytes(32)).decode()
        if "webhooks" in where:
            return "whsec_" + base64.b64encode(bytes(24)).decode()
        if name in ("ca_file", "certificate_file", "client_certificate_file"):
            return self.certificate.read_text()
        if name in ("key_file", "client_key_file"):
            return self.key.read_text()
        if name == "jwks_file":
            number = subprocess.run(["openssl", "rsa", "-in", self.key, "-noout", "-modulus"], check=True, capture_output=True, text=True)
            modulus = base64.urlsafe_b64encode(bytes.fromhex(number.stdout.strip().split("=")[1])).decode().rstrip("=")
            return json.dumps({"keys": [{"kty": "RSA", "kid": "1", "alg": "RS256", "use": "sig", "n": modulus, "e": "AQAB"}]})
        return "a-secret-of-more-than-thirty-two-bytes-for-tests"

    def write(self, rendered: Rendered) -> Path:
        """Lays out configuration and files; the configuration's path."""
        text = rendered.config_text
        here = self.folder / "mounted"
        shutil.rmtree(here, ignore_errors=True)
        for where, path in paths_in(rendered.config):
            file = here / path.removeprefix("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.content(where))
        (here / "var/lib/valetkey").mkdir(parents=True, exist_ok=True)
        config = here / "etc/valetkey/config/valetkey.yaml"
        config.parent.mkdir(parents=True, exist_ok=True)
        for mount in ("/etc/valetkey/", "/var/lib/valetkey/"):
            text = text.replace(mount, f"{here}{mount}")
        config.write_text(text)
        return config

    def check(self, rendered: Rendered) -> dict:
        """What `valetkey check` says: `{ok, problems, warnings}`."""
        return valetkey_json("check", "--json", "--config", str(self.write(rendered)))


def valetkey_json(*arguments: str) -> dict:
    """The JSON that the binary prints."""
    return json.loads(subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=30).stdout)

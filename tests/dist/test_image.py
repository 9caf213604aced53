"""What the image holds and says of itself, and that it runs as a cluster with the strictest rules runs it."""

import json
import os
import re
import ssl
import stat
import subprocess
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from contents import ROOT, archive, here, manifest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from service import a_connected_call, ready

CHART = (ROOT / "helm/valetkey/templates/_pod.tpl").read_text()
MB = 1_000_000


def of_the_archive(image):
    """Some things are only so in the real image."""
    if image.archive is None:
        pytest.skip("make test-image looks at the real image")


def files(image):
    """Each file of the image, as seen inside, with what the file system says of it."""
    for path in sorted(image.root.rglob("*")):
        yield f"/{path.relative_to(image.root)}", path.lstat()


def test_nothing_in_it_runs_but_valetkey(image):
    # An executable file is a program, or the loader, without which there is none.
    runs = {name for name, told in files(image) if stat.S_ISREG(told.st_mode) and told.st_mode & 0o111}
    loaders = {name for name in runs if re.fullmatch(r"/usr/lib/[a-z0-9_]+-linux-gnu/ld-linux-[\w-]+\.so\.\d", name)}
    assert runs - loaders == {"/usr/bin/valetkey"}
    assert len(loaders) == 1


def test_nothing_in_it_gives_privileges_or_may_be_changed(image):
    theirs = {}
    for name, told in files(image):
        kind = stat.S_IFMT(told.st_mode)
        assert kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK), name
        assert not told.st_mode & (stat.S_ISUID | stat.S_ISGID), name
        assert kind == stat.S_IFLNK or not told.st_mode & 0o022 or (name, stat.S_IMODE(told.st_mode)) == ("/tmp", 0o1777), name
        if (told.st_uid, told.st_gid) != (0, 0):
            theirs[name] = (told.st_uid, told.st_gid)
    assert theirs == {"/var/lib/valetkey": image.user}
    found = subprocess.run(["getcap", "-r", image.root], capture_output=True, text=True, check=False) if Path("/sbin/getcap").exists() else None
    assert found is None or not found.stdout


def test_it_is_small(image):
    of_the_archive(image)
    size = sum(told.st_size for _, told in files(image))
    print(f"{size / MB:.1f} MB unpacked, {image.archive.stat().st_size / MB:.1f} MB packed")
    assert size < 40 * MB


def test_its_user_is_a_number_and_it_starts_as_the_chart_starts_it(image):
    assert image.user == (65532, 65532)
    assert image.config["Env"] == ["PATH=/usr/bin"]
    [command] = re.findall(r"^command: (\[.*\])$", CHART, re.M)
    assert image.config["Entrypoint"] == yaml.safe_load(command)
    [arguments] = re.findall(r"^args: \{\{ default \(list (.*)\) \.args \| toJson \}\}$", CHART, re.M)
    assert image.config["Cmd"] == re.findall(r'"([^"]*)"', arguments)
    # Kubernetes takes no notice of it; Valetkey's probes are the chart's.
    assert not {"Healthcheck", "Volumes", "ExposedPorts"} & set(image.config)


def test_its_labels_say_what_it_is(image):
    of_the_archive(image)
    labels = image.config["Labels"]
    name = "org.opencontainers.image."
    assert {key for key in labels if not key.startswith(name)} == set()
    assert labels[f"{name}title"] == "Valetkey"
    assert labels[f"{name}licenses"] == "MIT OR Apache-2.0"
    assert archive(here()).name == f"valetkey-{labels[f'{name}version']}-{here()}.oci.tar"
    assert re.fullmatch(r"[0-9a-f]{40}", labels[f"{name}revision"])
    assert datetime.fromisoformat(labels[f"{name}created"]).year >= 2026


def test_it_knows_the_public_authorities(image):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(image.root / "etc/ssl/certs/ca-certificates.crt")
    assert context.cert_store_stats()["x509_ca"] > 100


def test_its_bill_of_materials_is_one_and_names_what_is_linked(image):
    text = (image.documents / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None
    bill = json.loads(text)
    crates = {(each["name"], each["version"]) for each in bill["components"] if each["purl"].startswith("pkg:cargo/")}
    names = {name for name, _ in crates}
    assert {"pingora-proxy", "rustls", "ring", "aws-lc-sys", "redis", "redb", "libz-ng-sys"} <= names
    # Nothing of the demo, of the tests, and of what only builds.
    assert not {"valetkey-standin", "insta", "rcgen", "syn", "serde_derive", "cc", "cmake"} & names
    # Messages of panics name files; they give away what is in there.
    inside = re.findall(rb"/registry/src/[\w.-]+/([\w.+-]+)/src/", (image.root / "usr/bin/valetkey").read_bytes())
    assert len(set(inside)) > 50
    # A debug binary has the demo in it.
    if image.archive:
        assert {found.decode() for found in inside} <= {f"{name}-{version}" for name, version in crates}
    assert all(each["licenses"] for each in bill["components"] if each["purl"].startswith("pkg:cargo/"))
    debian = {each["name"] for each in bill["components"] if each["purl"].startswith("pkg:deb/")}
    assert {"libc6", "libgcc-s1", "ca-certificates"} <= debian
    licences = (image.documents / "licences.txt").read_text()
    assert "pingora-proxy" in licences and "Permission is hereby granted" in licences
    if image.archive:
        assert image.archive.with_name(image.archive.name.replace(".oci.tar", ".sbom.cdx.json")).read_text() == text


def test_it_answers_read_only_as_its_user_without_a_privilege(image, container, provider):
    ready(container.process)
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{container.first}/status").read_text().splitlines() if ":\t" in line)
    assert status["Uid"].split() == ["65532"] * 4 and status["Gid"].split() == ["65532"] * 4
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0 and status["NoNewPrivs"] == "1"
    assert status["NSpid"].split()[-1] == "1"
    # Probes, as the chart has them.
    for expect in ("listening", "ready"):
        probe = container.run("valetkey", "health", "--address", "127.0.0.1:9090", "--expect", expect, "--timeout", "2s")
        assert probe.returncode == 0, probe.stderr
    refused = container.run("valetkey", "init", "--out", "/etc/valetkey/new")
    assert refused.returncode != 0 and "Read-only file system" in refused.stderr
    assert container.run("valetkey", "init", "--out", "/var/lib/valetkey/new").returncode == 0
    minted = container.run("valetkey", "mint", "--user", "ada", "--config", image.config["Cmd"][-1])
    assert minted.returncode == 0, minted.stderr
    a_connected_call(minted.stdout.strip(), provider)
    assert container.stop() == 0, container.log.read_text()


def test_an_image_for_another_processor_needs_a_binary_for_it(image, tmp_path):
    other = {"amd64": "arm64", "arm64": "amd64"}[here()]
    made = subprocess.run([ROOT / "scripts/image-parts.sh", other, image.root / "usr/bin/valetkey", tmp_path], capture_output=True, text=True)
    assert made.returncode == 1 and f"is not for {other}" in made.stderr


def test_made_again_it_is_the_same(image, tmp_path):
    of_the_archive(image)
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in image.config["Labels"].items()}
    moment = int(datetime.fromisoformat(labels["created"]).timestamp())
    again = {"BINARY": str(image.root / "usr/bin/valetkey"), "REVISION": labels["revision"], "SOURCE_DATE_EPOCH": str(moment), "URL": labels["source"], "KEEP_BASE": "1"}
    before = image.archive.read_bytes()
    subprocess.run([ROOT / "scripts/image.sh"], check=True, env=os.environ | again)
    subprocess.run(["tar", "--extract", "--file", image.archive, "--directory", tmp_path], check=True)
    assert manifest(tmp_path)[0] == image.digest
    assert image.archive.read_bytes() == before

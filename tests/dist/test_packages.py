"""Each package is installed, started and called as docs/INSTALL.md says, and taken away again."""

import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import yaml
from container import Container
from contents import ROOT
from packages import DIST, UNIT, Machine, block_with, only, unit
from provider import CLIENT_SECRET, Provider
from service import Service, a_connected_call, ready

INSTALL = "docs/INSTALL.md"
# The traced process stays the first one.
WRITTEN_DOWN = "/usr/bin/strace --daemonize --follow-forks --quiet=all --output=/var/lib/valetkey/calls"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"


@pytest.fixture
def machine(tmp_path):
    """This machine, on which what happens has not happened."""
    machine = Machine(tmp_path)
    yield machine
    machine.close()


@pytest.fixture
def running():
    """Containers that end with the test."""
    containers: list[Container] = []
    yield containers.append
    for each in containers:
        each.close()


def test_the_sums_are_those_of_all_that_is_there():
    deb = only("valetkey_*.deb")
    [check] = block_with(INSTALL, "sha256sum --check")
    done = subprocess.run(["bash", "-c", check], cwd=DIST, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    named = {line.split()[1] for line in (DIST / "SHA256SUMS").read_text().splitlines()}
    assert deb.name in named
    assert named == {file.name for file in DIST.iterdir() if file.is_file()} - {"valetkey", "SHA256SUMS"}


def test_the_debian_package_is_installed_started_and_purged(machine, provider, running):
    deb = only("valetkey_*.deb")
    before = machine.must("cat /etc/passwd")
    (machine.root / "root" / deb.name).write_bytes(deb.read_bytes())
    install, initialise, place, start = block_with(INSTALL, "dpkg --install")
    machine.must(f"cd /root && {install.replace('sudo ', '')}")
    assert machine.run("dpkg --verify valetkey").stdout == ""
    assert machine.must("stat --format '%U %G %a' /etc/valetkey").split() == ["valetkey", "valetkey", "750"]
    settings = unit((machine.root / UNIT).read_text())
    # What would be started waits for a configuration.
    assert f"/{(machine.root / 'etc/valetkey/valetkey.yaml').relative_to(machine.root)}" == settings["ConditionPathExists"]
    assert not (machine.root / "etc/valetkey/valetkey.yaml").exists()
    assert start == "sudo systemctl enable --now valetkey"

    machine.typed(initialise)
    machine.typed(place)
    at_the_stand_in(machine.root / "etc/valetkey", provider)
    process = as_the_unit_says(machine, settings)
    running(process)
    ready(process.process)
    jwt = process.run("/usr/bin/valetkey", "mint", "--user", "ada", "--config", "/etc/valetkey/valetkey.yaml").stdout.strip()
    a_connected_call(jwt, provider)
    reloads(process, settings)
    assert machine.must("stat --format '%U %a' /var/lib/valetkey/valetkey.redb").split() == ["valetkey", "600"]
    assert process.stop() == 0, process.log.read_text()
    called = set(re.findall(r"^\d+ +([a-z]\w*)\(", (machine.root / "var/lib/valetkey/calls").read_text(), re.M))
    assert "accept4" in called
    assert called <= allowed((machine.root / UNIT).read_text())

    # An upgrade keeps what it finds.
    kept = (machine.root / "etc/valetkey/secrets/vault-key").read_text()
    machine.must(f"dpkg --install /root/{deb.name}")
    machine.must("dpkg --remove valetkey")
    assert not (machine.root / "usr/bin/valetkey").exists()
    assert (machine.root / "etc/valetkey/secrets/vault-key").read_text() == kept
    machine.must("dpkg --purge valetkey")
    assert machine.left() == {f"root/{deb.name}"}
    # The user stays, and is the only one that came.
    after = machine.must("cat /etc/passwd")
    [user] = set(after.splitlines()) - set(before.splitlines())
    assert user.startswith("valetkey:") and user.endswith("/nologin")


def at_the_stand_in(folder: Path, provider: Provider):
    """Puts the stand-in where GitHub would be, and its client where the reader puts theirs."""
    file = folder / "valetkey.yaml"
    config = yaml.safe_load(file.read_text())
    assert config["store"]["embedded"]["path"] == "/var/lib/valetkey/valetkey.redb"
    config["services"]["github"] |= provider.service("github")
    config["shutdown"] = {"delay": "0s"}
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / config["services"]["github"]["client_secret_file"]).write_text(CLIENT_SECRET)


def as_the_unit_says(machine: Machine, settings: dict[str, str]) -> Container:
    """Starts the service as systemd would, as far as one can without it; what it asks of the kernel is written down beside its store."""
    user, group = (int(machine.must(f"getent {kind} {settings[name]}").split(":")[2]) for kind, name in (("passwd", "User"), ("group", "Group")))
    writable = {}
    for above, setting in (("/var/lib", "StateDirectory"), ("/run", "RuntimeDirectory")):
        place = f"{above}/{settings[setting]}"
        folder = machine.root / place.lstrip("/")
        folder.mkdir(exist_ok=True, mode=int(settings.get(f"{setting}Mode", "755"), 8))
        os.chown(folder, user, group)
        writable[place] = folder
    assert settings["ProtectSystem"] == "strict" and settings["CapabilityBoundingSet"] == ""
    process = Container(machine.root, (user, group), ["PATH=/usr/bin"], machine.root.parent / "log", read_only={}, writable=writable)
    process.start("/bin/sh", "-c", f"umask {settings['UMask']} && cd {settings['WorkingDirectory']} && exec {WRITTEN_DOWN} {settings['ExecStart']}")
    return process


def allowed(text: str) -> set[str]:
    """What a unit's `SystemCallFilter` lets through."""
    names: set[str] = set()
    for rule in re.findall(r"^SystemCallFilter=(.*)$", text, re.M):
        for each in rule.removeprefix("~").split():
            names = names - group(each) if rule.startswith("~") else names | group(each)
    return names | group("@default")


def group(name: str) -> set[str]:
    """The system calls of one of systemd's groups, and of those in it."""
    if not name.startswith("@"):
        return {name}
    lines = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True).stdout.splitlines()[1:]
    return {call for line in map(str.strip, lines) if line and not line.startswith("#") for call in group(line)}


def reloads(process: Container, settings: dict[str, str]):
    """`systemctl reload` has it read its configuration again."""
    before = reloaded_at()
    done = process.run("/bin/sh", "-c", settings["ExecReload"].replace("$MAINPID", "1"))
    assert done.returncode == 0, done.stderr
    for _ in range(600):
        if reloaded_at() > before:
            return
        time.sleep(0.05)
    raise AssertionError(process.log.read_text())


def reloaded_at() -> float:
    """When the configuration was last put in force, in seconds since 1970."""
    with urllib.request.urlopen("http://127.0.0.1:9090/metrics", timeout=10) as answer:
        return float(re.search(r"^valetkey_config_last_reload_success_timestamp_seconds (\S+)$", answer.read().decode(), re.M)[1])


def test_debian_and_systemd_find_nothing_wrong(machine):
    deb = only("valetkey_*.deb")
    (machine.root / "root" / deb.name).write_bytes(deb.read_bytes())
    lintian = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", deb], capture_output=True, text=True)
    assert lintian.returncode == 0, lintian.stdout + lintian.stderr
    machine.must(f"dpkg --install /root/{deb.name}")
    verified = machine.run(f"systemd-analyze verify /{UNIT}")
    assert (verified.returncode, verified.stderr) == (0, ""), verified.stderr
    # Of 100; below 20 is what systemd calls fine.
    machine.must(f"systemd-analyze security --offline=true --threshold=20 /{UNIT}")


def test_the_package_has_manual_and_completions(machine):
    deb = only("valetkey_*.deb")
    (machine.root / "root" / deb.name).write_bytes(deb.read_bytes())
    machine.must(f"dpkg --install /root/{deb.name}")
    help_text = machine.must("valetkey --help")
    commands = set(re.findall(r"^  ([a-z-]+)  ", help_text.split("Commands:")[1], re.M)) - {"help"}
    assert "demo" not in commands
    pages = {re.fullmatch(r"valetkey-(.*)\.1\.gz", file.name)[1] for file in (machine.root / "usr/share/man/man1").glob("valetkey-*")}
    assert pages == commands
    for page in ("valetkey", "valetkey-health"):
        named = machine.must(f"man --pager cat {page}")
        assert re.search(rf"^NAME\n +{page} +- +\S", named, re.M) and named.splitlines()[0].startswith(f"{page.upper()}(1)")
        told = subprocess.run(["groff", "-man", "-Tutf8", "-wall", "-z"], input=machine.must(f"zcat /usr/share/man/man1/{page}.1.gz"), capture_output=True, text=True)
        assert (told.returncode, told.stderr) == (0, "")
    completed = machine.must('bash -c \'. /usr/share/bash-completion/completions/valetkey; COMP_WORDS=(valetkey se); COMP_CWORD=1; _valetkey valetkey se valetkey; echo "${COMPREPLY[@]}"\'')
    assert completed.split() == ["serve"]
    assert (machine.root / "usr/share/zsh/vendor-completions/_valetkey").read_text().startswith("#compdef valetkey\n")
    assert "complete -c valetkey" in (machine.root / "usr/share/fish/vendor_completions.d/valetkey.fish").read_text()


@pytest.mark.parametrize("libc", ["gnu", "musl"])
def test_the_tarball_is_unpacked_and_started(libc, machine, provider, running, tmp_path):
    only("valetkey-*-gnu.tar.gz")
    if libc == "musl" and not list(DIST.glob("valetkey-*-musl.tar.gz")):
        pytest.skip("no static tarball was made here")
    archive = only(f"valetkey-*-{libc}.tar.gz")
    [unpack] = block_with(INSTALL, "--strip-components")
    (machine.root / "root" / archive.name).write_bytes(archive.read_bytes())
    machine.must("cd /root && " + unpack.replace("sudo ", "").replace(re.search(r"valetkey-\S+\.tar\.gz", unpack)[0], archive.name))
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    assert machine.must("valetkey --version || /usr/local/bin/valetkey --version").split() == ["valetkey", version]
    assert (machine.root / "usr/local/share/doc/valetkey/sbom.cdx.json").exists()

    # Static is what runs where there is nothing else.
    root = tmp_path / "root"
    binary = root / "usr/bin/valetkey"
    binary.parent.mkdir(parents=True)
    shutil.copy(machine.root / "usr/local/bin/valetkey", binary)
    if libc == "gnu":
        for line in subprocess.run(["ldd", binary], check=True, capture_output=True, text=True).stdout.splitlines():
            if found := re.search(r"(?:=> )?(/\S+) \(", line):
                (root / found[1].lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(found[1], root / found[1].lstrip("/"))
    (root / CERTIFICATES).parent.mkdir(parents=True)
    shutil.copy(f"/{CERTIFICATES}", root / CERTIFICATES)
    service = Service(tmp_path, provider, store="/var/lib/valetkey.redb", secrets="/secrets")
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 65532, 65532)
    process = Container(root, (65532, 65532), ["PATH=/usr/bin"], tmp_path / "log", {"/config": service.config, "/secrets": service.secrets}, {"/var/lib": state})
    process.start("valetkey", "serve", "--config", "/config/valetkey.yaml")
    running(process)
    ready(process.process)
    assert process.run("valetkey", "health").returncode == 0
    jwt = process.run("valetkey", "mint", "--user", "ada", "--config", "/config/valetkey.yaml").stdout.strip()
    a_connected_call(jwt, provider)
    os.kill(process.first, signal.SIGTERM)
    assert process.process.wait(timeout=60) == 0, process.log.read_text()


def test_the_oldest_glibc_is_the_one_that_is_told(tmp_path):
    archive = only("valetkey-*-gnu.tar.gz")
    subprocess.run(["tar", "--extract", "--strip-components", "1", "--file", archive, "--directory", tmp_path], check=True)
    needs = subprocess.run([ROOT / "scripts/glibc-version.sh", tmp_path / "bin/valetkey"], check=True, capture_output=True, text=True).stdout.strip()
    assert f"glibc {needs} or newer" in (ROOT / INSTALL).read_text()
    assert f"libc6 (>= {needs})" in subprocess.run(["dpkg-deb", "--field", only("valetkey_*.deb"), "Depends"], check=True, capture_output=True, text=True).stdout


def test_made_again_they_are_the_same(tmp_path):
    sums = (DIST / "SHA256SUMS").read_text() if only("valetkey_*.deb") else ""
    moment = subprocess.run(["tar", "--list", "--verbose", "--full-time", "--utc", "--file", only("valetkey-*-gnu.tar.gz")], check=True, capture_output=True, text=True).stdout.split()
    again = {"STATIC": "no", "SOURCE_DATE_EPOCH": subprocess.run(["date", "--utc", "--date", f"{moment[3]} {moment[4]}", "+%s"], check=True, capture_output=True, text=True).stdout.strip()}
    for archive in DIST.glob("valetkey-*.tar.gz"):
        folder = tmp_path / archive.name
        folder.mkdir()
        subprocess.run(["tar", "--extract", "--strip-components", "1", "--file", archive, "--directory", folder], check=True)
        again["BINARY" if archive.name.endswith("gnu.tar.gz") else "STATIC"] = str(folder / "bin/valetkey")
    subprocess.run([ROOT / "scripts/packages.sh"], check=True, env=os.environ | again, capture_output=True)
    assert (DIST / "SHA256SUMS").read_text() == sums

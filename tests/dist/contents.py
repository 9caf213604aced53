"""An image as files on disk: its root file system, and what it says of itself."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
IMAGES = ROOT / "target/image"


@dataclass
class Image:
    """`root` is its file system; `config` what Dockerfiles set; `archive` the file it came from, if it came from one."""

    root: Path
    config: dict
    digest: str | None = None
    archive: Path | None = None

    @property
    def user(self) -> tuple[int, int]:
        """User and group, which are numbers."""
        user, group = self.config["User"].split(":")
        return int(user), int(group)

    @property
    def documents(self) -> Path:
        """Where the program's papers are."""
        return self.root / "usr/share/doc/valetkey"


def here() -> str:
    """This machine's architecture, by Debian's name."""
    return subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()


def archive(arch: str) -> Path:
    """The archive that `make image` has written."""
    [version] = re.findall(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[:1]
    return IMAGES / f"valetkey-{version}-{arch}.oci.tar"


def manifest(layout: Path) -> tuple[str, dict]:
    """Digest and text of the only manifest of an unpacked archive."""
    [entry] = json.loads((layout / "index.json").read_text())["manifests"]
    return entry["digest"], json.loads(blob(layout, entry["digest"]).read_text())


def blob(layout: Path, digest: str) -> Path:
    """A blob, whose digest is right."""
    path = layout / "blobs" / digest.replace(":", "/")
    assert f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" == digest
    return path


def unpacked(folder: Path) -> Image:
    """The archive as a container's runtime unpacks it."""
    file = archive(here())
    if not file.exists():
        pytest.exit(f"{file} isn't there: make image", returncode=2)
    layout, root = folder / "layout", folder / "root"
    layout.mkdir()
    root.mkdir()
    subprocess.run(["tar", "--extract", "--file", file, "--directory", layout], check=True)
    digest, told = manifest(layout)
    for layer in told["layers"]:
        subprocess.run(["tar", "--extract", "--numeric-owner", "--same-permissions", "--file", blob(layout, layer["digest"]), "--directory", root], check=True)
    assert not list(root.rglob(".wh.*")), "a layer takes something away"
    config = json.loads(blob(layout, told["config"]["digest"]).read_text())["config"]
    return Image(root, config, digest, file)


def prebuilt(binary: Path, folder: Path) -> Image:
    """What the Dockerfile's last stage copies and sets, without a builder of images: for a binary that is no release's."""
    parts, root = folder / "parts", folder / "root"
    outside = ["nsenter", f"--net={os.environ['NETWORK']}"]
    subprocess.run([*outside, ROOT / "scripts/image-parts.sh", here(), binary, parts], check=True, env=os.environ | {"SOURCE_DATE_EPOCH": "0"})
    for part in ("base", "program"):
        shutil.copytree(parts / part, root, symlinks=True, dirs_exist_ok=True)
    last = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2].replace("\\\n", "")
    user = re.search(r"^USER (.*)$", last, re.M)[1]
    [(owner, place)] = re.findall(r"^COPY --from=parts --chown=(\d+:\d+) /state (\S+)$", last, re.M)
    state = root / place.lstrip("/")
    state.mkdir(parents=True)
    os.chown(state, *map(int, owner.split(":")))
    config = {"User": user, "Env": re.findall(r"^ENV (.*)$", last, re.M)}
    config |= {key: json.loads(re.search(rf"^{key.upper()} (.*)$", last, re.M)[1]) for key in ("Entrypoint", "Cmd")}
    return Image(root, config)

#!/usr/bin/env python3
"""Tells what a binary of Valetkey is made of: a bill of materials (CycloneDX 1.5), and the licences of all of it.

scripts/sbom.py --target TRIPLE --sbom FILE [--licences FILE] [--base FOLDER]

Listed is what is linked for that target with the features that images and packages have: neither tests, nor what only builds (procedural
macros, build scripts), nor the demo. With `--base`, also the Debian packages of an image's base (scripts/image-base.sh). The same sources
give the same bytes.
"""

import argparse
import functools
import hashlib
import json
import os
import re
import subprocess
import tomllib
import uuid
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent
FEATURES = "--no-default-features"


def cargo(*arguments: str) -> str:
    """What cargo prints."""
    return subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked(target: str) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """Each linked package, as name and version, with those that it uses itself. Cargo resolves features for this one binary only in its tree."""
    tree = cargo("tree", "--locked", "--package", "valetkey", FEATURES, "--target", target, "--edges", "normal,no-proc-macro", "--prefix", "depth", "--no-dedupe")
    uses: dict[tuple[str, str], set[tuple[str, str]]] = {}
    above: list[tuple[str, str]] = []
    for line in tree.splitlines():
        depth, name, version = re.match(r"(\d+)(\S+) v(\S+)", line).groups()
        package = (name, version)
        del above[int(depth) :]
        uses.setdefault(package, set())
        if above:
            uses[above[-1]].add(package)
        above.append(package)
    return uses


@functools.cache
def packages() -> dict[tuple[str, str], dict]:
    """What each package's own manifest says."""
    return {(each["name"], each["version"]): each for each in json.loads(cargo("metadata", "--locked", "--format-version", "1"))["packages"]}


def checksums() -> dict[tuple[str, str], str]:
    """SHA-256 of each package's archive."""
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    return {(each["name"], each["version"]): each["checksum"] for each in lock["package"] if "checksum" in each}


def reference(package: tuple[str, str]) -> str:
    """Its package URL, by which it is meant everywhere."""
    return f"pkg:cargo/{package[0]}@{quote(package[1], safe='')}"


def crate(package: tuple[str, str], hashes: dict[tuple[str, str], str]) -> dict:
    """A crate as a component."""
    told = packages()[package]
    component = {"type": "library", "bom-ref": reference(package), "name": package[0], "version": package[1], "scope": "required"}
    if told["description"]:
        component["description"] = " ".join(told["description"].split())
    if package in hashes:
        component["hashes"] = [{"alg": "SHA-256", "content": hashes[package]}]
    if told["license"]:
        # Before SPDX had expressions, a slash stood between alternatives.
        component["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", told["license"])}]
    component["purl"] = reference(package)
    if told["repository"]:
        component["externalReferences"] = [{"type": "vcs", "url": told["repository"]}]
    return component


def debian(base: Path) -> list[dict]:
    """The packages of an image's base as components."""
    components = []
    os_release = dict(re.findall(r'^(\w+)="?(.*?)"?$', (base / "usr/lib/os-release").read_text(), re.M))
    for file in sorted((base / "var/lib/dpkg/status.d").iterdir()):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", file.read_text(), re.M))
        name, version = fields["Package"], fields["Version"]
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={fields['Architecture']}&distro=debian-{os_release['VERSION_ID']}"
        component = {"type": "library", "bom-ref": purl, "supplier": {"name": "Debian"}, "name": name, "version": version, "scope": "required"}
        components.append(component | {"description": fields["Description"], "purl": purl})
    return components


def bill(target: str, base: Path | None) -> dict:
    """The whole bill of materials."""
    uses = linked(target)
    [top] = [package for package in uses if package[0] == "valetkey"]
    hashes = checksums()
    program = crate(top, hashes) | {"type": "application"}
    program["properties"] = [{"name": "cargo:target", "value": target}, {"name": "cargo:features", "value": "none"}]
    components = [crate(package, hashes) for package in sorted(uses) if package != top]
    dependencies = [{"ref": reference(package), "dependsOn": sorted(map(reference, used))} for package, used in sorted(uses.items())]
    below = debian(base) if base else []
    dependencies += [{"ref": each["bom-ref"]} for each in below]
    metadata: dict = {"component": program}
    if moment := os.environ.get("SOURCE_DATE_EPOCH"):
        metadata = {"timestamp": datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")} | metadata
    document = {"metadata": metadata, "components": components + below, "dependencies": dependencies}
    number = uuid.uuid5(uuid.NAMESPACE_URL, hashlib.sha256(json.dumps(document).encode()).hexdigest())
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": f"urn:uuid:{number}", "version": 1} | document


def licences(target: str) -> str:
    """The texts that come with what is linked, each once, with the names of those whose text it is."""
    whose: dict[str, list[str]] = {}
    for package in sorted(linked(target)):
        if package[0] == "valetkey":
            continue
        folder = Path(packages()[package]["manifest_path"]).parent
        # What a crate brings of others has its own licence beside it.
        files = [file for file in sorted(folder.rglob("*")) if re.match(r"(?i)(licen[cs]e|copying|copyright|notice|unlicense)\b", file.name) and file.is_file()]
        for file in files:
            if file.suffix not in (".rs", ".py", ".go", ".c", ".h", ".html", ".toml"):
                text = file.read_text(errors="replace").replace("\r\n", "\n").strip()
                where = str(file.relative_to(folder).parent)
                name = " ".join(package) + ("" if where == "." else f" ({where})")
                whose.setdefault(text, [])
                if name not in whose[text]:
                    whose[text].append(name)
    line = "=" * 78
    head = "Valetkey holds these works of others. sbom.cdx.json lists all of them with the licence that each names."
    return "\n\n".join([head] + [f"{line}\n{', '.join(names)}\n{line}\n\n{text}" for text, names in sorted(whose.items(), key=lambda each: each[1])]) + "\n"


def main():
    """Writes what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", required=True)
    parser.add_argument("--sbom", type=Path, required=True)
    parser.add_argument("--licences", type=Path)
    parser.add_argument("--base", type=Path)
    asked = parser.parse_args()
    asked.sbom.write_text(json.dumps(bill(asked.target, asked.base), indent=1, ensure_ascii=False) + "\n")
    if asked.licences:
        asked.licences.write_text(licences(asked.target))


if __name__ == "__main__":
    main()

#!/usr/bin/env bash
# Holds all dependencies to deny.toml: licences, sources, duplicates. Advisories are looked at too where their database can be
# had; where it can't, that is said, and isn't a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly VERSION=0.19
tool=target/tools/bin/cargo-deny
if ! [[ -x $tool ]]; then
  echo "building cargo-deny $VERSION, some minutes …" >&2
  cargo install --quiet --locked --root target/tools cargo-deny --version "^$VERSION"
fi
"$tool" --locked check --hide-inclusion-graph licenses sources bans
if "$tool" --locked fetch db >target/tools/fetch.log 2>&1; then
  "$tool" --locked check --hide-inclusion-graph advisories
else
  echo "advisories were not looked at: their database can't be had from here" >&2
fi

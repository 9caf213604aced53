#!/usr/bin/env bash
# Prints the toolchain that rustup is to take instead of rust-toolchain.toml's: its default, where the named one isn't
# installed. Prints nothing where it is, or where there is no rustup.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v rustup >/dev/null || exit 0
named=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
installed=$(rustup toolchain list)
grep -q "^$named-" <<<"$installed" || sed -n 's/ (.*default.*)$//p' <<<"$installed" | head -n 1

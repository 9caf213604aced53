#!/usr/bin/env bash
# Runs the tests with cargo-nextest where it is installed, else with cargo test. Its closing line comes last.
set -euo pipefail
cd "$(dirname "$0")/.."

extra=()
fallback=()
if [ "${1:-}" = --chaos ]; then
  shift
  extra=(--run-ignored all)
  fallback=(--include-ignored)
fi
if cargo nextest --version >/dev/null 2>&1; then
  # nextest runs no examples of the documentation, and those hold what must not compile.
  cargo test --locked --doc --quiet
  exec cargo nextest run --locked "${extra[@]}" "$@"
fi
# Each test starts several servers: more at once than this only wait for each other.
exec cargo test --locked "$@" -- --test-threads="$(nproc)" "${fallback[@]}"

#!/usr/bin/env bash
# Runs the tests with cargo-nextest where it is installed, else with cargo test. Its closing line comes last.
set -euo pipefail
cd "$(dirname "$0")/.."

# The ten slowest tests of a report in JUnit's format, and how many passed.
report() {
  [[ -s $1 ]] || return 0
  echo "The ten slowest:"
  sed -n 's/.*<testcase name="\([^"]*\)".* time="\([0-9.]*\)".*/\2 \1/p' "$1" | sort -rn | sed -n '1,10{s/^/  /; s/ / s  /3; p}'
  local flaky
  flaky=$(grep -B 1 '<flakyFailure' "$1" | sed -n 's/.*<testcase name="\([^"]*\)".*/  \1/p') || flaky=
  [[ -z $flaky ]] || printf 'Flaky, to be mended:\n%s\n' "$flaky"
  local total failed
  read -r total failed < <(sed -n 's/.*<testsuites .*tests="\([0-9]*\)".* failures="\([0-9]*\)" errors="\([0-9]*\)".*/\1 \2+\3/p' "$1")
  echo "$((total - (failed))) passed, $((failed)) failed"
}

if [ "${1:-}" = --chaos ]; then
  shift
  rows=target/tmp/chaos
  rm -rf "$rows"
  trap 'node scripts/reliability-table.mjs "$rows"' EXIT
  # Six hundred thousand interleavings take a quarter of an hour as a release build, and a night as a debug one.
  VALETKEY_CHAOS_ROWS="$PWD/$rows" cargo test --release --locked --lib -- --ignored --nocapture \
    connection::tests::sim::a_hundred_thousand_interleavings
  # A pace that a debug build can't keep.
  cargo test --release --locked --test it -- --ignored --nocapture --exact rollout::at_a_thousand_calls_a_second_there_and_back
  if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --profile chaos --test it --run-ignored only -E 'test(/^chaos::/)' "$@"
  else
    cargo test --locked --test it "$@" -- --ignored --test-threads=1 chaos::
  fi
  exit
fi
if cargo nextest --version >/dev/null 2>&1; then
  # nextest runs no examples of the documentation, and those hold what must not compile.
  cargo test --locked --doc --quiet
  # CI tries once more, and names what needed that.
  [[ -z ${CI:-} ]] || set -- --retries 1 "$@"
  status=0
  cargo nextest run --locked "$@" || status=$?
  report target/nextest/default/junit.xml
  exit "$status"
fi
# Each test starts several servers: more at once than this only wait for each other.
exec cargo test --locked "$@" -- --test-threads="$(nproc)"

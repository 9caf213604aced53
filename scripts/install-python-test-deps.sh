#!/usr/bin/env bash
# Installs what tests in Python need into the .venv of tests/python, tests/helm, tests/examples, tests/docs, tests/dist and tests/monitoring, from their lock files with hashes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
  "$here/apt-install.sh" python3 python3-venv
fi
for tests in "$here/../tests/python" "$here/../tests/helm" "$here/../tests/examples" "$here/../tests/docs" "$here/../tests/dist" "$here/../tests/monitoring"; do
  # The mark is younger than the lock file: nothing to do.
  if ! [ "$tests/.venv/.installed" -nt "$tests/requirements.txt" ]; then
    [ -x "$tests/.venv/bin/python" ] || python3 -m venv "$tests/.venv"
    "$tests/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement "$tests/requirements.txt"
    touch "$tests/.venv/.installed"
  fi
done

#!/usr/bin/env bash
# Installs what tests in Python need into tests/python/.venv, from the lock file with its hashes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
  "$here/apt-install.sh" python3 python3-venv
fi
python=$here/../tests/python
# The mark is younger than the lock file: nothing to do.
if ! [ "$python/.venv/.installed" -nt "$python/requirements.txt" ]; then
  [ -x "$python/.venv/bin/python" ] || python3 -m venv "$python/.venv"
  "$python/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement "$python/requirements.txt"
  touch "$python/.venv/.installed"
fi

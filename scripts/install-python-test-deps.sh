#!/usr/bin/env bash
# Installs the tests' Python programs into tests/python/.venv, from the lock file and by its hashes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=$here/../tests/python

# The mark is younger than the lock file: nothing to do.
if [ "$python/.venv/.installed" -nt "$python/requirements.txt" ]; then
  exit 0
fi
missing=()
command -v python3 >/dev/null || missing+=(python3)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
"$here/apt-install.sh" "${missing[@]}"

python3 -m venv --clear "$python/.venv"
"$python/.venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
  --requirement "$python/requirements.txt"
touch "$python/.venv/.installed"

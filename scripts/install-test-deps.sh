#!/usr/bin/env bash
# Installs what the tests need and this machine lacks: the build's needs, redis-server, Node.js with npm, libfaketime,
# Chromium, valgrind (which counts instructions), curl and git, Prometheus with promtool, and the packages of the folders of tests,
# and of the examples, from their lock files.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

"$here/install-build-deps.sh"
missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
command -v openssl >/dev/null || missing+=(openssl)
command -v valgrind >/dev/null || missing+=(valgrind)
compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || missing+=(faketime)
command -v chromium >/dev/null || missing+=(chromium)
command -v curl >/dev/null || missing+=(curl)
command -v git >/dev/null || missing+=(git)
"$here/apt-install.sh" "${missing[@]}"
"$here/install-prometheus.sh"

for node in "$here/../tests/node" "$here/../examples/express-octokit"; do
  # The mark is younger than the lock file: nothing to do.
  if ! [ "$node/node_modules/.installed" -nt "$node/package-lock.json" ]; then
    (cd "$node" && npm ci --no-audit --no-fund --loglevel=error)
    touch "$node/node_modules/.installed"
  fi
done

"$here/install-python-test-deps.sh"

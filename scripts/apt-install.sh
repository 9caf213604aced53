#!/usr/bin/env bash
# Installs Debian packages, or says what is missing where there is no apt. Without arguments it does nothing.
set -euo pipefail

(($#)) || exit 0
if ! command -v apt-get >/dev/null; then
  echo "Please install with your package manager: $*" >&2
  exit 1
fi
root=()
((EUID == 0)) || root=(sudo)
echo "Installing: $*"
"${root[@]}" apt-get update -qq
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null

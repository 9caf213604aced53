#!/usr/bin/env bash
# Installs what the build needs and this machine lacks: cmake and make (for zlib-ng, which Pingora brings) and a C
# compiler. Debian and its kin only; elsewhere it says what is missing.
set -euo pipefail

missing=()
command -v cmake >/dev/null || missing+=(cmake)
command -v make >/dev/null || missing+=(make)
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v cargo >/dev/null || {
  echo "Rust is missing: install it with rustup first." >&2
  exit 1
}
exec "$(dirname "$0")/apt-install.sh" "${missing[@]}"

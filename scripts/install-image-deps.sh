#!/usr/bin/env bash
# Installs what `make image`, `make dist` and their tests need and this machine lacks: buildah, binutils, and Debian's tools for packages.
# With --test, also what looks at a package with Debian's eyes, and at a process with the kernel's.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

missing=()
command -v buildah >/dev/null || missing+=(buildah)
command -v readelf >/dev/null || missing+=(binutils)
command -v python3 >/dev/null || missing+=(python3)
command -v unshare >/dev/null || missing+=(util-linux)
command -v help2man >/dev/null || missing+=(help2man)
command -v dpkg-deb >/dev/null || missing+=(dpkg)
if [[ ${1:-} == --test ]]; then
  command -v lintian >/dev/null || missing+=(lintian)
  command -v strace >/dev/null || missing+=(strace)
  command -v man >/dev/null || missing+=(man-db)
  command -v systemd-analyze >/dev/null || missing+=(systemd)
fi
exec "$here/apt-install.sh" "${missing[@]}"

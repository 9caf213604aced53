#!/usr/bin/env bash
# Installs Debian's Prometheus, with promtool, where it is missing, for the tests alone: the service that comes with it doesn't run.
set -euo pipefail

command -v prometheus >/dev/null && command -v promtool >/dev/null && exit
"$(dirname "$0")/apt-install.sh" prometheus
if [[ -d /run/systemd/system ]]; then
  root=()
  ((EUID == 0)) || root=(sudo)
  "${root[@]}" systemctl disable --now --quiet prometheus
fi

#!/usr/bin/env bash
# Prints the oldest version of glibc that a binary runs with, such as 2.36; nothing for a static one.
set -euo pipefail
symbols=$(LC_ALL=C objdump --private-headers "$1")
{
  sed -n 's/.* GLIBC_\([0-9.]*\)$/\1/p' <<<"$symbols"
  # Packed relocations; the loader reads them since.
  ! grep -q GLIBC_ABI_DT_RELR <<<"$symbols" || echo 2.36
} | sort --version-sort | tail -n 1

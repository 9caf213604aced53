#!/usr/bin/env bash
# Lays out what the Dockerfile's last stages copy: FOLDER/base, what the program stands on; FOLDER/program, the program with its bill of
# materials and licences; FOLDER/state, an empty directory.
#
# scripts/image-parts.sh ARCH BINARY FOLDER: ARCH is Debian's name (amd64, arm64). KEEP_BASE=1 takes the base that is there already.
set -euo pipefail
arch=$1 binary=$(realpath "$2") out=$3
mkdir -p "$out" && out=$(realpath "$out")
cd "$(dirname "$0")/.."

for program in python3 readelf:binutils; do
  command -v "${program%:*}" >/dev/null || scripts/apt-install.sh "${program#*:}"
done

case $arch in
amd64) target=x86_64-unknown-linux-gnu machine=X86-64 ;;
arm64) target=aarch64-unknown-linux-gnu machine=AArch64 ;;
*) echo "No image can be made for $arch: amd64 or arm64" >&2 && exit 2 ;;
esac
LC_ALL=C readelf --file-header "$binary" | grep -q "Machine:.*$machine" || {
  echo "$binary is not for $arch" >&2
  exit 1
}

[[ -n ${KEEP_BASE:-} && -d $out/base ]] || scripts/image-base.sh "$arch" "$out/base"
rm -rf "$out/program" "$out/state"
mkdir "$out/state"
documents=$out/program/usr/share/doc/valetkey
install -D --mode 755 "$binary" "$out/program/usr/bin/valetkey"
install -D --mode 644 --target-directory "$documents" LICENSE-APACHE LICENSE-MIT
scripts/sbom.py --target "$target" --base "$out/base" --sbom "$documents/sbom.cdx.json" --licences "$documents/licences.txt"
chmod 644 "$documents"/*
find "$out/program" -type d -exec chmod 755 {} +

# What the program asks of the C library must be there.
for library in $(LC_ALL=C readelf --dynamic "$binary" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
  compgen -G "$out/base/usr/lib/*/$library" >/dev/null || { echo "the base has no $library, which $binary needs" >&2 && exit 1; }
done

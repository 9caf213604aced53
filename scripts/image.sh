#!/usr/bin/env bash
# Builds the image with Debian's buildah, without a daemon and without a registry: target/image/valetkey-VERSION-ARCH.oci.tar, an archive as
# `podman load`, `skopeo copy oci-archive:…` and clusters take it, and beside it the bill of materials. The same Dockerfile as anywhere else,
# with the program built outside. The same binary gives the same bytes.
#
# scripts/image.sh [ARCH]: amd64 or arm64, this machine's by default. BINARY=FILE takes a binary that is there, else one is built. BASE=IMAGE stands on
# another image than the one made of Debian's packages. URL is where the sources are to be had.
set -euo pipefail
cd "$(dirname "$0")/.."

here=$(dpkg --print-architecture)
arch=${1:-$here}
binary=${BINARY:-}
if [[ -z $binary && $arch == "$here" ]]; then
  make --no-print-directory binary
  binary=target/dist/valetkey
elif [[ -z $binary ]]; then
  target=$([[ $arch == arm64 ]] && echo aarch64 || echo x86_64)-unknown-linux-gnu
  TARGET=$target scripts/dist.sh
  binary=target/dist/$target/valetkey
fi
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
revision=${REVISION:-$(git rev-parse HEAD 2>/dev/null || true)}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

scripts/image-parts.sh "$arch" "$binary" "target/image/$arch"

store=$(mktemp -d)
trap 'rm -rf "$store"' EXIT
buildah() { command buildah --storage-driver vfs --root "$store/root" --runroot "$store/run" "$@"; }
archive=target/image/valetkey-$version-$arch.oci.tar
log=$store/log
{
  buildah build --isolation chroot --format oci --platform "linux/$arch" --timestamp "$SOURCE_DATE_EPOCH" --identity-label=false \
    --build-arg SOURCE=prebuilt --build-arg BASE="${BASE:-base}" --build-arg VERSION="$version" --build-arg REVISION="$revision" \
    --build-arg CREATED="$(date --utc --date "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)" --build-arg URL="${URL:-}" --tag "valetkey:$version" . &&
    buildah push "valetkey:$version" "oci:$store/layout:valetkey:$version"
} >"$log" 2>&1 || { cat "$log" >&2 && exit 1; }
tar --create --file "$archive" --directory "$store/layout" --sort=name --mtime "@$SOURCE_DATE_EPOCH" --owner 0 --group 0 --numeric-owner --mode go=rX,u=rwX .
cp "target/image/$arch/program/usr/share/doc/valetkey/sbom.cdx.json" "target/image/valetkey-$version-$arch.sbom.cdx.json"

size=$(du --bytes --summarize --total "target/image/$arch"/{base,program} | tail -n 1 | cut -f 1)
printf '%s: %d.%d MB unpacked\n' "$archive" $((size / 1000000)) $((size / 100000 % 10))
((size < 40000000)) || { echo "The image is to be smaller than 40 MB." >&2 && exit 1; }

#!/usr/bin/env bash
# Makes the root file system that the image stands on, of Debian's own packages: the C library, libgcc, the public
# certificate authorities, and the names of users. No shell, no package manager, nothing that runs.
#
# scripts/image-base.sh ARCH FOLDER: ARCH is Debian's name (amd64, arm64), FOLDER is made anew. Packages come from where this
# machine's come from, by an apt state of its own: no architecture is added to the machine's.
set -euo pipefail
arch=$1 out=$2

# What of the packages is there to stay; each pattern must match.
libraries=('ld-linux*.so.*' 'libc.so.6' 'libm.so.6' 'libresolv.so.2' 'libnss_dns.so.2' 'libnss_files.so.2' 'libgcc_s.so.1')
packages=(libc6 libgcc-s1 ca-certificates base-files)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists/partial,cache/archives/partial,debs,files}
touch "$work/status"
apt() {
  apt-get -qq -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o Dir::State::status="$work/status" -o Dir::State::lists="$work/lists" \
    -o Dir::Cache="$work/cache" -o APT::Sandbox::User= -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}
apt update
cd "$work/debs"
apt download "${packages[@]}"
# libgcc's licence is in a package of its own.
apt download "$(dpkg-deb --field libgcc-s1_*.deb Depends | grep -o 'gcc-[0-9]*-base')"
cd "$OLDPWD"

rm -rf "$out"
mkdir -p "$out"/{etc/ssl/certs,run,usr/lib,usr/share/doc,var/lib/dpkg/status.d}
mkdir -m 1777 "$out/tmp"
# Debian's own way since 12, whichever way the packages go.
ln -s usr/lib "$out/lib"
[[ $arch != amd64 ]] || { mkdir "$out/usr/lib64" && ln -s usr/lib64 "$out/lib64"; }

for deb in "$work"/debs/*.deb; do
  name=$(dpkg-deb --field "$deb" Package)
  dpkg-deb --extract "$deb" "$work/files/$name"
  # By these, scanners know what is here.
  dpkg-deb --field "$deb" | sed '/^Conffiles:/,/^[^ ]/{/^Conffiles:/d;/^ /d}' >"$out/var/lib/dpkg/status.d/$name"
  ! [[ -f $work/files/$name/usr/share/doc/$name/copyright ]] || install -D -t "$out/usr/share/doc/$name" "$work/files/$name/usr/share/doc/$name/copyright"
done

multiarch=
for pattern in "${libraries[@]}"; do
  found=()
  mapfile -t found < <(cd "$work/files" && find . -path '*/lib/*-linux-gnu/*' -name "$pattern" | sort)
  ((${#found[@]} == 1)) || { echo "Debian's packages have ${#found[@]} files $pattern for $arch, not one" >&2 && exit 1; }
  multiarch=$(basename "$(dirname "${found[0]}")")
  mkdir -p "$out/usr/lib/$multiarch"
  cp "$(realpath "$work/files/${found[0]}")" "$out/usr/lib/$multiarch/$(basename "${found[0]}")"
done
# Programs name the loader by a path of its own.
loader=$(basename "$out/usr/lib/$multiarch"/ld-linux*)
[[ $arch == amd64 ]] && ln -s "../lib/$multiarch/$loader" "$out/usr/lib64/$loader" || ln -s "$multiarch/$loader" "$out/usr/lib/$loader"

# As update-ca-certificates does it: each authority that Debian trusts.
find "$work/files/ca-certificates/usr/share/ca-certificates" -name '*.crt' | LC_ALL=C sort | while read -r file; do
  sed -e '$a\' "$file"
done >"$out/etc/ssl/certs/ca-certificates.crt"
cp "$work/files/base-files/usr/lib/os-release" "$out/usr/lib/os-release"
ln -s ../usr/lib/os-release "$out/etc/os-release"

printf '%s\n' root:x:0:0:root:/:/sbin/nologin nobody:x:65534:65534:nobody:/:/sbin/nologin valetkey:x:65532:65532:Valetkey:/:/sbin/nologin >"$out/etc/passwd"
printf '%s\n' root:x:0: nogroup:x:65534: valetkey:x:65532: >"$out/etc/group"
printf '%s\n' 'passwd: files' 'group: files' 'hosts: files dns' >"$out/etc/nsswitch.conf"

find "$out" -type d ! -path "$out/tmp" -exec chmod 755 {} +
find "$out" -type f -exec chmod 644 {} +
chmod 755 "$out/usr/lib/$multiarch/$loader"

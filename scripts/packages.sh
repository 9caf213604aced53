#!/usr/bin/env bash
# Makes, in target/dist, what is given to people: tarballs (linked to glibc, and a static one where the target for musl is installed), a Debian
# package, and SHA256SUMS. The same binaries give the same bytes.
#
# scripts/packages.sh takes target/dist/valetkey, which `make binary` and `make dist-pgo` build; BINARY=FILE another. STATIC=FILE takes a static binary
# that is there, else one is built; STATIC=no makes none. MAINTAINER is who the Debian package is of, as Debian writes it.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${BINARY:-target/dist/valetkey}
static=${STATIC:-}
out=target/dist
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
arch=$(dpkg --print-architecture)
processor=$(uname --machine)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
rm -f "$out"/valetkey-*.tar.gz "$out"/valetkey_*.deb "$out"/*.cdx.json "$out/SHA256SUMS"

if [[ -z $static ]]; then
  musl=$processor-unknown-linux-musl
  # Where rustup can have the target, it has it at once.
  if [[ -d $(rustc --print sysroot)/lib/rustlib/$musl ]] || timeout 60 rustup target add "$musl" >/dev/null 2>&1; then
    command -v musl-gcc >/dev/null || scripts/apt-install.sh musl-tools
    TARGET=$musl scripts/dist.sh
    static=target/dist/$musl/valetkey
  else
    echo "no static tarball: the target $musl isn't installed" >&2
  fi
fi

# What comes with every binary, told by the one that runs here: manual pages, completions, bill of materials, licences.
shared=$work/shared
documents=share/doc/valetkey
mkdir -p "$shared"/{share/man/man1,share/bash-completion/completions,share/zsh/vendor-completions,share/fish/vendor_completions.d,$documents}
mkdir "$work/path" && cp "$binary" "$work/path/valetkey"
program=$work/path/valetkey
"$program" completions bash >"$shared/share/bash-completion/completions/valetkey"
"$program" completions zsh >"$shared/share/zsh/vendor-completions/_valetkey"
"$program" completions fish >"$shared/share/fish/vendor_completions.d/valetkey.fish"
page() { # name of the page, what it is in one line, command
  # The short help: what the long one says of values in lists, help2man can't read.
  PATH=$work/path:$PATH help2man --no-info --no-discard-stderr --help-option=-h --section 1 --name "$2" --version-string "$1 $version" "$3" \
    --output "$shared/share/man/man1/$1.1"
}
page valetkey "reverse proxy that injects users' API tokens" valetkey
mapfile -t commands < <("$program" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\)  *\(.*\)/\1 \2/p' | grep -v '^help ')
for command in "${commands[@]}"; do
  page "valetkey-${command%% *}" "${command#* }" "valetkey ${command%% *}"
done
cp LICENSE-APACHE LICENSE-MIT README.md CHANGELOG.md "$shared/$documents/"
install -D --mode 644 packaging/valetkey.service "$shared/lib/systemd/system/valetkey.service"
install -D --mode 644 packaging/sysusers.conf "$shared/lib/sysusers.d/valetkey.conf"

packed() { # archive, directory in it
  tar --create --directory "$work" --sort=name --mtime "@$SOURCE_DATE_EPOCH" --owner 0 --group 0 --numeric-owner --mode u=rwX,go=rX "$2" | gzip --no-name --best >"$out/$1"
}

tarball() { # binary, what its target ends in
  local name=valetkey-$version-$processor-linux-$2
  cp --recursive "$shared" "$work/$name"
  install -D --mode 755 "$1" "$work/$name/bin/valetkey"
  scripts/sbom.py --target "$processor-unknown-linux-$2" --sbom "$work/$name/$documents/sbom.cdx.json" --licences "$work/$name/$documents/licences.txt"
  cp "$work/$name/$documents/sbom.cdx.json" "$out/$name.sbom.cdx.json"
  packed "$name.tar.gz" "$name"
}
tarball "$binary" gnu
[[ -z $static || $static == no ]] || tarball "$static" musl

# The Debian package: the same files where Debian has them.
debian=$work/debian
mkdir -p "$debian"/{DEBIAN,usr}
cp --recursive "$work/valetkey-$version-$processor-linux-gnu"/{bin,lib,share} "$debian/usr/"
documents=$debian/usr/share/doc/valetkey
rm "$documents"/LICENSE-*
mv "$documents/CHANGELOG.md" "$documents/changelog"
license() { sed -n '/^Permission/,$p' LICENSE-MIT | sed 's/^$/./; s/^/ /'; }
license >"$work/mit"
sed -e "/@MIT@/{r $work/mit" -e 'd}' packaging/debian/copyright >"$documents/copyright"
install -D --mode 644 packaging/debian/lintian-overrides "$debian/usr/share/lintian/overrides/valetkey"
maintainer=${MAINTAINER:-The Valetkey authors <maintainers@valetkey.invalid>}
cat >"$documents/changelog.Debian" <<END
valetkey ($version-1) unstable; urgency=medium

  * $version; changelog.gz says what is new.

 -- $maintainer  $(date --utc --date "@$SOURCE_DATE_EPOCH" --rfc-email)
END
gzip --no-name --best "$documents"/{changelog,changelog.Debian,licences.txt,sbom.cdx.json} "$debian"/usr/share/man/man1/*
cp packaging/debian/{postinst,prerm,postrm} "$debian/DEBIAN/"
size=$(du --summarize --apparent-size --block-size=1K "$debian/usr" | cut -f 1)
sed -e "s/@VERSION@/$version-1/; s/@ARCH@/$arch/; s/@SIZE@/$size/; s/@GLIBC@/$(scripts/glibc-version.sh "$binary")/" \
  -e "s/@MAINTAINER@/$maintainer/" packaging/debian/control >"$debian/DEBIAN/control"
(cd "$debian" && find usr -type f -printf '%P\n' | LC_ALL=C sort | sed 's,^,usr/,' | xargs md5sum >DEBIAN/md5sums)
chmod -R u=rwX,go=rX "$debian"
dpkg-deb --root-owner-group -Zxz --build "$debian" "$out/valetkey_$version-1_$arch.deb" >/dev/null

cd "$out"
sha256sum valetkey-*.tar.gz valetkey_*.deb ./*.cdx.json | sed 's,\./,,' >SHA256SUMS
ls -l valetkey-*.tar.gz valetkey_*.deb

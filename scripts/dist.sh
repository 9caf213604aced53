#!/usr/bin/env bash
# Builds the binary for images and packages: target/dist/valetkey. Without the feature `demo`, so that there is no pretend
# provider beside people's keys. Fat LTO, one codegen unit; where the linker is the compiler's own lld, equal functions
# folded, relocations packed, and code that is rarely run kept apart. Arguments go to cargo.
#
# PROFDATA=FILE uses a profile of `scripts/pgo.sh`; INSTRUMENT=FOLDER builds what counts for one instead, into that
# folder. OUT=FILE puts the binary elsewhere. CPU=x86-64-v3 (say) builds for processors of that level or above: fewer
# instructions, and none that run it below. BIN=bare-pingora-mimalloc builds the bench's yardstick the same way.
#
# TARGET=x86_64-unknown-linux-musl (say) builds for another target, as target/dist/TARGET/valetkey: static with musl, or for
# another processor. Its compiler for C is musl-gcc (Debian: musl-tools) or Debian's gcc-aarch64-linux-gnu and the like.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
target=${TARGET:-$host}
bin=${BIN:-valetkey}
package=valetkey
features=(--no-default-features)
[[ $bin == valetkey ]] || { package=valetkey-bench && features=(); }
folder=target/dist
[[ $target == "$host" ]] || folder+=/$target
out=${OUT:-$folder/$bin}
# With --target, build scripts and procedural macros are built without these flags.
place=(--target "$target" --target-dir target/dist-build)

# Where sources lie on this machine is nobody's business, and would make each machine's binary another one.
names=("${CARGO_HOME:-$HOME/.cargo}=/cargo" "$PWD=/valetkey")
for name in "${names[@]}"; do
  export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$name"
  export CFLAGS="${CFLAGS:-} -ffile-prefix-map=$name"
done

# What cc and cmake compile C with, and rustc links by, for another target.
variable=${target//-/_}
cross=
case $target in
"$host") ;;
*-linux-musl)
  # musl-gcc knows no headers of the kernel; those of this machine are the same.
  export "CC_$variable=musl-gcc" "CFLAGS_$variable=${CFLAGS:-} -idirafter /usr/include/$(gcc -print-multiarch) -idirafter /usr/include"
  ;;
*-linux-gnu) cross=${target/-unknown/}-gcc && export "CC_$variable=$cross" "CARGO_TARGET_${variable^^}_LINKER=$cross" ;;
esac
# Both builds have the same profile: cargo hashes it into the names of functions, by which counts are found again.
[[ -z ${INSTRUMENT:-} ]] || export RUSTFLAGS="${RUSTFLAGS:-} -Cprofile-generate=$(realpath "$INSTRUMENT")"
[[ -z ${PROFDATA:-} ]] || export RUSTFLAGS="${RUSTFLAGS:-} -Cprofile-use=$(realpath "$PROFDATA")"
[[ -z ${CPU:-} ]] || export RUSTFLAGS="${RUSTFLAGS:-} -Ctarget-cpu=$CPU"

link=()
if [[ $target == x86_64-unknown-linux-gnu ]]; then # where rustc brings lld and links by it, since 1.90
  link+=(-Clink-arg=-Wl,--icf=all -Clink-arg=-Wl,-O2 -Clink-arg=-Wl,-z,keep-text-section-prefix)
  # Packed relocations are read by glibc 2.36 and newer (Debian 12, Ubuntu 22.10).
  glibc=$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)
  [[ $(printf '%s\n' 2.36 "$glibc" | sort -V | head -n 1) != 2.36 ]] || link+=(-Clink-arg=-Wl,-z,pack-relative-relocs)
fi

cargo rustc --profile dist --locked --package "$package" --bin "$bin" "${features[@]}" "${place[@]}" "$@" -- "${link[@]}"
mkdir -p "$(dirname "$out")"
cp "target/dist-build/$target/dist/$bin" "$out"
# The feature may not come back by another way.
if ((${#features[@]})) && grep -aq 'STAND-IN: a pretend provider' "$out"; then
  echo "$out holds the demo's pretend provider: it must be built without the feature \`demo\`." >&2
  exit 1
fi
ls -l "$out"

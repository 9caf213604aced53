#!/usr/bin/env bash
# Builds target/dist/valetkey by profile: an instrumented build takes the bench's load, and `scripts/dist.sh` builds by
# what it counted. Three builds, some half an hour on two cores. Needs an llvm-profdata that is no older than the
# compiler's LLVM: rustup's llvm-tools, or Debian's.
#
# KEEP=FILE keeps the profile, for PROFDATA=FILE scripts/dist.sh. CPU=x86-64-v3 as there, and BIN=bare-pingora-mimalloc.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${BIN:-valetkey}
host=$(rustc -vV | sed -n 's/^host: //p')
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')

# The first llvm-profdata that reads what this compiler writes.
profdata() {
  local program version
  for program in "$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata" \
    "llvm-profdata-$llvm" "llvm-profdata-$((llvm + 1))" llvm-profdata; do
    version=$("$program" --version 2>/dev/null | sed -n 's/.*LLVM version \([0-9]*\).*/\1/p') || continue
    ((${version:-0} < llvm)) || { echo "$program" && return; }
  done
  return 1
}

if ! merge=$(profdata); then
  rustup component add llvm-tools >/dev/null 2>&1 || scripts/apt-install.sh "llvm-$llvm" || true
  merge=$(profdata) || {
    echo "There is no llvm-profdata of LLVM $llvm or newer. Please install one: rustup component add llvm-tools," \
      "or your system's package llvm-$llvm. Without it, make dist builds without a profile." >&2
    exit 1
  }
fi

scripts/install-bench-deps.sh
packages=(--package valetkey-bench)
[[ $bin == valetkey ]] || packages+=(--package valetkey)
cargo build --release --locked "${packages[@]}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
INSTRUMENT=$work OUT=$work/instrumented scripts/dist.sh "$@"

# The bench ends processes by SIGKILL, but counts are written at an orderly end. So what it starts is a script; once that
# is gone, the program is told to end, and the next one waits until it has.
cp target/release/{valetkey-bench,bare-pingora,bare-pingora-mimalloc} "$work"
[[ $bin == valetkey ]] || cp target/release/valetkey "$work"
cat >"$work/$bin" <<'SCRIPT'
#!/usr/bin/env bash
here=$(dirname "$0")
exec 9>"$here/lock"
flock 9
"$here/instrumented" "$@" &
child=$!
(exec 9>&-; while kill -0 $$ 2>/dev/null; do sleep 0.1; done; kill -TERM $child) >/dev/null 2>&1 &
wait $child
SCRIPT
chmod +x "$work/$bin"
LLVM_PROFILE_FILE="$work/$bin-%p.profraw" "$work/valetkey-bench" --rounds 1 --seconds 4
flock "$work/lock" true # the last one has ended, too

"$merge" merge --output "$work/$bin.profdata" "$work/$bin"-*.profraw
[[ -z ${KEEP:-} ]] || cp "$work/$bin.profdata" "$KEEP"
PROFDATA="$work/$bin.profdata" scripts/dist.sh "$@"

#!/usr/bin/env bash
# Counts what a request costs in instructions, user and kernel, where the hardware counts none: runs the race of
# `make bench` in a machine that QEMU emulates, one instruction a nanosecond. The kernel's account of a process's CPU time
# is then its number of instructions, the same on every machine and however busy it is. It has one core, which all share,
# and starts from memory; nothing of it stays. Some ten minutes, most of which a core is busy.
#
# Arguments go to valetkey-bench in place of DEFAULTS. VALETKEY=FILE counts another build of Valetkey.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly DEFAULTS=(--users 2000 --rounds 1 --seconds 3)
(($#)) || set -- "${DEFAULTS[@]}"

missing=()
command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
[[ -x /bin/busybox ]] || missing+=(busybox-static)
command -v cpio >/dev/null || missing+=(cpio)
scripts/apt-install.sh "${missing[@]}"

work=target/emulated
mkdir -p "$work"
# A kernel of Debian's, unpacked here and not installed.
kernel() { compgen -G "$work/kernel/boot/vmlinuz-*"; }
kernel_package() { apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[^ ]*\)$/\1/p'; }
if ! kernel >/dev/null; then
  # Fresh lists come with whatever is installed.
  [[ -n $(kernel_package) ]] || scripts/apt-install.sh apt
  package=$(kernel_package | head -n 1)
  (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "$package" && dpkg-deb -x "$package"_*.deb kernel)
fi

# QEMU counts the instructions of SHA extensions since 8.2, before that a SHA-256 block's in plain ones, 2.3k each. Where
# the system's is older, its backports have one: unpacked here, too.
counts_sha() { printf '8.2\n%s\n' "$("$1" --version | sed -n 's/^QEMU emulator version \([0-9.]*\).*/\1/p')" | sort -CV; }
backported() {
  local release state=$PWD/$work/apt site
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  site=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' "Codename: $release" | head -n 1)
  mkdir -p "$state/lists/partial" "$state/packages"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $release-backports main" >"$state/sources.list"
  local apt=(apt-get -qq -o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=-
    -o "Dir::State::lists=$state/lists" -o APT::Sandbox::User=root)
  "${apt[@]}" update
  (cd "$state/packages" && "${apt[@]}" download {qemu-system-{x86,common,data},seabios}/"$release-backports")
  for package in "$state"/packages/*.deb; do dpkg-deb -x "$package" "$work/qemu"; done
  "$work/qemu/usr/bin/qemu-system-x86_64" --version >/dev/null
}
qemu=(qemu-system-x86_64)
if ! counts_sha "${qemu[0]}"; then
  if [[ -x $work/qemu/usr/bin/qemu-system-x86_64 ]] || backported; then
    share=$work/qemu/usr/share
    qemu=("$work/qemu/usr/bin/qemu-system-x86_64" -L "$share/qemu" -L "$share/seabios")
  else
    echo "SHA-256 is counted in plain instructions: this QEMU knows no SHA extensions, and there is no newer one." >&2
  fi
fi

root=$(mktemp -d)
trap 'rm -rf "$root" "$root.cpio.gz"' EXIT
mkdir -p "$root"/{bin,dev,etc,proc,sys,tmp,var/log/nginx,var/lib/nginx}
# A program with the libraries that it needs, where they lie here.
install_program() { # from, to
  install -D "$1" "$root/$2"
  local library
  for library in $(ldd "$1" 2>/dev/null | grep -oE '/[^ ]+'); do
    [[ -e $root/$library ]] || install -D "$library" "$root/$library"
  done
}
for program in wrk nginx redis-server; do
  install_program "$(PATH=$PATH:/usr/sbin command -v "$program")" "/bin/$program"
done
for program in valetkey-bench bare-pingora bare-pingora-mimalloc; do
  install_program "target/release/$program" "/bin/$program"
done
install_program "${VALETKEY:-target/release/valetkey}" /bin/valetkey
install /bin/busybox "$root/bin/busybox"
for applet in sh mount ip poweroff; do ln -s busybox "$root/bin/$applet"; done
# There is one core: nothing to pin to.
printf '#!/bin/sh\nshift 2\nexec "$@"\n' | install -m 755 /dev/stdin "$root/bin/taskset"
cp /etc/passwd /etc/group "$root/etc/"
echo 'passwd: files' >"$root/etc/nsswitch.conf"
echo '127.0.0.1 localhost' >"$root/etc/hosts"
cat >"$root/init" <<INIT
#!/bin/sh
export PATH=/bin HOME=/tmp TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o size=4g tmp /tmp
ip link set lo up
valetkey-bench --emulated --no-peers ${*@Q}
poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio --create --format=newc --quiet) | gzip -1 >"$root.cpio.gz"

# Without the instructions that move any number of bytes at once: each byte would count as one.
"${qemu[@]}" -machine q35 -cpu max,-erms,-fsrm,-la57 -smp 1 -m 6G -nic none -nographic -no-reboot \
  -accel tcg,thread=single -icount shift=0,sleep=off -kernel "$(kernel)" -initrd "$root.cpio.gz" \
  -append 'console=ttyS0 quiet panic=-1 tsc=reliable random.trust_cpu=on' </dev/null |
  tee "$work/log" | sed -un 's/\r//; s/^.*\(upstream, Redis\)/\1/; /imported/,/ in all$/p'
grep -q ' in all' "$work/log" || { echo "the emulated machine didn't get to the end: $work/log" >&2 && exit 1; }

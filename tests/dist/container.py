"""A container without a daemon: a file system, read-only, and a user without a single privilege, alone among its processes."""

import os
import signal
import subprocess
from pathlib import Path

# What a runtime mounts for every container, read-only what is named so, and writable what is named so.
MOUNTS = """
set -e
root=$1 && shift
mount --rbind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero random urandom; do touch "$root/dev/$device" && mount --bind "/dev/$device" "$root/dev/$device"; done
while [ "$1" != -- ]; do
  mount --bind "$3" "$root$2"
  [ "$1" = rw ] || mount -o remount,bind,ro "$root$2"
  shift 3
done
shift
mount -o remount,bind,ro "$root"
exec "$@"
"""


class Container:
    """A root file system that is nobody else's, and at most one process that was started in it, as a user and group that are numbers."""

    def __init__(self, root: Path, user: tuple[int, int], environment: list[str], log: Path, read_only: dict[str, Path], writable: dict[str, Path]):
        self.root, self.user, self.environment, self.log = root, user, environment, log
        self.volumes: list[str | Path] = []
        for kind, volumes in (("ro", read_only), ("rw", writable)):
            for place, source in volumes.items():
                self.volumes += [kind, place, source]
        for place in ["/proc", "/dev", *read_only, *writable]:
            (root / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen | None = None

    def _as_user(self, *command: str) -> list[str | Path]:
        """A command inside, looked for along its own PATH."""
        user, group = self.user
        few = ["setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all,+sys_chroot,+setuid,+setgid"]
        change = ["/usr/sbin/chroot", f"--userspec={user}:{group}", f"--groups={group}", self.root]
        return [*few, "/usr/bin/env", "--ignore-environment", *self.environment, *change, *command]

    def start(self, *command: str):
        """Starts the command as the first process of the container."""
        shell = ["sh", "-c", MOUNTS, "sh", self.root, *self.volumes, "--", *self._as_user(*command)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child", *shell], stdout=log, stderr=log)

    @property
    def first(self) -> int:
        """The first process, by its number on this machine."""
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text())

    def run(self, *command: str) -> subprocess.CompletedProcess:
        """Runs a command in the running container to its end, as probes are."""
        inside = ["nsenter", "--target", str(self.first), "--mount", "--pid", *self._as_user(*command)]
        return subprocess.run(inside, capture_output=True, text=True, timeout=60)

    def stop(self) -> int:
        """SIGTERM to the first process, as the kubelet does it; how it ended."""
        os.kill(self.first, signal.SIGTERM)
        return self.process.wait(timeout=60)

    def close(self):
        """Ends what still runs."""
        if self.process:
            self.process.kill()
            self.process.wait()

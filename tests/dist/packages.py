"""What `make dist` made, and this machine's Debian to install it into: a copy of all files on which nothing that is written stays."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from contents import ROOT

DIST = ROOT / "target/dist"
UNIT = "usr/lib/systemd/system/valetkey.service"


def only(pattern: str) -> Path:
    """The file of this name."""
    if "VALETKEY" in os.environ:
        pytest.skip("make test-dist looks at packages")
    found = list(DIST.glob(pattern))
    if not found:
        pytest.exit(f"{DIST / pattern} isn't there: make dist", returncode=2)
    [file] = found
    return file


class Machine:
    """This machine's file system below an overlay: what is installed there is gone with it."""

    def __init__(self, folder: Path):
        self.layers, self.root = folder / "layers", folder / "machine"
        for place in (self.layers, self.root):
            place.mkdir()
        self._mount("-t", "tmpfs", "tmpfs", self.layers)
        self.written = self.layers / "written"
        self.written.mkdir()
        (self.layers / "work").mkdir()
        self._mount("-t", "overlay", "-o", f"lowerdir=/,upperdir={self.written},workdir={self.layers / 'work'}", "overlay", self.root)
        self._mount("-t", "proc", "proc", self.root / "proc")
        self._mount("--rbind", "/dev", self.root / "dev")
        # No systemd runs there, whatever runs here.
        self._mount("-t", "tmpfs", "tmpfs", self.root / "run")

    @staticmethod
    def _mount(*arguments: str | Path):
        subprocess.run(["mount", *arguments], check=True)

    def close(self):
        """Takes it all away."""
        subprocess.run(["umount", "--recursive", "--lazy", self.root], check=True)
        subprocess.run(["umount", self.layers], check=True)

    def run(self, command: str) -> subprocess.CompletedProcess:
        """Runs a line of shell there, as root."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        line = ["chroot", self.root, "/bin/sh", "-c", command]
        return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120)

    def must(self, command: str) -> str:
        """Runs what succeeds; what it printed."""
        done = self.run(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def typed(self, command: str) -> str:
        """Runs what an administrator types, who is root here already."""
        return self.must(re.sub(r"\bsudo -u (\w+)", r"runuser -u \1 --", command).replace("sudo ", ""))

    def left(self) -> set[str]:
        """What has `valetkey` in its name, of all that was written."""
        return {str(path.relative_to(self.written)) for path in self.written.rglob("*valetkey*") if not path.is_char_device()}


def unit(text: str) -> dict[str, str]:
    """A unit's settings; of those that are said twice, the last."""
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.M))


def block_with(page: str, line: str) -> list[str]:
    """The commands of the only block of shell on a page with this line in it."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / page).read_text(), re.S | re.M)
    [block] = [block for block in blocks if line in block]
    return block.strip().splitlines()

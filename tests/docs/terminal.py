"""A shell that stays, into which blocks are typed one after the other, as a reader would."""

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from pathlib import Path

from walk import BINARY, free_ports

MARK = "--- typed ---"
PROXY, ADMIN, REDIS = 8080, 9090, 6379


class Terminal:
    """Bash with job control in a folder of its own, with `valetkey` on its PATH and other ports than the usual ones."""

    def __init__(self, folder: Path):
        programs = folder / "programs"
        programs.mkdir()
        (programs / "valetkey").symlink_to(BINARY)
        self.folder = folder / "at"
        self.folder.mkdir()
        self.ports = dict(zip((PROXY, ADMIN, REDIS), free_ports(3), strict=True))
        self.shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=self.folder,
            env={"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started: list[str] = []
        self.must("set -m")

    def typed(self, command: str) -> str:
        """A command with this terminal's ports."""
        for usual, port in self.ports.items():
            command = re.sub(rf"(:|--port ){usual}\b", rf"\g<1>{port}", command)
        ports = f"--port {self.ports[PROXY]} --admin-port {self.ports[ADMIN]}"
        return re.sub(r"^valetkey init [\w ]*\w", rf"\g<0> {ports}", command, flags=re.M)

    def run(self, command: str) -> tuple[str, int]:
        """Types a block; what was printed until its last command ended, and how that ended."""
        self.shell.stdin.write(f"{self.typed(command)}\nprintf '\\n%s %d\\n' '{MARK}' $?\n".encode())
        self.shell.stdin.flush()
        seen, until = b"", time.monotonic() + 60
        while not (end := re.search(rf"{MARK} (\d+)\n".encode(), seen)):
            assert time.monotonic() < until, f"{command}\n{seen.decode()}"
            if select.select([self.shell.stdout], [], [], 1)[0]:
                read = os.read(self.shell.stdout.fileno(), 65536)
                assert read, f"the shell has ended: {command}\n{seen.decode()}"
                seen += read
        return seen[: end.start()].decode(), int(end[1])

    def must(self, command: str) -> str:
        """Types a block whose last command succeeds; what it printed."""
        said, code = self.run(command)
        assert code == 0, f"{command}\n{said}"
        return said

    def until(self, command: str):
        """Types a command until it succeeds."""
        for _ in range(200):
            if self.run(command)[1] == 0:
                return
            time.sleep(0.05)
        raise AssertionError(f"it never succeeded: {command}\n{self.run(command)[0]}")

    def close(self):
        """Ends all that was started here, each with what it started."""
        with contextlib.suppress(AssertionError, OSError):
            for group in self.run("jobs -p")[0].split():
                with contextlib.suppress(ProcessLookupError, ValueError):
                    os.killpg(int(group), signal.SIGKILL)
        self.shell.kill()
        self.shell.wait()

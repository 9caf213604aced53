"""A README's commands as somebody types them, and a browser as far as HTML needs one."""

import contextlib
import html
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode, urljoin

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ports import free_ports
from provider import CLIENT_SECRET, Provider

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples"
# The others' is made by `valetkey init`.
WITH_CONFIGURATION = ("compose", "sidecar")
PYTHON = Path(sys.executable)
BINARY = Path(os.environ.get("VALETKEY", ROOT / "target/debug/valetkey")).resolve()


def listening(port: int, process: subprocess.Popen | None = None):
    """Waits until somebody listens there; fails at once when the process that should has ended."""
    for _ in range(600):
        with contextlib.suppress(OSError):
            return socket.create_connection(("127.0.0.1", port), timeout=5).close()
        assert process is None or process.poll() is None, f"it ended with {process.returncode}"
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on port {port}")


def blocks(readme: str) -> list[str]:
    """The blocks of shell commands of a text, in order."""
    return re.findall(r"^```sh\n(.*?)^```$", readme, re.S | re.M)


def commands(block: str) -> list[str]:
    """The commands of a block; one that goes on in the next line is one."""
    return block.replace("\\\n", "").strip().splitlines()


class Place:
    """A folder with an example in it, a PATH with `valetkey` on it, and other ports than the usual ones."""

    def __init__(self, example: str, folder: Path, usual: list[int]):
        self.folder = folder / example
        # Somebody may have tried it where it stands.
        made = ["node_modules", ".venv", "secrets", ".env", "*.redb", *([] if example in WITH_CONFIGURATION else ["valetkey.yaml"])]
        shutil.copytree(EXAMPLES / example, self.folder, ignore=shutil.ignore_patterns(*made))
        self.ports = dict(zip(usual, free_ports(len(usual)), strict=True))
        programs = folder / "programs"
        programs.mkdir()
        (programs / "valetkey").symlink_to(BINARY)
        self.programs = programs
        self.environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(folder)}
        self.running: list[subprocess.Popen] = []

    def typed(self, command: str) -> str:
        """A command with this place's ports."""
        for usual, port in self.ports.items():
            command = command.replace(f":{usual}", f":{port}")
        return command

    def run(self, command: str, **environment: str) -> subprocess.CompletedProcess:
        """Runs a command to its end."""
        return subprocess.run(
            ["bash", "-c", self.typed(command)],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def must(self, command: str, **environment: str) -> str:
        """Runs a command that succeeds; what it printed."""
        done = self.run(command, **environment)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, command: str, **environment: str) -> subprocess.Popen:
        """Starts what goes on, with all that it starts itself."""
        log = (self.folder.parent / "log").open("ab")
        # Bash waits for what it put into the background: its end would be the end of the group.
        process = subprocess.Popen(
            ["bash", "-c", f"{self.typed(command)}\nwait"],
            cwd=self.folder,
            env=self.environment | environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def log(self) -> str:
        """What the started programs have said."""
        return (self.folder.parent / "log").read_text()

    def configure(self, provider: Provider):
        """Puts the stand-in where GitHub and the others stand, as one puts client ID and secret there."""
        file = self.folder / "valetkey.yaml"
        config = yaml.safe_load(file.read_text())
        for name, service in config["services"].items():
            service.update(provider.service(name))
            secret = Path(service["client_secret_file"])
            (self.folder / secret).write_text(CLIENT_SECRET)
        file.write_text(yaml.safe_dump(config, sort_keys=False))

    def close(self):
        """Ends what was started, group by group."""
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def connect(link: str) -> str:
    """Goes the way of a person who opens a connect link and agrees; the page where it ends."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    with browser.open(link, timeout=30) as answer:
        page, address = answer.read().decode(), answer.url
    form = re.search(r"<form[^>]*\bmethod=\"post\"[^>]*>.*?</form>", page, re.S)
    assert form, page
    action = re.search(r"\baction=\"([^\"]*)\"", form[0])
    fields = {}
    for tag in re.findall(r"<(?:input|button)\b[^>]*>", form[0]):
        found = dict(re.findall(r"\b(name|value)=\"([^\"]*)\"", tag))
        if "name" in found:
            fields[found["name"]] = html.unescape(found.get("value", ""))
    target = urljoin(address, html.unescape(action[1])) if action else address
    with browser.open(target, data=urlencode(fields).encode(), timeout=30) as answer:
        assert answer.status == 200
        return answer.url


def link_in(text: str) -> str:
    """The connect link that somebody printed."""
    found = re.search(r"http://localhost:\d+/connect/[^\s\"]+", text)
    assert found, text
    return found[0]


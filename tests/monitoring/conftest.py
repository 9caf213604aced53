"""What the tests of monitoring/ need: Debian's `prometheus`, and the binary."""

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from servers import BINARY


def pytest_configure():
    """Without these nothing would be tested, which must not pass for a success."""
    if not BINARY.exists():
        pytest.exit(f"{BINARY} isn't there: build it (cargo build), or name it with VALETKEY", returncode=2)
    for program in ("promtool", "prometheus", "redis-server"):
        if not shutil.which(program):
            pytest.exit(f"{program} isn't there: run scripts/install-test-deps.sh", returncode=2)


@pytest.fixture(scope="session")
def rules_made(tmp_path_factory):
    """Writes rules to a file, for promtool; gives its path."""
    folder = tmp_path_factory.mktemp("rules")

    def write(name: str, text: str) -> Path:
        file = folder / name
        file.write_text(text)
        return file

    return write


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Everything is on this machine."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        if name in os.environ:
            monkeypatch.delenv(name)

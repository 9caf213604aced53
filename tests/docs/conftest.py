"""Fixtures of the documentation's tests; what types commands and stands in for providers is the examples'."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

from provider import Provider
from walk import BINARY


def pytest_configure():
    """Without the binary nothing would be tested, which must not pass for a success."""
    if not BINARY.exists():
        pytest.exit(f"{BINARY} isn't there: build it (cargo build), or name it with VALETKEY", returncode=2)


@pytest.fixture
def provider(tmp_path):
    """A stand-in of GitHub."""
    provider = Provider(tmp_path / "no-repositories")
    yield provider
    provider.close()


@pytest.fixture(scope="session")
def valetkey():
    """Runs `valetkey` with arguments to its end; what it printed."""
    return lambda *arguments: subprocess.run([BINARY, *arguments], capture_output=True, text=True, check=True).stdout

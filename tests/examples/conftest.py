"""Fixtures of the examples' tests."""

import subprocess

import pytest
from provider import Provider
from walk import BINARY


def pytest_configure():
    """Without the binary nothing would be tested, which must not pass for a success."""
    if not BINARY.exists():
        pytest.exit(f"{BINARY} isn't there: build it (cargo build), or name it with VALETKEY", returncode=2)


@pytest.fixture(scope="session")
def repositories(tmp_path_factory):
    """A folder of git repositories, with ada/notes in it."""
    folder = tmp_path_factory.mktemp("repositories")
    work, bare = folder / "work", folder / "ada/notes.git"
    as_ada = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run(["git", "init", "--quiet", work], check=True)
    (work / "engine.txt").write_text("The Analytical Engine weaves algebraical patterns.\n")
    subprocess.run(["git", "-C", work, "add", "engine.txt"], check=True)
    subprocess.run([*as_ada, "-C", work, "commit", "--quiet", "--message", "First"], check=True)
    subprocess.run(["git", "clone", "--quiet", "--bare", work, bare], check=True)
    return folder


@pytest.fixture
def provider(repositories):
    """A stand-in of everything that the examples call."""
    provider = Provider(repositories)
    yield provider
    provider.close()

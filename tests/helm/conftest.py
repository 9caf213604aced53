"""Fixtures of the chart's tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from chart import BINARY, SETS, Stage, render_set


def pytest_configure():
    """Without the binary nothing of the configuration would be tested, which must not pass for a success."""
    if not BINARY.exists():
        pytest.exit(f"{BINARY} isn't there: build it (cargo build), or name it with VALETKEY", returncode=2)


@pytest.fixture(scope="session")
def stage(tmp_path_factory):
    """Files as the kubelet would mount them."""
    return Stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture(scope="session")
def charts(tmp_path_factory):
    """A folder for charts that have this one as their dependency."""
    return tmp_path_factory.mktemp("charts")


@pytest.fixture(scope="session")
def rendered(charts):
    """Every value set, rendered once."""
    return {name: render_set(name, charts) for name in SETS}

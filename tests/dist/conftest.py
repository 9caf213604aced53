"""Fixtures of the tests of image and packages. They run in namespaces of their own: what they mount and listen on, nobody else sees."""

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

from container import Container
from contents import Image, prebuilt, unpacked
from provider import Provider
from service import Service

# Of <sched.h>, <linux/sockios.h> and <net/if.h>.
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1


def pytest_configure():
    """Leaves the machine's mounts and network for empty ones."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        # `make test` is for everybody.
        pytest.exit("this needs Debian, and root", returncode=0 if "VALETKEY" in os.environ else 2)
    # Debian's packages come from the network that was.
    os.environ["NETWORK"] = f"/proc/{os.getpid()}/fd/{os.open('/proc/self/ns/net', os.O_RDONLY)}"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET) != 0:
        pytest.exit(f"unshare: {os.strerror(ctypes.get_errno())}", returncode=2)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


@pytest.fixture(scope="session")
def image(tmp_path_factory) -> Image:
    """The image of `make image`, or, where VALETKEY names a binary, what the Dockerfile would make of it."""
    if binary := os.environ.get("VALETKEY"):
        return prebuilt(Path(binary), tmp_path_factory.mktemp("image"))
    return unpacked(tmp_path_factory.mktemp("image"))


@pytest.fixture
def provider(tmp_path):
    """A stand-in of GitHub."""
    provider = Provider(tmp_path / "no-repositories")
    yield provider
    provider.close()


@pytest.fixture
def container(image, provider, tmp_path):
    """A running container of the image, configured as the chart does it, with a volume for its store."""
    service = Service(tmp_path, provider, store="/var/lib/valetkey/valetkey.redb", secrets="/etc/valetkey/secrets/main")
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, *image.user)
    volumes = {"/etc/valetkey/config": service.config, "/etc/valetkey/secrets/main": service.secrets}
    root = tmp_path / "root"
    # Hard links: a container takes no room.
    subprocess.run(["cp", "--archive", "--link", image.root, root], check=True)
    container = Container(root, image.user, image.config["Env"], tmp_path / "log", read_only=volumes, writable={"/var/lib/valetkey": state})
    container.start(*image.config["Entrypoint"], *image.config["Cmd"])
    yield container
    container.close()

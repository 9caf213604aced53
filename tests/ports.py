"""Free ports for the tests in Python."""

import itertools
import os
import socket

_steps = itertools.count()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now. As tests/it/support/ports.rs does it, each process looks in a window of its own, below the ports that
    the kernel gives to outgoing connections: nobody takes one between this look and its use."""
    window, found = (os.getpid() % 550) * 40, []
    for step in itertools.islice(_steps, 2000 if count else 0):
        port = 10_000 + (window + step) % 22_000
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        found.append(port)
        if len(found) == count:
            break
    if len(found) < count:
        raise RuntimeError("no free port")
    return found

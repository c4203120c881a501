"""Ports for servers of tests that nobody else takes between one start of a server and the next."""

import contextlib
import itertools
import os
import random
import socket
from collections.abc import Iterator

HOST = "127.0.0.1"

PORTS = range(15_000, 32_000)
"""Below what systems lend to outgoing connections, so that a stopped server's port is not taken meanwhile."""

SHARES = 17
"""So many processes of one test run each have ports of their own."""


def unused_port() -> int:
    """A port that nobody listens on now, and that this process was not given lately."""
    for port in itertools.islice(_mine, len(PORTS)):
        with contextlib.suppress(OSError), socket.create_server((HOST, port)):
            return port
    raise AssertionError("no port is free")


def _turns() -> Iterator[int]:
    """The ports of this process, again and again, from anywhere on: another run may have just begun too."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    mine = PORTS[number % SHARES :: SHARES]
    start = random.randrange(len(mine))
    return itertools.cycle([*mine[start:], *mine[:start]])


_mine = _turns()

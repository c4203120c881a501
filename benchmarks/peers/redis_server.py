"""A Redis for each measurement, so that none inherits another's keys, memory or append-only file."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

PROGRAM = "redis-server"
SETTINGS = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "")
START_S = 10.0


@dataclass(frozen=True)
class Server:
    """A running Redis."""

    port: int
    pid: int
    client: redis.Redis

    @property
    def url(self) -> str:
        """Database 0."""
        return f"redis://127.0.0.1:{self.port}/0"


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """An empty server on loopback that keeps its file in ``folder``; killed at the end."""
    port = free_port()
    where = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder))
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, *where, *SETTINGS], stdout=log, stderr=log)
    client = redis.Redis(port=port, socket_timeout=None)
    try:
        _wait_until_up(client, process)
        yield Server(port, process.pid, client)
    finally:
        client.close()
        process.kill()
        process.wait()


def _wait_until_up(client: redis.Redis, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client.ping()
        except redis.ConnectionError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError("redis-server did not come up")

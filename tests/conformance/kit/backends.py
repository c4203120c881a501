"""The stores that the suite runs on. A new broker joins by adding its class to `BACKENDS`.

A backend is one empty store. It opens any number of brokers on it, can tell another process where
it is, can make it unreachable for a while, and removes it at the end. The stores on Redis are namespaces
on servers that all tests share.
"""

import contextlib
import secrets
import sqlite3
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from subprocess import PIPE, Popen
from typing import ClassVar

from penstock.core.clock import Clock, system_clock
from penstock.ports import Broker, BrokerOptions
from support.redis_groups import Cluster, Group, SentinelGroup
from support.redis_server import RedisServer, ValkeyServer
from support.services import shared

HERE = Path(__file__).parent


class Backend(ABC):
    """One store; ``module`` has the ``connect`` that understands ``url``.

    Made with ``(folder, durable=True)``: a folder to itself, and whether commits must outlive a power cut.
    Where its servers are not installed, making one skips the test, or fails it in CI.
    ``outages`` names the ways in which `outage` can keep the store from answering. ``share`` of the state
    machine's sequences run on it: fewer where another backend has the same broker.
    """

    module: ClassVar[str]
    outages: ClassVar[tuple[str, ...]]
    share: ClassVar[float] = 1.0

    url: str

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.folder = folder
        self.durable = durable
        self._brokers: list[Broker] = []

    def make(self, clock: Clock, options: BrokerOptions) -> Broker:
        """A broker that is not open yet; whoever makes it closes it."""
        broker: Broker = import_module(self.module).connect(self.url, options, clock)
        return broker

    async def open(self, clock: Clock = system_clock, options: BrokerOptions | None = None) -> Broker:
        """One more broker on this store, ready for use."""
        broker = self.make(clock, options or BrokerOptions())
        self._brokers.append(broker)
        await broker.open()
        return broker

    async def close(self, broker: Broker) -> None:
        """Close one broker; the store stays."""
        self._brokers.remove(broker)
        await broker.close()

    async def remove(self) -> None:
        """Close every broker and delete the store."""
        while self._brokers:
            await self._brokers.pop().close()

    @abstractmethod
    def outage(self, kind: str) -> AbstractContextManager[None]:
        """Inside it the store is there but does not answer; afterwards it does again."""


class SqliteBackend(Backend):
    """A file in a folder."""

    module = "penstock.brokers.sqlite"
    outages = ("a process holds the lock file", "a program holds a write transaction")

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        super().__init__(folder, durable=durable)
        self.path = folder / "penstock.db"
        self.url = f"sqlite:///{self.path}?synchronous={'full' if durable else 'normal'}"

    def outage(self, kind: str) -> AbstractContextManager[None]:
        return self._flocked() if kind == self.outages[0] else self._in_transaction()

    @contextlib.contextmanager
    def _flocked(self) -> Iterator[None]:
        command = [sys.executable, str(HERE / "hold_lock.py"), f"{self.path}.lock"]
        with Popen(command, stdin=PIPE, stdout=PIPE) as holder:
            assert holder.stdout.readline() == b"held\n"
            yield
            holder.stdin.close()

    @contextlib.contextmanager
    def _in_transaction(self) -> Iterator[None]:
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")


class RedisBackend(Backend):
    """A namespace on a server that writes what it is told to its file once a second."""

    module = "penstock.brokers.redis"
    outages = ("the server is paused", "the server is gone")
    service: ClassVar[type[RedisServer | Group]] = RedisServer

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        super().__init__(folder, durable=durable)
        self.server = shared(self.service)
        self.namespace = f"t-{secrets.token_hex(8)}"
        self.url = self.server.url(self.namespace)

    async def remove(self) -> None:
        await super().remove()
        self.server.delete(f"*{{{self.namespace}}}*")

    def outage(self, kind: str) -> AbstractContextManager[None]:
        return self.server.paused() if kind == self.outages[0] else self.server.gone()


class ValkeyBackend(RedisBackend):
    """The same on Valkey."""

    service = ValkeyServer
    share = 0.25


class SentinelBackend(RedisBackend):
    """A namespace on a primary that only sentinels can name, and that they do not replace in this suite."""

    service = SentinelGroup
    share = 0.25
    outages = ("every server is paused", "the primary is paused")

    def outage(self, kind: str) -> AbstractContextManager[None]:
        return self.server.paused() if kind == self.outages[0] else self.server.primary.paused()


class ClusterBackend(RedisBackend):
    """A namespace on one of three primaries."""

    service = Cluster
    share = 0.25
    outages = ("every server is paused", "the server with the jobs is paused")

    def outage(self, kind: str) -> AbstractContextManager[None]:
        owner = self.server.owner(f"{{{self.namespace}}}")
        return self.server.paused() if kind == self.outages[0] else owner.paused()


BACKENDS: dict[str, type[Backend]] = {
    "sqlite": SqliteBackend,
    "redis": RedisBackend,
    "valkey": ValkeyBackend,
    "sentinel": SentinelBackend,
    "cluster": ClusterBackend,
}

"""Where an experiment keeps its jobs: a file, a Redis server of its own, or the user's server."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from penstock.app.broker import without_password
from penstock.cli.experiments.keys import delete_namespace
from penstock.cli.experiments.program import failed, until
from penstock.core.errors import ErrorCode, PenstockError

START_S = 30.0


class Store(Protocol):
    """A broker's server as an experiment sees it. ``shown`` is its URL without a password."""

    url: str
    shown: str
    outage_kind: str

    async def start(self) -> None:
        """Have it ready."""
        ...

    async def restart(self) -> None:
        """End it by SIGKILL and start it again, if there is a process of our own."""
        ...

    def outage(self) -> AbstractAsyncContextManager[None]:
        """Away inside, and afterwards back."""
        ...

    async def end(self) -> None:
        """Leave nothing behind."""
        ...


def choose(wanted: str | None, folder: Path, namespace: str) -> Store:
    """The store of ``--broker``: None, ``redis``, or a URL."""
    if wanted is None or wanted == "sqlite":
        return OwnFile(folder)
    if wanted in {"redis", "valkey"}:
        return OwnServer(folder, wanted)
    if "://" not in wanted or wanted.startswith("sqlite"):
        message = "--broker is sqlite (a file of the experiment's own), redis, valkey, or redis://host:port/0"
        raise PenstockError(ErrorCode.INVALID_REQUEST, message)
    return UsersServer(wanted, namespace)


class OwnFile:
    """SQLite in the experiment's folder. Its outage is that another process holds the writers' lock."""

    outage_kind = "the file's lock is held"

    def __init__(self, folder: Path) -> None:
        self._file = folder / "penstock.db"
        self.url = f"sqlite:///{self._file}"
        self.shown = "sqlite, a file of its own"

    async def start(self) -> None:
        """A file needs nothing."""

    async def restart(self) -> None:
        """A file has no process."""

    @contextlib.asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """Hold the lock."""
        lock = os.open(f"{self._file}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    async def end(self) -> None:
        """The folder goes as a whole."""


class OwnServer:
    """A redis-server or valkey-server of the experiment's own on a free port, syncing always.

    So that nothing it answered is lost with its process, whatever the disk does meanwhile.
    """

    outage_kind = "killed and started again"

    def __init__(self, folder: Path, kind: str) -> None:
        program = shutil.which(f"{kind}-server")
        if program is None:
            message = f"{kind}-server is not installed; install it, or name a server: --broker {kind}://host"
            raise PenstockError(ErrorCode.INVALID_REQUEST, message)
        self._program = program
        self._folder = folder
        self._port = _unused_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"{kind}://127.0.0.1:{self._port}/0"
        self.shown = f"{kind}, a server of its own, appendfsync always"

    async def start(self) -> None:
        """Start it and wait until it has loaded its data."""
        self._launch()
        await until(self._answers, START_S, "the Redis server answers")

    def _launch(self) -> None:
        lines = {"port": self._port, "bind": "127.0.0.1", "dir": self._folder, "appendonly": "yes"}
        lines |= {"appendfsync": "always", "save": "", "maxmemory-policy": "noeviction"}
        words = [word for name, value in lines.items() for word in (f"--{name}", str(value))]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - found by its name
                [*_dying_with_us(), self._program, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise failed("the Redis server ended at its start; see server.log of --keep")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1) as link:
            link.sendall(b"PING\r\n")
            return link.recv(16).startswith(b"+PONG")  # while it loads it says -LOADING
        return False

    async def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    async def restart(self) -> None:
        """End it by SIGKILL, and start it on what is in its files."""
        await self._kill()
        await self.start()

    @contextlib.asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """Dead inside."""
        await self._kill()
        try:
            yield
        finally:
            await self.start()

    async def end(self) -> None:
        """Its files go with the folder."""
        await self._kill()


class UsersServer:
    """The user's server, under a namespace of the experiment's own that is deleted at the end."""

    outage_kind = "-"

    def __init__(self, url: str, namespace: str) -> None:
        self.url = _within(url, namespace)
        self.shown = without_password(url)
        self._namespace = namespace

    async def start(self) -> None:
        """It runs already."""

    async def restart(self) -> None:
        """It is not ours to kill."""

    @contextlib.asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """Refused."""
        message = "a server that is not the experiment's own is not killed; use --broker redis"
        raise PenstockError(ErrorCode.INVALID_REQUEST, message)
        yield  # the decorator wants a generator

    async def end(self) -> None:
        """Delete the namespace."""
        await delete_namespace(self.url, self._namespace)


def _within(url: str, namespace: str) -> str:
    """The URL with this namespace, whichever it named: an experiment never works among the user's jobs."""
    before, _, options = url.partition("?")
    others = [each for each in options.split("&") if each and not each.startswith("namespace=")]
    return f"{before}?{'&'.join([*others, f'namespace={namespace}'])}"


def _unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _dying_with_us() -> list[str]:
    """Where Linux can do it, the server does not outlive an experiment that is killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []

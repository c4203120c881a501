"""Wakes waiters in every process that uses the same database file, without polling.

A waiter owns a named pipe in a folder beside the database; whoever commits writes a byte into each.
A pipe nobody reads any more refuses to be opened, and is swept away by whoever notices.
"""

import asyncio
import contextlib
import errno
import os
import secrets
import time
from pathlib import Path

PATIENCE_S = 1.0
"""A waiter looks again after this long even if it heard nothing, in case its pipe was deleted."""

_TICK_NS = 50_000_000


class Bell:
    """One subject that processes can wait for and ring about, such as "jobs" or "events"."""

    def __init__(self, folder: Path, subject: str) -> None:
        self._folder = folder / subject
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._pipe: int | None = None
        self._closed = False
        self._rings = 0
        self._waiting: set[asyncio.Future[None]] = set()
        self._others: dict[str, int] = {}
        self._seen = -1

    def open(self) -> None:
        """Prepare the folder; the pipe itself is made when somebody first waits."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def close(self) -> None:
        """Stop listening, wake whoever waits, and forget the others."""
        self._closed = True
        if self._pipe is not None:
            asyncio.get_running_loop().remove_reader(self._pipe)
            os.close(self._pipe)
            (self._folder / self._name).unlink(missing_ok=True)
            self._pipe = None
        self._wake()
        for pipe in self._others.values():
            os.close(pipe)
        self._others.clear()

    def listen(self) -> int:
        """Call before looking whether there is work; hand the number to `wait` if there was none."""
        if self._pipe is None and not self._closed:
            # Made elsewhere and moved in when it can be heard: a pipe without a reader is swept away.
            fresh = self._folder.with_name(f"{self._folder.name}-{self._name}")
            os.mkfifo(fresh, 0o600)
            # Opened for writing too, so that the last ringer leaving is not an endless end-of-file.
            self._pipe = os.open(fresh, os.O_RDWR | os.O_NONBLOCK)
            fresh.rename(self._folder / self._name)
            asyncio.get_running_loop().add_reader(self._pipe, self._heard, self._pipe)
        return self._rings

    async def wait(self, heard: int, timeout_s: float) -> None:
        """Return when it rang after the `listen` that gave ``heard``, or after at most `PATIENCE_S`."""
        if self._rings != heard or timeout_s <= 0:
            return
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(timeout_s, PATIENCE_S)):
                    await waiting
        finally:
            self._waiting.discard(waiting)

    def _heard(self, pipe: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(pipe, 4096)
        self._wake()

    def _wake(self) -> None:
        self._rings += 1
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    def ring(self) -> None:
        """Wake every waiter of every process. Called from the writer's thread."""
        self._look_around()
        for name, pipe in list(self._others.items()):
            try:
                os.write(pipe, b"!")
            except BlockingIOError:
                pass  # it has not read the earlier rings yet, so it will wake anyway
            except OSError:
                self._forget(name)

    def _look_around(self) -> None:
        # The folder's time changes when a pipe is added or removed, so listing it is rarely needed.
        changed = self._folder.stat().st_mtime_ns
        if changed == self._seen:
            return
        # Two changes within one tick of the file system's clock look like one: trust only older times.
        self._seen = changed if time.time_ns() - changed > _TICK_NS else -1
        present = {path.name for path in self._folder.iterdir()}
        for name in self._others.keys() - present:
            self._forget(name)
        for name in present - self._others.keys():
            self._meet(name)

    def _meet(self, name: str) -> None:
        try:
            self._others[name] = os.open(self._folder / name, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as failed:
            if failed.errno == errno.ENXIO:  # its process is gone
                (self._folder / name).unlink(missing_ok=True)

    def _forget(self, name: str) -> None:
        os.close(self._others.pop(name))
        (self._folder / name).unlink(missing_ok=True)

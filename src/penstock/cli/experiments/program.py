"""A process of Penstock that an experiment starts, kills with its whole family, and starts again."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from penstock.core.errors import ErrorCode, PenstockError

START_S = 60.0
STOP_S = 60.0
LOOK_S = 0.02


class Program:
    """``python -m …`` with an environment and a log of its own.

    ``ready`` is the event of its log that says it has started. ``parent_fd`` closes when we are gone.
    """

    def __init__(
        self,
        name: str,
        words: list[str],
        environment: Mapping[str, str],
        folder: Path,
        *,
        ready: str,
        parent_fd: int,
    ) -> None:
        self.name = name
        self.words = words
        self.environment = dict(environment)
        self._folder = folder
        self._ready = ready
        self._parent_fd = parent_fd
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._offset = 0

    async def start(self) -> dict[str, Any]:
        """Start it and wait until it is ready; what its log said then. Raises when it ends instead."""
        self._launch()
        said: dict[str, Any] = await until(self._said_ready, START_S, f"{self.name} is ready")
        return said

    def _launch(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", *self.words, "--parent-fd", str(self._parent_fd)],
                env=self.environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[self._parent_fd],
                start_new_session=True,
            )
            self._offset = log.seek(0, os.SEEK_END)

    def _said_ready(self) -> dict[str, Any] | None:
        found = next((entry for entry in self._entries() if entry.get("event") == self._ready), None)
        if found is None and self._process is not None and self._process.poll() is not None:
            raise failed(f"{self.name} ended with {self._process.returncode}: {self.tail()}")
        return found

    def _entries(self) -> Iterator[dict[str, Any]]:
        for line in self._log.read_bytes()[self._offset :].splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    yield entry

    def tail(self, length: int = 600) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-length:].strip() if self._log.exists() else ""

    async def kill(self) -> None:
        """SIGKILL to it and to everything that descends from it, and wait until all are gone."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        family = _descendants(process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()  # never a process that got the number of one that has ended
        await asyncio.to_thread(process.wait)
        await until(lambda: not any(map(_lives, family)), STOP_S, f"all of {self.name} is gone")

    async def stop(self) -> None:
        """SIGTERM, and wait until it has drained; killed if that takes too long."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, STOP_S)
        except subprocess.TimeoutExpired:
            await self.kill()


def _descendants(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


async def until(condition: Callable[[], Any], within_s: float, what: str) -> Any:
    """The condition's first true value; raises INTERNAL_ERROR when there is none in time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not (found := condition()):
        if loop.time() > deadline:
            raise failed(f"did not happen within {within_s:.0f} s: {what}")
        await asyncio.sleep(LOOK_S)
    return found


def failed(message: str) -> PenstockError:
    """The experiment itself cannot go on."""
    return PenstockError(ErrorCode.INTERNAL_ERROR, message)

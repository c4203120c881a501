"""Keeps a node's two processes alive. They are apart so that neither load nor death of one reaches the other.

Each holds the reading end of a pipe whose writing end is here: if this process is killed, the pipe
closes and they stop by themselves.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping

import structlog

from penstock.cli.run import ExitCode
from penstock.settings import Settings

FIRST_PAUSE_S = 0.1
PAUSE_CAP_S = 5.0
STEADY_S = 10.0
"""A process that lived this long was well; the pause before its next restart starts over."""


class Launcher:
    """Starts the API and a worker, restarts what dies, stops both; also when ``parent_fd`` closes."""

    def __init__(self, settings: Settings, parent_fd: int | None = None) -> None:
        self._parent_fd = parent_fd
        self._environment = os.environ | _as_environment(settings)
        self._modules = settings.tasks
        self._stopping = asyncio.Event()
        self._log = structlog.get_logger("penstock.node").bind(node=settings.node)
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._failed = ExitCode.OK

    async def run(self) -> int:
        """Until a signal, or until a process says that it can never start; returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        if self._parent_fd is not None:
            loop.add_reader(self._parent_fd, self._orphaned, self._parent_fd)
        reading, writing = os.pipe()
        word = _pipe_with_a_byte()
        try:
            keepers = [asyncio.create_task(self._keep(role, reading, word)) for role in ("worker", "api")]
            await self._stopping.wait()
            # The worker first: while it drains, the API still takes jobs, which are kept.
            await self._end("worker")
            await self._end("api")
            await asyncio.gather(*keepers)
        finally:
            for each in (writing, reading, word):
                os.close(each)
        return self._failed

    def _stop(self) -> None:
        if self._stopping.is_set() and "worker" in self._running:
            self._signal("worker")  # a second Ctrl-C cuts its drain short
        self._stopping.set()

    def _orphaned(self, parent_fd: int) -> None:
        asyncio.get_running_loop().remove_reader(parent_fd)
        self._stop()

    def _signal(self, role: str) -> None:
        with contextlib.suppress(ProcessLookupError, KeyError):
            self._running[role].terminate()

    async def _end(self, role: str) -> None:
        self._signal(role)
        process = self._running.get(role)
        if process is not None:
            await process.wait()

    async def _keep(self, role: str, reading: int, word: int) -> None:
        pause_s, began_before = FIRST_PAUSE_S, False
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            began = loop.time()
            # At first both may fail at once for one reason; what fails later always has the word.
            shared = {"--parent-fd": reading} | ({} if began_before else {"--word-fd": word})
            status = await self._once(role, shared)
            if self._stopping.is_set():
                return
            if status == ExitCode.USAGE and not began_before:
                self._failed = ExitCode.USAGE  # what it was told cannot work, it has said why
                self._stopping.set()
                return
            began_before = True
            pause_s = FIRST_PAUSE_S if loop.time() - began > STEADY_S else min(PAUSE_CAP_S, pause_s * 2)
            self._log.error("process ended, starting it again", role=role, status=status, in_s=pause_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def _once(self, role: str, shared: Mapping[str, int]) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "penstock",
            role,
            *(word for option, fd in shared.items() for word in (option, str(fd))),
            *self._modules,
            env=self._environment,
            pass_fds=shared.values(),
            start_new_session=True,  # Ctrl-C is for this process, which then stops them in order
        )
        self._running[role] = process
        if self._stopping.is_set():
            self._signal(role)  # nobody knew of it when the others were told
        try:
            return await process.wait()
        finally:
            del self._running[role]


def _pipe_with_a_byte() -> int:
    """The reading end: whoever reads first gets the byte, everybody else the end."""
    reading, writing = os.pipe()
    os.write(writing, b"!")
    os.close(writing)
    return reading


def _as_environment(settings: Settings) -> dict[str, str]:
    """The settings that the command line may have changed, for the two processes to read."""
    return {
        "PENSTOCK_BROKER_URL": settings.broker_url,
        "PENSTOCK_HOST": settings.host,
        "PENSTOCK_PORT": str(settings.port),
        "PENSTOCK_INSECURE": str(settings.insecure),
        "PENSTOCK_SLOTS": str(settings.slots),
        "PENSTOCK_QUEUES": ",".join(settings.queues),
        "PENSTOCK_NODE": settings.node,
    }

"""The children of a worker's slots: one for each at the start, another whenever one has ended."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from penstock.core.errors import PenstockError
from penstock.worker.slot import Slot
from penstock.worker_ports import Executor

RESTART_S = 0.5
"""A child that died of nothing, or could not be started, is replaced after this pause."""


class Children:
    """Sees to it that every slot has a child until ``stopping`` is set; ``on_ready`` is called for each."""

    def __init__(
        self,
        executor: Executor,
        slots: Sequence[Slot],
        stopping: asyncio.Event,
        on_ready: Callable[[], None],
        log: Any,
    ) -> None:
        self._executor = executor
        self._slots = slots
        self._stopping = stopping
        self._on_ready = on_ready
        self._log = log
        self._restarts: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Return when every slot has a child."""
        await self._executor.start()
        await asyncio.gather(*(self._provide(slot, 0) for slot in self._slots))

    def replace(self, slot: Slot, *, idle: bool) -> None:
        """Give the slot another child, not in haste if the last one died of nothing (``idle``)."""
        if not self._stopping.is_set():
            restart = asyncio.get_running_loop().create_task(self._provide(slot, RESTART_S if idle else 0))
            self._restarts.add(restart)
            restart.add_done_callback(self._restarts.discard)

    async def _provide(self, slot: Slot, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        while not self._stopping.is_set() and slot.pid is None:
            try:
                await slot.start()
            except PenstockError as failed:
                self._log.error("cannot start a child", slot=slot.number, error=failed.message)
                await asyncio.sleep(RESTART_S)
        self._on_ready()

    async def stop(self) -> None:
        """End all of them."""
        for slot in self._slots:
            slot.close()
        await self._executor.stop()

"""Tells many waiters when their jobs end, with one reader of the event feed for all of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from penstock.core.errors import PenstockError
from penstock.ports import Broker

IDLE_S = 2.0
"""How long the reader stays after its last waiter left; the next one then need not start it again."""

_FINAL = frozenset({"succeeded", "failed", "cancelled"})


class Feed:
    """Follows the feed only while somebody waits."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def waiting(self, job_id: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set when the job ends after this point in time.

        Look at the job only after entering: what ended before is in the store, what ends later is
        signalled.
        """
        ended = asyncio.Event()
        self._waiters.setdefault(job_id, set()).add(ended)
        try:
            await self._follow()
            yield ended
        finally:
            waiters = self._waiters[job_id]
            waiters.discard(ended)
            if not waiters:
                del self._waiters[job_id]

    async def close(self) -> None:
        """Stop reading; whoever still waits runs into its own deadline."""
        while self._reader is not None and not self._reader.done():
            self._reader.cancel()  # again: until Python 3.12 a wait that has just ended swallows it
            await asyncio.wait({self._reader}, timeout=0.05)

    async def _follow(self) -> None:
        async with self._starting:
            if self._reader is None or self._reader.done():
                after = await self._broker.head()
                self._reader = asyncio.create_task(self._read(after))

    async def _read(self, after: str) -> None:
        loop = asyncio.get_running_loop()
        needed_at = loop.time()
        while self._waiters or loop.time() - needed_at < IDLE_S:
            if self._waiters:
                needed_at = loop.time()
            try:
                events = await self._broker.events(after, IDLE_S)
            except PenstockError:
                await asyncio.sleep(IDLE_S)
                continue
            for event in events:
                if event.kind in _FINAL:
                    for ended in self._waiters.get(event.job_id, ()):
                        ended.set()
            if events:
                after = events[-1].id

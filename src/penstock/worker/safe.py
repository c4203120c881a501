"""Sees to it that outcomes which the broker does not take soon are on disk, and no others ever.

The supervisor says when it begins to settle and when it has settled. While the broker answers, that
is a timer set and stopped, and the disk is left alone. A disk that fails only costs the safety.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence

import structlog

from penstock.core.lifecycle import Settlement
from penstock.worker_ports import Spool

SPOOL_AFTER_S = 0.5
"""A broker that has not taken outcomes by then is away; from then on each new one is spooled at once."""

LOOK_S = 0.05
"""How often to look for new outcomes while the broker is away."""


class Safe:
    """``unsettled`` gives every outcome that no broker has accepted yet. Without a spool, does nothing."""

    def __init__(self, spool: Spool | None, unsettled: Callable[[], Sequence[Settlement]]) -> None:
        self._spool = spool
        self._unsettled = unsettled
        self._late = asyncio.Event()
        self._kept: set[int] = set()
        self._log = structlog.get_logger("penstock.spool")

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Inside it outcomes are being settled; left when they are."""
        timer = asyncio.get_running_loop().call_later(SPOOL_AFTER_S, self._late.set)
        try:
            yield
        finally:
            timer.cancel()
            self._late.clear()

    async def run(self) -> None:
        """Until cancelled; sleeps while the broker answers."""
        while self._spool is not None:
            await self._late.wait()
            while self._late.is_set() or self._kept:
                await self._look()
                await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        """The worker leaves: what is unsettled even now is for the next one."""
        if self._spool is not None:
            self._late.set()
            await self._look()
            self._spool.close()

    async def _look(self) -> None:
        waiting = {settled.token: settled for settled in self._unsettled()}
        news = [settled for token, settled in waiting.items() if token not in self._kept]
        if self._late.is_set() and news:
            self._kept.update(waiting)
            await self._disk(self._keep, news)
        elif self._kept and not self._kept & waiting.keys():
            self._kept.clear()
            await self._disk(self._clear)

    async def _disk(self, action: Callable[..., None], *arguments: Sequence[Settlement]) -> None:
        try:
            await asyncio.to_thread(action, *arguments)
        except OSError as failed:
            self._log.error("the spool's disk failed; outcomes wait in memory only", error=str(failed))

    def _keep(self, news: Sequence[Settlement]) -> None:
        kept = self._spool.keep(news) if self._spool else 0
        if kept:
            self._log.warning("broker away, outcomes spooled to disk", outcomes=kept)
        if kept < len(news):
            self._log.error("the spool is full; outcomes wait in memory only", outcomes=len(news) - kept)

    def _clear(self) -> None:
        if self._spool:
            self._spool.clear()
        self._log.info("broker is back, spooled outcomes settled")

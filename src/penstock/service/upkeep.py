"""Upkeep that every worker does, with no leader: take over from the dead, forget the old.

Both verbs are atomic in the broker, so any number of workers may run this at once.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable

import structlog

from penstock.core.begun import called_off
from penstock.core.errors import PenstockError
from penstock.core.lifecycle import Lost
from penstock.core.verdict import settlement
from penstock.ports import Broker

LOOK_S = 10.0
"""How often to look even if no renewal said that there is something to take over."""

GRACE_S = 6.0
"""After an outage every lease has lapsed, and no worker is dead for that. This long they get to say so.

It is the longest pause between two tries of a worker whose broker is away, and one renewal.
"""

TRIM_EVERY = 6
RECLAIM_LIMIT = 500
TRIM_LIMIT = 2_000


class Upkeep:
    """Runs until cancelled. ``worker`` owns what is reclaimed until it is settled as lost.

    ``before_reclaim`` settles what the dead have done after all.
    """

    def __init__(
        self, broker: Broker, worker: str, before_reclaim: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._broker = broker
        self._worker = worker
        self._before_reclaim = before_reclaim
        self._patient_until = 0.0
        self._hurry = asyncio.Event()
        self._log = structlog.get_logger("penstock.upkeep").bind(worker=worker)

    def hurry(self) -> None:
        """A lease has lapsed: look now."""
        self._hurry.set()

    def hold_off(self) -> None:
        """The broker is away: take nobody for dead until `GRACE_S` after this was last called."""
        self._patient_until = time.monotonic() + GRACE_S

    async def run(self) -> None:
        """Reclaim often, trim seldom; a broker that is away is tried again at the next turn."""
        turn = 0
        while not called_off():
            in_time = await self._until_needed()
            turn += not in_time
            try:
                if time.monotonic() >= self._patient_until:
                    await self.reclaim()
                if not in_time and turn % TRIM_EVERY == 0:
                    await self.trim()
            except PenstockError as failed:
                self._log.warning("upkeep put off", error=failed.message)
            except Exception:  # noqa: BLE001 - a worker that no longer looks after the dead would look well
                self._log.exception("upkeep failed")

    async def _until_needed(self) -> bool:
        """Whether somebody asked to hurry before it was time to look anyway."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S * random.uniform(0.8, 1.2)):  # noqa: S311 - spread over workers
                await self._hurry.wait()
        asked = self._hurry.is_set()
        self._hurry.clear()
        return asked

    async def trim(self) -> None:
        """Forget in bounded steps, so that no other verb waits long, until nothing is left to forget."""
        while await self._broker.trim(TRIM_LIMIT) >= TRIM_LIMIT:
            continue

    async def reclaim(self) -> int:
        """Settle the jobs of lapsed workers as lost; returns how many."""
        if self._before_reclaim is not None:
            await self._before_reclaim()
        claims = await self._broker.reclaim(self._worker, RECLAIM_LIMIT)
        if not claims:
            return 0
        lost = [(claim, Lost(claim.lost_by or "unknown")) for claim in claims]
        draw = random.random()  # noqa: S311 - jitter
        await self._broker.settle([settlement(claim, outcome, draw) for claim, outcome in lost])
        self._log.warning(
            "jobs of a vanished worker queued again", jobs=len(claims), lost_by=claims[0].lost_by
        )
        return len(claims)

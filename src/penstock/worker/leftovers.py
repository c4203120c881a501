"""Settles what workers that died on this machine had spooled. Tokens decide what still counts."""

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from penstock.core.lifecycle import Settlement
from penstock.ports import Broker
from penstock.worker_ports import Leftover, Spool

BATCH = 500


class Leftovers:
    """Called before a worker takes over jobs of the dead: a job that is done need not run again."""

    def __init__(self, broker: Broker, spool: Spool) -> None:
        self._broker = broker
        self._spool = spool
        self._log = structlog.get_logger("penstock.spool")

    async def settle(self) -> None:
        """Settle what is there now. Raises BROKER_UNAVAILABLE; what was not settled is found again."""
        try:
            # Closed at once when settling fails, so that the file is free for whoever comes next.
            with contextlib.closing(self._spool.leftovers()) as found:
                for leftover in found:
                    await self._settle(leftover)
        except OSError as failed:
            self._log.error("cannot read the spool", error=str(failed))

    async def _settle(self, leftover: Leftover) -> None:
        accepted = await self._send(leftover.settlements)
        await asyncio.to_thread(leftover.remove)
        self._log.warning(
            "outcomes of a dead worker settled",
            file=leftover.name,
            accepted=accepted,
            refused=len(leftover.settlements) - accepted,
            spoilt=leftover.spoilt,
        )

    async def _send(self, settlements: Sequence[Settlement]) -> int:
        accepted = 0
        for first in range(0, len(settlements), BATCH):
            accepted += sum(await self._broker.settle(settlements[first : first + BATCH]))
        return accepted

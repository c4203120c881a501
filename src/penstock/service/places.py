"""Where waiting jobs stand and when they may begin, from what the broker counts and workers tell."""

import time
from collections.abc import Sequence

import msgspec

from penstock.core import forecast
from penstock.core.forecast import Ahead
from penstock.core.job import Job, State
from penstock.ports import Broker, Stats

FRESH_S = 1.0
"""Figures of the broker are good for so long: many may ask for their jobs at a time."""

MOST = 100
"""Of a list of jobs, so many that wait are looked at."""


class Place(msgspec.Struct, frozen=True):
    """How many jobs are likely to begin before one, and in how many seconds it may begin; None if unknown."""

    position: int
    eta_s: float | None


class Places:
    """Looks at the queues for one node."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._stats: Stats | None = None
        self._read_at = 0.0

    async def of(self, jobs: Sequence[Job]) -> dict[str, Place]:
        """The places of those of the jobs that wait in a queue, by id; asks nothing if none does."""
        waiting = [job for job in jobs if job.state is State.QUEUED][:MOST]
        if not waiting:
            return {}
        found = await self._broker.ahead([job.id for job in waiting])
        stats = await self._figures()
        return {
            job.id: _place(job, ahead, stats)
            for job, ahead in zip(waiting, found, strict=True)
            if ahead is not None
        }

    async def _figures(self) -> Stats:
        if self._stats is None or time.monotonic() - self._read_at > FRESH_S:
            self._stats = await self._broker.stats()
            self._read_at = time.monotonic()
        return self._stats


def _place(job: Job, ahead: Ahead, stats: Stats) -> Place:
    queue = job.spec.queue
    serving = [info for info in stats.serving if queue in info.queues]
    figures = next((each for each in stats.queues if each.name == queue), None)
    if figures is not None and figures.paused:
        return Place(ahead.position, None)
    eta_s = forecast.eta_s(
        ahead,
        figures.running if figures else 0,
        sum(info.slots for info in serving),
        forecast.learnt(info.paces for info in serving),
    )
    return Place(ahead.position, None if eta_s is None else round(eta_s, 3))

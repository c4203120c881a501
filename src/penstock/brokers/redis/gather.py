"""Submissions that arrive together share one call: the more there are, the less each costs."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

from penstock.brokers.redis.packing import PackedJob
from penstock.core.begun import answer_of
from penstock.core.errors import broker_unavailable
from penstock.ports import Receipt

IN_FLIGHT = 2
"""Calls under way at once: while the server works on one, the next is being packed."""

MOST = 1_000
"""Jobs that may share a call; one caller's own batch is never cut."""

Known = dict[int, Receipt]
"""By their place in the call, counted from 1: how those were answered that were not kept as they came."""

Submit = Callable[[list[PackedJob]], Awaitable[tuple[int, Known]]]


class _Waiting:
    """A caller's jobs with its future; ``begun`` once they are on their way."""

    def __init__(self, jobs: Sequence[PackedJob], future: asyncio.Future[tuple[int, Known]]) -> None:
        self.jobs = jobs
        self.future = future
        self.begun = False


class Gather:
    """Hands the jobs of many callers to ``submit`` and its answers back to each of them."""

    def __init__(self, submit: Submit, timeout_s: float) -> None:
        self._submit = submit
        self._timeout_s = timeout_s
        self._waiting: list[_Waiting] = []
        self._under_way = 0
        self._flights: set[asyncio.Task[None]] = set()

    async def add(self, jobs: Sequence[PackedJob]) -> tuple[int, Known]:
        """The time at which these jobs were taken, and the answers to those that were not kept as they came.

        These are counted from 0. Raises BROKER_UNAVAILABLE. Cancelled before its jobs are on their way,
        nothing happens.
        """
        if self._under_way >= IN_FLIGHT:
            return await self._with_others(jobs)
        # Nobody is ahead: the call is made here and now, without the detour over a task of its own.
        with self._flying():
            now, found = await self._submit(list(jobs))
        return now, {n - 1: receipt for n, receipt in found.items()}

    @contextlib.contextmanager
    def _flying(self) -> Iterator[None]:
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._depart()

    async def _with_others(self, jobs: Sequence[PackedJob]) -> tuple[int, Known]:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(jobs, loop.create_future())
        self._waiting.append(waiting)
        timer = loop.call_later(self._timeout_s, self._give_up, waiting)
        try:
            return await answer_of(waiting.future, partial(self._abandon, waiting))
        finally:
            timer.cancel()

    def _abandon(self, waiting: _Waiting) -> bool:
        if waiting in self._waiting:  # not if it was refused a moment ago
            self._waiting.remove(waiting)
        return not waiting.begun

    def _give_up(self, waiting: _Waiting) -> None:
        """What never left is refused; what is under way is bounded by its own call."""
        if self._abandon(waiting):
            waiting.future.set_exception(broker_unavailable("the broker does not answer in time"))

    def _depart(self) -> None:
        if self._waiting:
            flight = asyncio.get_running_loop().create_task(self._fly(self._board()))
            self._flights.add(flight)
            flight.add_done_callback(self._flights.discard)

    def _board(self) -> list[_Waiting]:
        jobs, count = 0, 0
        for waiting in self._waiting:
            if count and jobs + len(waiting.jobs) > MOST:
                break
            jobs += len(waiting.jobs)
            count += 1
            waiting.begun = True
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _fly(self, group: list[_Waiting]) -> None:
        with self._flying():
            try:
                now, found = await self._submit([job for one in group for job in one.jobs])
            except Exception as failed:  # noqa: BLE001 - told to those who wait
                for one in group:
                    if not one.future.done():
                        one.future.set_exception(failed)
                return
            _hand_out(group, now, found)


def _hand_out(group: list[_Waiting], now: int, found: Known) -> None:
    first = 1
    for one in group:
        if not one.future.done():
            mine = range(first, first + len(one.jobs)) if found else ()
            one.future.set_result((now, {n - first: found[n] for n in mine if n in found}))
        first += len(one.jobs)

"""History as the event loop sees it: questions with a limit of time, and how recording stands.

The database is opened when it is first needed, in a thread, and again after it could not be had. Nothing
here is on the way of a job: whatever happens to the database, jobs are taken, run and answered.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

from msgspec.structs import replace

from penstock.core.chapter import Place
from penstock.core.clock import Clock, system_clock
from penstock.core.errors import ErrorCode, PenstockError, history_unavailable
from penstock.core.record import Record
from penstock.core.record_query import JobPage, Mark, RecordFilter, RecordQuery, read_mark
from penstock.history_port import History
from penstock.service.threads import Threads

Answer = TypeVar("Answer")

ASK_S = 15.0
CLOSE_S = 2.0
READERS = 3
EXPORT_PAGE = 500
"""Jobs that an export holds at a time."""

ROWS_EVERY_S = 60.0
"""How old the number of rows in `Archive.status` may be: counting reads all of an index."""


class Standing:
    """How recording stands, kept up to date by the recorder of this node, if there is one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.connected: bool | None = None
        self.reason: str | None = None
        self.recording = False
        self.caught_up = False
        self.place: Place | None = None
        self.rows: int | None = None

    def lost(self, reason: str) -> None:
        """The database cannot be had."""
        self.connected, self.reason = False, reason
        self.recording = self.caught_up = False

    def at(self, place: Place | None, *, recording: bool, caught_up: bool) -> None:
        """The database answered, and stands there."""
        self.connected, self.reason = True, None
        self.place, self.recording, self.caught_up = place, recording, caught_up

    def lag_s(self) -> float | None:
        """Seconds between the newest thing recorded and now, 0 if nothing is left to record."""
        if self.caught_up:
            return 0.0
        if self.place is None or not self.place.told_at:
            return None
        return max(0.0, (self._clock() - self.place.told_at) / 1000)

    def view(self) -> dict[str, Any]:
        """For ``/stats``."""
        return {
            "connected": bool(self.connected),
            "recording": self.recording,
            "lag_s": self.lag_s(),
            "lag_events": 0 if self.caught_up else None,
            "cursor": self.place.cursor if self.place else None,
            "sweeping": bool(self.place and self.place.sweep is not None),
            "rows": self.rows,
            "reason": self.reason,
        }


class Archive:
    """Questions to history. Each raises HISTORY_UNAVAILABLE if the database does not answer in time."""

    def __init__(self, make: Callable[[], History], clock: Clock = system_clock) -> None:
        self.standing = Standing(clock)
        self._make = make
        self._history: History | None = None
        self._opened = False
        self._opening = asyncio.Lock()
        self._readers = Threads(READERS, "history-reader")
        self._writer = Threads(1, "history-writer")
        self._counted_at = -ROWS_EVERY_S
        self.recorded_here = False

    async def ready(self) -> History:
        """The open database."""
        async with self._opening:
            if not self._opened:
                self._history = await self._writer.do(self._open)
                self._opened = True
        assert self._history is not None  # noqa: S101 - opened above
        return self._history

    def _open(self) -> History:
        history = self._history or self._make()
        self._history = history
        history.open()
        return history

    async def close(self) -> None:
        """Let go of the database; one that does not answer is not waited for."""
        if self._history is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._readers.do(self._history.close)
        self._readers.close()
        self._writer.close()

    async def write(self, call: Callable[..., Answer], *args: Any) -> Answer:
        """One step of the recorder, one at a time, however long it takes."""
        return await self._writer.do(call, *args)

    async def _ask(self, question: Callable[[History], Answer]) -> Answer:
        try:
            async with asyncio.timeout(ASK_S):
                return await self._readers.do(question, await self.ready())
        except TimeoutError:
            raise history_unavailable(f"the database of history did not answer in {ASK_S:.0f} s") from None

    async def get(self, job_id: str) -> Record | None:
        """A recorded job; None if there is none."""
        return await self._ask(lambda history: history.get(job_id))

    async def page(self, asked: JobPage) -> tuple[list[Record], str | None, int | None]:
        """A page, the ``cursor`` of the next one, and how many there are on all if that was asked for.

        Raises VALIDATION_ERROR for a cursor of another list.
        """
        query = asked.query(limit=asked.limit, offset=((asked.page or 1) - 1) * asked.limit)
        if asked.cursor is not None:
            query = replace(query, after=read_mark(asked.cursor, query.sort))
        found = await self._ask(lambda history: history.find(query))
        total = await self._ask(lambda history: history.count(query)) if asked.total else None
        return found, str(_mark(query, found[-1])) if len(found) == query.limit else None, total

    async def every(self, asked: RecordFilter) -> AsyncIterator[list[Record]]:
        """All that match, a bounded list after the other; jobs that come meanwhile may be left out."""
        query = asked.query(limit=EXPORT_PAGE)
        while True:
            found = await self._ask(lambda history, query=query: history.find(query))  # type: ignore[misc]
            yield found
            if len(found) < query.limit:
                return
            query = replace(query, after=_mark(query, found[-1]))

    async def count_rows(self) -> None:
        """Bring the number of rows up to date, now and then."""
        if time.monotonic() - self._counted_at >= ROWS_EVERY_S:
            self._counted_at = time.monotonic()
            self.standing.rows = await self._ask(lambda history: history.count(RecordQuery()))

    async def status(self) -> Mapping[str, Any]:
        """How recording stands, whoever does it; never raises."""
        if not self.recorded_here:
            try:
                place = await self._ask(lambda history: history.place())
                self.standing.at(place, recording=False, caught_up=False)
                await self.count_rows()
            except PenstockError as failed:
                self.standing.lost(failed.message)
        return self.standing.view()


def _mark(query: RecordQuery, last: Record) -> Mark:
    return Mark(getattr(last, query.sort.field), last.id)


def switched_off() -> PenstockError:
    """What is answered where only history could tell, and it is not kept."""
    return PenstockError(ErrorCode.INVALID_REQUEST, "history is switched off here: PENSTOCK_HISTORY=off")

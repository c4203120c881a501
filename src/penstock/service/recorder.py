"""Follows the feed and writes history, on any number of nodes, one of which does it at a time.

Cursor and rows move in one transaction, which only succeeds for the node that wrote last: another that
was paused, or that took over by mistake, writes nothing. Whoever looks on takes over when the beat has
stood still for a while by its own clock. Neither a lost database nor a lost broker is anybody else's
trouble: the recorder tries again, and goes on where history stands.
"""

import asyncio
import contextlib
import random
import secrets
import time

import msgspec
import structlog

from penstock.core.begun import called_off, heed_cancel
from penstock.core.chapter import Chapter, Place
from penstock.core.clock import Clock, system_clock
from penstock.core.errors import ErrorCode, PenstockError
from penstock.history_port import History
from penstock.ports import Broker, Event, JobQuery
from penstock.service.archive import Archive
from penstock.service.pace import rest_after
from penstock.service.pages import chapter_of, read

DAY_MS = 86_400_000
PAGE = 1_000
SWEEP_PAGE = 500
TRIM_LIMIT = 2_000
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10.0
LEAVE_S = 2.0


class RecorderPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How long rows and their results are kept, and how recording is paced. Times end in their unit.

    ``parts``: also record the parts of jobs that were split. ``lease_s``: after so long without a beat
    another node takes over. ``gather_s``: what happens within it is written at once.
    """

    keep_ms: int = 90 * DAY_MS
    keep_results_ms: int = 7 * DAY_MS
    keep_events_ms: int = DAY_MS
    parts: bool = False
    lease_s: float = 6.0
    beat_s: float = 2.0
    gather_s: float = 0.25
    upkeep_s: float = 60.0


class Recorder:
    """Runs until cancelled. ``node`` is told in the place while it records."""

    def __init__(
        self,
        broker: Broker,
        archive: Archive,
        node: str,
        policy: RecorderPolicy | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._broker = broker
        self._archive = archive
        archive.recorded_here = True
        self._standing = archive.standing
        self._name = f"{node}/{secrets.token_hex(4)}"
        self._policy = policy or RecorderPolicy()
        self._clock = clock
        self._pause_s = FIRST_PAUSE_S
        self._kept_up_at = self._mended_at = self._wrote_at = -self._policy.upkeep_s
        self._place: Place | None = None
        self._log = structlog.get_logger("penstock.history").bind(recorder=self._name)

    async def run(self) -> None:
        """Record whenever it is this node's turn; what goes wrong is told in the log and tried again."""
        try:
            while not called_off():
                try:
                    await self._turn(await self._archive.ready())
                except PenstockError as failed:
                    self._put_off(failed)
                except Exception:  # noqa: BLE001 - jobs go on, and so must history
                    self._log.exception("history failed")
                    self._standing.lost("a defect; see the log")
                await asyncio.sleep(self._pause_s * random.uniform(0.75, 1.25))  # noqa: S311 - jitter
                self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2)
        finally:
            with contextlib.suppress(PenstockError, TimeoutError):
                await self._leave()

    def _put_off(self, failed: PenstockError) -> None:
        if failed.code is ErrorCode.HISTORY_UNAVAILABLE or self._standing.connected is None:
            known, self._place = self._standing.connected is False, None
            self._standing.lost(failed.message)
            (self._log.debug if known else self._log.warning)("history put off", error=failed.message)
        else:
            self._standing.caught_up = False
            self._log.debug("history waits for the broker", error=failed.message)

    async def _leave(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            async with asyncio.timeout(LEAVE_S):
                await self._archive.write((await self._archive.ready()).leave, place)

    async def _turn(self, history: History) -> None:
        """From taking the place to losing it."""
        await self._take(history)
        self._log.info("recording", cursor=self._place and self._place.cursor)
        await self._mend(history)
        while self._place is not None:
            heed_cancel()
            await self._sweep(history) if self._place.sweep is not None else await self._next(history)
            await self._keep_up(history)
        self._log.warning("another node records now")

    async def _take(self, history: History) -> None:
        """Wait until nobody records, and be the one who does."""
        seen, since = None, time.monotonic()
        while True:
            place = await self._archive.write(history.place)
            self._standing.at(place, recording=False, caught_up=False)
            self._pause_s = FIRST_PAUSE_S
            if seen is None or place is None or place.beat != seen:
                seen, since = place and place.beat, time.monotonic()
            stale = time.monotonic() - since >= self._policy.lease_s
            if place is None or place.holder in {None, self._name} or stale:
                self._place = await self._archive.write(history.take, self._name, place)
                if self._place is not None:
                    self._standing.at(self._place, recording=True, caught_up=False)
                    return
            await self._archive.count_rows()
            await asyncio.sleep(self._policy.beat_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _write(self, history: History, chapter: Chapter, *, caught_up: bool = False) -> None:
        assert self._place is not None  # noqa: S101 - held by whoever writes
        self._place = await self._archive.write(history.record, self._place, chapter)
        self._wrote_at = time.monotonic()
        held = self._place is not None
        self._standing.at(self._place or self._standing.place, recording=held, caught_up=held and caught_up)

    async def _mend(self, history: History) -> None:
        """See whether the feed still has all that comes after the cursor; if not, read every job."""
        place = self._place
        self._mended_at = time.monotonic()
        if place is None or place.sweep is not None or await self._connects(place):
            return
        self._log.warning(
            "the feed no longer tells all that happened since history was last written: reading every job",
            since_ms=place.told_at,
        )
        await self._write(history, Chapter(cursor="", told_at=place.told_at, sweep=""))

    async def _connects(self, place: Place) -> bool:
        if await self._broker.head() == place.cursor:
            return True
        try:
            await self._broker.events(place.cursor, 0.0, limit=1)
        except PenstockError as failed:
            if failed.code is ErrorCode.INVALID_REQUEST:  # another broker's, or one that lost its feed
                return False
            raise
        oldest = await self._broker.events("", 0.0, limit=1)
        return bool(oldest) and oldest[0].at <= place.told_at

    async def _sweep(self, history: History) -> None:
        """Write one page of all jobs, newest first; where it got to outlives this node."""
        place, began = self._place, time.process_time()
        assert place is not None  # noqa: S101 - held by whoever sweeps
        listed = await self._broker.find(JobQuery(before=place.sweep or None, limit=SWEEP_PAGE))
        found = await read(self._broker, [job.id for job in listed])
        records = [
            each
            for each in found.values()
            if each
            and (self._policy.parts or each.part is None)
            and each.told_at >= self._clock() - self._policy.keep_ms
        ]
        sweep = listed[-1].id if len(listed) == SWEEP_PAGE else None
        await self._write(
            history, Chapter(cursor=place.cursor, told_at=place.told_at, sweep=sweep, records=records)
        )
        await asyncio.sleep(rest_after(time.process_time() - began, urgent=False))

    async def _next(self, history: History) -> None:
        """Write the next page of the feed, or wait for one."""
        place, now, began = self._place, self._clock(), time.process_time()
        assert place is not None  # noqa: S101 - held by whoever follows
        events = await self._broker.events(place.cursor, 0.0, PAGE)
        if not events:
            await self._idle(history, place, now)
            return
        await self._follow(history, events)
        if len(events) < PAGE:
            await asyncio.sleep(self._policy.gather_s)
        else:
            urgent = now - events[0].at > self._policy.keep_events_ms / 8
            await asyncio.sleep(rest_after(time.process_time() - began, urgent=urgent))

    async def _idle(self, history: History, place: Place, now: int) -> None:
        """Say that all up to ``now`` is written, and wait for more."""
        if time.monotonic() - self._wrote_at >= self._policy.beat_s / 2:
            await self._write(history, Chapter(cursor=place.cursor, told_at=now), caught_up=True)
        else:
            self._standing.at(place, recording=True, caught_up=True)
        if self._place is not None and await self._broker.events(place.cursor, self._policy.beat_s, 1):
            self._standing.caught_up = False
            await asyncio.sleep(self._policy.gather_s)

    async def _follow(self, history: History, events: list[Event]) -> None:
        now = self._clock()
        if now - events[0].at > self._policy.keep_events_ms / 2 and self._needs_mending():
            await self._mend(history)
            return
        ids = list({event.job_id for event in events})
        known = await self._archive.write(history.known, ids)
        since = now - self._policy.keep_ms
        chapter = await chapter_of(self._broker, events, known, parts=self._policy.parts, since=since)
        await self._write(history, chapter)

    def _needs_mending(self) -> bool:
        return time.monotonic() - self._mended_at >= self._policy.upkeep_s

    async def _keep_up(self, history: History) -> None:
        """Now and then: forget what is old, count what is left."""
        if time.monotonic() - self._kept_up_at < self._policy.upkeep_s:
            return
        self._kept_up_at = time.monotonic()
        now, policy = self._clock(), self._policy
        bounds = (now - policy.keep_results_ms, now - policy.keep_ms, TRIM_LIMIT)
        if await self._archive.write(history.trim, *bounds) >= TRIM_LIMIT:
            self._kept_up_at -= policy.upkeep_s  # there is more, and others may write in between
        await self._archive.count_rows()

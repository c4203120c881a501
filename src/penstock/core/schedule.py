"""Schedules: when jobs are to be submitted by the clock, as values and pure functions.

A tick is an instant at which a cron expression is due in a time zone, in UTC milliseconds. Whoever submits
the jobs of some ticks changes the schedule's ``last`` in the same step, so each tick is submitted once.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError
from msgspec.structs import replace

from penstock.core.clock import epoch_ms
from penstock.core.job import JobSpec

MISSED_MS = 60_000
"""A tick is missed when nobody could submit its job for this long."""

MOST = 100
"""How many missed ticks are made up for at most: the latest ones."""

NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""What may be written in place of fields, as in crontab(5)."""

MOST_COUNTED = 1_000
"""How many ticks that were passed over are counted at a time, as each is computed."""


class Missed(StrEnum):
    """What is done about missed ticks."""

    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


class Schedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is submitted when. ``spec`` is the job, but for its id and ``request_id``.

    ``last`` is the time up to which all ticks are dealt with, ``last_tick`` the last that was submitted and
    ``last_job`` its job's id, None before the first; all times are UTC milliseconds. ``missed_ticks`` counts
    those that never were submitted, ``last_error`` says why the one that is due is not submitted yet.
    """

    name: str
    cron: str
    timezone: str = "UTC"
    spec: JobSpec
    missed: Missed = Missed.ONCE
    paused: bool = False
    created_at: int
    created_by: str = ""
    last: int
    last_tick: int | None = None
    last_job: str | None = None
    missed_ticks: int = 0
    last_error: str | None = None


class Turn(msgspec.Struct, frozen=True):
    """The ticks to submit now, oldest first, and the time up to which all are dealt with by that."""

    ticks: tuple[int, ...]
    last: int


def ticks(cron: str, timezone: str, after: int) -> Iterator[int]:
    """The ticks after a time, in order and without end; raises ValueError saying what is wrong.

    ``cron`` has five fields, or six with seconds first. With five, as in Debian's cron: what names hours
    and minutes and falls into a gap of the clock is due right after it, and what falls into an overlap
    once; what repeats by a star goes by elapsed time. With six: what the clock never shows is not due,
    and what it shows twice is due twice. Source: cron(8) of Debian, section NOTES, and the docs of cronsim.
    """
    start = datetime.fromtimestamp(after / 1000, _zone(timezone))
    try:
        found = CronSim(NICKNAMES.get(cron, cron), start)
    except CronSimError as wrong:
        raise ValueError(f"{str(wrong).lower()} in {cron!r}") from None
    last = after
    for moment in found:
        at = epoch_ms(moment)
        if at > last:  # from within an overlap, the library begins at its first half
            yield at
            last = at


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (LookupError, OSError, ValueError):
        raise ValueError(f"there is no time zone {name!r}") from None


def problems(cron: str, timezone: str, now: int) -> list[tuple[str, str]]:
    """What is wrong, as ``(field, problem)``; also a cron expression that is never due."""
    try:
        _zone(timezone)
    except ValueError as wrong:
        return [("timezone", str(wrong))]
    try:
        next(ticks(cron, timezone, now))
    except ValueError as wrong:
        return [("cron", str(wrong))]
    except StopIteration:
        return [("cron", f"{cron!r} is never due")]
    return []


def upcoming(schedule: Schedule, now: int, count: int) -> list[int]:
    """The next so many ticks."""
    return list(islice(ticks(schedule.cron, schedule.timezone, now), count))


def next_due(schedule: Schedule) -> int | None:
    """The first tick that is not dealt with; None if there is none."""
    return None if schedule.paused else next(ticks(schedule.cron, schedule.timezone, schedule.last), None)


def turn(schedule: Schedule, now: int) -> Turn | None:
    """What to do about a schedule now; None if nothing is due."""
    due = next_due(schedule)
    if due is None or due > now:
        return None
    fresh_from = max(schedule.last, now - MISSED_MS)
    fresh = tuple(_between(schedule, fresh_from, now))
    missed = () if due > fresh_from else _made_up(schedule, fresh_from)
    return Turn((*missed, *fresh), fresh[-1] if fresh else fresh_from)


def _made_up(schedule: Schedule, before: int) -> tuple[int, ...]:
    """The missed ticks, up to ``before``, that are submitted after all."""
    if schedule.missed is Missed.SKIP:
        return ()
    wanted = 1 if schedule.missed is Missed.ONCE else MOST
    span = MISSED_MS
    while True:  # further and further back, as there may be very many or very few
        start = max(schedule.last, before - span)
        found = tuple(_between(schedule, start, before))
        if len(found) >= wanted or start == schedule.last:
            return found[-wanted:]
        span *= 4


def _between(schedule: Schedule, after: int, until: int) -> Iterator[int]:
    every = ticks(schedule.cron, schedule.timezone, after)
    return takewhile(lambda at: at <= until, every)


def first_of(taken: Turn) -> Turn:
    """A turn with the first of its ticks alone; the others are due afterwards."""
    return Turn(taken.ticks[:1], taken.ticks[0])


def after_turn(schedule: Schedule, taken: Turn, job_ids: list[str]) -> Schedule:
    """The schedule once the jobs of a turn are submitted."""
    missed = _passed(schedule, taken.last) - len(taken.ticks)
    after = replace(
        schedule, last=taken.last, last_error=None, missed_ticks=schedule.missed_ticks + max(0, missed)
    )
    return replace(after, last_tick=taken.ticks[-1], last_job=job_ids[-1]) if taken.ticks else after


def kept_waiting(schedule: Schedule, taken: Turn, why: str) -> Schedule:
    """The schedule whose turn could not be taken: its first tick stays due, what was passed over does not."""
    before = taken.ticks[0] - 1
    return replace(
        schedule,
        last=before,
        missed_ticks=schedule.missed_ticks + _passed(schedule, before),
        last_error=f"the tick of {_iso(taken.ticks[0])} waits: {why}",
    )


def _passed(schedule: Schedule, until: int) -> int:
    """How many ticks there are up to a time, from the last that was dealt with."""
    return sum(1 for _ in islice(_between(schedule, schedule.last, until), MOST_COUNTED))


def _iso(tick: int) -> str:
    return datetime.fromtimestamp(tick / 1000, UTC).isoformat().replace("+00:00", "Z")


def spec_of(schedule: Schedule, tick: int, job_id: str, node: str) -> JobSpec:
    """The job of a tick; its ``request_id`` names both, as ``schedule:NAME@2026-01-31T12:00:00Z``."""
    asked = f"schedule:{schedule.name}@{_iso(tick)}"
    return replace(schedule.spec, id=job_id, request_id=asked, initiated_by=node)


SHELF = "schedules"
"""Where brokers keep them."""

encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Schedule).decode


def decode(body: bytes) -> Schedule | None:
    """A schedule as it is kept; None for what only a newer release understands."""
    try:
        return _decode(body)
    except msgspec.ValidationError:
        return None

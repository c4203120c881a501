"""From a page of the feed to a chapter of history: which jobs to look at, and what to write of them."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from penstock.core.chapter import Chapter
from penstock.core.job import Job, State
from penstock.core.record import Asked, Record, Told, needs_a_look, record_of, storable
from penstock.ports import Broker, Event

_STATES = {state.value: state for state in State}
JOINED = "joined"
_FIRST = frozenset({State.SCHEDULED.value, State.QUEUED.value})

PIECE = 256
PIECE_BYTES = 4 * 2**20
"""Jobs are read in pieces: so many at a time, and fewer where their bodies are large."""

Known = Mapping[str, tuple[int, State]]


def told_by(events: Iterable[Event]) -> list[Told]:
    """The events that changed a job's state; kinds of other releases, progress and log lines do not."""
    return [
        Told(event.job_id, event.at, _STATES[event.kind], event.data)
        for event in events
        if event.kind in _STATES
    ]


def begun(events: Iterable[Event], *, parts: bool) -> set[str]:
    """The jobs whose story begins here; others that are unknown were parts, which are gone again.

    What is queued again, after an attempt or a delay, tells how many attempts it has used up.
    """
    return {
        event.job_id
        for event in events
        if (event.kind in _FIRST or event.data.get("cached"))
        and "attempt" not in event.data
        and (parts or "part" not in event.data)
    }


def joins_of(events: Iterable[Event]) -> list[Asked]:
    """Submissions that were answered with a job which was there already."""
    return [
        Asked(
            job_id=event.job_id,
            event=event.id,
            at=event.at,
            admission=JOINED,
            client=storable(event.data.get("client")),
            request_id=storable(event.data.get("request_id")),
        )
        for event in events
        if event.kind == JOINED
    ]


def to_look_at(told: Iterable[Told], known: Known) -> dict[str, int]:
    """The jobs that have to be read, each with the time of its newest event."""
    found: dict[str, int] = {}
    for each in told:
        if each.job_id not in known or needs_a_look(*known[each.job_id], each.at, each.state):
            found[each.job_id] = max(each.at, found.get(each.job_id, 0))
    return found


async def read(broker: Broker, job_ids: Sequence[str]) -> dict[str, Record | None]:
    """Jobs as the broker has them, None for one that it has no more; bodies too long to keep are let go."""
    found: dict[str, Record | None] = {}
    at, size = 0, PIECE
    while at < len(job_ids):
        piece = job_ids[at : at + size]
        jobs = await broker.get(piece)
        found |= {
            job_id: None if job is None else record_of(job) for job_id, job in zip(piece, jobs, strict=True)
        }
        at += len(piece)
        size = max(1, size // 4) if sum(map(_bytes, jobs)) > PIECE_BYTES else min(PIECE, size * 2)
    return found


def _bytes(job: Job | None) -> int:
    return 0 if job is None else len(memoryview(job.spec.params)) + len(memoryview(job.result or b""))


async def chapter_of(
    broker: Broker, events: Sequence[Event], known: Known, *, parts: bool, since: int
) -> Chapter:
    """What to write of a page of the feed. What was told before ``since`` (UTC milliseconds) is too old."""
    told = [each for each in told_by(events) if each.at >= since]
    looks = to_look_at(told, known)
    read_now = await read(broker, list(looks))
    records = [
        msgspec.structs.replace(record, told_at=max(record.told_at, looks[record.id]))
        for record in read_now.values()
        if record is not None and (parts or record.part is None)
    ]
    gone = {job_id for job_id, record in read_now.items() if record is None}
    gone &= known.keys() | begun(events, parts=parts)
    return Chapter(
        cursor=events[-1].id,
        told_at=events[-1].at,
        records=records,
        told=[each for each in told if each.job_id in gone],
        asked=joins_of(events),
    )

"""The reading verbs as questions to a connection; WAL lets them see the last commit without waiting."""

import re
import sqlite3
from collections import Counter
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from penstock.brokers.sqlite import answers, depth, lines
from penstock.brokers.sqlite.rows import JOB_COLUMNS, decode_attempts, job_by_id, read_job
from penstock.core import drain, past
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import Job, WorkerInfo
from penstock.ports import Event, EventKind, JobQuery, QueueStats, Stats, WorkerStats

NEVER_MS = 3_600_000
"""How long a waiter may sleep when nothing is scheduled; a bell wakes it earlier."""

_decode_worker = msgspec.json.Decoder(WorkerInfo).decode
_decode = msgspec.json.Decoder().decode
_KINDS = ", ".join(f"'{kind}'" for kind in EventKind)
"""Others are a newer release's."""

_PART_OF = "jobs.n IN (SELECT parts.n FROM parts JOIN families ON families.n = family WHERE parent = ?)"

_EVENT_ID = re.compile("[0-9]{0,18}")


def due_in(db: sqlite3.Connection, queues: Sequence[str], now: int) -> int:
    """Milliseconds until something can be claimed, 0 if something can be now."""
    if lines.any_claimable(db, queues):
        return 0
    (next_due,) = db.execute("SELECT min(due_at) FROM jobs WHERE state = 'scheduled'").fetchone()
    return NEVER_MS if next_due is None else max(0, next_due - now)


def anything_lapsed(db: sqlite3.Connection, now: int) -> bool:
    """Whether `reclaim` would find something to do."""
    row = db.execute(
        "SELECT EXISTS (SELECT 1 FROM workers WHERE lease_until < ?) OR EXISTS (SELECT 1 FROM jobs"
        " WHERE state = 'running' AND worker NOT IN (SELECT id FROM workers WHERE lease_until >= ?))"
        " OR EXISTS (SELECT 1 FROM deadlines WHERE at <= ?)",
        (now, now, now),
    ).fetchone()
    return bool(row[0])


def get(db: sqlite3.Connection, job_ids: Sequence[str]) -> list[Job | None]:
    """Jobs with their results."""
    return [job_by_id(db, job_id) for job_id in job_ids]


def attempts(db: sqlite3.Connection, job_ids: Sequence[str]) -> list[list[past.Attempt]]:
    """What the jobs remember of their attempts."""
    return [_attempts(db, job_id) for job_id in job_ids]


def _attempts(db: sqlite3.Connection, job_id: str) -> list[past.Attempt]:
    row = db.execute(
        f"SELECT {JOB_COLUMNS}, attempts.body FROM jobs JOIN specs USING (n)"  # noqa: S608 - constants only
        " LEFT JOIN attempts ON attempts.n = jobs.n WHERE id = ?",
        (job_id,),
    ).fetchone()
    job = None if row is None else read_job(row)
    return [] if job is None else past.attempts_of(job, decode_attempts(row[-1]) if row[-1] else ())


def find(db: sqlite3.Connection, query: JobQuery) -> list[Job]:
    """Jobs without their results: a list of answers may be larger than anybody's memory."""
    wanted = [
        ("state = ?", query.state),
        ("task = ?", query.task),
        ("queue = ?", query.queue),
        ("json_extract(CAST(error AS TEXT), '$.code') = ?", query.code),
        ("json_extract(CAST(specs.body AS TEXT), '$.client') = ?", query.client),
        ("finished_at >= ?", query.ended_after),
        ("finished_at < ?", query.ended_before),
        ("id < ?", query.before),
    ]
    given = [(condition, value) for condition, value in wanted if value is not None]
    if query.parent_id is not None:
        given.append((_PART_OF, query.parent_id))
    where = " AND ".join(condition for condition, _ in given) or "TRUE"
    if query.parent_id is None and not query.parts:
        where += " AND NOT EXISTS (SELECT 1 FROM parts WHERE parts.n = jobs.n)"
    rows = db.execute(
        f"SELECT {JOB_COLUMNS} FROM jobs JOIN specs USING (n) WHERE {where} ORDER BY id DESC LIMIT ?",  # noqa: S608
        [*(value for _, value in given), query.limit],
    )
    return [job for row in rows if (job := read_job(row))]


def head(db: sqlite3.Connection) -> str:
    """The last event's number; AUTOINCREMENT remembers it even when all events are trimmed."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return str(row[0] if row else 0)


def events(db: sqlite3.Connection, after: str, limit: int) -> list[Event]:
    """The feed after an id. Raises INVALID_REQUEST for one that this feed never gave out."""
    if not _EVENT_ID.fullmatch(after):
        raise _unknown_event(after)
    seq = int(after or 0)
    rows = db.execute(
        f"SELECT seq, at, job_id, kind, data FROM events WHERE seq > ? AND kind IN ({_KINDS})"  # noqa: S608
        " ORDER BY seq LIMIT ?",
        (seq, limit),
    ).fetchall()
    if not rows and seq > int(head(db)):
        raise _unknown_event(after)
    return [
        Event(id=str(seq), at=at, job_id=job_id, kind=EventKind(kind), data=_decode(data))
        for seq, at, job_id, kind, data in rows
    ]


def _unknown_event(event_id: str) -> PenstockError:
    message = f"event id: {event_id!r} is none of this broker's"
    return PenstockError(ErrorCode.INVALID_REQUEST, message)


def stats(db: sqlite3.Connection, now: int, max_depth: int) -> Stats:
    """Depths from the counters the verbs keep; ages from the head of each line."""
    depths: dict[str, dict[str, int]] = {}
    states: Counter[str] = Counter()
    for queue, state, jobs in db.execute("SELECT queue, state, jobs FROM depths"):
        depths.setdefault(queue, {})[state] = jobs
        states[state] += jobs
    paused = {queue for (queue,) in db.execute("SELECT queue FROM paused")}
    limits = depth.limits(db)
    queues = [
        replace(
            _queue(db, name, depths.get(name, {}), name in paused, now),
            max_depth=limits.get(name, max_depth),
            drain_per_s=drain.per_second(depth.ended_lately(db, name, now), now),
        )
        for name in sorted(depths.keys() | paused | limits.keys())
    ]
    return Stats(
        states=dict(states),
        queues=tuple(queues),
        workers=_workers(db, now),
        cache=answers.figures(db, now),
    )


def _queue(db: sqlite3.Connection, name: str, depths: dict[str, int], paused: bool, now: int) -> QueueStats:
    head_of_line = lines.head(db, name)
    return QueueStats(
        name=name,
        scheduled=depths.get("scheduled", 0),
        queued=depths.get("queued", 0),
        running=depths.get("running", 0),
        oldest_age_ms=0 if head_of_line is None else max(0, now - head_of_line),
        paused=paused,
    )


def _workers(db: sqlite3.Connection, now: int) -> tuple[WorkerStats, ...]:
    rows = db.execute(
        "SELECT info, lease_until, seen_at,"
        " (SELECT count(*) FROM jobs WHERE state = 'running' AND worker = workers.id)"
        " FROM workers WHERE info IS NOT NULL ORDER BY id"
    )
    return tuple(
        WorkerStats(info=_decode_worker(info), running=running, live=lease_until >= now, seen_at=seen_at)
        for info, lease_until, seen_at, running in rows
    )

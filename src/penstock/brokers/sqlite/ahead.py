"""What waiting jobs have in front of them: counts along the index of lines, for ``core.forecast``."""

import itertools
import sqlite3
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from penstock.brokers.sqlite.lines import line_of, stride_of
from penstock.core import fairness, forecast
from penstock.core.forecast import Ahead, LineAhead
from penstock.core.lifecycle import AGE_STEP_MS
from penstock.ports import ClientWaits

SAMPLE = 16


class _Job(NamedTuple):
    """Where a job waits."""

    queue: str
    line: str
    rank: int
    id: str


def ahead(db: sqlite3.Connection, job_ids: Sequence[str], now: int) -> list[Ahead | None]:
    """See `Broker.ahead`."""
    return [_look(db, job_id, now) for job_id in job_ids]


def _look(db: sqlite3.Connection, job_id: str, now: int) -> Ahead | None:
    row = db.execute(
        "SELECT queue, line, rank, id FROM jobs WHERE id = ? AND state = 'queued'", (job_id,)
    ).fetchone()
    if row is None:
        return None
    job = _Job(*row)
    client = line_of(job.line).client
    lines = [_line(db, job, name, now) for name in _lines(db, job)]
    return forecast.ahead(client, stride_of(db, client), lines)


def _lines(db: sqlite3.Connection, job: _Job) -> list[str]:
    named = db.execute(
        "SELECT line FROM lines WHERE queue = ? ORDER BY rank LIMIT ?", (job.queue, fairness.MOST_LINES)
    )
    return list(dict.fromkeys([*(name for (name,) in named), "", job.line]))


def _line(db: sqlite3.Connection, job: _Job, name: str, now: int) -> LineAhead:
    band, client = fairness.band(job.rank, now), line_of(name).client
    before = _count(db, job.queue, name, now + (band - 1) * AGE_STEP_MS) if band else 0
    if name == job.line:
        count = _count(db, job.queue, name, job.rank - 1) + _tied(db, job)
    elif client == line_of(job.line).client:
        count = _count(db, job.queue, name, job.rank - 1)
    else:
        count = _count(db, job.queue, name, now + band * AGE_STEP_MS)
    return LineAhead(
        client=client,
        stride=stride_of(db, client),
        before=before,
        beside=count - before,
        tasks=_tasks(db, job.queue, name, min(SAMPLE, count)),
    )


def _count(db: sqlite3.Connection, queue: str, line: str, rank: int) -> int:
    """The jobs of a line up to this rank."""
    (count,) = db.execute(
        "SELECT count(*) FROM jobs WHERE state = 'queued' AND queue = ? AND line = ? AND rank <= ?",
        (queue, line, rank),
    ).fetchone()
    return int(count)


def _tied(db: sqlite3.Connection, job: _Job) -> int:
    (count,) = db.execute(
        "SELECT count(*) FROM jobs WHERE state = 'queued' AND queue = ? AND line = ? AND rank = ? AND id < ?",
        (job.queue, job.line, job.rank, job.id),
    ).fetchone()
    return int(count)


def _tasks(db: sqlite3.Connection, queue: str, line: str, most: int) -> list[str]:
    found = db.execute(
        "SELECT task FROM jobs WHERE state = 'queued' AND queue = ? AND line = ? ORDER BY rank, id LIMIT ?",
        (queue, line, most),
    )
    return [task for (task,) in found]


def clients(db: sqlite3.Connection, limit: int) -> list[ClientWaits]:
    """See `Broker.clients`."""
    found = db.execute(
        "SELECT jobs.queue, client, count(*) AS waiting FROM lines JOIN jobs USING (queue, line)"
        " WHERE state = 'queued' AND client <> '' GROUP BY jobs.queue, client"
        " ORDER BY jobs.queue, waiting DESC"
    ).fetchall()
    by_queue = itertools.groupby(
        (ClientWaits(queue=row[0], client=row[1], jobs=row[2]) for row in found), _queue
    )
    return [each for _, waits in by_queue for each in itertools.islice(waits, limit)]


_queue = attrgetter("queue")

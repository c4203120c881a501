"""Lines of waiting jobs, and the choice among them that ``core.fairness`` makes.

A line is kept as its task, a newline and its client, and as nothing for jobs of neither: those are what a
queue is without this module. Whatever makes a job of a line wait, or no longer wait, tells `refresh`.
"""

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from penstock.brokers.sqlite import shelves
from penstock.brokers.sqlite.writer import Transaction
from penstock.core import fairness
from penstock.core.fairness import CLIENTS, MOST_LINES, ClientTerms, Line, Rooms, Waiting
from penstock.core.job import JobSpec

MOST_LOOKED_AT = 1024

_terms = msgspec.json.Decoder(ClientTerms).decode
_QUEUED = "FROM jobs WHERE state = 'queued' AND queue = ? AND line = ? ORDER BY rank, id"


def prepare(db: sqlite3.Connection) -> None:
    """Replace the index of an older file, once every table has the columns it needs."""
    db.execute("DROP INDEX IF EXISTS jobs_queued")
    db.execute(
        "CREATE INDEX IF NOT EXISTS jobs_in_line ON jobs (queue, line, rank, id) WHERE state = 'queued'"
    )


def text_of(spec: JobSpec) -> str:
    """A job's line as it is kept."""
    line = fairness.line_of(spec)
    return f"{line.task}\n{line.client}" if line != fairness.PLAIN else ""


def line_of(text: str) -> Line:
    """The line that is kept so."""
    task, _, client = text.partition("\n")
    return Line(client, task)


def learn(db: sqlite3.Connection, spec: JobSpec) -> None:
    """Keep what a submission says of its client and its task."""
    said = [("weight", spec.client, spec.weight), ("task", spec.task, spec.max_running)]
    db.executemany(
        "INSERT OR REPLACE INTO terms (kind, name, value) VALUES (?, ?, ?)",
        [(kind, name, value) for kind, name, value in said if name and value is not None],
    )


def arrived(db: sqlite3.Connection, queue: str, line: str, rank: int) -> None:
    """A job of this line begins to wait."""
    db.execute(
        "INSERT INTO lines (queue, line, rank) VALUES (?, ?, ?)"
        " ON CONFLICT (queue, line) DO UPDATE SET rank = min(rank, excluded.rank)",
        (queue, line, rank),
    )


def refresh(db: sqlite3.Connection, places: set[tuple[str, str]]) -> None:
    """Look anew at the first job of these queues' lines."""
    for queue, line in places:
        if not line:
            continue
        head = db.execute(f"SELECT rank {_QUEUED} LIMIT 1", (queue, line)).fetchone()
        db.execute("DELETE FROM lines WHERE queue = ? AND line = ?", (queue, line))
        if head:
            arrived(db, queue, line, head[0])


def head(db: sqlite3.Connection, queue: str) -> int | None:
    """When the job of a queue was due that is before all others by rank and id."""
    (lowest,) = db.execute("SELECT min(rank) FROM lines WHERE queue = ?", (queue,)).fetchone()
    names = db.execute("SELECT line FROM lines WHERE queue = ? AND rank = ?", (queue, lowest)).fetchall()
    heads = [
        db.execute(f"SELECT rank, id, due_at {_QUEUED} LIMIT 1", (queue, line)).fetchone()
        for line in ("", *(name for (name,) in names))
    ]
    return min((row for row in heads if row), default=(0, "", None))[2]


def any_claimable(db: sqlite3.Connection, queues: Sequence[str]) -> bool:
    """Whether a job of these queues may begin now."""
    open_queues = _open(db, queues)
    if any(db.execute(f"SELECT 1 {_QUEUED} LIMIT 1", (queue, "")).fetchone() for queue in open_queues):
        return True
    rooms = _rooms(db)
    return any(_candidates(db, queue, rooms) for queue in open_queues)


def any_named(db: sqlite3.Connection, queues: Sequence[str]) -> bool:
    """Whether there is anything to choose among: only then is the rest of this module needed."""
    marks = ", ".join("?" * len(queues))
    found = db.execute(f"SELECT 1 FROM lines WHERE queue IN ({marks}) LIMIT 1", list(queues)).fetchone()  # noqa: S608
    return found is not None


def take(tx: Transaction, queues: Sequence[str], limit: int) -> list[str]:
    """The ids of the next jobs of these queues; they are still to be started, and `refresh` to be told."""
    db, rooms = tx.connection, _rooms(tx.connection)
    places = [(queue, line) for queue in _open(db, queues) for line in ("", *_candidates(db, queue, rooms))]
    tags = _Tags(db, "\n".join(sorted(set(queues))))
    with contextlib.ExitStack() as cursors:
        picks = fairness.choose(
            [(line_of(line), _jobs(db, cursors, queue, line)) for queue, line in places],
            limit,
            tx.now,
            tags=tags.of,
            strides=lambda client: stride_of(db, client),
            rooms=rooms,
        )
        ids = [pick.job.id for pick in picks]
    tags.keep()
    return ids


def _open(db: sqlite3.Connection, queues: Sequence[str]) -> list[str]:
    paused = {queue for (queue,) in db.execute("SELECT queue FROM paused")}
    return [queue for queue in dict.fromkeys(queues) if queue not in paused]


def _candidates(db: sqlite3.Connection, queue: str, rooms: Rooms) -> list[str]:
    """The queue's named lines of which a job may begin, those first whose head has the lowest rank."""
    found = db.execute(
        "SELECT line FROM lines WHERE queue = ? ORDER BY rank, line LIMIT ?", (queue, MOST_LOOKED_AT)
    )
    with contextlib.closing(found):
        ready = (line for (line,) in found if rooms.has(line_of(line)))
        return list(itertools.islice(ready, MOST_LINES))


def _jobs(db: sqlite3.Connection, cursors: contextlib.ExitStack, queue: str, line: str) -> Iterator[Waiting]:
    """A line's jobs, read no further than is asked for."""
    found = db.execute(f"SELECT rank, id {_QUEUED}", (queue, line))
    cursors.callback(found.close)
    return (Waiting(rank, job_id) for rank, job_id in found)


def _rooms(db: sqlite3.Connection) -> Rooms:
    def left(kind: str, name: str) -> int | None:
        most = _client_terms(db, name).max_running if kind == "client" else _said(db, "task", name)
        return None if most is None else most - _running(db, kind, name)

    return Rooms(left)


def _client_terms(db: sqlite3.Connection, client: str) -> ClientTerms:
    row = db.execute("SELECT body FROM shelves WHERE shelf = ? AND name = ?", (CLIENTS, client)).fetchone()
    return ClientTerms() if row is None else _terms(row[0])


def _said(db: sqlite3.Connection, kind: str, name: str) -> int | None:
    row = db.execute("SELECT value FROM terms WHERE kind = ? AND name = ?", (kind, name)).fetchone()
    return row and int(row[0])


def _running(db: sqlite3.Connection, kind: str, name: str) -> int:
    """How many jobs of lines of this client or task run, and do not wait for parts; there are never many."""
    (count,) = db.execute(
        f"SELECT count(*) FROM jobs WHERE state = 'running' AND token > 0 AND line <> '' AND {kind} = ?"  # noqa: S608
        + (" AND line NOT LIKE char(10) || '%'" if kind == "task" else ""),
        (name,),
    ).fetchone()
    return int(count)


def stride_of(db: sqlite3.Connection, client: str) -> int:
    """How far a turn moves this client on."""
    if not client:
        return fairness.stride(1)
    return fairness.stride(_client_terms(db, client).weight or _said(db, "weight", client) or 1)


class _Tags:
    """The tags of the workers of the same queues. In the table "" is a band's own, clients begin with =."""

    def __init__(self, db: sqlite3.Connection, crew: str) -> None:
        self._db = db
        self._crew = crew
        rows = db.execute("SELECT band, client, tag FROM served WHERE crew = ?", (crew,))
        self._kept: dict[tuple[int, str | None], int] = {
            (band, client[1:] if client else None): tag for band, client, tag in rows
        }
        self.of = dict(self._kept)

    def keep(self) -> None:
        """Write what has moved, and drop what is behind its band's: it says no more than none at all."""
        moved = [(key, tag) for key, tag in self.of.items() if self._kept.get(key) != tag]
        self._db.executemany(
            "INSERT OR REPLACE INTO served (crew, band, client, tag) VALUES (?, ?, ?, ?)",
            [(self._crew, band, _kept_name(client), tag) for (band, client), tag in moved],
        )
        behind = [
            (self._crew, band, _kept_name(client))
            for (band, client), tag in self.of.items()
            if client is not None and tag <= self.of.get((band, None), 0)
        ]
        self._db.executemany("DELETE FROM served WHERE crew = ? AND band = ? AND client = ?", behind)


def _kept_name(client: str | None) -> str:
    return "" if client is None else f"={client}"


def limit_client(tx: Transaction, client: str, terms: ClientTerms | None) -> None:
    """Keep what an operator allows a client; it holds for the next claim."""
    body = None if terms is None else msgspec.json.encode(terms)
    shelves.put(tx, CLIENTS, client, body)
    tx.rings.add("jobs")  # there may be room now

"""Full queues: how many jobs may wait, how many do, and how fast they go."""

import sqlite3
from collections import Counter

from penstock.brokers.sqlite.writer import Transaction
from penstock.core import drain
from penstock.core.drain import Full
from penstock.core.job import State
from penstock.ports import DEPTHS

Ended = Counter[str]
"""Jobs that ended, by queue."""


class Room:
    """The room in the queues, while jobs are submitted in one step; looked up once for each of them."""

    def __init__(self, tx: Transaction, usual_limit: int) -> None:
        self._tx = tx
        self._usual_limit = usual_limit
        self._limits: dict[str, int] = {}
        self._stored: dict[str, int] = {}
        self._rates: dict[str, float] = {}

    def why_full(self, queue: str) -> Full | None:
        """Why it takes no further job; None if it does."""
        if queue not in self._limits:
            self._look(queue)
        moved = self._tx.depths[queue, State.QUEUED] + self._tx.depths[queue, State.SCHEDULED]
        depth, limit = self._stored[queue] + moved, self._limits[queue]
        if depth < limit:
            return None
        if queue not in self._rates:
            lately = ended_lately(self._tx.connection, queue, self._tx.now)
            self._rates[queue] = drain.per_second(lately, self._tx.now)
        return Full(depth=depth, limit=limit, drain_per_s=self._rates[queue])

    def _look(self, queue: str) -> None:
        # What this transaction has moved is stored at its end, and so has to be added.
        self._stored[queue], own = self._tx.connection.execute(
            "SELECT (SELECT coalesce(sum(jobs), 0) FROM depths"
            " WHERE queue = ?1 AND state IN ('queued', 'scheduled')),"
            " (SELECT body FROM shelves WHERE shelf = ?2 AND name = ?1)",
            (queue, DEPTHS),
        ).fetchone()
        self._limits[queue] = self._usual_limit if own is None else int(own)


def limits(db: sqlite3.Connection) -> dict[str, int]:
    """The limits of the queues that have one of their own."""
    rows = db.execute("SELECT name, body FROM shelves WHERE shelf = ?", (DEPTHS,))
    return {name: int(body) for name, body in rows}


def note_ended(tx: Transaction, ended: Ended) -> None:
    """Count jobs that ended now; older counts go."""
    slot = tx.now // drain.SLOT_MS
    tx.connection.executemany(
        "INSERT INTO drained (slot, queue, jobs) VALUES (?, ?, ?)"
        " ON CONFLICT (slot, queue) DO UPDATE SET jobs = jobs + excluded.jobs",
        [(slot, queue, jobs) for queue, jobs in ended.items()],
    )
    tx.connection.execute("DELETE FROM drained WHERE slot < ?", (slot - 2 * drain.SLOTS,))


def ended_lately(db: sqlite3.Connection, queue: str, now: int) -> list[int]:
    """How many jobs of a queue ended in each of `drain.slots_at`."""
    slots = drain.slots_at(now)
    rows = db.execute(
        "SELECT slot, jobs FROM drained WHERE slot BETWEEN ? AND ? AND queue = ?",
        (slots[0], slots[-1], queue),
    )
    counts = dict(rows.fetchall())
    return [counts.get(slot, 0) for slot in slots]

"""The jobs that a claim takes: along one index where no client waits, by turns where one does."""

import heapq
import itertools
from collections.abc import Sequence
from typing import Any

from penstock.brokers.sqlite import lines
from penstock.brokers.sqlite.writer import Transaction

_COLUMNS = "jobs.n, attempt, losses, crashes, handbacks, body FROM jobs JOIN specs USING (n)"


def next_jobs(tx: Transaction, queues: Sequence[str], limit: int) -> list[tuple[Any, ...]]:
    """Of each job that is next: n, attempt, losses, crashes, hand-backs, fixed part."""
    if lines.any_named(tx.connection, queues):
        return [_waiting(tx, job_id) for job_id in lines.take(tx, queues, limit)]
    merged = heapq.merge(*(_line(tx, queue, limit) for queue in dict.fromkeys(queues)))
    return [row[2:] for row in itertools.islice(merged, limit)]


def _waiting(tx: Transaction, job_id: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] = tx.connection.execute(
        f"SELECT {_COLUMNS} WHERE id = ?",
        (job_id,),
    ).fetchone()
    return row


def _line(tx: Transaction, queue: str, limit: int) -> list[tuple[Any, ...]]:
    return tx.connection.execute(
        f"SELECT rank, id, {_COLUMNS}"  # noqa: S608 - constants only
        " WHERE state = 'queued' AND queue = ? AND line = '' AND queue NOT IN (SELECT queue FROM paused)"
        " ORDER BY rank, id LIMIT ?",
        (queue, limit),
    ).fetchall()


def pause(tx: Transaction, queue: str) -> None:
    """Mark the queue as paused."""
    tx.connection.execute("INSERT OR IGNORE INTO paused (queue) VALUES (?)", (queue,))


def resume(tx: Transaction, queue: str) -> None:
    """Remove the mark."""
    tx.connection.execute("DELETE FROM paused WHERE queue = ?", (queue,))
    tx.rings.add("jobs")

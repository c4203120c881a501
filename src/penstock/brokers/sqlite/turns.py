"""The jobs that a claim takes: along one index where no client waits, by turns where one does."""

import heapq
import itertools
from collections.abc import Sequence
from typing import Any

from penstock.brokers.sqlite import lines
from penstock.brokers.sqlite.writer import Transaction

_COLUMNS = "jobs.n, attempt, losses, crashes, handbacks, body FROM jobs JOIN specs USING (n)"


def next_jobs(tx: Transaction, queues: Sequence[str], limit: int, only: str) -> list[tuple[Any, ...]]:
    """Of each job that is next and fulfils ``only`` (SQL): n, its counts, fixed part."""
    if lines.any_named(tx.connection, queues):
        return [row for job_id in lines.take(tx, queues, limit) for row in _waiting(tx, job_id, only)]
    merged = heapq.merge(*(_line(tx, queue, limit, only) for queue in dict.fromkeys(queues)))
    return [row[2:] for row in itertools.islice(merged, limit)]


def _waiting(tx: Transaction, job_id: str, only: str) -> list[tuple[Any, ...]]:
    return tx.connection.execute(
        f"SELECT {_COLUMNS} WHERE id = ? AND {only}",
        (job_id,),
    ).fetchall()


def _line(tx: Transaction, queue: str, limit: int, only: str) -> list[tuple[Any, ...]]:
    return tx.connection.execute(
        f"SELECT rank, id, {_COLUMNS}"  # noqa: S608 - constants only
        " WHERE state = 'queued' AND queue = ? AND line = '' AND queue NOT IN (SELECT queue FROM paused)"
        f" AND {only}"
        " ORDER BY rank, id LIMIT ?",
        (queue, limit),
    ).fetchall()

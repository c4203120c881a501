"""The verbs that make the broker forget, as steps of a transaction like those of ``verbs``."""

from collections.abc import Sequence

from penstock.brokers.sqlite import answers
from penstock.brokers.sqlite.writer import Transaction


def trim(tx: Transaction, limit: int, keep_jobs_ms: int, keep_events_ms: int) -> int:
    """Delete final jobs, then events, that are older than their retention."""
    rows = tx.connection.execute(
        "DELETE FROM jobs WHERE n IN"
        " (SELECT n FROM jobs WHERE finished_at IS NOT NULL AND finished_at < ?"
        " AND NOT EXISTS (SELECT 1 FROM parts WHERE parts.n = jobs.n) LIMIT ?)"  # they go with their parent
        " RETURNING n, id, queue, state",
        (tx.now - keep_jobs_ms, limit),
    ).fetchall()
    forget(tx, rows)
    answers.drop_stale(tx)
    # Only the oldest are looked at: searching them all for what is past takes longer with each event.
    events = tx.connection.execute(
        "DELETE FROM events WHERE at < ? AND seq IN (SELECT seq FROM events ORDER BY seq LIMIT ?)",
        (tx.now - keep_events_ms, limit - len(rows)),
    )
    return len(rows) + events.rowcount


def purge(tx: Transaction, job_ids: Sequence[str]) -> list[bool]:
    """Delete those of the jobs that are final."""
    return [_purge_one(tx, job_id) for job_id in job_ids]


def _purge_one(tx: Transaction, job_id: str) -> bool:
    rows = tx.connection.execute(
        "DELETE FROM jobs WHERE id = ? AND state IN ('succeeded', 'failed', 'cancelled')"
        " AND NOT EXISTS (SELECT 1 FROM parts WHERE parts.n = jobs.n)"
        " RETURNING n, id, queue, state",
        (job_id,),
    ).fetchall()
    forget(tx, rows)
    return bool(rows)


def forget(tx: Transaction, rows: Sequence[tuple[int, str, str, str]]) -> None:
    """Delete what belongs to jobs that are gone from their own table: of each n, id, queue and state."""
    for table in ("specs", "results", "attempts", "parts"):
        tx.connection.executemany(f"DELETE FROM {table} WHERE n = ?", [(row[0],) for row in rows])  # noqa: S608
    answers.forget_jobs(tx, [row[0] for row in rows])
    for _, _, queue, state in rows:
        tx.depths[queue, state] -= 1
    forget_parts(tx, [row[1] for row in rows])


def forget_parts(tx: Transaction, parents: Sequence[str]) -> None:
    """Begin to forget the parts of these jobs, which do not know of them any more."""
    tx.connection.executemany(
        "UPDATE families SET parent = NULL, mode = 'forget', busy = 1 WHERE parent = ?",
        [(parent,) for parent in parents],
    )

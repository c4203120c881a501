"""When jobs that were split must have ended: their timeout, counted from their first start."""

from penstock.brokers.sqlite.rows import job_by_id
from penstock.brokers.sqlite.writer import Transaction


def begin(tx: Transaction, job_id: str) -> None:
    """The first parts of this job are handed out."""
    job = job_by_id(tx.connection, job_id)
    if job is None or job.started_at is None or job.spec.limits.timeout_ms is None:
        return
    tx.connection.execute(
        "INSERT OR REPLACE INTO deadlines (parent, at) VALUES (?, ?)",
        (job_id, job.started_at + job.spec.limits.timeout_ms),
    )


def drop(tx: Transaction, job_id: str) -> None:
    """The job has ended."""
    tx.connection.execute("DELETE FROM deadlines WHERE parent = ?", (job_id,))


def passed(tx: Transaction, limit: int) -> list[str]:
    """Jobs whose time is up, at most so many, those first that should have ended first."""
    rows = tx.connection.execute(
        "SELECT parent FROM deadlines WHERE at <= ? ORDER BY at LIMIT ?", (tx.now, limit)
    )
    return [job_id for (job_id,) in rows]

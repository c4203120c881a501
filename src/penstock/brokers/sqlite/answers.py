"""Jobs that share their answer: who may be answered by whom, as parts of the steps in ``verbs``.

Of the jobs with one fingerprint one is in flight; it leaves its answer when it succeeds. The rules are those
of ``core.sharing``.
"""

import sqlite3
from collections import Counter
from collections.abc import Sequence

from penstock.brokers.sqlite import lines
from penstock.brokers.sqlite.rows import encode_spec, job_by_id
from penstock.brokers.sqlite.writer import Transaction
from penstock.core import lifecycle, sharing
from penstock.core.job import Job, JobSpec
from penstock.core.sharing import CacheStats

_BEGINS_WITHIN_MS = 1000


def answer_all(db: sqlite3.Connection, specs: Sequence[JobSpec], now: int) -> bool:
    """Whether known answers will do for all of these, if they are submitted within a second."""
    until = now + _BEGINS_WITHIN_MS
    return bool(specs) and all(sharing.looks(spec) and _answers(db, spec, until) for spec in specs)


def _answers(db: sqlite3.Connection, spec: JobSpec, now: int) -> bool:
    row = db.execute("SELECT 1 FROM answers WHERE fingerprint = ? AND until > ?", (spec.fingerprint, now))
    return row.fetchone() is not None


def source(tx: Transaction, spec: JobSpec) -> Job | None:
    """The job whose answer can be given to this one."""
    row = tx.connection.execute(
        "SELECT id FROM answers JOIN jobs USING (n) WHERE answers.fingerprint = ? AND answers.until > ?",
        (spec.fingerprint, tx.now),
    ).fetchone()
    return None if row is None else job_by_id(tx.connection, row[0])


def in_flight(tx: Transaction, spec: JobSpec) -> Job | None:
    """The job that this one may join."""
    row = tx.connection.execute(
        "SELECT id FROM flights JOIN jobs USING (n) WHERE flights.fingerprint = ?", (spec.fingerprint,)
    ).fetchone()
    job = None if row is None else job_by_id(tx.connection, row[0])
    return job if job is not None and sharing.may_join(job, spec, tx.now) else None


def join(tx: Transaction, job: Job, spec: JobSpec) -> bool:
    """Let a submission wait for that job, too; False if it does already, as it was sent before."""
    execute = tx.connection.execute
    added = execute(
        "INSERT OR IGNORE INTO joins (n, id) SELECT n, ? FROM jobs WHERE id = ?", (spec.id, job.id)
    )
    if not added.rowcount:
        return False
    after = sharing.join(job, spec)
    execute("UPDATE jobs SET waiters = ? WHERE id = ?", (after.waiters, job.id))
    if after.spec.priority is not job.spec.priority:
        execute(
            "UPDATE specs SET body = ? WHERE n = (SELECT n FROM jobs WHERE id = ?)",
            (encode_spec(after.spec), job.id),
        )
        rank = lifecycle.rank(after.spec.priority, job.due_at)
        execute("UPDATE jobs SET rank = ? WHERE id = ?", (rank, job.id))
        lines.refresh(tx.connection, {(job.spec.queue, lines.text_of(job.spec))})
    return True


def keep_key(tx: Transaction, job: Job, spec: JobSpec) -> None:
    """Have the idempotency key of a submission that joined stand for the job that it joined."""
    if spec.idempotency_key is not None:
        tx.connection.execute(
            "INSERT INTO joined_keys (client, name, n) SELECT ?, ?, n FROM jobs WHERE id = ?",
            (spec.client or "", spec.idempotency_key, job.id),
        )


def keyed(db: sqlite3.Connection, client: str, name: str) -> str | None:
    """The job for which a key stands in this way."""
    row = db.execute(
        "SELECT id FROM joined_keys JOIN jobs USING (n) WHERE joined_keys.client = ? AND name = ?",
        (client, name),
    ).fetchone()
    return None if row is None else str(row[0])


def take_off(tx: Transaction, n: int, spec: JobSpec) -> None:
    """This job is the one in flight from now on."""
    if sharing.shares(spec):
        tx.connection.execute(
            "INSERT OR REPLACE INTO flights (fingerprint, n, keep_ms) VALUES (?, ?, ?)",
            (spec.fingerprint, n, spec.cache_ms),
        )


def take_off_again(tx: Transaction, job: Job) -> None:
    """A job that is retried is in flight again, unless another one is."""
    if sharing.shares(job.spec):
        tx.connection.execute(
            "INSERT OR IGNORE INTO flights (fingerprint, n, keep_ms) SELECT ?, n, ? FROM jobs WHERE id = ?",
            (job.spec.fingerprint, job.spec.cache_ms, job.id),
        )


def land(tx: Transaction, n: int, *, succeeded: bool) -> None:
    """The job has ended. Only if it was the one in flight, and succeeded, others are given its answer."""
    execute = tx.connection.execute
    row = execute("DELETE FROM flights WHERE n = ? RETURNING fingerprint, keep_ms", (n,)).fetchone()
    execute("DELETE FROM joins WHERE n = ?", (n,))
    if row is not None and succeeded:
        execute(
            "INSERT OR REPLACE INTO answers (fingerprint, n, until) VALUES (?, ?, ?)",
            (row[0], n, tx.now + row[1]),
        )


def forget_jobs(tx: Transaction, rows: Sequence[int]) -> None:
    """The jobs with these numbers are gone, and the answers that they found with them."""
    for table in ("answers", "joined_keys", "joins"):
        tx.connection.executemany(f"DELETE FROM {table} WHERE n = ?", [(n,) for n in rows])  # noqa: S608


def drop_stale(tx: Transaction) -> None:
    """Forget answers that can be given to nobody any more."""
    tx.connection.execute("DELETE FROM answers WHERE until <= ?", (tx.now,))


def forget(tx: Transaction, fingerprints: Sequence[str] | None) -> int:
    """See `Broker.forget_answers`."""
    if fingerprints is None:
        kept = tx.connection.execute("DELETE FROM answers RETURNING until").fetchall()
        tx.connection.execute("DELETE FROM flights")
    else:
        kept = [row for one in fingerprints for row in _forget_one(tx, one)]
    return sum(until > tx.now for (until,) in kept)


def _forget_one(tx: Transaction, fingerprint: str) -> list[tuple[int]]:
    execute = tx.connection.execute
    execute("DELETE FROM flights WHERE fingerprint = ?", (fingerprint,))
    return execute("DELETE FROM answers WHERE fingerprint = ? RETURNING until", (fingerprint,)).fetchall()


def add_counts(tx: Transaction, counts: Counter[str]) -> None:
    """Note what the cache spared in this step."""
    tx.connection.executemany(
        "INSERT INTO counts (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        counts.items(),
    )


def figures(db: sqlite3.Connection, now: int) -> CacheStats:
    """What the cache spared so far."""
    counts: dict[str, int] = dict(db.execute("SELECT name, value FROM counts"))
    (entries,) = db.execute("SELECT count(*) FROM answers WHERE until > ?", (now,)).fetchone()
    return CacheStats(entries=entries, **counts)

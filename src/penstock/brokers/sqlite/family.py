"""Jobs that were split, as steps of a transaction that wrap those of ``verbs``.

A row of families is one run of one job: a job that is retried gets a new one, so that a part of an earlier
run that ends late counts for nothing. Rules are in ``core.family``.
"""

import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from penstock.brokers.sqlite import deadlines, lines, removal, submission, verbs
from penstock.brokers.sqlite.rows import job_by_id
from penstock.brokers.sqlite.submission import FRESH
from penstock.brokers.sqlite.writer import Transaction
from penstock.core import family, lifecycle
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import Job, JobError, JobSpec, Parts, State
from penstock.core.lifecycle import Claim, Settlement
from penstock.ports import EventKind, Receipt

PAGE = 500
"""Parts that are withdrawn on the way of another verb."""

_OF_PARENT = "SELECT n, total, done, failed, merged, known, ready, partial FROM families WHERE parent = ?"
_NOT_WITHDRAWN = (
    "NOT EXISTS (SELECT 1 FROM parts JOIN families ON families.n = parts.family"
    " WHERE parts.n = jobs.n AND families.busy AND families.mode != 'merged')"
)


def any_family(db: sqlite3.Connection) -> bool:
    """Whether any job was split: if not, nothing here costs more than this question."""
    return db.execute("SELECT 1 FROM families LIMIT 1").fetchone() is not None


def shown(db: sqlite3.Connection, job: Job) -> Job:
    """The job with how far its parts have come."""
    if not job.spec.merge_block:
        return job
    row = db.execute(_OF_PARENT, (job.id,)).fetchone()
    return job if row is None else family.shown(job, _parts(row))


def _parts(row: tuple[Any, ...]) -> Parts:
    _, total, done, failed, merged, known, *_ = row
    return Parts(total, done, failed, merged, known=bool(known))


def told(tx: Transaction, receipt: Receipt) -> Receipt:
    """The receipt whose job shows how far its parts have come."""
    if receipt.job is None or not receipt.job.spec.merge_block or receipt.admission in FRESH:
        return receipt
    return replace(receipt, job=shown(tx.connection, receipt.job))


def spread(tx: Transaction, parent_id: str, token: int, first: int, specs: Sequence[JobSpec]) -> bool:
    """See `Broker.spread`."""
    row = tx.connection.execute(
        "SELECT 1 FROM jobs WHERE id = ? AND state = 'running' AND token = ? AND token > 0",
        (parent_id, token),
    ).fetchone()
    if row is None:
        return False
    found = tx.connection.execute(_OF_PARENT, (parent_id,)).fetchone()
    n, total = (_found(tx, parent_id), 0) if found is None else found[:2]
    if found is None:
        deadlines.begin(tx, parent_id)
    if first > total:
        message = f"part {first}: only {total} parts of the job are there"
        raise PenstockError(ErrorCode.INVALID_REQUEST, message)
    fresh = specs[total - first :]
    for number, spec in enumerate(fresh, total):
        submission.insert(tx, lifecycle.accept(spec, tx.now))
        tx.connection.execute(
            "INSERT INTO parts (family, number, n) SELECT ?, ?, n FROM jobs WHERE id = ?",
            (n, number, spec.id),
        )
    tx.connection.execute("UPDATE families SET total = total + ? WHERE n = ?", (len(fresh), n))
    tx.rings.add(verbs.JOBS)
    return True


def _found(tx: Transaction, parent_id: str) -> int:
    return tx.connection.execute("INSERT INTO families (parent) VALUES (?)", (parent_id,)).lastrowid or 0


def claim(tx: Transaction, worker: str, queues: Sequence[str], limit: int, lease_ms: int) -> list[Claim]:
    """See `verbs.claim`; a part whose job has ended is never given out."""
    if not any_family(tx.connection):
        return verbs.claim(tx, worker, queues, limit, lease_ms)
    only = "TRUE"
    if withdraw(tx, PAGE):
        only = _NOT_WITHDRAWN
        tx.rings.add(verbs.JOBS)  # until all are withdrawn
    claims = verbs.claim(tx, worker, queues, limit, lease_ms, only)
    return [_with_parts(tx, claimed) if claimed.spec.merge_block else claimed for claimed in claims]


def _with_parts(tx: Transaction, claimed: Claim) -> Claim:
    row = tx.connection.execute(_OF_PARENT, (claimed.spec.id,)).fetchone()
    if row is None:
        return claimed
    kept = None if row[7] is None else msgspec.Raw(row[7])
    return replace(claimed, parts=_parts(row), ready=row[6], partial=kept)


def settle(tx: Transaction, settlements: Sequence[Settlement]) -> list[bool]:
    """See `verbs.settle`; then what it means for the jobs that these are parts of, or that have parts."""
    accepted = verbs.settle(tx, settlements)
    if any_family(tx.connection):
        settled = [one for one, taken in zip(settlements, accepted, strict=True) if taken]
        for one in settled:
            _after_step(tx, one)
        over(tx, [one.job_id for one in settled])
    return accepted


def _after_step(tx: Transaction, settled: Settlement) -> None:
    """A split or a merge step that is over, unless the job was cancelled meanwhile."""
    row = tx.connection.execute(_OF_PARENT, (settled.job_id,)).fetchone()
    if row is None or settled.verdict.state is not State.RUNNING or not _waits(tx, settled.job_id):
        return
    n = row[0]
    if settled.parts is not None:
        tx.connection.execute("UPDATE families SET known = 1 WHERE n = ?", (n,))
    if settled.upto is not None and settled.partial is not None:
        tx.connection.execute(
            "UPDATE families SET partial = ?, merged = ?, busy = 1 WHERE n = ?",
            (bytes(settled.partial), settled.upto, n),
        )
    if settled.progress is not None:
        fraction, message = settled.progress.fraction, settled.progress.message
        tx.connection.execute(
            "UPDATE jobs SET fraction = ?, message = ? WHERE id = ?", (fraction, message, settled.job_id)
        )
        told = verbs.encode({"fraction": fraction, "message": message})
        verbs.tell(tx, [(settled.job_id, EventKind.PROGRESS, told)])
    _advance(tx, settled.job_id)


def _waits(tx: Transaction, parent_id: str) -> bool:
    row = tx.connection.execute(
        "SELECT 1 FROM jobs WHERE id = ? AND state = 'running' AND token = 0", (parent_id,)
    ).fetchone()
    return row is not None


def over(tx: Transaction, job_ids: Sequence[str]) -> None:
    """Count the parts among these jobs that have ended, and withdraw the parts of those that have."""
    touched: dict[str, None] = {}
    for job_id in job_ids:
        row = tx.connection.execute(
            "SELECT jobs.state, jobs.error, parts.family, parts.number, families.parent, families.ready"
            " FROM jobs LEFT JOIN parts USING (n)"
            " LEFT JOIN families ON families.n = parts.family AND families.mode = 'merged'"
            " WHERE jobs.id = ?",
            (job_id,),
        ).fetchone()
        if row is None or not State(row[0]).final:
            continue
        state, error, n, number, parent, ready = row
        if parent is not None:
            _count(tx, n, number, state, ready)
            touched[parent] = None
            if state != State.SUCCEEDED:
                _blame(tx, parent, number, error)
        _let_go(tx, job_id, State(state))
    for parent in touched:
        _tell_progress(tx, parent)
        _advance(tx, parent)


def _count(tx: Transaction, n: int, number: int, state: str, ready: int) -> None:
    column = "done" if state == State.SUCCEEDED else "failed"
    tx.connection.execute(f"UPDATE families SET {column} = {column} + 1 WHERE n = ?", (n,))  # noqa: S608
    if number == ready:
        _stretch(tx, n, ready)


def _stretch(tx: Transaction, n: int, ready: int) -> None:
    """Find how many parts have ended from the first on without a gap."""
    rows = tx.connection.execute(
        "SELECT finished_at FROM parts JOIN jobs USING (n) WHERE family = ? AND number >= ? ORDER BY number",
        (n, ready),
    )
    for (finished_at,) in rows:
        if finished_at is None:
            break
        ready += 1
    tx.connection.execute("UPDATE families SET ready = ? WHERE n = ?", (ready, n))


def _blame(tx: Transaction, parent_id: str, number: int, error: bytes | None) -> None:
    parent = job_by_id(tx.connection, parent_id)
    if parent is None or parent.state.final or parent.spec.skip_failed_parts:
        return
    cause = msgspec.json.decode(error or b"", type=JobError)
    verbs.change(tx, parent_id, lambda job, now: family.fail_for_part(job, number, cause, now))
    _let_go(tx, parent_id, State.FAILED)


def _let_go(tx: Transaction, parent_id: str, state: State) -> None:
    """A job has ended: its parts are not needed any more, or only for somebody to look at."""
    mode = "forget" if state is State.SUCCEEDED else "stop"
    changed = tx.connection.execute(
        "UPDATE families SET mode = ?, busy = 1, partial = NULL WHERE parent = ?", (mode, parent_id)
    )
    if changed.rowcount:
        deadlines.drop(tx, parent_id)
        tx.rings.add(verbs.JOBS)


def _tell_progress(tx: Transaction, parent_id: str) -> None:
    """Not more often than once in a transaction, whatever ends in it."""
    row = tx.connection.execute(_OF_PARENT, (parent_id,)).fetchone()
    parent = job_by_id(tx.connection, parent_id)
    if parent is None or parent.state.final or not row[5]:
        return
    told = family.shown(parent, _parts(row)).progress
    data = verbs.encode(told)
    verbs.tell(tx, [(parent_id, EventKind.PROGRESS, data)])


def _advance(tx: Transaction, parent_id: str) -> None:
    """Queue the job for its next merge step if it waits and there is something to merge."""
    row = tx.connection.execute(_OF_PARENT, (parent_id,)).fetchone()
    if row is None or not _waits(tx, parent_id):
        return
    parent = job_by_id(tx.connection, parent_id)
    if parent is None or not family.due(_parts(row), row[6], parent.spec.merge_block):
        return
    verbs.change(tx, parent_id, lambda job, _: replace(job, state=State.QUEUED))
    tx.rings.add(verbs.JOBS)


def cancel(tx: Transaction, job_ids: Sequence[str], *, force: bool) -> list[Job | None]:
    """See `verbs.cancel`."""
    before = len(tx.ended)
    jobs = verbs.cancel(tx, job_ids, force=force)
    if not any_family(tx.connection):
        return jobs
    over(tx, tx.ended[before:])
    return [job and shown(tx.connection, job_by_id(tx.connection, job.id) or job) for job in jobs]


def retry(tx: Transaction, job_ids: Sequence[str]) -> list[Job | None]:
    """See `verbs.retry`: a job starts from scratch, and a part stays as it is."""
    if not any_family(tx.connection):
        return verbs.retry(tx, job_ids)
    return [_retry_one(tx, job_id) for job_id in job_ids]


def _retry_one(tx: Transaction, job_id: str) -> Job | None:
    job = job_by_id(tx.connection, job_id)
    if job is None or _is_part(tx, job_id):
        return job
    if job.state in lifecycle.RETRYABLE_STATES:
        removal.forget_parts(tx, [job_id])
    (answer,) = verbs.retry(tx, [job_id])
    return answer and shown(tx.connection, answer)


def _is_part(tx: Transaction, job_id: str) -> bool:
    row = tx.connection.execute("SELECT 1 FROM parts JOIN jobs USING (n) WHERE id = ?", (job_id,)).fetchone()
    return row is not None


def fail_overdue(tx: Transaction, limit: int) -> None:
    """Fail up to ``limit`` jobs whose time is up, and begin to withdraw their parts."""
    late = deadlines.passed(tx, limit)
    for parent_id in late:
        row = tx.connection.execute(_OF_PARENT, (parent_id,)).fetchone()
        job = job_by_id(tx.connection, parent_id)
        if row is None or job is None or job.state.final:  # an older release ended it, and left the deadline
            deadlines.drop(tx, parent_id)
            continue
        verbs.change(tx, parent_id, partial(family.fail_overdue, parts=_parts(row)))
    if late:
        over(tx, late)
        withdraw(tx, PAGE)


def trim(tx: Transaction, limit: int, keep_jobs_ms: int, keep_events_ms: int) -> int:
    """See `removal.trim`; a page of the parts that are to be withdrawn counts too."""
    gone = withdraw(tx, min(limit, family.PAGE))
    return gone + removal.trim(tx, limit - gone, keep_jobs_ms, keep_events_ms)


def withdraw(tx: Transaction, limit: int) -> int:
    """Withdraw up to ``limit`` parts that nobody needs any more; how many, 0 if there are none left."""
    gone = 0
    while gone < limit:
        row = tx.connection.execute("SELECT n, mode, merged FROM families WHERE busy LIMIT 1").fetchone()
        if row is None:
            break
        n, mode, merged = row
        page = _PAGES[mode](tx, n, merged, limit - gone)
        gone += page
        if not page:
            _finish(tx, n)
    return gone


def _finish(tx: Transaction, n: int) -> None:
    tx.connection.execute("UPDATE families SET busy = 0 WHERE n = ?", (n,))
    tx.connection.execute("DELETE FROM families WHERE n = ? AND parent IS NULL", (n,))


def _forget_page(tx: Transaction, n: int, below: int, limit: int) -> int:
    """Forget parts; one that runs is told to stop, and is then like any cancelled job."""
    rows = tx.connection.execute(
        "SELECT jobs.n, id, queue, state, line, finished_at FROM parts JOIN jobs USING (n)"
        " WHERE family = ? AND number < ? ORDER BY number LIMIT ?",
        (n, below, limit),
    ).fetchall()
    idle = [row for row in rows if row[3] != State.RUNNING]
    tx.connection.executemany("DELETE FROM jobs WHERE n = ?", [row[:1] for row in idle])
    removal.forget(tx, [row[:4] for row in idle])
    lines.refresh(tx.connection, {(row[2], row[4]) for row in idle if row[3] == State.QUEUED})
    tx.ended.extend(row[1] for row in idle if row[5] is None)
    for row in rows:
        if row[3] == State.RUNNING:
            tx.connection.execute("UPDATE jobs SET cancel = 1 WHERE n = ?", row[:1])
            tx.connection.execute("DELETE FROM parts WHERE n = ?", row[:1])
    return len(rows)


def _stop_page(tx: Transaction, n: int, below: int, limit: int) -> int:
    """Forget the parts that are merged, then cancel the others."""
    return _forget_page(tx, n, below, limit) or _cancel_page(tx, n, limit)


def _cancel_page(tx: Transaction, n: int, limit: int) -> int:
    rows = tx.connection.execute(
        "SELECT id FROM parts JOIN jobs USING (n)"
        " WHERE family = ? AND finished_at IS NULL AND NOT cancel ORDER BY number LIMIT ?",
        (n, limit),
    ).fetchall()
    verbs.cancel(tx, [job_id for (job_id,) in rows], force=True)
    return len(rows)


def results(db: sqlite3.Connection, parent_id: str, first: int, count: int) -> list[msgspec.Raw | None]:
    """See `Broker.results`."""
    rows = db.execute(
        "SELECT number, body FROM families JOIN parts ON parts.family = families.n"
        " LEFT JOIN results ON results.n = parts.n WHERE parent = ? AND number >= ? AND number < ?",
        (parent_id, first, first + min(count, family.PAGE)),
    )
    found = dict(rows.fetchall())
    return [
        None if found.get(number) is None else msgspec.Raw(found[number])
        for number in range(first, first + min(count, family.PAGE))
    ]


_ALL = 2**62
_PAGES = {
    "merged": _forget_page,
    "forget": lambda tx, n, _, limit: _forget_page(tx, n, _ALL, limit),
    "stop": _stop_page,
}

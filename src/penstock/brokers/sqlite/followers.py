"""The verbs that keep or end jobs, with what that means for jobs that wait for others (`core.after`).

Where nothing waits, a look at an empty table is all it costs.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial

from penstock.brokers.sqlite import family, submission, verbs
from penstock.brokers.sqlite.rows import job_by_id
from penstock.brokers.sqlite.writer import Transaction
from penstock.core import after
from penstock.core.job import Job, JobSpec, State
from penstock.core.lifecycle import Claim, Settlement
from penstock.ports import Admission, Receipt


def submit(tx: Transaction, specs: Sequence[JobSpec], max_depth: int) -> list[Receipt]:
    """`submission.submit`, then a look at those that the new jobs wait for."""
    return [family.told(tx, one) for one in _submit(tx, specs, max_depth)]


def _submit(tx: Transaction, specs: Sequence[JobSpec], max_depth: int) -> list[Receipt]:
    receipts = submission.submit(tx, specs, max_depth)
    if not any(one.job and one.job.spec.after for one in receipts):
        return receipts
    new = [one.job for one in receipts if one.job and one.admission is Admission.ACCEPTED]
    follow(tx, [job.id for job in new if job.spec.after and _look_ahead(tx, job)])
    return [
        submission.as_it_stands(tx, one) if one.job is not None and one.job.spec.after else one
        for one in receipts
    ]


def settle(tx: Transaction, settlements: Sequence[Settlement]) -> list[bool]:
    """`family.settle`, then what follows from the ends."""
    accepted = family.settle(tx, settlements)
    follow(tx, tx.ended)
    return accepted


def cancel(tx: Transaction, job_ids: Sequence[str], *, force: bool) -> list[Job | None]:
    """`family.cancel`, then what follows from the ends."""
    jobs = family.cancel(tx, job_ids, force=force)
    follow(tx, tx.ended)
    return jobs


def claim(tx: Transaction, worker: str, queues: Sequence[str], limit: int, lease_ms: int) -> list[Claim]:
    """`family.claim`, then what follows from the ends: parts may be withdrawn on the way."""
    claims = family.claim(tx, worker, queues, limit, lease_ms)
    if tx.ended:
        follow(tx, tx.ended)
    return claims


def reclaim(tx: Transaction, worker: str, limit: int, lease_ms: int) -> list[Claim]:
    """`verbs.reclaim`, after jobs in parts whose time is up have failed, and what follows from that."""
    family.fail_overdue(tx, limit)
    if tx.ended:
        follow(tx, tx.ended)
    return verbs.reclaim(tx, worker, limit, lease_ms)


def trim(tx: Transaction, limit: int, keep_jobs_ms: int, keep_events_ms: int) -> int:
    """`family.trim`, then what follows from the ends."""
    gone = family.trim(tx, limit, keep_jobs_ms, keep_events_ms)
    if tx.ended:
        follow(tx, tx.ended)
    return gone


def _look_ahead(tx: Transaction, job: Job) -> bool:
    """Note for whom a new job waits, release it or give it up; whether that ended it."""
    states = {ahead: None if ahead == job.id else _state(tx, ahead) for ahead in job.spec.after}
    for ahead, state in states.items():
        if after.spoils(job.spec, state):
            verbs.change(tx, job.id, partial(after.give_up, cause=ahead, state=state))
            return True
    rows = [(ahead, job.id) for ahead, state in states.items() if state is not None and not state.final]
    tx.connection.executemany("INSERT INTO waits (ahead, follower) VALUES (?, ?)", rows)
    if not rows:
        verbs.change(tx, job.id, after.release)
    return False


def follow(tx: Transaction, job_ids: Iterable[str]) -> None:
    """Release or give up those that wait for these jobs, if they have ended, and so on down the chain."""
    if tx.connection.execute("SELECT 1 FROM waits LIMIT 1").fetchone() is None:
        return
    states = {job_id: _state(tx, job_id) for job_id in job_ids}
    # What is gone is a part that was forgotten before it ended.
    ended = deque((job_id, state) for job_id, state in states.items() if state is None or state.final)
    # Those that were cancelled while they waited do not wait any more, whatever else has ended with them.
    tx.connection.executemany("DELETE FROM waits WHERE follower = ?", [(job_id,) for job_id, _ in ended])
    while ended:
        ended.extend((given_up, State.CANCELLED) for given_up in _follow_one(tx, *ended.popleft()))


def _follow_one(tx: Transaction, ahead: str, state: State | None) -> list[str]:
    """Tell those that wait for this job of its end; the ids of those that it ends."""
    execute = tx.connection.execute
    rows = execute("DELETE FROM waits WHERE ahead = ? RETURNING follower", (ahead,)).fetchall()
    given_up = []
    for (follower,) in rows:
        job = job_by_id(tx.connection, follower)
        if job is None:
            continue
        if after.spoils(job.spec, state):
            verbs.change(tx, follower, partial(after.give_up, cause=ahead, state=state))
            execute("DELETE FROM waits WHERE follower = ?", (follower,))
            given_up.append(follower)
        elif not execute("SELECT 1 FROM waits WHERE follower = ?", (follower,)).fetchone():
            verbs.change(tx, follower, after.release)
            tx.rings.add(verbs.JOBS)
    return given_up


def _state(tx: Transaction, job_id: str) -> State | None:
    row = tx.connection.execute("SELECT state FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return State(row[0]) if row and row[0] in _STATES else None


_STATES = frozenset(State)

"""The verbs that keep or end jobs, with what that means for jobs that wait for others (`core.after`).

Where nothing waits, a look at an empty table is all it costs.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import compress

from msgspec.structs import replace

from penstock.brokers.sqlite import verbs
from penstock.brokers.sqlite.rows import job_by_id
from penstock.brokers.sqlite.writer import Transaction
from penstock.core import after
from penstock.core.job import Job, JobSpec, State
from penstock.core.lifecycle import Settlement
from penstock.ports import Admission, Receipt


def submit(tx: Transaction, specs: Sequence[JobSpec]) -> list[Receipt]:
    """`verbs.submit`, then a look at those that the new jobs wait for."""
    receipts = verbs.submit(tx, specs)
    new = [one.job for one in receipts if one.job and one.admission is Admission.ACCEPTED]
    held = [job for job in new if job.spec.after]
    if not held:
        return receipts
    follow(tx, [job.id for job in held if _look_ahead(tx, job)])
    return [replace(one, job=one.job and job_by_id(tx.connection, one.job.id)) for one in receipts]


def settle(tx: Transaction, settlements: Sequence[Settlement]) -> list[bool]:
    """`verbs.settle`, then what follows from the ends."""
    accepted = verbs.settle(tx, settlements)
    follow(tx, [settled.job_id for settled in compress(settlements, accepted)])
    return accepted


def cancel(tx: Transaction, job_ids: Sequence[str]) -> list[Job | None]:
    """`verbs.cancel`, then what follows from the ends."""
    jobs = verbs.cancel(tx, job_ids)
    follow(tx, [job.id for job in jobs if job])
    return jobs


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
    ended = deque((job_id, state) for job_id, state in states.items() if state is not None and state.final)
    # Those that were cancelled while they waited do not wait any more, whatever else has ended with them.
    tx.connection.executemany("DELETE FROM waits WHERE follower = ?", [(job_id,) for job_id, _ in ended])
    while ended:
        ended.extend((given_up, State.CANCELLED) for given_up in _follow_one(tx, *ended.popleft()))


def _follow_one(tx: Transaction, ahead: str, state: State) -> list[str]:
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

"""Jobs that wait for others: when such a job may run, and when it never will.

A job with ``spec.after`` is accepted as held: scheduled, with `HELD_AT` for its due time. It is resolved,
in the step that accepts it or in the one that ends the last of those it waits for, by `release` or by
`give_up`. Brokers apply these, they decide nothing.
"""

from msgspec.structs import replace

from penstock.core.errors import FailureCode
from penstock.core.job import AfterFailure, Job, JobError, JobSpec, State

HELD_AT = 253_402_300_799_999
"""The due time of a job that waits for others, UTC milliseconds: the last one of the year 9999."""

MOST = 1_000
"""How many jobs one job may wait for."""


def held(job: Job) -> bool:
    """Whether it waits for others."""
    return job.state is State.SCHEDULED and job.due_at == HELD_AT


def due_at(job: Job) -> int:
    """When the job is due as far as its delay goes, UTC milliseconds."""
    return job.created_at + job.spec.delay_ms if job.due_at == HELD_AT else job.due_at


def spoils(spec: JobSpec, state: State | None) -> bool:
    """Whether a job can never run because one that it waits for is in this state; None: it is not known."""
    failed = state in {None, State.FAILED, State.CANCELLED}
    return failed and spec.after_failure is AfterFailure.CANCEL


def release(job: Job, now: int) -> Job:
    """All that a held job waited for has ended: only its delay, counted from its submission, is left."""
    if not held(job):
        return job
    due = max(now, due_at(job))
    return replace(job, state=State.SCHEDULED if due > now else State.QUEUED, due_at=due)


def give_up(job: Job, now: int, cause: str, state: State | None) -> Job:
    """A held job ends, because the job ``cause`` that it waits for is in a state that spoils it."""
    if not held(job):
        return job
    return replace(job, state=State.CANCELLED, finished_at=now, error=spoilt(cause, state))


def spoilt(cause: str, state: State | None) -> JobError:
    """Why a job was cancelled that waited for another one; ``lua/after.lua`` says the same."""
    became = (
        "is not known any more" if state is None else "failed" if state is State.FAILED else "was cancelled"
    )
    return JobError(FailureCode.CANCELLED, f"job {cause}, which it waits for, {became}")

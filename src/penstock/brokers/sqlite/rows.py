"""Rows of the jobs table as core's values."""

import sqlite3
from typing import Any

import msgspec

from penstock.core import past
from penstock.core.job import Job, JobError, JobProgress, JobSpec, State

JOB_COLUMNS = (
    "jobs.state, jobs.created_at, jobs.due_at, jobs.attempt, jobs.losses, jobs.crashes, jobs.handbacks,"
    " jobs.token, jobs.worker, jobs.cancel, jobs.started_at, jobs.finished_at, jobs.fraction, jobs.message,"
    " jobs.error, specs.body, jobs.waiters, jobs.cached"
)

JOB_BY_ID = (
    f"SELECT {JOB_COLUMNS}, results.body FROM jobs JOIN specs USING (n)"  # noqa: S608 - constants only
    " LEFT JOIN results ON results.n = jobs.n WHERE id = ?"
)

encode_spec = msgspec.json.Encoder().encode
_STATES = frozenset(State)
_decode_spec = msgspec.json.Decoder(JobSpec).decode
decode_attempts = msgspec.json.Decoder(tuple[past.Attempt, ...]).decode
decode_error = msgspec.json.Decoder(JobError).decode


def decode_spec(body: bytes) -> JobSpec:
    """A job's fixed part. A priority of a newer release counts as the usual one; the rank is kept apart."""
    try:
        return _decode_spec(body)
    except msgspec.ValidationError:
        told = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        told.pop("priority", None)
        return _decode_spec(msgspec.json.encode(told))


def read_job(row: tuple[Any, ...], result: bytes | None = None) -> Job | None:
    """A job from a row of `JOB_COLUMNS`; None if it is in a state that only a newer release knows."""
    if row[0] not in _STATES:
        return None
    (state, created_at, due_at, attempt, losses, crashes, handbacks, token, worker, cancel, *_) = row
    started_at, finished_at, fraction, message, error, body, waiters, cached = row[10:18]
    return Job(
        spec=decode_spec(body),
        state=State(state),
        created_at=created_at,
        due_at=due_at,
        attempt=attempt,
        losses=losses,
        crashes=crashes,
        handbacks=handbacks,
        token=token,
        worker=worker or None,
        cancel_requested=bool(cancel),
        started_at=started_at,
        finished_at=finished_at,
        progress=None if fraction is None else JobProgress(fraction, message or ""),
        error=None if error is None else decode_error(error),
        result=None if result is None else msgspec.Raw(result),
        waiters=waiters,
        cached=bool(cached),
    )


def job_by_id(db: sqlite3.Connection, job_id: str) -> Job | None:
    """The job with its result, as this connection sees it; None if there is none."""
    row = db.execute(JOB_BY_ID, (job_id,)).fetchone()
    return None if row is None else read_job(row, row[-1])

"""What history knows of one job, and the rules by which that grows: only forward, in the order of events.

A record is made from the job itself while the broker keeps it, and is then as new as can be. Of a job
that the broker has forgotten, events tell what is left to know. ``told_at`` is the time of the newest
thing that a record knows of its job; an older event changes nothing, so that reading the feed again
changes nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from penstock.core.job import FINAL_STATES, Job, Priority, State

LONGEST_BODY = 64 * 1024
"""Bytes of parameters, a result or a traceback that are kept; of a longer one only its size is."""

_RANK = {State.SCHEDULED: 0, State.QUEUED: 1, State.RUNNING: 2} | dict.fromkeys(FINAL_STATES, 3)
_BEGINNINGS = frozenset({State.SCHEDULED, State.QUEUED})


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One job in history. Times are UTC milliseconds, ``params`` and ``result`` JSON.

    ``params`` or ``result`` is None beside its size if it was too long to keep. ``task`` is empty if the
    broker had forgotten the job before anybody recorded it.
    """

    id: str
    state: State
    told_at: int
    created_at: int
    due_at: int
    task: str = ""
    version: str = ""
    queue: str = ""
    priority: Priority = Priority.MEDIUM
    client: str | None = None
    params: str | None = None
    params_bytes: int = 0
    result: str | None = None
    result_bytes: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    error_detail: str | None = None
    attempt: int = 0
    max_attempts: int = 0
    losses: int = 0
    crashes: int = 0
    cached: bool = False
    started_at: int | None = None
    finished_at: int | None = None
    initiated_by: str = ""
    worker: str | None = None
    request_id: str | None = None
    parent_id: str | None = None
    part: int | None = None


class Told(msgspec.Struct, frozen=True):
    """An event that changed a job's state: all that can be known of a job that is gone."""

    job_id: str
    at: int
    state: State
    data: Mapping[str, Any]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One submission that was taken. ``event`` is empty for the one that made the job.

    ``admission`` is accepted, cached or joined; several clients may have asked for one job.
    """

    job_id: str
    event: str = ""
    at: int
    admission: str = "accepted"
    client: str | None = None
    request_id: str | None = None


def record_of(job: Job, at: int = 0) -> Record:
    """The job as it stands; ``at`` is the time of the newest event that is known of it."""
    spec, error = job.spec, job.error
    params, params_bytes = _body(spec.params)
    result, result_bytes = (None, None) if job.result is None else _body(job.result)
    return Record(
        id=spec.id,
        state=job.state,
        told_at=max(at, job.created_at, job.started_at or 0, job.finished_at or 0),
        created_at=job.created_at,
        due_at=job.due_at,
        task=spec.task,
        version=spec.version,
        queue=spec.queue,
        priority=spec.priority,
        client=storable(spec.client),
        params=params,
        params_bytes=params_bytes,
        result=result,
        result_bytes=result_bytes,
        error_code=error.code if error else None,
        error_message=storable(error.message) if error else None,
        error_detail=storable(error.detail) if error else None,
        attempt=job.attempt,
        max_attempts=spec.limits.max_attempts,
        losses=job.losses,
        crashes=job.crashes,
        cached=bool(getattr(job, "cached", False)),
        started_at=job.started_at,
        finished_at=job.finished_at,
        initiated_by=spec.initiated_by,
        worker=job.worker,
        request_id=storable(spec.request_id),
        parent_id=spec.parent_id,
        part=spec.part,
    )


def asked_for(record: Record) -> Asked:
    """The submission that made the job."""
    return Asked(
        job_id=record.id,
        at=record.created_at,
        admission="cached" if record.cached else "accepted",
        client=record.client,
        request_id=record.request_id,
    )


def is_news(known_at: int, known: State, at: int, state: State) -> bool:
    """Whether an event tells more than what is known of its job already."""
    return at > known_at or (at == known_at and _RANK[state] > _RANK[known])


def needs_a_look(known_at: int, known: State, at: int, state: State) -> bool:
    """Whether the job has to be read again because of this event. In doubt it is.

    Clocks of two primaries differ, so that only of a job that has ended an older time means old news; and
    what begins a job anew may have the very time at which it ended.
    """
    return not known.final or at > known_at or state in _BEGINNINGS


def advance(record: Record | None, told: Iterable[Told]) -> Record | None:
    """What events tell of a job that the broker no longer has; what it knew of itself stays."""
    for each in told:
        if record is None:
            record = Record(
                id=each.job_id, state=each.state, told_at=each.at, created_at=each.at, due_at=each.at
            )
            record = _moved(record, each)
        elif is_news(record.told_at, record.state, each.at, each.state):
            record = _moved(record, each)
    return record


def _moved(record: Record, told: Told) -> Record:
    state, at, data = told.state, told.at, told.data
    error = data.get("error") or {}
    return replace(
        record,
        state=state,
        told_at=at,
        attempt=data.get("attempt", record.attempt),
        worker=data.get("worker", record.worker),
        started_at=at if state is State.RUNNING else record.started_at,
        finished_at=at if state.final else None,
        error_code=error.get("code", record.error_code),
        error_message=storable(error.get("message", record.error_message)),
    )


def storable(text: str | None) -> str | None:
    """Text as every database can keep it: no NUL, nothing but Unicode, no longer than a body may be."""
    if text is None:
        return None
    if not text.isascii() or "\0" in text:
        text = text.replace("\0", "\ufffd").encode("utf-8", "backslashreplace").decode()
    return text[:LONGEST_BODY]


def _body(raw: msgspec.Raw) -> tuple[str | None, int]:
    size = len(memoryview(raw))
    return (bytes(raw).decode() if size <= LONGEST_BODY else None), size

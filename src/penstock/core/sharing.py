"""Jobs that ask the same share an answer: who may join whom, and what a known answer looks like as a job.

Two jobs ask the same if their fingerprints are equal. Of those that may share (`JobSpec.cache_ms`), one is
in flight at a time; only the one in flight leaves its answer to others, and only if it succeeded.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from penstock.core.job import Job, JobSpec, Priority, State

DEFAULT_MS = 43_200_000
"""How long an answer is given to others if a task only says that it may be: twelve hours."""

_URGENCY = (Priority.LOW, Priority.MEDIUM, Priority.HIGH)


class CacheStats(msgspec.Struct, frozen=True, kw_only=True):
    """How much was spared by answers that were known. ``entries`` can be given now.

    Of the submissions that looked, ``hits`` found an answer, ``joined`` a job in flight, ``misses`` neither.
    ``saved_ms`` sums up over all hits how long the job that found the answer had run.
    """

    entries: int = 0
    hits: int = 0
    misses: int = 0
    joined: int = 0
    saved_ms: int = 0


def shares(spec: JobSpec) -> bool:
    """Whether its answer may be given to others. What waits for other jobs wants to run after them."""
    return spec.cache_ms > 0 and not spec.after


def looks(spec: JobSpec) -> bool:
    """Whether this submission may be answered by another job."""
    return shares(spec) and not spec.refresh


def may_join(job: Job, spec: JobSpec, now: int) -> bool:
    """Whether a submission loses nothing by waiting for this job instead of being one of its own.

    A job that is to be stopped has no answer to give, and one that was put off until later than the
    submission wants to run would hold it up; one that waits for its next attempt would have to anyway.
    """
    if job.state.final or job.cancel_requested:
        return False
    put_off = job.state is State.SCHEDULED and job.started_at is None
    return not put_off or job.due_at <= now + spec.delay_ms


def join(job: Job, spec: JobSpec) -> Job:
    """The job with one more waiter, at least as urgent as that one."""
    raised = max(job.spec.priority, spec.priority, key=_URGENCY.index)
    return replace(job, spec=replace(job.spec, priority=raised), waiters=job.waiters + 1)


def leave(job: Job) -> Job:
    """The job with one waiter less."""
    return replace(job, waiters=job.waiters - 1)


def hit(spec: JobSpec, source: Job, now: int) -> Job:
    """A job that has ended as soon as it was submitted, with the answer of another and its worker."""
    return Job(
        spec=spec,
        state=State.SUCCEEDED,
        created_at=now,
        due_at=now,
        started_at=now,
        finished_at=now,
        worker=source.worker,
        cached=True,
        result=source.result,
    )


def run_ms(source: Job) -> int:
    """How long the job's last attempt ran."""
    return max(0, (source.finished_at or 0) - (source.started_at or 0))


HIT_STORY: Mapping[str, Any] = {"cached": True}
"""What the feed tells of a hit."""


def join_story(spec: JobSpec) -> dict[str, str | None]:
    """What the feed tells of the job that this submission joined."""
    return {"client": spec.client, "request_id": spec.request_id}

"""The rules for a job that was split: when its parts are merged, what is shown of it, how a part fails it.

Brokers apply them; those on Redis have the same ones in ``lua/family.lua``, and one suite checks both.
"""

from msgspec.structs import replace

from penstock.core.errors import FailureCode
from penstock.core.job import Job, JobError, JobProgress, Parts, State
from penstock.core.units import readable_duration

MERGE_STEPS = 64
"""At most about so many merge steps are made of a job, however many parts it has."""

PAGE = 1_000
"""Parts that one call may touch, so that a job with a hundred thousand does not hold up all others."""


def step(total: int, block: int) -> int:
    """How many parts a merge step waits for: whole blocks of ``block`` parts."""
    block = max(1, block)
    blocks = -(-total // block)
    return block * max(1, -(-blocks // MERGE_STEPS))


def due(parts: Parts, ready: int, block: int) -> bool:
    """Whether the next merge step can be made: the first ``ready`` parts have ended."""
    size = step(parts.total, block)
    return parts.known and ready >= min(parts.total, (parts.merged // size + 1) * size)


def part_failure(number: int, error: JobError) -> JobError:
    """Why a job failed whose part did."""
    message = f"part {number} failed: {error.code}: {error.message}"
    return JobError(FailureCode.PART_FAILED, message, error.detail)


def fail_for_part(job: Job, number: int, error: JobError, now: int) -> Job:
    """The job whose part with this number failed for good, wherever the job itself was."""
    return replace(job, state=State.FAILED, token=0, finished_at=now, error=part_failure(number, error))


def fail_overdue(job: Job, now: int, parts: Parts) -> Job:
    """The job that has not ended within its timeout, counted from its first start, wherever it was.

    An attempt of it is bounded by the same timeout, but what it waits for is not.
    """
    done = f"{parts.done} of {parts.total}" if parts.known else str(parts.done)
    message = f"took longer than {readable_duration(job.spec.limits.timeout_ms or 0)} in all"
    error = JobError(FailureCode.TIMED_OUT, f"{message}; {done} parts were done")
    return replace(job, state=State.FAILED, token=0, finished_at=now, error=error)


def told(parts: Parts) -> JobProgress:
    """The sum of the parts as progress."""
    ended = parts.done + parts.failed
    return JobProgress(ended / max(1, parts.total), f"{ended} of {parts.total} parts")


def shown(job: Job, parts: Parts | None) -> Job:
    """The job with how far its parts have come, which is its progress while it is under way."""
    if parts is None:
        return job
    if job.state.final or not parts.known:
        return replace(job, parts=parts)
    sum_of_parts = told(parts)
    if job.progress is not None and job.progress.message:
        sum_of_parts = replace(sum_of_parts, message=job.progress.message)
    return replace(job, parts=parts, progress=sum_of_parts)

"""What a job remembers of its attempts. Brokers keep `Attempt` values, these rules say which.

An attempt that succeeded is never kept: it was the last, so the job itself tells all of it. Jobs that
succeed at once, which are nearly all, so cost nothing here.
"""

from collections.abc import Sequence

import msgspec

from penstock.core.job import Job, State

MOST_ATTEMPTS = 20
"""How many attempts are remembered, the newest of them."""

LONGEST_MESSAGE = 500
"""Characters of an attempt's message that are kept; the job's error has all of the last one."""


class Ending(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an attempt ended that did not succeed: ``failed``, ``released``, ``lost`` or ``cancelled``.

    ``worker`` and ``started_at`` (UTC milliseconds) are only said where the broker no longer knows them,
    as the attempt was taken over by another worker.
    """

    attempt: int
    outcome: str
    code: str | None = None
    message: str = ""
    worker: str | None = None
    started_at: int | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that is over. Times are UTC milliseconds; ``code`` is a failure's."""

    attempt: int
    worker: str | None
    started_at: int | None
    ended_at: int | None
    outcome: str
    code: str | None = None
    message: str = ""


def ended(ending: Ending, worker: str | None, started_at: int | None, now: int) -> Attempt:
    """The attempt as it is kept; ``worker`` and ``started_at`` are the job's own."""
    return Attempt(
        attempt=ending.attempt,
        worker=ending.worker or worker,
        started_at=started_at if ending.started_at is None else ending.started_at,
        ended_at=now,
        outcome=ending.outcome,
        code=ending.code,
        message=ending.message,
    )


def remember(kept: Sequence[Attempt], newest: Attempt) -> tuple[Attempt, ...]:
    """What is kept from now on."""
    return (*kept, newest)[-MOST_ATTEMPTS:]


def attempts_of(job: Job, kept: Sequence[Attempt]) -> list[Attempt]:
    """Every attempt that is remembered, oldest first, with the one that succeeded."""
    if job.state is not State.SUCCEEDED:
        return list(kept)
    last = Attempt(
        attempt=job.attempt,
        worker=job.worker,
        started_at=job.started_at,
        ended_at=job.finished_at,
        outcome="succeeded",
    )
    return [*kept, last][-MOST_ATTEMPTS:]

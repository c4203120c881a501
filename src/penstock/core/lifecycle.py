"""The life of a job as pure functions: how attempts end, and each step from submission to the end.

Brokers apply these steps and decide nothing; what an ended attempt means, `core.verdict` decided before.
"""

from types import MappingProxyType

import msgspec
from msgspec.structs import replace

from penstock.core import sharing
from penstock.core.after import HELD_AT
from penstock.core.errors import FailureCode
from penstock.core.job import Job, JobError, JobProgress, JobSpec, Parts, Priority, State
from penstock.core.past import Ending

AGE_STEP_MS = 60_000
"""A waiting job overtakes newer jobs one priority above it after this long, two above after twice this."""

_HEAD_START = MappingProxyType(
    {Priority.HIGH: 0, Priority.MEDIUM: AGE_STEP_MS, Priority.LOW: 2 * AGE_STEP_MS}
)


class Succeeded(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The task returned; ``result`` is its JSON."""

    result: msgspec.Raw


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The attempt ended with an error; ``permanent`` means that another attempt cannot help.

    ``crashed``: its process ended with it, by itself or because it had to be killed.
    """

    error: JobError
    permanent: bool = False
    crashed: bool = False


class Cancelled(msgspec.Struct, frozen=True, tag=True):
    """The attempt was stopped because somebody cancelled the job."""


class Released(msgspec.Struct, frozen=True, tag=True):
    """The worker gives the job back unfinished; the attempt is not charged."""


class Lost(msgspec.Struct, frozen=True, tag=True):
    """The worker's lease lapsed. Nobody knows how far it came."""

    worker: str


class HandedBack(msgspec.Struct, frozen=True, tag=True):
    """This worker does not know the task, another one may; the attempt is not charged. ``error`` says so."""

    error: JobError


class Split(msgspec.Struct, frozen=True, tag=True):
    """All ``total`` parts of the job are queued, and it waits for them; the attempt is not charged."""

    total: int


class Merged(msgspec.Struct, frozen=True, tag=True):
    """The first ``upto`` parts are in ``partial``; the job waits for more. The attempt is not charged."""

    partial: msgspec.Raw
    upto: int
    progress: JobProgress | None = None


Outcome = Succeeded | Failed | Cancelled | Released | Lost | HandedBack | Split | Merged


class Claim(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The right to run one attempt; ``token`` settles it as long as no later claim exists.

    ``lost_by`` names the vanished worker when the claim comes from reclaiming, ``begun_at`` tells when
    that one had begun (UTC milliseconds). Of a job that was split, ``parts`` tells how far it has come,
    the first ``ready`` parts have ended, and ``partial`` holds those that are merged.
    """

    spec: JobSpec
    token: int
    attempt: int
    losses: int = 0
    crashes: int = 0
    handbacks: int = 0
    lost_by: str | None = None
    begun_at: int | None = None
    parts: Parts | None = None
    partial: msgspec.Raw | None = None
    ready: int = 0


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The job's next state, ready to be stored. ``delay_ms`` counts from the broker's present."""

    state: State
    attempt: int
    losses: int
    crashes: int = 0
    handbacks: int = 0
    delay_ms: int = 0
    error: JobError | None = None


class Settlement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One finished attempt: what to store if its token still holds.

    ``if_cancelled`` replaces ``verdict`` when a cancel was requested before the settlement came.
    ``ending`` is what the job is to remember of the attempt, None if it succeeded. ``parts`` is how many
    a split has made; ``upto`` how many are in ``partial`` after a merge, with the job's new ``progress``.
    """

    job_id: str
    token: int
    verdict: Verdict
    if_cancelled: Verdict
    result: msgspec.Raw | None = None
    ending: Ending | None = None
    parts: int | None = None
    partial: msgspec.Raw | None = None
    upto: int | None = None
    progress: JobProgress | None = None


def rank(priority: Priority, ready_at: int) -> int:
    """The claim order within a queue: smaller first, ties broken by id.

    A priority is a head start in milliseconds, so order never has to be recomputed and nothing
    starves: a low job waits behind at most ``2 * AGE_STEP_MS`` of later arrivals.
    """
    return ready_at + _HEAD_START[priority]


def accept(spec: JobSpec, now: int) -> Job:
    """A job at the moment the broker takes it; one that waits for others is held, see `core.after`."""
    if spec.after:
        return Job(spec=spec, state=State.SCHEDULED, created_at=now, due_at=HELD_AT)
    state = State.SCHEDULED if spec.delay_ms > 0 else State.QUEUED
    return Job(spec=spec, state=state, created_at=now, due_at=now + spec.delay_ms)


def start(job: Job, worker: str, token: int, now: int) -> Job:
    """A claimed job: its attempt is counted and its token issued in the same step.

    A job that was split began when it was, and has come as far as its parts.
    """
    split = job.parts is not None and job.parts.known
    return replace(
        job,
        state=State.RUNNING,
        attempt=job.attempt + 1,
        token=token,
        worker=worker,
        started_at=job.started_at if split else now,
        finished_at=None,
        progress=job.progress if split else None,
        error=None,
    )


def settle(job: Job, settled: Settlement, now: int) -> Job:
    """The job after an accepted settlement. A released job keeps its place in the queue."""
    verdict = settled.if_cancelled if job.cancel_requested else settled.verdict
    due_at = now + verdict.delay_ms if verdict.state is State.SCHEDULED else job.due_at
    return replace(
        job,
        state=verdict.state,
        attempt=verdict.attempt,
        losses=verdict.losses,
        crashes=verdict.crashes,
        handbacks=verdict.handbacks,
        token=0,
        worker=None if verdict.state is State.RUNNING else job.worker,  # it waits for its parts
        due_at=due_at,
        finished_at=now if verdict.state.final else None,
        error=verdict.error,
        result=settled.result if verdict.state is State.SUCCEEDED else None,
    )


def cancel(job: Job, now: int, *, force: bool = False) -> Job:
    """A waiting job is cancelled at once, a running one is asked to stop, a final one stays.

    One that several wait for loses a waiter and goes on, unless it is to be stopped by ``force``. One that
    waits for its parts is running without a token.
    """
    if job.state.final or job.cancel_requested:
        return job
    if job.waiters > 1 and not force:
        return sharing.leave(job)
    if job.state is State.RUNNING and job.token:
        return replace(job, cancel_requested=True)
    return replace(
        job, state=State.CANCELLED, cancel_requested=True, finished_at=now, error=cancelled_error()
    )


def revive(job: Job, now: int) -> Job:
    """A failed or cancelled job gets all its attempts again; any other stays as it is."""
    if job.state not in RETRYABLE_STATES:
        return job
    return replace(
        job,
        state=State.QUEUED,
        attempt=0,
        losses=0,
        crashes=0,
        handbacks=0,
        due_at=now,
        cancel_requested=False,
        worker=None,
        started_at=None,
        finished_at=None,
        progress=None,
        error=None,
        waiters=1,
        parts=None,
    )


RETRYABLE_STATES = frozenset({State.FAILED, State.CANCELLED})


def cancelled_error() -> JobError:
    """Why a cancelled job did not succeed."""
    return JobError(FailureCode.CANCELLED, "cancelled on request")

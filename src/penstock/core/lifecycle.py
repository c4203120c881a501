"""The life of a job as pure functions. Brokers apply what is decided here, they decide nothing.

A finished attempt becomes a `Verdict` before the broker is called. The broker only checks the
token, picks the verdict for a cancelled job if a cancel was asked for meanwhile, and stores it.
"""

from functools import lru_cache
from types import MappingProxyType

import msgspec
from msgspec.structs import replace

from penstock.core import sharing
from penstock.core.after import HELD_AT
from penstock.core.errors import FailureCode
from penstock.core.job import Job, JobError, JobProgress, JobSpec, Limits, Parts, Priority, State
from penstock.core.past import LONGEST_MESSAGE, Ending

AGE_STEP_MS = 60_000
"""A waiting job overtakes newer jobs one priority above it after this long, two above after twice this."""

MAX_LOSSES = 5
"""Vanished workers a job may outlive before it is taken for the cause."""

MAX_HANDBACKS = 20
"""How often workers may hand back a job whose task they do not know; some minutes of a rolling upgrade."""

HANDBACK_MS, HANDBACK_CAP_MS = 1_000, 30_000
"""How long a job that was handed back waits for another worker at first, and at most."""

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


_ENDINGS = MappingProxyType(
    {
        Failed: "failed",
        Cancelled: "cancelled",
        Released: "released",
        Lost: "lost",
        HandedBack: "released",
    },
)

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


def backoff_ms(limits: Limits, attempt: int, draw: float) -> int:
    """Exponential back-off with full jitter: ``draw`` in [0, 1) of min(cap, base * 2**(attempt-1)).

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    ceiling = min(limits.backoff_cap_ms, limits.backoff_ms * 2 ** min(attempt - 1, 40))
    return int(draw * ceiling)


def decide(claim: Claim, outcome: Outcome, draw: float) -> Verdict:
    """What becomes of a job whose attempt ended so; ``draw`` in [0, 1) is the back-off's jitter."""
    match outcome:
        case Succeeded():
            return _success(claim.attempt, claim.losses, claim.crashes)
        case Cancelled():
            return _verdict(claim, State.CANCELLED, error=cancelled_error())
        case Released() | Split() | Merged():
            kept = _uncharged(claim, claim.losses)
            return kept if isinstance(outcome, Released) else replace(kept, state=State.RUNNING)
        case Lost():
            return _after_loss(claim, outcome)
        case HandedBack():
            return _after_handback(claim, outcome, draw)
        case Failed():
            return _after_failure(claim, outcome, draw)


def settlement(claim: Claim, outcome: Outcome, draw: float) -> Settlement:
    """The settlement of an attempt, with both endings decided: as it is, and if it was cancelled."""
    verdict = decide(claim, outcome, draw)
    if isinstance(outcome, Succeeded):
        return Settlement(
            job_id=claim.spec.id,
            token=claim.token,
            verdict=verdict,
            if_cancelled=verdict,
            result=outcome.result,
        )
    if isinstance(outcome, Split | Merged):
        return _waiting(claim, outcome, verdict, decide(claim, Cancelled(), draw))
    return Settlement(
        job_id=claim.spec.id,
        token=claim.token,
        verdict=verdict,
        if_cancelled=verdict if verdict.state.final else decide(claim, Cancelled(), draw),
        ending=_ending(claim, outcome),
    )


def _waiting(claim: Claim, outcome: Split | Merged, verdict: Verdict, if_cancelled: Verdict) -> Settlement:
    settled = Settlement(job_id=claim.spec.id, token=claim.token, verdict=verdict, if_cancelled=if_cancelled)
    if isinstance(outcome, Split):
        return replace(settled, parts=outcome.total)
    return replace(settled, partial=outcome.partial, upto=outcome.upto, progress=outcome.progress)


def _ending(claim: Claim, outcome: Failed | Cancelled | Released | Lost | HandedBack) -> Ending:
    """What is remembered of the attempt: how it ended itself, whatever became of its job."""
    code, message = None, ""
    if isinstance(outcome, Failed):
        code, message = outcome.error.code, outcome.error.message[:LONGEST_MESSAGE]
    elif isinstance(outcome, Lost):
        message = f"the worker vanished: {outcome.worker}"
    return Ending(
        attempt=claim.attempt,
        outcome=_ENDINGS[type(outcome)],
        code=code,
        message=message,
        worker=claim.lost_by,
        started_at=claim.begun_at,
    )


def accept(spec: JobSpec, now: int) -> Job:
    """A job at the moment the broker takes it; one that waits for others is held, see `core.after`."""
    if spec.after:
        return Job(spec=spec, state=State.SCHEDULED, created_at=now, due_at=HELD_AT)
    state = State.SCHEDULED if spec.delay_ms > 0 else State.QUEUED
    return Job(spec=spec, state=state, created_at=now, due_at=now + spec.delay_ms)


def start(job: Job, worker: str, token: int, now: int) -> Job:
    """A claimed job: its attempt is counted and its token issued in the same step.

    A job that was split began when it was.
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
        progress=None,
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


@lru_cache
def _success(attempt: int, losses: int, crashes: int) -> Verdict:
    """One value for all: most jobs end so, and making it would be most of the work of settling one."""
    return Verdict(state=State.SUCCEEDED, attempt=attempt, losses=losses, crashes=crashes)


def _verdict(claim: Claim, state: State, *, error: JobError | None = None, delay_ms: int = 0) -> Verdict:
    return Verdict(
        state=state,
        attempt=claim.attempt,
        losses=claim.losses,
        crashes=claim.crashes,
        error=error,
        delay_ms=delay_ms,
    )


def _uncharged(claim: Claim, losses: int) -> Verdict:
    kept = _verdict(claim, State.QUEUED)
    return replace(kept, attempt=claim.attempt - 1, losses=losses, handbacks=claim.handbacks)


def _after_loss(claim: Claim, lost: Lost) -> Verdict:
    losses = claim.losses + 1
    if losses <= MAX_LOSSES:
        return _uncharged(claim, losses)
    message = f"{losses} workers vanished while running this job, the last was {lost.worker}"
    error = JobError(FailureCode.WORKER_LOST, message)
    return replace(_verdict(claim, State.FAILED, error=error), losses=losses)


def _after_handback(claim: Claim, handed: HandedBack, draw: float) -> Verdict:
    count = claim.handbacks + 1
    over = count > MAX_HANDBACKS
    delay = min(HANDBACK_CAP_MS, HANDBACK_MS * 2 ** min(claim.handbacks, 10))
    return Verdict(
        state=State.FAILED if over else State.SCHEDULED,
        attempt=claim.attempt - 1,
        losses=claim.losses,
        crashes=claim.crashes,
        handbacks=count,
        delay_ms=0 if over else int(delay * (1 + draw) / 2),  # not all at the same worker again
        error=handed.error,
    )


def _after_failure(claim: Claim, failed: Failed, draw: float) -> Verdict:
    limits = claim.spec.limits
    claim = replace(claim, crashes=claim.crashes + failed.crashed)
    if failed.permanent or claim.attempt >= limits.max_attempts:
        return _verdict(claim, State.FAILED, error=failed.error)
    if failed.crashed and claim.crashes >= limits.max_crashes:
        return _verdict(claim, State.FAILED, error=_quarantined(failed.error, claim.crashes))
    delay = backoff_ms(limits, claim.attempt, draw)
    state = State.SCHEDULED if delay else State.QUEUED
    return _verdict(claim, state, error=failed.error, delay_ms=delay)


def _quarantined(error: JobError, crashes: int) -> JobError:
    """The last crash's error, saying why there was no further attempt."""
    times = "crash" if crashes == 1 else "crashes"
    return replace(error, message=f"{error.message}; quarantined after {crashes} {times}")

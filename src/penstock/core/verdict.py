"""What a finished attempt means for its job, as pure functions. Whoever settles an attempt decides with them.

A finished attempt becomes a `Verdict` before the broker is called. The broker only checks the
token, picks the verdict for a cancelled job if a cancel was asked for meanwhile, and stores it.
"""

from functools import lru_cache
from types import MappingProxyType

from msgspec.structs import replace

from penstock.core.errors import FailureCode
from penstock.core.job import JobError, Limits, State
from penstock.core.lifecycle import (
    Cancelled,
    Claim,
    Failed,
    HandedBack,
    Lost,
    Merged,
    Outcome,
    Released,
    Settlement,
    Split,
    Succeeded,
    Verdict,
    cancelled_error,
)
from penstock.core.past import LONGEST_MESSAGE, Ending

MAX_LOSSES = 5
"""Vanished workers a job may outlive before it is taken for the cause."""

MAX_HANDBACKS = 20
"""How often workers may hand back a job whose task they do not know; some minutes of a rolling upgrade."""

HANDBACK_MS, HANDBACK_CAP_MS = 1_000, 30_000
"""How long a job that was handed back waits for another worker at first, and at most."""

_ENDINGS = MappingProxyType(
    {
        Failed: "failed",
        Cancelled: "cancelled",
        Released: "released",
        Lost: "lost",
        HandedBack: "released",
    },
)


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

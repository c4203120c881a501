"""What became of every message: counted from the answers, the jobs and the lines; no I/O."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from penstock.core.submission import JobView


class Sent(msgspec.Struct, frozen=True):
    """One message that was sent. ``job_id`` is None unless it was accepted; status 0 is no answer."""

    text: str
    status: int
    seconds: float
    job_id: str | None


class Disturbance(msgspec.Struct, frozen=True):
    """Something that was broken, and when it was whole again (Unix seconds)."""

    what: str
    broken_at: float
    back_at: float


class Spread(msgspec.Struct, frozen=True):
    """Percentiles of a duration, milliseconds, by nearest rank."""

    p50: float
    p90: float
    p99: float
    max: float


class Recovery(msgspec.Struct, frozen=True):
    """How long after a disturbance was over a job was started again, in seconds; None: never again.

    ``interrupted_s``: until the last job that had been running when it began was started again.
    """

    what: str
    down_s: float
    first_start_s: float | None
    interrupted_s: float | None


class Ledger(msgspec.Struct, frozen=True):
    """The figures of one run.

    ``lost``: accepted, but never processed (no line, or no such job, or not ended in time).
    ``duplicated``: lines beyond the first of a message. ``re_executed``: jobs that were started more
    than once, which is allowed. ``done_unasked``: processed although the sender got no clear answer.
    ``foreign_lines``: lines of the file that are no message of this run. ``worst_recovery_s``: the
    longest of the recoveries.
    """

    attempted: int
    accepted: int
    refused: int
    succeeded: int
    failed: int
    lost: int
    duplicated: int
    re_executed: int
    done_unasked: int
    foreign_lines: int
    statuses: dict[str, int]
    shares: dict[str, int]
    recoveries: list[Recovery]
    worst_recovery_s: float | None
    answer_ms: Spread | None
    done_ms: Spread | None
    messages_per_s: float
    examples: dict[str, list[str]]


def count(
    sent: Sequence[Sent],
    jobs: Mapping[str, JobView | None],
    lines: Counter[str] | None,
    disturbances: Sequence[Disturbance],
    seconds: float,
) -> Ledger:
    """The ledger. ``jobs`` are as they ended, by id; ``lines`` by text, None where they cannot be read."""
    accepted = {each.text: jobs.get(each.job_id) for each in sent if each.job_id}
    known = {each.text for each in sent}
    lost = [text for text, job in accepted.items() if _lost(job, text, lines)]
    lines = Counter[str]() if lines is None else lines
    doubled = [text for text in known if lines[text] > 1]
    views = [job for job in accepted.values() if job is not None]
    ends = [*(each.broken_at for each in disturbances[1:]), math.inf]
    recoveries = [_recovery(each, end, views) for each, end in zip(disturbances, ends, strict=False)]
    return Ledger(
        attempted=len(sent),
        accepted=len(accepted),
        refused=len(sent) - len(accepted),
        succeeded=sum(job.state == "succeeded" for job in views),
        failed=sum(job.final and job.state != "succeeded" for job in views),
        lost=len(lost),
        duplicated=sum(lines[text] - 1 for text in doubled),
        re_executed=sum(job.attempt + job.losses > 1 for job in views),
        done_unasked=sum(lines[text] > 0 for text in known - accepted.keys()),
        foreign_lines=sum(number for text, number in lines.items() if text not in known),
        statuses=dict(sorted(Counter(str(each.status) if each.status else "none" for each in sent).items())),
        shares=dict(sorted(Counter(job.handled_by for job in views if job.handled_by).items())),
        recoveries=recoveries,
        worst_recovery_s=max(filter(None, map(_last_s, recoveries)), default=None),
        answer_ms=spread([each.seconds * 1000 for each in sent if each.status]),
        done_ms=spread(list(_lifetimes_ms(views))),
        messages_per_s=round(len(views) / seconds, 1) if seconds else 0.0,
        examples={"lost": sorted(lost)[:5], "duplicated": sorted(doubled)[:5]},
    )


def _lost(job: JobView | None, text: str, lines: Counter[str] | None) -> bool:
    if job is None or not job.final:
        return True
    return lines is not None and job.state == "succeeded" and not lines[text]


def _recovery(broken: Disturbance, end: float, jobs: Iterable[JobView]) -> Recovery:
    """From its end to that of the next one, which is when what happened no longer follows from it."""
    starts = [(_unix(job.started_at), job.losses > 0) for job in jobs if job.started_at]
    later = [(at - broken.back_at, again) for at, again in starts if broken.back_at <= at < end]
    return Recovery(
        what=broken.what,
        down_s=round(broken.back_at - broken.broken_at, 3),
        first_start_s=min((round(after, 3) for after, _ in later), default=None),
        interrupted_s=max((round(after, 3) for after, again in later if again), default=None),
    )


def _last_s(found: Recovery) -> float | None:
    return found.interrupted_s or found.first_start_s


def _lifetimes_ms(jobs: Iterable[JobView]) -> Iterable[float]:
    for job in jobs:
        if job.finished_at:
            yield (_unix(job.finished_at) - _unix(job.created_at)) * 1000


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def spread(values: list[float]) -> Spread | None:
    """The percentiles of these durations, None of none."""
    if not values:
        return None
    ordered = sorted(values)

    def at(share: float) -> float:
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 1)

    return Spread(p50=at(0.5), p90=at(0.9), p99=at(0.99), max=round(ordered[-1], 1))

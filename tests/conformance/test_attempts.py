"""A job remembers its attempts: each with its worker, its times and how it ended."""

import pytest
from kit.time import ManualClock
from kit.values import BROKEN, CRASHED, DONE, claim, claim_one, finish, run_one, spec, submit, submit_one

from penstock.core.ids import new_id
from penstock.core.job import JobError, Limits
from penstock.core.lifecycle import Cancelled, Failed, Lost, Outcome, Released
from penstock.core.past import LONGEST_MESSAGE, MOST_ATTEMPTS, Attempt
from penstock.ports import Broker

PATIENT = Limits(max_attempts=100, backoff_ms=0)


async def told(broker: Broker, job_id: str) -> list[Attempt]:
    (attempts,) = await broker.attempts([job_id])
    return attempts


@pytest.mark.parametrize(
    ("outcome", "ending"),
    [
        (BROKEN, ("failed", "TASK_ERROR", "it broke")),
        (CRASHED, ("failed", "CRASHED", "SIGSEGV")),
        (Released(), ("released", None, "")),
        (Cancelled(), ("cancelled", None, "")),
        (DONE, ("succeeded", None, "")),
    ],
)
async def test_each_ending_is_remembered(
    broker: Broker, other: Broker, clock: ManualClock, outcome: Outcome, ending: tuple[str, str, str]
) -> None:
    job = await submit_one(broker, limits=PATIENT)
    claimed = await claim_one(broker, "n/1")
    began = clock.now
    clock.advance(70)
    assert await told(other, job.id) == [], "it is not over yet"
    await broker.settle([finish(claimed, outcome)])
    (attempt,) = await told(other, job.id)
    assert (attempt.attempt, attempt.worker) == (1, "n/1")
    assert (attempt.started_at, attempt.ended_at) == (began, began + 70)
    assert (attempt.outcome, attempt.code, attempt.message) == ending


async def test_attempts_are_in_order_and_outlive_a_retry(broker: Broker) -> None:
    job = await submit_one(broker, limits=Limits(max_attempts=2, backoff_ms=0))
    for n in range(2):
        await broker.settle([finish(await claim_one(broker, f"n/{n}"), BROKEN)])
    await broker.retry([job.id])
    await broker.settle([finish(await claim_one(broker, "n/2"))])
    attempts = await told(broker, job.id)
    assert [(one.attempt, one.worker) for one in attempts] == [(1, "n/0"), (2, "n/1"), (1, "n/2")]
    assert [one.outcome for one in attempts] == ["failed", "failed", "succeeded"]


async def test_a_lost_attempt_is_told_of_the_worker_that_lost_it(broker: Broker, clock: ManualClock) -> None:
    job = await submit_one(broker)
    await claim_one(broker, "n/doomed")
    began = clock.now
    clock.advance(60_000)
    (taken,) = await broker.reclaim("r", 10)
    clock.advance(5)
    await broker.settle([finish(taken, Lost(taken.lost_by))])
    (attempt,) = await told(broker, job.id)
    assert (attempt.outcome, attempt.worker, attempt.attempt) == ("lost", "n/doomed", 1)
    assert (attempt.started_at, attempt.ended_at) == (began, clock.now)
    assert "n/doomed" in attempt.message


async def test_a_cancelled_job_remembers_how_its_attempt_ended(broker: Broker) -> None:
    job = await submit_one(broker)
    claimed = await claim_one(broker)
    await broker.cancel([job.id])
    await broker.settle([finish(claimed, BROKEN)])
    (attempt,) = await told(broker, job.id)
    assert (attempt.outcome, attempt.code) == ("failed", "TASK_ERROR")


async def test_only_the_last_attempts_are_remembered(broker: Broker, clock: ManualClock) -> None:
    job = await submit_one(broker, limits=PATIENT)
    long = Failed(JobError("TASK_ERROR", "é" * 10_000))
    for _ in range(MOST_ATTEMPTS + 5):
        clock.advance(10)
        await broker.settle([finish(await claim_one(broker), long)])
    attempts = await told(broker, job.id)
    assert [one.attempt for one in attempts] == list(range(6, MOST_ATTEMPTS + 6))
    assert {one.message for one in attempts} == {"é" * LONGEST_MESSAGE}
    assert attempts[-1].ended_at == clock.now
    await broker.settle([finish(await claim_one(broker))])
    after = await told(broker, job.id)
    assert after[:-1] == attempts[1:]
    assert after[-1].outcome == "succeeded"


async def test_a_batch_is_remembered_job_by_job(broker: Broker) -> None:
    jobs = await submit(broker, *(spec() for _ in range(40)))
    claims = await claim(broker, "n/1", limit=40)
    await broker.settle([finish(one, BROKEN if n % 2 else DONE) for n, one in enumerate(claims)])
    expected = [["failed" if n % 2 else "succeeded"] for n in range(40)]
    attempts = await broker.attempts([job.id for job in jobs])
    assert [[one.outcome for one in each] for each in attempts] == expected


async def test_a_refused_outcome_is_not_remembered(broker: Broker) -> None:
    job = await submit_one(broker, limits=PATIENT)
    claimed = await claim_one(broker)
    await broker.settle([finish(claimed, Released())])
    assert await broker.settle([finish(claimed, BROKEN)]) == [False]
    assert [one.outcome for one in await told(broker, job.id)] == ["released"]


async def test_nothing_is_told_of_unknown_jobs(broker: Broker) -> None:
    assert await broker.attempts([new_id(), "nothing"]) == [[], []]
    assert await broker.attempts([]) == []


async def test_a_success_at_once_says_nothing_of_it_to_the_broker(broker: Broker) -> None:
    job = await submit_one(broker)
    settled = finish(await claim_one(broker), DONE)
    assert settled.ending is None
    await broker.settle([settled])
    assert [one.outcome for one in await told(broker, job.id)] == ["succeeded"]


async def test_what_is_forgotten_takes_its_attempts_along(broker: Broker, clock: ManualClock) -> None:
    purged, trimmed = [await run_one(broker, Failed(BROKEN.error, permanent=True)) for _ in range(2)]
    await broker.purge([purged.id])
    clock.advance(10**9)
    await broker.trim(1_000)
    await broker.submit([purged.spec, trimmed.spec])
    assert await broker.attempts([purged.id, trimmed.id]) == [[], []]

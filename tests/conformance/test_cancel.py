"""Cancelling and retrying, from every state a job can be in."""

from collections.abc import Awaitable, Callable

import pytest
from kit.time import ManualClock
from kit.values import (
    BROKEN,
    DONE,
    claim,
    claim_one,
    feed,
    finish,
    get_one,
    ids,
    queue_stats,
    run_one,
    spec,
    submit,
    submit_one,
)
from msgspec.structs import replace

from penstock.core import lifecycle
from penstock.core.ids import new_id
from penstock.core.job import Job, Limits, State
from penstock.core.lifecycle import Failed, Lost
from penstock.ports import Broker


async def bring_to(broker: Broker, state: State) -> Job:
    """A job in this state."""
    match state:
        case State.SUCCEEDED:
            return await run_one(broker, DONE)
        case State.FAILED:
            return await run_one(broker, Failed(BROKEN.error, permanent=True))
    job = await submit_one(broker, delay_ms=60_000 if state is State.SCHEDULED else 0)
    if state is State.RUNNING:
        await claim_one(broker)
    if state is State.CANCELLED:
        await broker.cancel([job.id])
    return await get_one(broker, job.id)


RULES: dict[str, Callable[[Job, int], Job]] = {"cancel": lifecycle.cancel, "retry": lifecycle.revive}
Verb = Callable[[list[str]], Awaitable[list[Job | None]]]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("verb", RULES)
async def test_core_decides_in_every_state(
    broker: Broker,
    other: Broker,
    clock: ManualClock,
    state: State,
    verb: str,
) -> None:
    rule = RULES[verb]
    before = await bring_to(broker, state)
    clock.advance(1_000)
    head = await broker.head()
    expected = rule(before, clock.now)
    call: Verb = getattr(other, verb)
    assert await call([before.id]) == [expected]
    assert await get_one(broker, before.id) == expected
    told = [event.kind for event in await feed(broker, head)]
    assert told == ([expected.state] if expected.state is not state else [])
    again = rule(expected, clock.now)
    assert await call([before.id]) == [again]


@pytest.mark.parametrize("verb", ["cancel", "retry"])
async def test_an_unknown_job_is_answered_with_none(broker: Broker, verb: str) -> None:
    job = await bring_to(broker, State.SUCCEEDED)
    call: Verb = getattr(broker, verb)
    assert await call([new_id(), job.id, ""]) == [None, job, None]


async def test_a_cancelled_waiting_job_is_never_given_out(broker: Broker, clock: ManualClock) -> None:
    queued = await submit_one(broker)
    scheduled = await submit_one(broker, delay_ms=1_000)
    kept = await submit_one(broker)
    await broker.cancel([queued.id, scheduled.id])
    clock.advance(2_000)
    assert ids(await claim(broker)) == [kept.id]


async def test_a_job_cancelled_between_attempts_is_never_given_out(
    broker: Broker, clock: ManualClock
) -> None:
    waiting = await run_one(broker, BROKEN)
    assert waiting.state is State.SCHEDULED
    (cancelled,) = await broker.cancel([waiting.id])
    assert (cancelled.state, cancelled.error.code) == (State.CANCELLED, "CANCELLED")
    clock.advance(60_000)
    assert await claim(broker) == []


async def test_a_job_named_twice_is_cancelled_once(broker: Broker) -> None:
    job = await submit_one(broker)
    first, second = await broker.cancel([job.id, job.id])
    assert first == second
    assert queue_stats(await broker.stats()).queued == 0
    assert [event.kind for event in await feed(broker)] == ["queued", "cancelled"]


async def test_a_running_job_that_is_cancelled_keeps_its_token(broker: Broker) -> None:
    job = await submit_one(broker)
    claimed = await claim_one(broker)
    (asked,) = await broker.cancel([job.id])
    assert (asked.state, asked.cancel_requested, asked.token) == (State.RUNNING, True, claimed.token)
    assert await broker.settle([finish(claimed)]) == [True]


async def test_a_cancel_survives_the_loss_of_the_worker(broker: Broker, clock: ManualClock) -> None:
    job = await submit_one(broker)
    await claim_one(broker, "gone")
    await broker.cancel([job.id])
    clock.advance(5_001)
    (taken,) = await broker.reclaim("r", 10)
    await broker.settle([finish(taken, Lost("gone"))])
    assert (await get_one(broker, job.id)).state is State.CANCELLED


@pytest.mark.parametrize("end", [State.FAILED, State.CANCELLED])
async def test_a_retried_job_has_all_its_attempts_again(
    broker: Broker, clock: ManualClock, end: State
) -> None:
    limits = Limits(max_attempts=2, backoff_ms=0)
    job = await submit_one(broker, limits=limits)
    for attempt in (1, 2):
        claimed = await claim_one(broker)
        assert claimed.attempt == attempt
        if end is State.CANCELLED:
            await broker.cancel([job.id])
        await broker.settle([finish(claimed, BROKEN)])
        if end is State.CANCELLED:
            break
    assert (await get_one(broker, job.id)).state is end
    clock.advance(1_000)
    (revived,) = await broker.retry([job.id])
    assert (revived.state, revived.attempt, revived.losses) == (State.QUEUED, 0, 0)
    assert (revived.due_at, revived.cancel_requested, revived.error) == (clock.now, False, None)
    for attempt in (1, 2):
        claimed = await claim_one(broker)
        assert claimed.attempt == attempt
        await broker.settle([finish(claimed, BROKEN)])
    assert (await get_one(broker, job.id)).state is State.FAILED


async def test_a_retried_job_goes_behind_those_who_waited_meanwhile(
    broker: Broker, clock: ManualClock
) -> None:
    job = await bring_to(broker, State.CANCELLED)
    clock.advance(1_000)
    earlier = await submit_one(broker)
    clock.advance(1_000)
    await broker.retry([job.id])
    assert ids(await claim(broker)) == [earlier.id, job.id]


async def test_a_token_from_before_a_retry_is_refused(broker: Broker) -> None:
    job = await submit_one(broker)
    old = await claim_one(broker)
    await broker.settle([finish(old, Failed(BROKEN.error, permanent=True))])
    await broker.retry([job.id])
    assert await broker.settle([finish(old)]) == [False]
    new = await claim_one(broker)
    assert new.token > old.token
    assert await broker.settle([finish(old), finish(new)]) == [False, True]


async def test_a_retried_job_keeps_its_idempotency_key(broker: Broker) -> None:
    job = await submit_one(broker, idempotency_key="k", fingerprint="f")
    await broker.cancel([job.id])
    (revived,) = await broker.retry([job.id])
    (receipt,) = await broker.submit([spec(idempotency_key="k", fingerprint="f")])
    assert (receipt.admission, receipt.job) == ("repeated", revived)


async def test_many_jobs_are_cancelled_in_one_step(broker: Broker, clock: ManualClock) -> None:
    jobs = await submit(broker, *(spec(queue=f"q{n % 3}") for n in range(300)))
    answers = await broker.cancel(ids(jobs))
    assert answers == [
        replace(
            job, state=State.CANCELLED, cancel_requested=True, finished_at=clock.now, error=answers[0].error
        )
        for job in jobs
    ]
    assert sum(queue.queued for queue in (await broker.stats()).queues) == 0

"""Jobs that wait for others: held until those have ended, then released or given up, in the same step."""

import asyncio

import pytest
from kit.values import (
    BROKEN,
    CRASHED,
    DONE,
    claim,
    claim_one,
    feed,
    finish,
    get_one,
    queue_stats,
    spec,
    submit_one,
)
from msgspec.structs import replace

from penstock.core.after import HELD_AT
from penstock.core.job import AfterFailure, Limits, State
from penstock.core.lifecycle import Failed

FATAL = replace(BROKEN, permanent=True)
NOBODY = "00000000-0000-7000-8000-000000000000"


async def end(broker, outcome=DONE):
    """Claim the one job that can run, and end it."""
    assert await broker.settle([finish(await claim_one(broker), outcome)]) == [True]


async def states(broker, *jobs):
    return [job.state for job in await broker.get([job.id for job in jobs])]


async def test_a_follower_is_queued_in_the_step_that_ends_the_last_it_waits_for(broker, other, clock):
    first, second = await submit_one(broker), await submit_one(broker)
    follower = await submit_one(other, after=(first.id, second.id))
    assert (follower.state, follower.due_at) == (State.SCHEDULED, HELD_AT)
    claims = await claim(broker)
    assert {one.spec.id for one in claims} == {first.id, second.id}
    clock.advance(500)
    await broker.settle([finish(claims[0])])
    assert await claim(broker) == []
    await other.settle([finish(claims[1])])
    job = await get_one(broker, follower.id)
    assert (job.state, job.due_at) == (State.QUEUED, clock.now)
    assert (await claim_one(other)).spec == follower.spec


async def test_a_waiting_worker_is_woken_by_the_release(broker, other):
    """At once, in the best of five tries: brokers also look by themselves, but seldom."""
    loop, took_s = asyncio.get_running_loop(), []
    for _ in range(5):
        first = await submit_one(broker)
        follower = await submit_one(broker, after=(first.id,))
        running = await claim_one(broker)
        waiting = asyncio.create_task(other.claim("sleeper", ["default"], 1, 20))
        await asyncio.wait([waiting], timeout=0.1)
        settled_at = loop.time()
        await broker.settle([finish(running)])
        (claimed,) = await waiting
        took_s.append(loop.time() - settled_at)
        assert claimed.spec.id == follower.id
        await broker.settle([finish(claimed)])
        if took_s[-1] < 0.5:
            return
    raise AssertionError(took_s)


@pytest.mark.parametrize("failing", ["fails", "is cancelled"])
async def test_a_chain_is_given_up_down_to_its_end(broker, failing):
    first = await submit_one(broker)
    second = await submit_one(broker, after=(first.id,))
    third = await submit_one(broker, after=(second.id,))
    anyway = await submit_one(broker, after=(third.id,), after_failure=AfterFailure.RUN)
    if failing == "fails":
        await end(broker, FATAL)
    else:
        await broker.cancel([first.id])
    assert await states(broker, second, third, anyway) == [State.CANCELLED, State.CANCELLED, State.QUEUED]
    became = "failed" if failing == "fails" else "was cancelled"
    errors = [job.error for job in await broker.get([second.id, third.id])]
    assert [error.code for error in errors] == ["CANCELLED", "CANCELLED"]
    assert errors[0].message == f"job {first.id}, which it waits for, {became}"
    assert errors[1].message == f"job {second.id}, which it waits for, was cancelled"
    told = [
        event.data for event in await feed(broker) if (event.job_id, event.kind) == (second.id, "cancelled")
    ]
    assert [event["error"]["message"] for event in told] == [errors[0].message]
    figures = queue_stats(await broker.stats())
    assert (figures.scheduled, figures.queued) == (0, 1)


async def test_an_attempt_that_is_retried_is_no_end(broker):
    first = await submit_one(broker, limits=Limits(backoff_ms=0))
    follower = await submit_one(broker, after=(first.id,))
    await end(broker, CRASHED)
    assert await states(broker, first, follower) == [State.QUEUED, State.SCHEDULED]
    await end(broker)
    assert await states(broker, first, follower) == [State.SUCCEEDED, State.QUEUED]


@pytest.mark.parametrize(
    ("outcome", "policy", "state"),
    [
        (DONE, AfterFailure.CANCEL, State.QUEUED),
        (FATAL, AfterFailure.CANCEL, State.CANCELLED),
        (FATAL, AfterFailure.RUN, State.QUEUED),
        (None, AfterFailure.CANCEL, State.CANCELLED),
        (None, AfterFailure.RUN, State.QUEUED),
    ],
)
async def test_what_has_ended_before_counts_at_once(broker, outcome, policy, state):
    ahead = NOBODY
    if outcome is not None:
        ahead = (await submit_one(broker)).id
        await end(broker, outcome)
    follower = await submit_one(broker, after=(ahead,), after_failure=policy)
    assert follower.state is state
    if outcome is None and state is State.CANCELLED:
        assert follower.error.message == f"job {NOBODY}, which it waits for, is not known any more"


async def test_a_delay_still_counts_from_the_submission(broker, clock):
    first = await submit_one(broker)
    accepted_at = clock.now
    late = await submit_one(broker, after=(first.id,), delay_ms=5_000)
    clock.advance(1_000)
    await end(broker)
    job = await get_one(broker, late.id)
    assert (job.state, job.due_at) == (State.SCHEDULED, accepted_at + 5_000)
    clock.advance(4_000)
    assert (await claim_one(broker)).spec.id == late.id


async def test_a_batch_may_be_a_chain(broker):
    first = spec()
    second = spec(after=(first.id,))
    third = spec(after=(second.id, first.id))
    receipts = await broker.submit([first, second, third])
    assert [receipt.job.state for receipt in receipts] == [State.QUEUED, State.SCHEDULED, State.SCHEDULED]
    for one in (first, second, third):
        claimed = await claim_one(broker)
        assert claimed.spec.id == one.id
        await broker.settle([finish(claimed)])


async def test_a_cancelled_follower_is_not_revived_by_what_it_waited_for(broker):
    first = await submit_one(broker)
    follower, gone = [await submit_one(broker, after=(first.id,)) for _ in range(2)]
    await broker.cancel([gone.id])
    await end(broker, FATAL)
    await broker.retry([first.id])
    await end(broker)
    assert await states(broker, first, follower, gone) == [State.SUCCEEDED, State.CANCELLED, State.CANCELLED]
    assert (await get_one(broker, gone.id)).error.message == "cancelled on request"
    await broker.retry([gone.id])  # a person's decision: it waits for nobody any more
    assert (await claim_one(broker)).spec.id == gone.id


async def test_cancelled_together_each_has_its_own_reason(broker):
    first = await submit_one(broker)
    follower = await submit_one(broker, after=(first.id,))
    jobs = await broker.cancel([first.id, follower.id])
    assert [job.error.message for job in jobs] == ["cancelled on request"] * 2
    assert queue_stats(await broker.stats()).scheduled == 0


async def test_many_may_wait_for_one_and_one_for_many(broker):
    ahead = [spec() for _ in range(1_000)]
    last = spec(after=tuple(one.id for one in ahead))
    await broker.submit([*ahead, last])
    claims = await claim(broker, limit=1_000)
    await broker.settle([finish(one) for one in claims[:999]])
    assert (await get_one(broker, last.id)).state is State.SCHEDULED
    many = [spec(after=(claims[999].spec.id,)) for _ in range(5_000)]
    await broker.submit(many)
    await broker.settle([finish(claims[999], Failed(BROKEN.error, permanent=True))])
    figures = queue_stats(await broker.stats())
    assert (figures.scheduled, figures.queued) == (0, 0)
    assert (await broker.stats()).states["cancelled"] == 5_001


async def test_a_repeated_submission_changes_nothing(broker):
    first = await submit_one(broker)
    waits = spec(after=(first.id,), idempotency_key="k")
    await broker.submit([waits])
    (again,) = await broker.submit([replace(waits, id=spec().id)])
    assert (again.admission, again.job.id) == ("repeated", waits.id)
    await end(broker)
    assert (await get_one(broker, waits.id)).state is State.QUEUED


async def test_nor_does_one_in_the_same_batch(broker):
    first = await submit_one(broker)
    waits = spec(after=(first.id,), idempotency_key="k")
    receipts = await broker.submit([waits, replace(waits, id=spec().id), spec(idempotency_key="k")])
    assert [(one.admission, one.job.id) for one in receipts] == [
        ("accepted", waits.id),
        ("repeated", waits.id),
        ("repeated", waits.id),
    ]
    await end(broker)
    assert (await claim_one(broker)).spec.id == waits.id

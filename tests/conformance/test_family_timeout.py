"""A job in parts ends within its timeout, counted from its first start, wherever it then is."""

import pytest
from kit.families import end, merge, part_specs, split
from kit.time import ManualClock
from kit.values import BROKEN, claim, claim_one, finish, get_one, held, queue_stats, submit_one, worker

from penstock.core.errors import FailureCode
from penstock.core.job import Limits, State
from penstock.core.lifecycle import Split
from penstock.ports import Broker, JobQuery

LIMITS = Limits(timeout_ms=600_000, backoff_ms=60_000)


async def time_passes(broker: Broker, clock: ManualClock, ms: int, *claims) -> bool:
    """Whether the worker, which lives on with its claims, is then told that there is something to see to."""
    clock.advance(ms)
    return (await broker.renew(worker(), list(map(held, claims)))).lapsed


async def test_a_job_that_waits_for_its_parts_fails_when_its_time_is_up(broker, clock: ManualClock):
    parent = await split(broker, 3, limits=LIMITS)
    done, *running = await claim(broker)
    await end(broker, done)
    assert not await time_passes(broker, clock, LIMITS.timeout_ms - 1, *running)
    assert await broker.reclaim("w", 10) == []
    assert (await get_one(broker, parent.id)).state is State.RUNNING
    assert await time_passes(broker, clock, 1, *running)
    assert await broker.reclaim("w", 10) == []
    failed = await get_one(broker, parent.id)
    assert (failed.state, failed.error.code) == (State.FAILED, FailureCode.TIMED_OUT)
    assert failed.error.message == "took longer than 10 min in all; 1 of 3 parts were done"
    assert failed.finished_at == clock.now
    assert not (await broker.renew(worker(), list(map(held, running)))).lapsed, "it is seen to"


async def test_its_parts_are_withdrawn_at_once(broker, clock: ManualClock):
    parent = await split(broker, 800, limits=LIMITS)
    claims = await claim(broker, limit=600)
    await end(broker, *claims[:590])
    await time_passes(broker, clock, LIMITS.timeout_ms, *claims[590:])
    await broker.reclaim("w", 10)
    orders = await broker.renew(worker(), list(map(held, claims[590:])))
    assert orders.cancel == {one.token for one in claims[590:]}
    assert await claim(broker) == []
    assert queue_stats(await broker.stats()).queued == 0
    assert len(await broker.find(JobQuery(parent_id=parent.id, state=State.CANCELLED, limit=800))) == 200


@pytest.mark.parametrize("where", ["splitting", "merging", "in line", "backing off"])
async def test_wherever_it_is(broker, clock: ManualClock, where):
    if where == "splitting":
        parent = await submit_one(broker, merge_block=2, limits=LIMITS)
        step = await claim_one(broker)
        assert await broker.spread(parent.id, step.token, 0, part_specs(parent, range(2)))
        said = "0 parts were done"
    else:
        parent = await split(broker, 2, limits=LIMITS)
        await end(broker, *await claim(broker))
        said = "2 of 2 parts were done"
        step = None if where == "in line" else await claim_one(broker)
    if where == "backing off":
        await broker.settle([finish(step, BROKEN)])
    held_on = [step] if where in {"splitting", "merging"} else []
    assert await time_passes(broker, clock, LIMITS.timeout_ms, *held_on)
    assert await broker.reclaim("w", 10) == []
    failed = await get_one(broker, parent.id)
    assert (failed.state, failed.error.code, failed.token) == (State.FAILED, FailureCode.TIMED_OUT, 0)
    assert failed.error.message.endswith(said)
    if held_on:
        assert await broker.settle([finish(step)]) == [False]
        assert (await broker.renew(worker(), [held(step)])).lost == {step.token}
    assert await claim(broker) == []
    assert not [
        state for state, jobs in (await broker.stats()).states.items() if jobs and not State(state).final
    ]


async def test_the_first_start_counts_also_when_the_split_is_made_again(broker, clock: ManualClock):
    parent = await submit_one(broker, merge_block=2, limits=LIMITS)
    first = await claim_one(broker)
    assert await broker.spread(parent.id, first.token, 0, part_specs(parent, range(1)))
    await broker.settle([finish(first, BROKEN)])
    await time_passes(broker, clock, LIMITS.timeout_ms // 2)
    again = next(one for one in await claim(broker) if one.spec.part is None)
    assert await broker.spread(parent.id, again.token, 0, part_specs(parent, range(2)))
    assert await broker.settle([finish(again, Split(2))]) == [True]
    assert await time_passes(broker, clock, LIMITS.timeout_ms // 2)
    await broker.reclaim("w", 10)
    failed = await get_one(broker, parent.id)
    assert failed.error.message == "took longer than 10 min in all; 0 of 2 parts were done"


async def test_what_has_ended_in_time_stays_as_it_is(broker, clock: ManualClock):
    parent = await split(broker, 2, limits=LIMITS)
    await end(broker, *await claim(broker))
    await merge(broker, await claim_one(broker))
    assert not await time_passes(broker, clock, LIMITS.timeout_ms)
    await broker.reclaim("w", 10)
    assert (await get_one(broker, parent.id)).state is State.SUCCEEDED


async def test_a_retried_job_has_all_its_time_again(broker, clock: ManualClock):
    parent = await split(broker, 2, limits=LIMITS)
    await time_passes(broker, clock, LIMITS.timeout_ms)
    await broker.reclaim("w", 10)
    await broker.retry([parent.id])
    again = next(one for one in await claim(broker) if one.spec.id == parent.id)
    assert await broker.spread(parent.id, again.token, 0, part_specs(parent, range(2)))
    assert await broker.settle([finish(again, Split(2))]) == [True]
    assert not await time_passes(broker, clock, LIMITS.timeout_ms - 1)
    await broker.reclaim("w", 10)
    assert (await get_one(broker, parent.id)).state is State.RUNNING
    assert await time_passes(broker, clock, 1)


async def test_without_a_timeout_it_takes_as_long_as_it_takes(broker, clock: ManualClock):
    parent = await split(broker, 2)
    assert not await time_passes(broker, clock, 10**10)
    await broker.reclaim("w", 10)
    assert (await get_one(broker, parent.id)).state is State.RUNNING


async def test_those_that_wait_for_it_hear_of_it(broker, clock: ManualClock):
    parent = await split(broker, 2, limits=LIMITS)
    follower = await submit_one(broker, after=(parent.id,))
    await time_passes(broker, clock, LIMITS.timeout_ms)
    await broker.reclaim("w", 10)
    assert (await get_one(broker, follower.id)).state is State.CANCELLED

"""A job that is split: its parts are jobs of their own, and it finishes exactly once."""

import json

import msgspec
import pytest
from kit.families import end, merge, number_of, part_specs, split
from kit.time import ManualClock
from kit.values import (
    BROKEN,
    DONE,
    claim,
    claim_one,
    feed,
    finish,
    get_one,
    held,
    queue_stats,
    submit_one,
    worker,
)

from penstock.core.errors import FailureCode, PenstockError
from penstock.core.job import Job, JobProgress, Parts, State
from penstock.core.lifecycle import Lost, Merged, Released, Split, Succeeded
from penstock.ports import Broker, EventKind, JobQuery

LONG_MS = 10**9


async def withdraw(broker: Broker) -> None:
    """Let upkeep withdraw what is to be withdrawn."""
    while await broker.trim(1_000):
        pass


async def test_parts_are_merged_in_their_order_whatever_the_order_of_their_ends(broker):
    parent = await split(broker, 6)
    claims = await claim(broker)
    assert sorted(map(number_of, claims)) == [0, 1, 2, 3, 4, 5]
    by_number = {number_of(one): one for one in claims}
    for number in (5, 1, 3, 4):
        await end(broker, by_number[number])
        assert await claim(broker) == []
    await end(broker, by_number[0])
    step = await claim_one(broker)
    assert (step.spec.id, step.ready) == (parent.id, 2)
    assert step.parts == Parts(6, done=5)
    assert await merge(broker, step) == [0, 1]
    await end(broker, by_number[2])
    assert await merge(broker, await claim_one(broker)) == [0, 1, 2, 3, 4, 5]
    done = await get_one(broker, parent.id)
    assert done.state is State.SUCCEEDED
    assert json.loads(bytes(done.result)) == [0, 1, 2, 3, 4, 5]
    assert done.attempt == 1


async def test_a_job_waits_for_its_parts_without_token_and_worker(broker):
    parent = await split(broker, 3)
    waiting = await get_one(broker, parent.id)
    assert (waiting.state, waiting.token, waiting.worker, waiting.attempt) == (State.RUNNING, 0, None, 0)
    assert waiting.parts == Parts(3)
    assert [job.id for job in await broker.find(JobQuery(state=State.RUNNING))] == [parent.id]


async def test_nobody_can_settle_a_waiting_job(broker):
    parent = await submit_one(broker, merge_block=1)
    claimed = await claim_one(broker)
    await broker.spread(parent.id, claimed.token, 0, part_specs(parent, range(2)))
    await broker.settle([finish(claimed, Split(2))])
    for token in (0, claimed.token):
        forged = msgspec.structs.replace(claimed, token=token)
        assert await broker.settle([finish(forged)]) == [False]
        assert not await broker.spread(parent.id, token, 2, part_specs(parent, [2]))


async def test_progress_is_the_sum_of_the_parts(broker):
    parent = await split(broker, 4, block=4)
    start = (await feed(broker))[-1].id
    claims = await claim(broker)
    await end(broker, claims[0])
    assert (await get_one(broker, parent.id)).progress == JobProgress(0.25, "1 of 4 parts")
    told = [one for one in await feed(broker, start) if one.kind is EventKind.PROGRESS]
    assert [(one.job_id, one.data["fraction"]) for one in told] == [(parent.id, 0.25)]


async def test_what_a_merge_step_says_stays_beside_the_sum(broker):
    parent = await split(broker, 4)
    claims = sorted(await claim(broker), key=number_of)
    await end(broker, *claims[:2])
    step = await claim_one(broker)
    partial = Merged(msgspec.Raw(b"[0,1]"), 2, JobProgress(0.5, "mean 0.5"))
    await broker.settle([finish(step, partial)])
    start = (await feed(broker))[-1].id
    await end(broker, claims[2])
    assert (await get_one(broker, parent.id)).progress == JobProgress(0.75, "mean 0.5")
    told = [one.data for one in await feed(broker, start) if one.kind is EventKind.PROGRESS]
    assert told == [{"fraction": 0.75, "message": "mean 0.5"}]


async def test_a_merge_step_that_begins_wipes_out_nothing_of_what_was_said(broker):
    parent = await split(broker, 4)
    claims = sorted(await claim(broker), key=number_of)
    await end(broker, *claims[:2])
    partial = Merged(msgspec.Raw(b"[0,1]"), 2, JobProgress(0.5, "mean 0.5"))
    await broker.settle([finish(await claim_one(broker), partial)])
    await end(broker, *claims[2:])
    assert (await claim_one(broker)).spec.id == parent.id
    assert (await get_one(broker, parent.id)).progress == JobProgress(1.0, "mean 0.5")


async def test_merged_parts_are_forgotten(broker):
    parent = await split(broker, 4)
    claims = sorted(await claim(broker), key=number_of)
    await end(broker, *claims[:2])
    await merge(broker, await claim_one(broker))
    await withdraw(broker)
    assert await broker.get([one.spec.id for one in claims[:2]]) == [None, None]
    await end(broker, *claims[2:])
    assert await merge(broker, await claim_one(broker)) == [0, 1, 2, 3]
    await withdraw(broker)
    assert await broker.get([one.spec.id for one in claims]) == [None] * 4
    assert dict((await broker.stats()).states).get(State.SUCCEEDED) == 1
    assert (await get_one(broker, parent.id)).parts == Parts(4, done=4, merged=2)


async def test_parts_are_hidden_unless_asked_for(broker):
    parent = await split(broker, 3)
    assert [job.id for job in await broker.find(JobQuery())] == [parent.id]
    parts = await broker.find(JobQuery(parent_id=parent.id))
    assert [job.spec.part for job in parts] == [2, 1, 0]
    assert len(await broker.find(JobQuery(parts=True))) == 4
    assert len(await broker.find(JobQuery(parent_id=parent.id, state=State.QUEUED, limit=2))) == 2
    page = await broker.find(JobQuery(parent_id=parent.id, before=parts[0].id))
    assert [job.spec.part for job in page] == [1, 0]


async def test_a_split_that_is_begun_again_repeats_nothing(broker, clock: ManualClock):
    parent = await submit_one(broker, merge_block=1)
    first = await claim_one(broker, "dies")
    assert await broker.spread(parent.id, first.token, 0, part_specs(parent, range(3)))
    early = await claim(broker)
    await end(broker, *early)
    clock.advance(60_000)
    (lost,) = await broker.reclaim("r", 10)
    await broker.settle([finish(lost, Lost("dies"))])
    again = await claim_one(broker)
    assert again.parts == Parts(3, done=3, known=False)
    assert not await broker.spread(parent.id, first.token, 3, part_specs(parent, [3]))
    assert await broker.spread(parent.id, again.token, 0, part_specs(parent, range(2)))
    assert await broker.spread(parent.id, again.token, 2, part_specs(parent, range(2, 5)))
    await broker.settle([finish(again, Split(5))])
    later = await claim(broker)
    assert sorted(one.spec.part for one in later if one.spec.part is not None) == [3, 4]
    (step,) = [one for one in later if one.spec.part is None]
    assert step.ready == 3


async def test_a_gap_between_parts_is_refused(broker):
    parent = await submit_one(broker, merge_block=1)
    claimed = await claim_one(broker)
    with pytest.raises(PenstockError, match="part 5"):
        await broker.spread(parent.id, claimed.token, 5, part_specs(parent, [5]))


@pytest.mark.parametrize("how", ["lost", "released", "failed"])
async def test_a_merge_step_that_came_to_nothing_is_made_again(broker, clock: ManualClock, how):
    parent = await split(broker, 4)
    claims = sorted(await claim(broker), key=number_of)
    await end(broker, *claims)
    step = await claim_one(broker, "dies")
    assert step.ready == 4
    if how == "lost":
        clock.advance(60_000)
        (taken,) = await broker.reclaim("r", 10)
        assert await broker.settle([finish(step, Succeeded(msgspec.Raw(b"1")))]) == [False]
        await broker.settle([finish(taken, Lost("dies"))])
    else:
        await broker.settle([finish(step, Released() if how == "released" else BROKEN, 0.0)])
    again = await claim_one(broker)
    assert (again.ready, again.parts) == (4, step.parts)
    assert await merge(broker, again) == [0, 1, 2, 3]
    assert (await get_one(broker, parent.id)).state is State.SUCCEEDED


async def test_a_part_that_is_retried_counts_once(broker, clock: ManualClock):
    parent = await split(broker, 2, block=2)
    dying = await claim(broker, "dies")
    clock.advance(60_000)
    for taken in await broker.reclaim("r", 10):
        await broker.settle([finish(taken, Lost("dies"))])
    again = await claim(broker)
    assert await end(broker, *again) == [True, True]
    assert await end(broker, *dying) == [False, False]
    assert (await get_one(broker, parent.id)).parts == Parts(2, done=2)
    assert await merge(broker, await claim_one(broker)) == [0, 1]


async def test_a_failed_part_fails_its_job_by_name(broker):
    parent = await split(broker, 3)
    claims = sorted(await claim(broker, limit=2), key=number_of)
    running = claims[0]
    await end(broker, claims[1], outcome=BROKEN)
    failed = await get_one(broker, parent.id)
    assert (failed.state, failed.error.code) == (State.FAILED, FailureCode.PART_FAILED)
    assert failed.error.message == "part 1 failed: TASK_ERROR: it broke"
    assert failed.error.detail == BROKEN.error.detail
    assert failed.parts == Parts(3, failed=1)
    assert await claim(broker) == [], "a part whose job has ended is never started"
    await withdraw(broker)
    orders = await broker.renew(worker(), [held(running)])
    assert orders.cancel == {running.token}
    await end(broker, running)
    states = {job.spec.part: job.state for job in await broker.find(JobQuery(parent_id=parent.id))}
    assert states == {0: State.SUCCEEDED, 1: State.FAILED, 2: State.CANCELLED}
    assert [job.id for job in await broker.find(JobQuery(state=State.FAILED))] == [parent.id]
    stats = queue_stats(await broker.stats())
    assert (stats.queued, stats.running) == (0, 0)


async def test_a_failed_part_ends_a_merge_step_that_runs(broker):
    parent = await split(broker, 4)
    claims = sorted(await claim(broker), key=number_of)
    await end(broker, *claims[:2])
    step = await claim_one(broker)
    await end(broker, claims[3], outcome=BROKEN)
    assert (await get_one(broker, parent.id)).state is State.FAILED
    assert step.token in (await broker.renew(worker(), [held(step)])).lost
    assert await broker.settle([finish(step)]) == [False]
    assert (await get_one(broker, parent.id)).error.message.startswith("part 3 failed")


async def test_a_failed_part_may_be_left_out(broker):
    parent = await split(broker, 4, skip_failed_parts=True)
    claims = sorted(await claim(broker), key=number_of)
    await end(broker, claims[1], outcome=BROKEN)
    await end(broker, *[claims[n] for n in (0, 2, 3)])
    step = await claim_one(broker)
    assert step.parts == Parts(4, done=3, failed=1)
    assert await merge(broker, step) == [0, None, 2, 3]
    assert (await get_one(broker, parent.id)).parts == Parts(4, done=3, failed=1)


async def test_cancelling_a_waiting_job_ends_it_and_its_parts(broker):
    parent = await split(broker, 3)
    (running,) = await claim(broker, limit=1)
    (answer,) = await broker.cancel([parent.id])
    assert answer.state is State.CANCELLED
    assert await claim(broker) == []
    await withdraw(broker)
    assert (await broker.renew(worker(), [held(running)])).cancel == {running.token}
    await end(broker, running, outcome=Released())
    parts = await broker.find(JobQuery(parent_id=parent.id))
    assert {job.state for job in parts} == {State.CANCELLED}


async def test_a_cancelled_split_leaves_nothing_to_run(broker):
    parent = await submit_one(broker, merge_block=1)
    claimed = await claim_one(broker)
    await broker.spread(parent.id, claimed.token, 0, part_specs(parent, range(3)))
    await broker.cancel([parent.id])
    await broker.settle([finish(claimed, Split(3))])
    assert (await get_one(broker, parent.id)).state is State.CANCELLED
    assert await claim(broker) == []


async def test_an_early_result_withdraws_the_other_parts(broker):
    parent = await split(broker, 6)
    claims = sorted(await claim(broker, limit=3), key=number_of)
    await end(broker, *claims[:2])
    (step,) = await claim(broker, limit=1)
    assert step.spec.id == parent.id, "a merge step goes before what came later"
    await broker.settle([finish(step, DONE)])
    assert await claim(broker) == []
    await withdraw(broker)
    assert (await broker.renew(worker(), [held(claims[2])])).cancel == {claims[2].token}
    await end(broker, claims[2])
    assert await broker.find(JobQuery(parent_id=parent.id)) == []
    assert (await get_one(broker, parent.id)).result == DONE.result
    stats = queue_stats(await broker.stats())
    assert (stats.queued, stats.running) == (0, 0)


async def test_a_retried_job_starts_from_scratch(broker):
    parent = await split(broker, 3)
    old = sorted(await claim(broker, limit=2), key=number_of)
    await end(broker, old[1], outcome=BROKEN)
    (again,) = await broker.retry([parent.id])
    assert (again.state, again.parts) == (State.QUEUED, None)
    fresh = await claim_one(broker)
    assert fresh.parts is None
    await broker.spread(parent.id, fresh.token, 0, part_specs(parent, range(2)))
    await broker.settle([finish(fresh, Split(2))])
    await end(broker, old[0])
    assert (await get_one(broker, parent.id)).parts == Parts(2), "an old part counts for nothing"
    claims = await claim(broker)
    assert len(claims) == 2
    await end(broker, *claims)
    assert await merge(broker, await claim_one(broker)) == [0, 1]
    await withdraw(broker)
    assert (await get_one(broker, parent.id)).state is State.SUCCEEDED


async def test_a_part_is_neither_purged_nor_retried_by_itself(broker):
    parent = await split(broker, 2)
    claims = sorted(await claim(broker), key=number_of)
    await end(broker, claims[0], outcome=BROKEN)
    part = claims[0].spec.id
    assert await broker.purge([part]) == [False]
    (answer,) = await broker.retry([part])
    assert answer.state is State.FAILED
    assert (await get_one(broker, parent.id)).state is State.FAILED


@pytest.mark.parametrize("how", ["trim", "purge"])
async def test_parts_go_with_their_job(broker, clock: ManualClock, how):
    parent = await split(broker, 3)
    claims = sorted(await claim(broker), key=number_of)
    await end(broker, claims[0])
    await end(broker, *claims[1:], outcome=BROKEN)
    if how == "purge":
        assert await broker.purge([parent.id]) == [True]
    else:
        clock.advance(LONG_MS)
    await withdraw(broker)
    assert await broker.get([parent.id, *(one.spec.id for one in claims)]) == [None] * 4
    assert sum((await broker.stats()).states.values()) == 0


async def test_parts_outlive_their_retention_while_their_job_waits(broker, clock: ManualClock):
    await split(broker, 2)
    claims = sorted(await claim(broker), key=number_of)
    await end(broker, claims[0])
    clock.advance(LONG_MS)
    await withdraw(broker)
    await broker.renew(worker(), [held(claims[1])])
    await end(broker, claims[1])
    assert await merge(broker, await claim_one(broker)) == [0, 1]


async def test_parts_keep_to_the_limit_of_their_task(broker):
    """The job takes up no room while it waits for them; its merge step does, and comes first."""
    parent = await split(broker, 5, max_running=2)
    first, second = await claim(broker)
    assert await claim(broker) == []
    await end(broker, first)
    (third,) = await claim(broker)
    await end(broker, second)
    step = await claim_one(broker)
    assert step.spec.id == parent.id
    assert await claim(broker) == []
    assert await merge(broker, step) == [0, 1]
    await end(broker, third, *await claim(broker))
    await end(broker, *[one for one in await claim(broker) if one.spec.part is not None])
    assert (await get_one(broker, parent.id)).parts.done == 5


async def test_a_large_family_is_withdrawn_in_pages(broker):
    parent = await split(broker, 2_500)
    await broker.cancel([parent.id])
    other: Job = await submit_one(broker)
    found = []
    for _ in range(20):  # a call withdraws many parts, never all of a large family
        found += await claim(broker, limit=10)
        if found:
            break
    assert [one.spec.id for one in found] == [other.id]
    await withdraw(broker)
    assert queue_stats(await broker.stats()).queued == 0
    assert len(await broker.find(JobQuery(parent_id=parent.id, state=State.CANCELLED, limit=5_000))) == 2_500


async def test_a_part_of_a_run_before_counts_for_nothing(broker):
    """So many that most are still to be withdrawn when the next run begins."""
    parent = await split(broker, 1_500)
    old = sorted(await claim(broker, limit=1_500), key=number_of)
    await end(broker, old[0], outcome=BROKEN)
    await broker.retry([parent.id])
    (fresh,) = await claim(broker, limit=1)
    assert await broker.spread(parent.id, fresh.token, 0, part_specs(parent, range(2)))
    assert await broker.settle([finish(fresh, Split(2))]) == [True]
    assert await end(broker, old[-1]) == [True]
    assert (await get_one(broker, parent.id)).parts == Parts(2)

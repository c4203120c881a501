"""Releases side by side: what a newer one stored stops nobody here, and is left to it where need be."""

import pytest
from kit.backends import Backend
from kit.future import Future, future_of
from kit.time import ManualClock
from kit.values import claim, claim_one, feed, finish, get_one, ids, spec, submit, submit_one

from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import JobError, Priority, State
from penstock.core.lifecycle import Failed, HandedBack, Lost
from penstock.core.verdict import HANDBACK_CAP_MS, MAX_HANDBACKS
from penstock.ports import Broker, JobQuery

UNKNOWN = HandedBack(JobError("TASK_UNKNOWN", "there is no task 'new'; known tasks: add"))


@pytest.fixture
def future(backend: Backend, broker: Broker) -> Future:
    return future_of(backend)


async def test_fields_of_a_newer_release_are_passed_over(broker: Broker, future: Future) -> None:
    job = await submit_one(broker, task="new")
    future.more_fields(job.id)
    assert (await get_one(broker, job.id)).spec.limits.max_attempts == 2
    taken = await claim_one(broker)
    assert (taken.spec.id, taken.spec.task, taken.spec.limits.max_attempts) == (job.id, "new", 2)
    assert await broker.settle([finish(taken)]) == [True]
    assert ids(await broker.find(JobQuery())) == [job.id]


async def test_an_unknown_priority_counts_as_the_usual_one_and_keeps_its_place(
    broker: Broker, clock: ManualClock, future: Future
) -> None:
    urgent = await submit_one(broker, priority=Priority.HIGH)
    clock.advance(1)
    other = await submit_one(broker, priority=Priority.HIGH)
    future.priority(urgent.id)
    assert (await get_one(broker, urgent.id)).spec.priority is Priority.MEDIUM
    assert sorted(ids(await broker.find(JobQuery()))) == sorted([urgent.id, other.id])
    assert ids(await claim(broker)) == [urgent.id, other.id]


async def test_a_job_in_an_unknown_state_is_left_to_the_release_that_knows_it(
    broker: Broker, future: Future
) -> None:
    parked, other = await submit(broker, spec(), spec())
    future.state(parked.id)
    assert ids(await claim(broker)) == [other.id]
    assert ids(await broker.find(JobQuery())) == [other.id]
    for read in (broker.get, broker.cancel, broker.retry):
        assert [job and job.id for job in await read([parked.id, other.id])] == [None, other.id]
    stats = await broker.stats()
    assert (stats.states["queued"], stats.states["running"]) == (0, 1)
    assert sum(queue.queued + queue.running for queue in stats.queues) == 1


async def test_unknown_events_are_not_told_and_hide_no_others(broker: Broker, future: Future) -> None:
    before = await submit_one(broker)
    future.event(before.id)
    after = await submit_one(broker)
    told = await feed(broker)
    assert [event.job_id for event in told] == [before.id, after.id]
    assert [event.job_id for event in await feed(broker, told[0].id)] == [after.id]


async def test_a_store_with_a_newer_layout_is_refused(backend: Backend, future: Future) -> None:
    future.schema()
    with pytest.raises(PenstockError, match="made by a newer Penstock") as refused:
        await backend.open()
    assert refused.value.code is ErrorCode.INVALID_REQUEST


async def test_a_job_that_was_handed_back_waits_for_a_moment_uncharged(
    broker: Broker, clock: ManualClock
) -> None:
    job = await submit_one(broker, task="new")
    assert await broker.settle([finish(await claim_one(broker), UNKNOWN)]) == [True]
    waiting = await get_one(broker, job.id)
    assert (waiting.state, waiting.attempt, waiting.handbacks) == (State.SCHEDULED, 0, 1)
    assert waiting.error == UNKNOWN.error
    assert await claim(broker) == []
    clock.advance(1_000)
    again = await claim_one(broker)
    assert (again.attempt, again.losses, again.handbacks) == (1, 0, 1)
    assert await broker.settle([finish(again)]) == [True]
    assert (await get_one(broker, job.id)).state is State.SUCCEEDED


async def test_a_job_whose_task_nobody_knows_fails_in_the_end(broker: Broker, clock: ManualClock) -> None:
    job = await submit_one(broker, task="new")
    for _ in range(MAX_HANDBACKS):
        assert await broker.settle([finish(await claim_one(broker), UNKNOWN)]) == [True]
        clock.advance(HANDBACK_CAP_MS)
    assert (await get_one(broker, job.id)).state is State.SCHEDULED
    assert await broker.settle([finish(await claim_one(broker), UNKNOWN)]) == [True]
    failed = await get_one(broker, job.id)
    assert (failed.state, failed.attempt, failed.error) == (State.FAILED, 0, UNKNOWN.error)
    (revived,) = await broker.retry([job.id])
    assert (revived.state, revived.handbacks) == (State.QUEUED, 0)


async def test_hand_backs_and_lost_workers_are_counted_apart(broker: Broker, clock: ManualClock) -> None:
    job = await submit_one(broker)
    await broker.settle([finish(await claim_one(broker), UNKNOWN)])
    clock.advance(1_000)
    await claim_one(broker)
    clock.advance(5_001)
    (lost,) = await broker.reclaim("other", 10)
    assert (lost.losses, lost.handbacks) == (0, 1)
    await broker.settle([finish(lost, Lost("w"))])
    stored = await get_one(broker, job.id)
    assert (stored.losses, stored.handbacks) == (1, 1)
    taken = await claim_one(broker)
    assert (taken.losses, taken.handbacks) == (1, 1)
    await broker.settle([finish(taken, Failed(JobError("TASK_ERROR", "m")))])
    assert (await get_one(broker, job.id)).losses == 1

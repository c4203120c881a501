"""Purging forgets final jobs at once and whole, and leaves every other alone."""

import pytest
from kit.time import ManualClock
from kit.values import BROKEN, DONE, claim_one, feed, get_one, queue_stats, run_one, spec, submit, submit_one

from penstock.core.ids import new_id
from penstock.core.job import JobError, State
from penstock.core.lifecycle import Cancelled, Failed, Outcome
from penstock.ports import Admission, Broker, JobQuery

DEAD = Failed(BROKEN.error, permanent=True)


@pytest.mark.parametrize("outcome", [DONE, DEAD, Cancelled()])
async def test_a_final_job_is_gone_at_once(broker: Broker, other: Broker, outcome: Outcome) -> None:
    job = await run_one(broker, outcome)
    assert await broker.purge([job.id]) == [True]
    assert await get_one(other, job.id) is None
    assert await other.find(JobQuery()) == []
    assert await other.find(JobQuery(state=job.state)) == []
    assert sum((await other.stats()).states.values()) == 0
    assert await broker.purge([job.id]) == [False]


async def test_jobs_that_are_not_final_stay(broker: Broker) -> None:
    running = await submit_one(broker)
    await claim_one(broker)
    waiting = await submit(broker, spec(), spec(delay_ms=10**6))
    before = await broker.find(JobQuery())
    assert await broker.purge([running.id, *(job.id for job in waiting)]) == [False] * 3
    assert await broker.find(JobQuery()) == before
    stats = queue_stats(await broker.stats())
    assert (stats.running, stats.queued, stats.scheduled) == (1, 1, 1)


async def test_only_those_named_go(broker: Broker) -> None:
    jobs = [await run_one(broker, DEAD) for _ in range(4)]
    named = [jobs[1].id, new_id(), jobs[3].id, jobs[1].id, "nothing"]
    assert await broker.purge(named) == [True, False, True, False, False]
    assert [job.id for job in await broker.find(JobQuery(state=State.FAILED))] == [jobs[2].id, jobs[0].id]
    assert (await broker.stats()).states[State.FAILED] == 2
    assert await broker.purge([]) == []


async def test_its_idempotency_key_is_free_again(broker: Broker) -> None:
    job = await run_one(broker, DEAD, idempotency_key="k", client="c")
    await broker.purge([job.id])
    (receipt,) = await broker.submit([spec(idempotency_key="k", client="c")])
    assert receipt.admission is Admission.ACCEPTED


async def test_a_purge_is_no_event_and_does_not_disturb_the_trim(broker: Broker, clock: ManualClock) -> None:
    gone, kept = await run_one(broker, DEAD), await run_one(broker, DEAD)
    before = await feed(broker)
    await broker.purge([gone.id])
    assert await feed(broker) == before
    clock.advance(600_001)
    await broker.trim(1_000)
    assert await get_one(broker, kept.id) is None
    assert sum((await broker.stats()).states.values()) == 0


async def test_many_jobs_go_in_one_step(broker: Broker) -> None:
    jobs = await submit(broker, *(spec() for _ in range(5_000)))
    await broker.cancel([job.id for job in jobs])
    assert all(await broker.purge([job.id for job in jobs]))
    assert await broker.find(JobQuery()) == []


async def test_dead_jobs_are_found_by_code_and_by_the_time_they_ended(
    broker: Broker, clock: ManualClock
) -> None:
    first = await run_one(broker, DEAD)
    ended = clock.now
    clock.advance(1_000)
    second = await run_one(broker, Failed(JobError("CRASHED", "SIGSEGV"), permanent=True))
    await submit_one(broker)

    async def found(**wanted: object) -> list[str]:
        return [job.id for job in await broker.find(JobQuery(state=State.FAILED, **wanted))]

    assert await found() == [second.id, first.id]
    assert await found(code="CRASHED") == [second.id]
    assert await found(code="TIMED_OUT") == []
    assert await found(ended_after=ended) == [second.id, first.id]
    assert await found(ended_after=ended + 1) == [second.id]
    assert await found(ended_before=ended + 1_000) == [first.id]
    assert await found(ended_before=ended) == []
    assert await found(ended_after=ended, ended_before=ended + 1, code="TASK_ERROR") == [first.id]
    assert [job.id for job in await broker.find(JobQuery(ended_before=ended + 10**6))] == [
        second.id,
        first.id,
    ], "a job that has not ended has not ended before"

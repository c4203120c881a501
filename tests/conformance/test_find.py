"""Figures and lists say the same as the jobs themselves."""

import random
from collections import Counter

import pytest
from kit.time import ManualClock
from kit.values import BROKEN, claim, claim_one, finish, ids, queue_stats, run_one, spec, submit, submit_one
from kit.workload import churn
from msgspec.structs import replace

from penstock.core.job import Priority, State
from penstock.core.lifecycle import Failed
from penstock.ports import Broker, JobQuery, QueueStats

WAITING = (State.SCHEDULED, State.QUEUED, State.RUNNING)


async def test_an_empty_store_has_empty_figures(broker: Broker) -> None:
    stats = await broker.stats()
    assert sum(stats.states.values()) == 0
    assert (stats.queues, stats.workers) == ((), ())
    assert await broker.find(JobQuery()) == []


@pytest.mark.parametrize("seed", range(4))
async def test_depths_equal_a_recount(broker: Broker, other: Broker, clock: ManualClock, seed: int) -> None:
    submitted = await churn([broker, other], clock, random.Random(seed), steps=150)
    jobs = await other.get(list(submitted))
    recount = Counter((job.spec.queue, job.state) for job in jobs)
    stats = await broker.stats()
    for queue in "abc":
        depths = queue_stats(stats, queue)
        counted = [recount[queue, state] for state in WAITING]
        assert [depths.scheduled, depths.queued, depths.running] == counted
    states = Counter(job.state for job in jobs)
    assert {state: stats.states.get(state, 0) for state in State} == {state: states[state] for state in State}


@pytest.mark.parametrize("seed", range(2))
async def test_lists_equal_a_recount(broker: Broker, other: Broker, clock: ManualClock, seed: int) -> None:
    submitted = await churn([broker, other], clock, random.Random(seed), steps=150)
    jobs = [replace(job, result=None) for job in await other.get(sorted(submitted, reverse=True))]
    assert await broker.find(JobQuery(limit=10_000)) == jobs
    for state in State:
        found = await broker.find(JobQuery(state=state, limit=10_000))
        assert found == [job for job in jobs if job.state is state]
        in_a = await broker.find(JobQuery(state=state, queue="a", limit=10_000))
        assert in_a == [job for job in found if job.spec.queue == "a"]


async def test_jobs_are_listed_newest_first(broker: Broker) -> None:
    jobs = await submit(broker, *(spec(priority=priority) for priority in Priority))
    assert ids(await broker.find(JobQuery())) == ids(jobs)[::-1]


async def test_a_list_is_no_longer_than_asked_for(broker: Broker) -> None:
    jobs = await submit(broker, *(spec() for _ in range(60)))
    assert ids(await broker.find(JobQuery(limit=3))) == ids(jobs)[:-4:-1]
    assert len(await broker.find(JobQuery())) == 50


@pytest.mark.parametrize("limit", [1, 4, 10, 11])
async def test_pages_of_a_list_join_without_seams(broker: Broker, limit: int) -> None:
    wanted = await submit(broker, *(spec(task="mine") for _ in range(10)))
    await submit(broker, *(spec(task="other") for _ in range(10)))
    found: list[str] = []
    while page := await broker.find(JobQuery(task="mine", limit=limit, before=found[-1] if found else None)):
        found += ids(page)
    assert found == ids(wanted)[::-1]


async def test_filters_are_joined(broker: Broker) -> None:
    await submit(broker, spec(task="t", queue="q"), spec(task="t"), spec(queue="q"), spec())
    found = await broker.find(JobQuery(task="t", queue="q"))
    assert [(job.spec.task, job.spec.queue) for job in found] == [("t", "q")]
    assert len(await broker.find(JobQuery(task="t"))) == 2
    assert len(await broker.find(JobQuery(queue="q"))) == 2
    assert await broker.find(JobQuery(task="t", queue="q", state=State.RUNNING)) == []
    assert await broker.find(JobQuery(task="' OR 1=1 --")) == []


async def test_a_list_shows_no_results(broker: Broker) -> None:
    done = await run_one(broker)
    assert done.result is not None
    assert await broker.find(JobQuery()) == [replace(done, result=None)]


async def test_dead_letters_are_listed_with_their_reason(broker: Broker) -> None:
    dead = await run_one(broker, Failed(BROKEN.error, permanent=True))
    await run_one(broker)
    assert await broker.find(JobQuery(state=State.FAILED)) == [dead]


async def test_the_age_is_that_of_the_head_of_the_line(broker: Broker, clock: ManualClock) -> None:
    await submit_one(broker, priority=Priority.LOW)
    clock.advance(1_000)
    await submit_one(broker, priority=Priority.HIGH, queue="another")
    clock.advance(2_000)
    stats = await broker.stats()
    assert queue_stats(stats).oldest_age_ms == 3_000
    assert queue_stats(stats, "another").oldest_age_ms == 2_000
    await claim(broker)
    assert queue_stats(await broker.stats()) == QueueStats(name="default", running=1, max_depth=100_000)


async def test_a_scheduled_job_has_no_age_before_it_is_due(broker: Broker, clock: ManualClock) -> None:
    await submit_one(broker, delay_ms=5_000)
    clock.advance(4_000)
    assert queue_stats(await broker.stats()) == QueueStats(name="default", scheduled=1, max_depth=100_000)


async def test_a_paused_queue_is_shown_even_when_it_is_empty(broker: Broker) -> None:
    await broker.pause("q")
    assert (await broker.stats()).queues == (QueueStats(name="q", paused=True, max_depth=100_000),)
    await broker.resume("q")
    assert not queue_stats(await broker.stats(), "q").paused


async def test_figures_follow_each_step(broker: Broker, clock: ManualClock) -> None:
    async def depths() -> tuple[int, int, int]:
        figures = queue_stats(await broker.stats())
        return figures.scheduled, figures.queued, figures.running

    job = await submit_one(broker, delay_ms=10)
    assert await depths() == (1, 0, 0)
    clock.advance(10)
    claimed = await claim_one(broker)
    assert await depths() == (0, 0, 1)
    await broker.settle([finish(claimed, BROKEN)])
    assert await depths() == (1, 0, 0)
    await broker.cancel([job.id])
    assert await depths() == (0, 0, 0)
    await broker.retry([job.id])
    assert await depths() == (0, 1, 0)

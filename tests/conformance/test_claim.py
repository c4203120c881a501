"""Each due job is given to one worker, in the right order."""

import asyncio

import pytest
from kit.backends import Backend
from kit.process import OtherProcess
from kit.time import ManualClock
from kit.values import claim, claim_one, feed, finish, get_one, ids, spec, submit, submit_one, worker

from penstock.core.job import Priority, State
from penstock.core.lifecycle import AGE_STEP_MS, Released
from penstock.ports import Broker

HIGH, MEDIUM, LOW = Priority.HIGH, Priority.MEDIUM, Priority.LOW


async def test_high_goes_before_medium_before_low_and_the_oldest_first(broker: Broker) -> None:
    order = [LOW, MEDIUM, HIGH, LOW, MEDIUM, HIGH]
    low1, medium1, high1, low2, medium2, high2 = await submit(broker, *(spec(priority=p) for p in order))
    assert ids(await claim(broker)) == ids([high1, high2, medium1, medium2, low1, low2])


async def test_jobs_of_one_priority_go_in_the_order_they_came(broker: Broker, clock: ManualClock) -> None:
    jobs = []
    for _ in range(20):
        jobs.append(await submit_one(broker))
        clock.advance(3)
    assert ids(await claim(broker)) == ids(jobs)


@pytest.mark.parametrize(("older", "newer", "steps"), [(MEDIUM, HIGH, 1), (LOW, MEDIUM, 1), (LOW, HIGH, 2)])
async def test_a_waiting_job_overtakes_later_ones_of_a_higher_priority_exactly_when_it_aged_enough(
    broker: Broker, clock: ManualClock, older: Priority, newer: Priority, steps: int
) -> None:
    waiting = await submit_one(broker, priority=older)
    clock.advance(steps * AGE_STEP_MS - 1)
    before = await submit_one(broker, priority=newer)
    clock.advance(1)
    after = await submit_one(broker, priority=newer)
    assert ids(await claim(broker)) == ids([before, waiting, after])


async def test_a_low_job_does_not_starve_under_a_stream_of_high_ones(
    broker: Broker, clock: ManualClock
) -> None:
    low = await submit_one(broker, priority=LOW)
    waited = 0
    while True:
        await submit(broker, *(spec(priority=HIGH) for _ in range(2)))
        if ids(await claim(broker, limit=1)) == [low.id]:
            break
        clock.advance(5_000)
        waited += 5_000
        assert waited <= 2 * AGE_STEP_MS * 2, "one job is taken for two that arrive"
    assert waited >= 2 * AGE_STEP_MS


async def test_a_scheduled_job_ages_from_the_moment_it_is_due(broker: Broker, clock: ManualClock) -> None:
    scheduled = await submit_one(broker, priority=MEDIUM, delay_ms=AGE_STEP_MS)
    clock.advance(AGE_STEP_MS)
    high = await submit_one(broker, priority=HIGH)
    assert ids(await claim(broker)) == [high.id, scheduled.id]


async def test_several_queues_are_merged_by_rank(broker: Broker, clock: ManualClock) -> None:
    jobs = []
    for n in range(12):
        jobs.append(await submit_one(broker, queue="abc"[n % 3]))
        clock.advance(1)
    assert ids(await claim(broker, queues=("c", "a", "b"), limit=7)) == ids(jobs[:7])
    assert ids(await claim(broker, queues=("b", "c", "a"))) == ids(jobs[7:])


async def test_a_claim_gives_no_more_than_its_limit(broker: Broker) -> None:
    jobs = await submit(broker, *(spec() for _ in range(5)))
    assert ids(await claim(broker, limit=2)) == ids(jobs[:2])
    assert ids(await claim(broker, limit=2)) == ids(jobs[2:4])
    assert await broker.claim("w", ["default"], 0, 0) == []
    assert ids(await claim(broker, limit=2)) == ids(jobs[4:])


async def test_only_the_queues_asked_for_are_given_out(broker: Broker) -> None:
    await submit_one(broker, queue="a")
    other_job = await submit_one(broker, queue="ab")
    assert await claim(broker, queues=("b", "A", "", "a*")) == []
    assert ids(await claim(broker, queues=("ab",))) == [other_job.id]


async def test_asking_for_no_queue_gives_nothing(broker: Broker) -> None:
    await submit_one(broker)
    assert await broker.claim("w", [], 10, 0) == []


async def test_a_queue_named_twice_gives_each_job_once(broker: Broker) -> None:
    jobs = await submit(broker, *(spec() for _ in range(3)))
    assert ids(await claim(broker, queues=("default", "default"))) == ids(jobs)


async def test_a_paused_queue_gives_none_until_it_is_resumed(broker: Broker, other: Broker) -> None:
    await broker.pause("a")
    await broker.pause("a")
    held_back = await submit_one(broker, queue="a")
    free = await submit_one(broker, queue="b")
    assert ids(await claim(other, queues=("a", "b"))) == [free.id]
    assert [queue.name for queue in (await other.stats()).queues if queue.paused] == ["a"]
    await other.resume("a")
    await other.resume("a")
    assert ids(await claim(broker, queues=("a", "b"))) == [held_back.id]


async def test_a_paused_queue_lets_its_running_jobs_end(broker: Broker) -> None:
    await submit_one(broker)
    claimed = await claim_one(broker)
    await broker.pause("default")
    assert await broker.settle([finish(claimed)]) == [True]


async def test_the_attempt_is_counted_when_the_job_is_given_out(broker: Broker, clock: ManualClock) -> None:
    job = await submit_one(broker)
    clock.advance(7)
    claimed = await claim_one(broker, "w1")
    assert (claimed.spec, claimed.attempt, claimed.losses, claimed.lost_by) == (job.spec, 1, 0, None)
    running = await get_one(broker, job.id)
    assert (running.state, running.attempt, running.token) == (State.RUNNING, 1, claimed.token)
    assert (running.worker, running.started_at) == ("w1", clock.now)


async def test_tokens_are_unique_and_grow(broker: Broker, other: Broker) -> None:
    tokens = []
    for n in range(10):
        await submit(broker, spec(), spec())
        claims = await claim((broker, other)[n % 2])
        tokens += [one.token for one in claims]
        await broker.settle([finish(claims[0], Released())])
    assert len(tokens) == 29
    assert tokens == sorted(set(tokens))
    assert tokens[0] > 0


async def test_two_brokers_never_give_out_the_same_job(backend: Backend, clock: ManualClock) -> None:
    brokers = [await backend.open(clock) for _ in range(4)]
    jobs = await submit(brokers[0], *(spec() for _ in range(300)))

    async def drain(n: int) -> list[str]:
        taken: list[str] = []
        while claims := await claim(brokers[n], f"w{n}", limit=1 + n):
            taken += ids(claims)
        return taken

    taken = await asyncio.gather(*(drain(n) for n in range(4)))
    assert sorted(job_id for some in taken for job_id in some) == sorted(ids(jobs))
    assert {job.attempt for job in await brokers[0].get(ids(jobs))} == {1}


@pytest.mark.slow
async def test_two_processes_never_get_the_same_job(backend: Backend) -> None:
    async with OtherProcess(backend) as one, OtherProcess(backend) as two:
        submitted = (await one.ask("submit", count=600))["ids"]
        one.send("claim", worker="w1", limit=2)
        two.send("claim", worker="w2", limit=2)
        first, second = await one.read(), await two.read()
    assert sorted(first + second) == sorted(submitted)


async def test_a_claim_promotes_due_jobs_with_an_event(broker: Broker, clock: ManualClock) -> None:
    job = await submit_one(broker, delay_ms=10)
    clock.advance(10)
    await claim_one(broker)
    assert [event.kind for event in await feed(broker)] == ["scheduled", "queued", "running"]
    assert (await get_one(broker, job.id)).due_at == clock.now


async def test_many_jobs_due_at_once_are_all_given_out(broker: Broker, clock: ManualClock) -> None:
    jobs = await submit(broker, *(spec(delay_ms=10) for _ in range(2_500)))
    clock.advance(10)
    taken: list[str] = []
    while claims := await claim(broker, limit=1_000):
        taken += ids(claims)
    assert sorted(taken) == sorted(ids(jobs))


async def test_a_claim_extends_the_lease_of_its_worker(broker: Broker, clock: ManualClock) -> None:
    await submit(broker, spec(), spec())
    await broker.renew(worker("w"), [])
    clock.advance(4_000)
    await claim(broker, "w", limit=1)
    clock.advance(4_000)
    assert await broker.reclaim("r", 10) == []

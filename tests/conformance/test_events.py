"""The feed: ordered, complete, and resumable from any id."""

import asyncio
import itertools
import random
import re
from collections import defaultdict

import pytest
from kit.backends import Backend
from kit.process import OtherProcess
from kit.time import ManualClock, deadline
from kit.values import BROKEN, DONE, claim, claim_one, feed, finish, run_one, spec, submit, submit_one
from kit.workload import churn

from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import TRANSITIONS, State
from penstock.core.lifecycle import Failed, Released
from penstock.ports import Broker, Event


async def test_the_life_of_a_job_is_told_in_order(broker: Broker, clock: ManualClock) -> None:
    job = await submit_one(broker, delay_ms=10)
    clock.advance(10)
    await broker.settle([finish(await claim_one(broker), BROKEN, 0.5)])
    clock.advance(1_000)
    await broker.settle([finish(await claim_one(broker), Released())])
    await broker.settle([finish(await claim_one(broker), DONE)])
    events = await feed(broker)
    assert [event.kind for event in events] == [
        *("scheduled", "queued", "running"),
        *("scheduled", "queued", "running"),
        *("queued", "running", "succeeded"),
    ]
    assert {event.job_id for event in events} == {job.id}
    attempts = [event.data.get("attempt") for event in events if event.kind == "queued"]
    assert attempts == [0, 1, 1], "and none is in the first event of a job that is queued at once"
    assert events[0].at == job.created_at
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert events[-1].at == clock.now


async def test_an_event_says_what_happened(broker: Broker) -> None:
    await run_one(broker, Failed(BROKEN.error, permanent=True))
    queued, running, failed = await feed(broker)
    assert queued.data == {}
    assert running.data == {"attempt": 1, "worker": "w"}
    error = {"code": "TASK_ERROR", "message": "it broke", "detail": "Traceback: here"}
    assert failed.data == {"attempt": 1, "error": error}


async def test_a_batch_is_told_in_its_order(broker: Broker) -> None:
    jobs = await submit(broker, *(spec() for _ in range(50)))
    assert [event.job_id for event in await feed(broker)] == [job.id for job in jobs]


async def test_every_change_of_state_is_told_exactly_once(
    broker: Broker, other: Broker, clock: ManualClock
) -> None:
    jobs = await churn([broker, other], clock, random.Random(7), steps=400)
    told: dict[str, list[State]] = defaultdict(list)
    for event in await feed(broker):
        told[event.job_id].append(State(event.kind))
    assert told.keys() == jobs.keys()
    for job in await broker.get(list(jobs)):
        steps = told[job.id]
        assert steps[0] in {State.SCHEDULED, State.QUEUED}
        assert all(after in TRANSITIONS[before] for before, after in itertools.pairwise(steps))
        assert steps[-1] is job.state
        assert steps.count(State.RUNNING) == jobs[job.id]


async def test_resuming_after_any_event_loses_and_doubles_nothing(
    broker: Broker, other: Broker, clock: ManualClock
) -> None:
    await churn([broker, other], clock, random.Random(11), steps=60)
    events = await feed(broker)
    for n, event in enumerate(events):
        assert await feed(other, event.id) == events[n + 1 :]


@pytest.mark.parametrize("limit", [1, 2, 7, 1_000])
async def test_pages_join_without_seams(broker: Broker, limit: int) -> None:
    await submit(broker, *(spec() for _ in range(15)))
    first = await broker.events("", 0, limit)
    assert len(first) == min(limit, 15)
    assert await feed(broker, limit=limit) == await feed(broker)


async def test_the_feed_starts_at_the_oldest_event(broker: Broker, other: Broker) -> None:
    assert await broker.events("", 0) == []
    job = await submit_one(other)
    assert [event.job_id for event in await broker.events("", 0)] == [job.id]


async def test_after_the_head_comes_only_what_happens_from_now_on(broker: Broker, other: Broker) -> None:
    start = await broker.head()
    first = await submit_one(broker)
    head = await other.head()
    assert await other.events(head, 0) == []
    second = await submit_one(broker)
    assert [event.job_id for event in await other.events(head, 0)] == [second.id]
    assert [event.job_id for event in await other.events(start, 0)] == [first.id, second.id]
    assert (await feed(broker))[-1].id == await broker.head()


async def test_whoever_follows_many_writers_sees_all_they_did(backend: Backend, clock: ManualClock) -> None:
    brokers = [await backend.open(clock) for _ in range(4)]
    batches = [[spec() for _ in range(1 + n % 3)] for n in range(200)]
    total = sum(len(batch) for batch in batches)

    async def follow(broker: Broker) -> list[Event]:
        seen: list[Event] = []
        while len(seen) < total:
            seen += await broker.events(seen[-1].id if seen else "", 5, limit=17)
        return seen

    async with deadline(), asyncio.TaskGroup() as group:
        followers = [group.create_task(follow(brokers[n])) for n in range(2)]
        for n, batch in enumerate(batches):
            group.create_task(brokers[n % 4].submit(batch))
    one, two = (follower.result() for follower in followers)
    assert one == two == await feed(brokers[3])
    assert len({event.id for event in one}) == total
    assert {event.job_id for event in one} == {job.id for batch in batches for job in batch}


@pytest.mark.slow
async def test_whoever_follows_other_processes_sees_all_they_did(backend: Backend) -> None:
    broker = await backend.open()
    seen: list[Event] = []
    async with OtherProcess(backend) as one, OtherProcess(backend) as two, deadline():
        for _ in range(20):
            one.send("submit", count=5)
            two.send("submit", count=5)
        while len(seen) < 200:
            seen += await broker.events(seen[-1].id if seen else "", 5)
        answers = [await process.read() for _ in range(20) for process in (one, two)]
    told = [event.job_id for event in seen]
    assert sorted(told) == sorted(job_id for answer in answers for job_id in answer["ids"])


ARABIC_ONE = "\u0661"


@pytest.mark.parametrize(
    "bad", ["x", "-", "-1", "+", "$", "*", "1 OR 1=1", " 1", "1\n", ARABIC_ONE, "9" * 40, "1.5", "0x1"]
)
async def test_an_id_that_is_none_is_refused(broker: Broker, bad: str) -> None:
    await submit_one(broker)
    with pytest.raises(PenstockError) as refused:
        await broker.events(bad, 0)
    assert refused.value.code is ErrorCode.INVALID_REQUEST


async def test_an_id_from_another_life_of_the_store_is_refused(broker: Broker) -> None:
    """Whoever resumed there would hear nothing for long, and never learn why."""
    await submit_one(broker)
    future = re.sub(r"[0-9]+$", lambda digits: str(int(digits[0]) + 1_000), await broker.head())
    with pytest.raises(PenstockError) as refused:
        await broker.events(future, 5)
    assert refused.value.code is ErrorCode.INVALID_REQUEST


async def test_a_change_that_was_refused_is_not_told(broker: Broker) -> None:
    done = await run_one(broker, idempotency_key="k", fingerprint="f")
    head = await broker.head()
    await broker.submit([spec(idempotency_key="k", fingerprint="f")])
    await broker.cancel([done.id])
    await broker.retry([done.id])
    await claim(broker)
    await broker.pause("default")
    assert await feed(broker, head) == []

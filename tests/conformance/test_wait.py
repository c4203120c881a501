"""Whoever waits is woken by what happened, not by looking again and again."""

import asyncio
import resource
import statistics
import time
from collections.abc import Awaitable, Callable

import pytest
from kit.backends import Backend
from kit.process import OtherProcess
from kit.time import deadline
from kit.values import BROKEN, claim_one, feed, finish, ids, spec, submit, submit_one

from penstock.core.job import JobSpec, Limits
from penstock.core.lifecycle import Claim, Released
from penstock.ports import Broker, Event
from support.wait import least

PROMPT_S = 0.25
"""Half of the wake-ups must come sooner; looking again every second would take half a second."""

WAIT_S = 30.0


async def claim_within(broker: Broker, worker: str = "w") -> list[Claim]:
    """Wait for claims; a broker may return early with nothing."""
    async with deadline():
        while True:
            if claims := await broker.claim(worker, ["default"], 10, WAIT_S):
                return claims


async def events_within(broker: Broker, after: str) -> list[Event]:
    async with deadline():
        while True:
            if events := await broker.events(after, WAIT_S):
                return events


async def fall_asleep(waiting: asyncio.Future[object], within_s: float = 0.05) -> None:
    """Let it get as far as it can by itself. Were this too short, a test would see less, not fail."""
    await asyncio.wait([waiting], timeout=within_s)
    assert not waiting.done()


async def median_delay(
    wait: Callable[[], Awaitable[object]], happen: Callable[[], Awaitable[float]], rounds: int = 5
) -> float:
    """Seconds from the moment that ``happen`` returns until ``wait`` ends, the median of some rounds."""
    delays = []
    for round_ in range(rounds):
        waiting = asyncio.ensure_future(wait())
        await fall_asleep(waiting, 0.05 + 0.07 * round_)  # another phase each time
        happened_at = await happen()
        await waiting
        delays.append(time.monotonic() - happened_at)
    return statistics.median(delays)


@pytest.mark.slow
async def test_a_waiting_claim_wakes_when_another_process_submits(backend: Backend) -> None:
    broker = await backend.open()
    async with OtherProcess(backend) as other:

        async def happen() -> float:
            return (await other.ask("submit"))["at"]

        delay = await least(lambda: median_delay(lambda: claim_within(broker), happen), PROMPT_S)
        assert delay < PROMPT_S


@pytest.mark.slow
async def test_waiting_events_wake_when_another_process_changes_something(backend: Backend) -> None:
    broker = await backend.open()
    async with OtherProcess(backend) as other:
        seen = ""

        async def wait() -> None:
            nonlocal seen
            seen = (await events_within(broker, seen))[-1].id

        async def happen() -> float:
            return (await other.ask("submit"))["at"]

        assert await least(lambda: median_delay(wait, happen), PROMPT_S) < PROMPT_S


@pytest.mark.slow
async def test_a_waiting_claim_wakes_when_a_scheduled_job_is_due(backend: Backend) -> None:
    broker, other = await backend.open(), await backend.open()

    async def delay() -> float:
        job = await submit_one(other, delay_ms=300)
        (claimed,) = await claim_within(broker)
        assert claimed.spec.id == job.id
        late = time.time() - job.due_at / 1000
        assert late >= 0
        return late

    async def median() -> float:
        return statistics.median([await delay() for _ in range(5)])

    assert await least(median, PROMPT_S) < PROMPT_S


@pytest.mark.slow
async def test_a_waiting_claim_wakes_when_a_sooner_job_is_scheduled(backend: Backend) -> None:
    broker, other = await backend.open(), await backend.open()
    await submit_one(other, delay_ms=3_600_000)
    waiting = asyncio.ensure_future(claim_within(broker))
    await fall_asleep(waiting)
    job = await submit_one(other, delay_ms=200)
    assert ids(await waiting) == [job.id]


async def test_a_waiting_claim_hears_of_a_scheduled_job_though_another_queue_has_a_sooner_one(
    backend: Backend,
) -> None:
    broker, other = await backend.open(), await backend.open()
    waiting = asyncio.ensure_future(claim_within(broker))
    await fall_asleep(waiting)
    await submit_one(other, queue="elsewhere", delay_ms=100)
    job = await submit_one(other, delay_ms=200)
    await asyncio.wait([waiting], timeout=10)  # which is less than it takes to look by itself
    assert waiting.done()
    assert ids(await waiting) == [job.id]


async def test_a_waiting_claim_wakes_when_a_job_is_given_back(backend: Backend) -> None:
    broker, other = await backend.open(), await backend.open()
    await submit_one(other)
    claimed = await claim_one(other, "first")
    waiting = asyncio.ensure_future(claim_within(broker))
    await fall_asleep(waiting)
    await other.settle([finish(claimed, Released())])
    assert ids(await waiting) == [claimed.spec.id]


async def test_a_waiting_claim_wakes_when_a_failed_attempt_is_due_again(backend: Backend) -> None:
    broker, other = await backend.open(), await backend.open()
    await submit_one(other, limits=Limits(backoff_ms=100))
    claimed = await claim_one(other, "first")
    waiting = asyncio.ensure_future(claim_within(broker))
    await fall_asleep(waiting)
    await other.settle([finish(claimed, BROKEN, 0.9)])
    assert ids(await waiting) == [claimed.spec.id]


async def test_a_waiting_claim_wakes_when_a_job_is_retried(backend: Backend) -> None:
    broker, other = await backend.open(), await backend.open()
    job = await submit_one(other)
    await other.cancel([job.id])
    waiting = asyncio.ensure_future(claim_within(broker))
    await fall_asleep(waiting)
    await other.retry([job.id])
    assert ids(await waiting) == [job.id]


async def test_a_waiting_claim_wakes_when_its_queue_is_resumed(backend: Backend) -> None:
    broker, other = await backend.open(), await backend.open()
    await other.pause("default")
    job = await submit_one(other)
    waiting = asyncio.ensure_future(claim_within(broker))
    await fall_asleep(waiting)
    await other.resume("default")
    assert ids(await waiting) == [job.id]


async def test_many_waiters_share_what_comes(backend: Backend) -> None:
    brokers = [await backend.open() for _ in range(4)]
    jobs: list[JobSpec] = [spec() for _ in range(40)]
    taken: list[str] = []

    async def work(n: int) -> None:
        while len(taken) < len(jobs):
            taken.extend(ids(await brokers[n % 4].claim(f"w{n}", ["default"], 1, 0.2)))

    async with deadline(), asyncio.TaskGroup() as group:
        for n in range(8):
            group.create_task(work(n))
        for job in jobs:
            await submit(brokers[0], job)
    assert sorted(taken) == sorted(job.id for job in jobs)


async def test_a_claim_returns_empty_after_its_wait(backend: Backend) -> None:
    broker = await backend.open()
    await submit_one(broker, queue="another")
    async with deadline():
        assert await broker.claim("w", ["default"], 10, 0.2) == []


async def test_events_return_empty_after_their_wait(backend: Backend) -> None:
    broker = await backend.open()
    await submit_one(broker)
    async with deadline():
        assert await broker.events(await broker.head(), 0.2) == []


async def test_a_cancelled_wait_takes_no_job(backend: Backend) -> None:
    broker = await backend.open()
    waiting = asyncio.ensure_future(broker.claim("w", ["default"], 10, WAIT_S))
    await fall_asleep(waiting)
    waiting.cancel()
    assert (await asyncio.gather(waiting, return_exceptions=True))[0].__class__ is asyncio.CancelledError
    job = await submit_one(broker)
    assert ids(await claim_within(broker)) == [job.id]
    assert [event.kind for event in await feed(broker)] == ["queued", "running"]


@pytest.mark.slow
async def test_waiting_is_sleeping(backend: Backend) -> None:
    broker = await backend.open()
    await submit_one(broker, delay_ms=3_600_000)
    head = await broker.head()
    await broker.claim("w", ["default"], 10, 0)

    async def wait_until(give_up: float) -> None:
        while (left := give_up - time.monotonic()) > 0:
            await asyncio.gather(broker.claim("w", ["default"], 10, left), broker.events(head, left))

    async def spent() -> float:
        """Of 60 wakes, or of 100 ms of CPU. A thread that looks every 50 ms wakes 40 times, another too."""
        wakes, used = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw, time.process_time()
        await wait_until(time.monotonic() + 2)
        wakes = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - wakes
        return max(wakes / 60, (time.process_time() - used) / 0.1)

    assert await least(spent, 1) < 1  # what this process has from other tests may be cleared away meanwhile

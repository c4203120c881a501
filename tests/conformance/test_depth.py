"""Full means full: past its limit a queue takes nothing, and nothing of what it refused is kept."""

import asyncio

import pytest
from kit.backends import Backend
from kit.time import ManualClock
from kit.values import BROKEN, claim, feed, finish, ids, queue_stats, run_one, spec, submit, submit_one

from penstock.core.drain import SLOT_MS, Full
from penstock.core.job import Limits
from penstock.ports import DEPTHS, Admission, Broker, BrokerOptions, Receipt

SMALL = BrokerOptions(max_depth=3)


@pytest.fixture
async def small(backend: Backend, clock: ManualClock) -> Broker:
    """A broker whose queues take three jobs."""
    return await backend.open(clock, SMALL)


async def admitted(broker: Broker, **changes: object) -> Receipt:
    (receipt,) = await broker.submit([spec(**changes)])
    return receipt


async def test_a_full_queue_refuses_and_keeps_nothing(small: Broker) -> None:
    batch = [spec(idempotency_key=f"k{n}", delay_ms=n % 2) for n in range(5)]
    receipts = await small.submit(batch)
    assert [one.admission for one in receipts] == [Admission.ACCEPTED] * 3 + [Admission.REFUSED] * 2
    assert {(one.job, one.full) for one in receipts[3:]} == {(None, Full(depth=3, limit=3))}
    refused = [one.id for one in batch[3:]]
    assert await small.get(refused) == [None, None]
    assert {event.job_id for event in await feed(small)} == {one.id for one in batch[:3]}
    figures = queue_stats(await small.stats())
    assert (figures.queued + figures.scheduled, figures.max_depth) == (3, 3)
    await small.cancel([batch[0].id])
    (again,) = await small.submit([batch[3]])
    assert again.admission is Admission.ACCEPTED


async def test_only_what_waits_counts_and_every_queue_for_itself(small: Broker) -> None:
    await submit(small, *(spec() for _ in range(3)))
    assert (await admitted(small, queue="other")).admission is Admission.ACCEPTED
    await claim(small, limit=1)
    assert (await admitted(small)).admission is Admission.ACCEPTED
    assert (await admitted(small)).admission is Admission.REFUSED


async def test_what_is_known_is_answered_by_a_full_queue_too(small: Broker) -> None:
    await run_one(small, fingerprint="a", cache_ms=10_000)
    first = spec(fingerprint="b", cache_ms=10_000, idempotency_key="k")
    await submit(small, first, spec(), spec())
    asked = [first, spec(fingerprint="b", idempotency_key="k"), spec(fingerprint="c", idempotency_key="k")]
    asked += [spec(fingerprint=one, cache_ms=10_000) for one in "abc"]
    assert [one.admission for one in await small.submit(asked)] == [
        Admission.REPEATED,
        Admission.REPEATED,
        Admission.CONFLICT,
        Admission.CACHED,
        Admission.JOINED,
        Admission.REFUSED,
    ]
    assert (await small.stats()).cache.misses == 2


async def test_parts_retries_and_hand_backs_come_in_whatever_waits(small: Broker) -> None:
    job = await submit_one(small, limits=Limits(backoff_ms=0, max_attempts=2))
    (taken,) = await claim(small)
    await submit(small, *(spec() for _ in range(3)))
    assert (await admitted(small, part=0)).admission is Admission.ACCEPTED
    assert await small.settle([finish(taken, BROKEN)]) == [True]
    assert queue_stats(await small.stats()).queued == 5
    assert job.id in ids(await claim(small))


async def test_a_queue_may_have_a_limit_of_its_own(small: Broker, other: Broker) -> None:
    await other.put(DEPTHS, "wide", b"5")
    await other.put(DEPTHS, "shut", b"0")
    receipts = await small.submit([spec(queue="wide") for _ in range(6)])
    assert [one.admission for one in receipts].count(Admission.ACCEPTED) == 5
    assert (await admitted(small, queue="shut")).full == Full(depth=0, limit=0)
    assert {one.name: one.max_depth for one in (await small.stats()).queues} == {"wide": 5, "shut": 0}
    await other.put(DEPTHS, "wide", None)
    assert (await admitted(small, queue="wide")).full == Full(depth=5, limit=3)
    assert queue_stats(await other.stats(), "wide").max_depth == 100_000


async def test_the_limit_holds_whoever_submits_at_once(backend: Backend, clock: ManualClock) -> None:
    brokers = [await backend.open(clock, BrokerOptions(max_depth=50)) for _ in range(4)]
    answers = await asyncio.gather(*(brokers[n % 4].submit([spec()]) for n in range(200)))
    assert [one.admission for (one,) in answers].count(Admission.ACCEPTED) == 50
    assert queue_stats(await brokers[0].stats()).queued == 50


async def test_how_fast_a_queue_drains_is_measured(small: Broker, clock: ManualClock) -> None:
    clock.advance(-(clock.now % SLOT_MS))
    assert queue_stats(await small.stats()).drain_per_s == 0
    for _ in range(4):
        batch = [spec(part=0) for _ in range(5)]
        await submit(small, *batch)
        await small.settle([finish(one) for one in await claim(small)])
        clock.advance(5_000)
    await run_one(small, queue="other")
    assert queue_stats(await small.stats()).drain_per_s == 1.0
    assert queue_stats(await small.stats(), "other").drain_per_s == 1.0
    await submit(small, *(spec() for _ in range(3)))
    assert (await admitted(small)).full == Full(depth=3, limit=3, drain_per_s=1.0)
    clock.advance(40_000)
    assert queue_stats(await small.stats()).drain_per_s == 10 / 50
    clock.advance(6 * SLOT_MS)
    assert queue_stats(await small.stats()).drain_per_s == 0

"""A store that does not answer, and processes that die at the wrong moment."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from kit.backends import BACKENDS, Backend
from kit.process import OtherProcess
from kit.time import ManualClock, deadline
from kit.values import claim, claim_one, feed, finish, get_one, ids, run_one, spec, submit, submit_one, worker

from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import State
from penstock.core.lifecycle import Cancelled
from penstock.ports import Broker, BrokerOptions
from support.wait import answered

TIMEOUT_S = 0.4
BRISK = BrokerOptions(timeout_s=TIMEOUT_S)
MARGIN_S = 10.0
"""What a busy machine may add to a timeout."""

OUTAGES = [
    pytest.param(name, kind, id=f"{name}: {kind}") for name, b in BACKENDS.items() for kind in b.outages
]


@pytest.fixture
async def brisk(backend: Backend, clock: ManualClock) -> Broker:
    """One that gives up soon."""
    return await answered(lambda: backend.open(clock, BRISK))


WRITES: dict[str, Callable[[Broker, Any], Awaitable[Any]]] = {
    "submit": lambda broker, _: broker.submit([spec()]),
    "claim": lambda broker, _: broker.claim("w", ["default"], 1, 5.0),
    "renew": lambda broker, _: broker.renew(worker(), []),
    "settle": lambda broker, running: broker.settle([finish(running)]),
    "cancel": lambda broker, running: broker.cancel([running.spec.id]),
    "retry": lambda broker, running: broker.retry([running.spec.id]),
    "purge": lambda broker, running: broker.purge([running.spec.id]),
    "pause": lambda broker, _: broker.pause("default"),
    "resume": lambda broker, _: broker.resume("default"),
    "reclaim": lambda broker, _: broker.reclaim("r", 10),
    "retire": lambda broker, _: broker.retire("w"),
    "trim": lambda broker, _: broker.trim(10),
    "put": lambda broker, _: broker.put("shelf", "name", b"body"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "kind"), OUTAGES, indirect=["backend"])
async def test_a_store_that_does_not_answer_is_unavailable_in_time(
    backend: Backend, kind: str, brisk: Broker, other: Broker, clock: ManualClock
) -> None:
    await submit_one(other)
    running = await claim_one(other)
    clock.advance(10_000)
    await submit_one(other)
    before = (await get_one(other, running.spec.id), await other.stats(), await feed(other))
    with backend.outage(kind):
        started = time.monotonic()
        calls = [call(brisk, running) for call in WRITES.values()]
        refusals = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - started < TIMEOUT_S + MARGIN_S
    for verb, refusal in zip(WRITES, refusals, strict=True):
        assert isinstance(refusal, PenstockError), (verb, refusal)
        assert refusal.code is ErrorCode.BROKER_UNAVAILABLE, verb
        assert refusal.retry_after_s, verb
        assert "locked" not in refusal.message, verb
    await answered(lambda: brisk.submit([]))  # goes through the same door after all that was refused
    after = (await get_one(other, running.spec.id), await other.stats(), await feed(other))
    assert after == before


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "kind"), OUTAGES, indirect=["backend"])
async def test_each_call_has_its_own_time(backend: Backend, kind: str, brisk: Broker) -> None:
    with backend.outage(kind):
        for _ in range(3):
            started = time.monotonic()
            with pytest.raises(PenstockError) as refused:
                await brisk.submit([spec()])
            assert refused.value.code is ErrorCode.BROKER_UNAVAILABLE
            assert TIMEOUT_S * 0.9 < time.monotonic() - started < TIMEOUT_S + MARGIN_S


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "kind"), OUTAGES, indirect=["backend"])
async def test_what_was_refused_never_happens_later(
    backend: Backend, kind: str, brisk: Broker, other: Broker
) -> None:
    refused = [spec() for _ in range(20)]
    with backend.outage(kind):
        answers = await asyncio.gather(*(brisk.submit([one]) for one in refused), return_exceptions=True)
    assert {type(answer) for answer in answers} == {PenstockError}
    kept = [await answered(lambda: submit_one(brisk)), await submit_one(other)]
    assert await other.get([one.id for one in refused]) == [None] * 20
    assert ids(await claim(other)) == ids(kept)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "kind"), OUTAGES, indirect=["backend"])
async def test_work_goes_on_when_the_store_answers_again(
    backend: Backend, kind: str, brisk: Broker, other: Broker
) -> None:
    patient = spec()
    with backend.outage(kind):
        waiting = asyncio.ensure_future(other.submit([patient]))
        with pytest.raises(PenstockError):
            await brisk.submit([spec()])
        assert not waiting.done()
    async with deadline():
        ((receipt,), after) = await waiting, await answered(lambda: submit_one(brisk))
    assert ids(await claim(other)) == [receipt.job.id, after.id]


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "kind"), OUTAGES, indirect=["backend"])
async def test_a_broker_can_be_closed_while_the_store_does_not_answer(
    backend: Backend, kind: str, brisk: Broker
) -> None:
    with backend.outage(kind):
        with pytest.raises(PenstockError):
            await brisk.submit([spec()])
        started = time.monotonic()
        await backend.close(brisk)
        assert time.monotonic() - started < TIMEOUT_S + MARGIN_S


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "kind"), OUTAGES, indirect=["backend"])
async def test_a_store_that_does_not_answer_cannot_be_opened(
    backend: Backend, kind: str, other: Broker
) -> None:
    job = await submit_one(other)
    with backend.outage(kind):
        with pytest.raises(PenstockError) as refused:
            await backend.open(options=BRISK)
        assert refused.value.code is ErrorCode.BROKER_UNAVAILABLE
    assert await get_one(await answered(lambda: backend.open(options=BRISK)), job.id) == job


async def test_a_caller_who_gives_up_leaves_a_consistent_store(broker: Broker) -> None:
    specs = [spec() for _ in range(50)]
    calls = [asyncio.ensure_future(broker.submit([one])) for one in specs]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    for call in calls:
        call.cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    kept = [one.id for one, answer in zip(specs, answers, strict=True) if isinstance(answer, list)]
    found = [job.id for job in await broker.get([one.id for one in specs]) if job]
    assert set(kept) <= set(found)
    assert ids(await claim(broker)) == found
    assert [event.job_id for event in await feed(broker) if event.kind == "queued"] == found


@pytest.mark.slow
@pytest.mark.parametrize("answers", [1, 20, 60])
async def test_a_killed_process_loses_nothing_it_was_answered(backend: Backend, answers: int) -> None:
    broker = await backend.open()
    async with OtherProcess(backend) as victim:
        victim.send("submit_forever")
        told = [await victim.read() for _ in range(answers)]
        told += await victim.kill()
    accepted = [job_id for batch in told for job_id in batch]
    assert all(await broker.get(accepted))
    async with deadline():
        after = await submit_one(broker)
    claimed = ids(await claim(broker, limit=1_000_000))
    assert len(claimed) == len(set(claimed)) == (await broker.stats()).states[State.RUNNING]
    assert set(accepted) | {after.id} <= set(claimed)
    assert (len(claimed) - 1) % 3 == 0, "a batch is kept whole or not at all"


async def test_a_closed_broker_is_unavailable(backend: Backend, clock: ManualClock) -> None:
    broker = await backend.open(clock)
    done = await run_one(broker, Cancelled())
    await backend.close(broker)
    calls = [
        broker.submit([spec()]),
        broker.get([done.id]),
        broker.claim("w", ["default"], 1, 60),
        broker.events("", 60),
        broker.stats(),
    ]
    async with deadline():
        refusals = await asyncio.gather(*calls, return_exceptions=True)
    assert [getattr(refusal, "code", refusal) for refusal in refusals] == [ErrorCode.BROKER_UNAVAILABLE] * 5


@pytest.mark.slow
async def test_closing_ends_those_who_wait(backend: Backend) -> None:
    broker = await backend.open()
    waiting = [
        asyncio.ensure_future(broker.claim("w", ["default"], 1, 3_600)),
        asyncio.ensure_future(broker.events("", 3_600)),
    ]
    await asyncio.wait(waiting, timeout=0.05)
    await backend.close(broker)
    async with deadline():
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    for answer in answers:
        assert answer == [] or getattr(answer, "code", answer) is ErrorCode.BROKER_UNAVAILABLE


async def test_closing_twice_is_harmless(backend: Backend) -> None:
    broker = await backend.open()
    await broker.close()
    await backend.close(broker)


async def test_a_broker_that_was_never_opened_can_be_closed(backend: Backend) -> None:
    await backend.make(ManualClock(), BRISK).close()


async def test_many_brokers_may_open_a_new_store_at_once(backend: Backend) -> None:
    async with deadline():
        brokers = await asyncio.gather(*(backend.open() for _ in range(8)))
    jobs = [await submit_one(broker) for broker in brokers]
    assert ids(await claim(brokers[0])) == ids(jobs)


@pytest.mark.slow
async def test_many_processes_may_open_a_new_store_at_once(backend: Backend) -> None:
    processes = [OtherProcess(backend) for _ in range(4)]
    await asyncio.gather(*(process.__aenter__() for process in processes))
    answers = await asyncio.gather(*(process.ask("submit", count=2) for process in processes))
    await asyncio.gather(*(process.__aexit__(None, None, None) for process in processes))
    submitted = [job_id for answer in answers for job_id in answer["ids"]]
    assert sorted(ids(await claim(await backend.open()))) == sorted(submitted)


async def test_a_large_submission_does_not_make_others_give_up(backend: Backend) -> None:
    broker, other = await backend.open(), await backend.open(options=BrokerOptions(timeout_s=5))
    async with deadline():
        big, *small = await asyncio.gather(
            submit(broker, *(spec() for _ in range(5_000))),
            *(submit_one(other) for _ in range(20)),
        )
    assert len(big) + len(small) == 5_020

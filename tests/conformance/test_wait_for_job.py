"""Whoever waits for a job is told of its end, wherever and however it ends."""

import asyncio
import time

import pytest
from kit.backends import Backend
from kit.process import OtherProcess
from kit.time import deadline
from kit.values import BROKEN, DONE, claim_one, finish, run_one, spec, submit, submit_one

from penstock.core.ids import new_id
from penstock.core.job import Job, Limits, State
from penstock.core.lifecycle import Cancelled, Failed, Lost, Outcome
from penstock.ports import Broker, BrokerOptions

WAIT_S = 30.0
SHORT_S = 0.2


async def begun(waiting: asyncio.Future[Job | None]) -> None:
    """It has got as far as it can by itself."""
    await asyncio.wait([waiting], timeout=0.1)
    assert not waiting.done()


def wait_for(broker: Broker, job_id: str, wait_s: float = WAIT_S) -> asyncio.Future[Job | None]:
    return asyncio.ensure_future(broker.wait(job_id, wait_s))


async def test_a_job_that_has_ended_is_answered_at_once(backend: Backend) -> None:
    broker, other = await backend.open(), await backend.open()
    done = await run_one(broker)
    async with deadline(WAIT_S / 2):
        assert await other.wait(done.id, WAIT_S) == done


async def test_an_unknown_job_is_none_at_once(backend: Backend) -> None:
    broker = await backend.open()
    async with deadline(WAIT_S / 2):
        assert await broker.wait(new_id(), WAIT_S) is None
        assert await broker.wait("no such id", WAIT_S) is None


@pytest.mark.parametrize("outcome", [DONE, Failed(BROKEN.error, permanent=True), Cancelled()])
async def test_whatever_its_end_it_is_told_with_the_job(backend: Backend, outcome: Outcome) -> None:
    broker, other = await backend.open(), await backend.open()
    job = await submit_one(broker)
    claimed = await claim_one(broker)
    waiting = wait_for(other, job.id)
    await begun(waiting)
    await broker.settle([finish(claimed, outcome)])
    async with deadline():
        ended = await waiting
    assert ended.state.final
    assert [ended] == await broker.get([job.id])


async def test_a_cancel_of_a_waiting_job_is_told(backend: Backend) -> None:
    broker, other = await backend.open(), await backend.open()
    job = await submit_one(broker)
    waiting = wait_for(other, job.id)
    await begun(waiting)
    await broker.cancel([job.id])
    async with deadline():
        assert (await waiting).state is State.CANCELLED


async def test_an_attempt_that_fails_is_not_the_end(backend: Backend) -> None:
    broker, other = await backend.open(), await backend.open()
    job = await submit_one(broker, limits=Limits(backoff_ms=0))
    waiting = wait_for(other, job.id)
    await begun(waiting)
    await broker.settle([finish(await claim_one(broker), BROKEN)])
    await begun(waiting)
    await broker.settle([finish(await claim_one(broker), Lost("w"))])
    await begun(waiting)
    await broker.settle([finish(await claim_one(broker))])
    async with deadline():
        assert (await waiting).state is State.SUCCEEDED


async def test_when_the_time_is_up_it_is_answered_as_it_stands(backend: Backend) -> None:
    broker = await backend.open()
    job = await submit_one(broker)
    started = time.monotonic()
    async with deadline():
        assert (await broker.wait(job.id, SHORT_S)).state is State.QUEUED
    assert time.monotonic() - started >= SHORT_S * 0.9
    async with deadline():
        assert (await broker.wait(job.id, 0)).state is State.QUEUED


async def test_many_may_wait_for_one_and_one_for_many(backend: Backend) -> None:
    brokers = [await backend.open() for _ in range(3)]
    jobs = await submit(brokers[0], *(spec() for _ in range(8)))
    waiting = [wait_for(broker, job.id) for broker in brokers for job in jobs for _ in range(2)]
    await asyncio.wait(waiting, timeout=0.1)
    claims = await brokers[1].claim("w", ["default"], 8, 0)
    for claimed in claims:
        await brokers[1].settle([finish(claimed)])
    async with deadline():
        ended = await asyncio.gather(*waiting)
    assert [job.id for job in ended] == [job.id for _ in brokers for job in jobs for _ in range(2)]
    assert {job.state for job in ended} == {State.SUCCEEDED}


async def test_no_end_is_missed_however_soon_it_comes(backend: Backend) -> None:
    broker, other = await backend.open(), await backend.open()
    for turn in range(60):
        job = await submit_one(broker)
        claimed = await claim_one(broker)
        waiting = wait_for(other, job.id)
        for _ in range(turn % 6):
            await asyncio.sleep(0)
        await asyncio.wait([waiting], timeout=(turn % 4) / 2000)
        await broker.settle([finish(claimed)])
        async with deadline(10):
            assert (await waiting).state is State.SUCCEEDED


async def test_a_retried_job_can_be_waited_for_again(backend: Backend) -> None:
    broker, other = await backend.open(), await backend.open()
    job = await run_one(broker, Failed(BROKEN.error, permanent=True))
    await broker.retry([job.id])
    waiting = wait_for(other, job.id)
    await begun(waiting)
    await broker.settle([finish(await claim_one(broker))])
    async with deadline():
        assert (await waiting).state is State.SUCCEEDED


async def test_who_gives_up_does_not_take_the_others_along(backend: Backend) -> None:
    broker = await backend.open()
    job = await submit_one(broker)
    leaving, staying = wait_for(broker, job.id), wait_for(broker, job.id)
    await begun(staying)
    leaving.cancel()
    await asyncio.wait([leaving])
    assert leaving.cancelled()
    await broker.settle([finish(await claim_one(broker))])
    async with deadline():
        assert (await staying).state is State.SUCCEEDED


@pytest.mark.slow
async def test_the_end_comes_from_another_process(backend: Backend) -> None:
    broker = await backend.open()
    job = await submit_one(broker)
    waiting = wait_for(broker, job.id)
    await begun(waiting)
    async with OtherProcess(backend) as other:
        assert await other.ask("claim", worker="w", limit=1) == [job.id]
    (found,) = await broker.get([job.id])
    assert found.state is State.RUNNING
    await broker.cancel([job.id])
    await broker.retire("w")
    (taken,) = await broker.reclaim("r", 1)
    await broker.settle([finish(taken, Lost("w"))])
    async with deadline():
        assert (await waiting).state is State.CANCELLED


@pytest.mark.slow
async def test_waiting_lives_through_an_outage(backend: Backend) -> None:
    """The store is away for longer than a call may take, and the job ends right after."""
    broker, other = await backend.open(options=BrokerOptions(timeout_s=0.4)), await backend.open()
    job = await submit_one(other)
    claimed = await claim_one(other)
    waiting = wait_for(broker, job.id)
    await begun(waiting)
    with backend.outage(backend.outages[0]):
        await asyncio.wait([waiting], timeout=1.0)
    await other.settle([finish(claimed)])
    async with deadline():
        assert (await waiting).state is State.SUCCEEDED


async def test_a_job_submitted_as_awaited_is_told_whenever_it_ends(backend: Backend) -> None:
    broker, other = await backend.open(), await backend.open()
    for ends_first in (False, True):
        (receipt,) = await broker.submit([spec()], awaited=True)
        claimed = await claim_one(other)
        if ends_first:
            await other.settle([finish(claimed)])
        waiting = wait_for(broker, receipt.job.id)
        if not ends_first:
            await begun(waiting)
            await other.settle([finish(claimed)])
        async with deadline():
            ended = await waiting
        assert (ended.id, ended.state) == (receipt.job.id, State.SUCCEEDED)
        assert [ended] == await broker.get([receipt.job.id])


async def test_an_awaited_job_that_was_known_is_looked_at(backend: Backend) -> None:
    broker, other = await backend.open(), await backend.open()
    done = await run_one(other)
    (receipt,) = await broker.submit([done.spec], awaited=True)
    assert receipt.job == done
    async with deadline(WAIT_S / 2):
        assert await broker.wait(done.id, WAIT_S) == done


async def test_an_awaited_job_after_another_is_told_if_it_is_given_up_at_once(backend: Backend) -> None:
    broker = await backend.open()
    failed = await run_one(broker, Cancelled())
    (receipt,) = await broker.submit([spec(after=(failed.id,))], awaited=True)
    async with deadline(WAIT_S / 2):
        assert (await broker.wait(receipt.job.id, WAIT_S)).state is State.CANCELLED


async def test_awaiting_lasts_until_somebody_comes_and_several_may(backend: Backend) -> None:
    broker = await backend.open()
    (receipt,) = await broker.submit([spec()], awaited=True)
    assert (await broker.wait(receipt.job.id, SHORT_S)).state is State.QUEUED
    waiting = [wait_for(broker, receipt.job.id) for _ in range(2)]
    await begun(waiting[0])
    await broker.settle([finish(await claim_one(broker))])
    async with deadline():
        assert {job.state for job in await asyncio.gather(*waiting)} == {State.SUCCEEDED}

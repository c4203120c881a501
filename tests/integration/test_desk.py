"""The desk on a real broker: waiting for jobs without polling and without losing one."""

import asyncio
import random

import pytest

from penstock.brokers.sqlite import connect
from penstock.core.catalog import Catalog
from penstock.core.clock import system_clock
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import Priority, State
from penstock.core.lifecycle import Succeeded
from penstock.core.submission import Submission
from penstock.core.task import task
from penstock.ports import Admission, BrokerOptions
from penstock.service.desk import Desk

PATIENCE_S = 50.0


@task(queue="own", priority="low", timeout="2s", retries=1)
def double(n: int) -> int:
    return 2 * n


@pytest.fixture
async def desk(house):
    broker = connect(house.url, BrokerOptions(), system_clock)
    await broker.open()
    opened = Desk(broker, Catalog([double]), "desk")
    yield opened
    await broker.close()


def submission(**fields):
    return Submission.model_validate({"task": "double", "params": {"n": 1}} | fields)


@pytest.mark.slow
async def test_no_end_is_missed_while_jobs_come_and_go(house, desk):
    """Every wait begins and ends at another moment of the job's life."""
    rounds, at_once = 25, 12
    draw = random.Random(7)

    async def one():
        receipt = await desk.submit(submission(queue="default"))
        for _ in range(draw.randrange(6)):
            await asyncio.sleep(0)
        return await desk.get(receipt.job.id, PATIENCE_S)

    async def work(count):
        for claim in await house.hands.take(count):
            await house.hands.end(claim)

    async with asyncio.timeout(PATIENCE_S * 2):
        for _ in range(rounds):
            *jobs, _ = await asyncio.gather(*(one() for _ in range(at_once)), work(at_once))
            assert {job.state for job in jobs} == {State.SUCCEEDED}
    assert (await desk.stats()).states["succeeded"] == rounds * at_once


async def test_job_that_ends_while_the_desk_begins_to_listen_is_not_waited_for(house, desk, monkeypatch):
    job = (await desk.submit(submission(queue="default"))).job
    head = desk._broker.head

    async def head_after_the_end():
        await house.hands.work()
        return await head()

    monkeypatch.setattr(desk._broker, "head", head_after_the_end)
    async with asyncio.timeout(PATIENCE_S / 2):
        assert (await desk.get(job.id, PATIENCE_S)).state is State.SUCCEEDED


@pytest.mark.slow
async def test_submissions_that_wait_all_get_their_own_answer(house, desk):
    count = 200

    async def one(n):
        receipt = await desk.submit(submission(queue="default", params={"n": n}), wait_s=PATIENCE_S)
        return receipt.job

    async def work():
        for claim in await house.hands.take(count):
            await house.hands.end(claim, Succeeded(claim.spec.params))

    *jobs, _ = await asyncio.gather(*(one(n) for n in range(count)), work())
    assert [bytes(job.result) for job in jobs] == [b'{"n":%d}' % n for n in range(count)]


async def test_many_waiters_read_the_feed_once(house, desk, monkeypatch):
    broker = desk._broker
    reading, most = 0, 0
    events = broker.events

    async def counted(*args, **kwargs):
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        try:
            return await events(*args, **kwargs)
        finally:
            reading -= 1

    monkeypatch.setattr(broker, "events", counted)
    ids = [(await desk.submit(submission(queue="default"))).job.id for _ in range(20)]
    waiting = [asyncio.create_task(desk.get(job_id, PATIENCE_S)) for job_id in ids * 10]
    await house.hands.work(20)
    assert {job.state for job in await asyncio.gather(*waiting)} == {State.SUCCEEDED}
    assert most == 1


async def test_defaults_come_from_the_task(desk):
    job = (await desk.submit(submission(), "request-1")).job
    spec = job.spec
    assert (spec.queue, spec.priority, spec.limits.timeout_ms, spec.limits.max_attempts) == (
        "own",
        Priority.LOW,
        2_000,
        2,
    )
    assert (spec.initiated_by, spec.request_id, spec.version) == ("desk", "request-1", "1")


async def test_submission_overrides_the_task(desk):
    wanted = submission(queue="other", priority="high", timeout_s=0.5, max_attempts=9, delay_s=3)
    spec = (await desk.submit(wanted)).job.spec
    assert (spec.queue, spec.priority, spec.limits.timeout_ms, spec.limits.max_attempts, spec.delay_ms) == (
        "other",
        Priority.HIGH,
        500,
        9,
        3_000,
    )


async def test_equal_parameters_have_one_fingerprint(desk):
    one, same, other = [(await desk.submit(submission(params={"n": n}))).job for n in (1, 1.0, 2)]
    assert one.spec.fingerprint == same.spec.fingerprint != other.spec.fingerprint


async def test_repeated_submission_waits_for_the_first_job(house, desk):
    first = (await desk.submit(submission(queue="default", idempotency_key="k"))).job
    asking = asyncio.create_task(
        desk.submit(submission(queue="default", idempotency_key="k"), wait_s=PATIENCE_S)
    )
    await house.hands.work()
    receipt = await asking
    assert (receipt.admission, receipt.job.id, receipt.job.state) == (
        Admission.REPEATED,
        first.id,
        State.SUCCEEDED,
    )


async def test_wait_that_fails_leaves_no_waiter_behind(desk):
    for wrong in (submission(task="nothing"), submission(params={"n": "x"})):
        with pytest.raises(PenstockError):
            await desk.submit(wrong, wait_s=PATIENCE_S)
    with pytest.raises(PenstockError) as refused:
        await desk.get("nothing", PATIENCE_S)
    assert refused.value.code is ErrorCode.JOB_NOT_FOUND
    assert not desk._patience


@pytest.fixture
def calls(desk, monkeypatch):
    """The verbs that the desk has asked of its broker."""
    asked = []
    for name in ("submit", "wait"):

        def counting(verb, name=name):
            async def counted(*args, **kwargs):
                asked.append(name)
                return await verb(*args, **kwargs)

            return counted

        monkeypatch.setattr(desk._broker, name, counting(getattr(desk._broker, name)))
    return asked


async def test_submission_that_waits_asks_for_the_job_once(house, desk, calls):
    asking = asyncio.create_task(desk.submit(submission(queue="default"), wait_s=PATIENCE_S))
    await house.hands.work()
    assert (await asking).job.state is State.SUCCEEDED
    assert calls == ["submit", "wait"]


async def test_answer_that_is_known_is_not_asked_for_again(house, desk, calls):
    first = (await desk.submit(submission(queue="default", idempotency_key="k"))).job
    await house.hands.work()
    calls.clear()
    async with asyncio.timeout(PATIENCE_S / 2):
        receipt = await desk.submit(submission(queue="default", idempotency_key="k"), wait_s=PATIENCE_S)
    assert (receipt.admission, receipt.job.id) == (Admission.REPEATED, first.id)
    assert (receipt.job.state, bytes(receipt.job.result)) == (State.SUCCEEDED, b"42")
    assert calls == ["submit"]


async def test_job_of_somebody_else_is_looked_at_before_it_is_waited_for(house, desk, monkeypatch):
    """It ends between the receipt and the wait."""
    first = (await desk.submit(submission(queue="default", idempotency_key="k"))).job
    (claim,) = await house.hands.take()
    submit = desk._broker.submit

    async def submit_before_the_end(specs, **kwargs):
        receipts = await submit(specs, **kwargs)
        await house.hands.end(claim)
        return receipts

    monkeypatch.setattr(desk._broker, "submit", submit_before_the_end)
    async with asyncio.timeout(PATIENCE_S / 2):
        receipt = await desk.submit(submission(queue="default", idempotency_key="k"), wait_s=PATIENCE_S)
    assert (receipt.job.id, receipt.job.state) == (first.id, State.SUCCEEDED)


async def test_waiting_costs_the_broker_one_call_not_many(desk, monkeypatch):
    job = (await desk.submit(submission())).job
    calls = 0
    get = desk._broker.get

    async def counted(job_ids):
        nonlocal calls
        calls += 1
        return await get(job_ids)

    monkeypatch.setattr(desk._broker, "get", counted)
    assert (await desk.get(job.id, 0.3)).state is State.QUEUED
    assert calls <= 3


async def test_node_that_stops_answers_whoever_waits(desk):
    job = (await desk.submit(submission())).job
    waiting = asyncio.create_task(desk.get(job.id, PATIENCE_S))
    stream = desk.events("", job.id)
    assert (await anext(stream)).kind == "queued"
    async with asyncio.timeout(PATIENCE_S / 2):
        desk.leave()
        assert (await waiting).state is State.QUEUED
        assert [event async for event in stream if event] == []
        assert (await desk.get(job.id, PATIENCE_S)).state is State.QUEUED

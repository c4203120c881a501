"""`map` and `chain` of both clients, and what a client repeats."""

import asyncio
import contextlib
import itertools

import httpx
import msgspec
import pytest

from penstock import AsyncClient, Client, PenstockError
from penstock.client import JobFailed, gathering, patience
from penstock.core.errors import ErrorCode, broker_unavailable
from penstock.core.job import JobError
from penstock.core.lifecycle import Failed, Succeeded
from support.served import served

BROKEN = Failed(JobError("TASK_ERROR", "it broke"), permanent=True)
PATIENCE_S = 20.0


class Sync:
    """A `Client` whose `map` and `chain` can be awaited as a whole."""

    def __init__(self, url):
        self._url = url

    def _with(self, use):
        with Client(self._url) as client:
            return use(client)

    async def map(self, *args, **options):
        return await asyncio.to_thread(self._with, lambda client: list(client.map(*args, **options)))

    async def chain(self, *args):
        return await asyncio.to_thread(self._with, lambda client: client.chain(*args))


class Async(Sync):
    async def map(self, *args, **options):
        async with AsyncClient(self._url) as client:
            return [each async for each in client.map(*args, **options)]

    async def chain(self, *args):
        async with AsyncClient(self._url) as client:
            return await client.chain(*args)


@pytest.fixture(params=[Sync, Async])
async def client(request, house):
    async with served(house.app) as url:
        yield request.param(url)


@contextlib.asynccontextmanager
async def worked(house, ending=lambda _: None, at_once=7):
    """Somebody who ends every job, as many at a time: each with its own ``n``, or as ``ending`` says."""

    async def work():
        while True:
            claims = await house.broker.claim("hands/1", ["default"], at_once, 20)
            for claim in reversed(claims):
                n = msgspec.json.decode(claim.spec.params)["n"]
                await house.hands.end(claim, ending(n) or Succeeded(msgspec.Raw(b"%d" % n)))

    working = asyncio.create_task(work())
    try:
        yield
    finally:
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working


def inputs(count):
    return ({"n": n} for n in range(count))


async def test_results_come_in_the_order_of_the_inputs(house, client):
    async with worked(house):
        assert await client.map("noop", inputs(100)) == list(range(100))
    assert await house.stored() == 100


@pytest.mark.parametrize("ordered", [True, False])
async def test_equal_inputs_share_a_job_and_each_gets_its_result(house, client, ordered):
    same = [{"load": 1000}, {"load": 1000}, {"load": 2000}, {"load": 1000}]
    mapping = asyncio.create_task(client.map("credit_loss", same, ordered=ordered))
    for _ in range(2):
        await house.hands.work()
    assert await mapping == [42, 42, 42, 42]
    assert await house.stored() == 2


async def test_or_as_they_come(house):
    async with AsyncClient("http://house", transport=house.transport) as client:
        found = client.map("noop", inputs(3), ordered=False)
        first = asyncio.create_task(anext(found))
        claims = await house.hands.take(3)
        await house.hands.end(claims[2], Succeeded(msgspec.Raw(b"2")))
        assert await first == 2
        for claim in claims[:2]:
            await house.hands.end(claim)
        assert [each async for each in found] == [42, 42]


async def test_the_synchronous_client_gives_all_in_any_order(house):
    async with served(house.app) as url, worked(house):
        assert sorted(await Sync(url).map("noop", inputs(50), ordered=False)) == list(range(50))


async def test_nothing_makes_no_job(house, client):
    assert await client.map("noop", []) == []
    assert await house.stored() == 0


async def test_a_failure_is_raised_or_given(house, client):
    async with worked(house, lambda n: BROKEN if n == 3 else None):
        with pytest.raises(JobFailed, match="TASK_ERROR: it broke") as caught:
            await client.map("noop", inputs(6))
        assert caught.value.job.params == {"n": 3}
        found = await client.map("noop", inputs(6), failures="return")
    assert [each if isinstance(each, int) else type(each) for each in found] == [0, 1, 2, JobFailed, 4, 5]


async def test_options_go_to_every_job(house, client):
    async with worked(house):
        await client.map("noop", inputs(3), priority="high", max_attempts=9)
    jobs = (await house.ask("GET", "/jobs")).json()["jobs"]
    assert {(job["priority"], job["max_attempts"]) for job in jobs} == {("high", 9)}


async def test_few_requests_and_bounded_flight(house, monkeypatch):
    """Endless inputs are not read ahead of what is in flight, and there is no request per job."""
    monkeypatch.setattr(gathering, "BATCH", 50)
    monkeypatch.setattr(gathering, "IN_FLIGHT", 200)
    read = itertools.count()
    requests = []

    class Counted(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            requests.append(request.url.path)
            return await house.transport.handle_async_request(request)

    endless = ({"n": next(read)} for _ in itertools.count())
    async with worked(house, at_once=100), AsyncClient("http://house", transport=Counted()) as client:
        found = client.map("noop", endless)
        assert [await anext(found) for _ in range(300)] == list(range(300))
        await found.aclose()
    assert next(read) <= 300 + 200 + 50
    assert len(requests) < 60
    assert set(requests) == {"/batches", "/waits"}


async def test_one_bar_for_all(house, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    async with worked(house), AsyncClient("http://house", transport=house.transport) as client:
        assert len([each async for each in client.map("noop", inputs(20))]) == 20
    assert "20/20" in capsys.readouterr().err


async def test_a_chain_waits_link_by_link(house, client):
    jobs = await client.chain(*({"task": "noop", "params": {"n": n}} for n in range(3)))
    assert [job.after for job in jobs] == [[], [jobs[0].id], [jobs[1].id]]
    for job in jobs:
        (claim,) = await house.hands.take()
        assert claim.spec.id == job.id
        await house.hands.end(claim)


async def test_a_handle_does_what_its_client_would(house):
    async with AsyncClient("http://house", transport=house.transport) as client:
        job = await client.start("noop", {"n": 1})
        with pytest.raises(PenstockError, match="still queued"):
            await job.result(0.01)
        (claim,) = await house.hands.take()
        await house.hands.say(claim, 0.5, "half")
        assert (await job.progress()).fraction == 0.5
        await house.hands.end(claim)
        assert await job.result(PATIENCE_S) == 42
        after = await client.start("noop", after=[job, claim.spec.id])
        assert (await after.cancel()).state == "cancelled"
        with pytest.raises(JobFailed, match="CANCELLED"):
            await after.result()


async def test_and_so_does_that_of_the_other_client(house):
    def use(url):
        with Client(url) as client:
            job = client.start("noop")
            assert job.progress() is None
            job.cancel()
            with pytest.raises(JobFailed):
                job.result()
            return client.handle(job.id).wait(PATIENCE_S)

    async with served(house.app) as url:
        assert (await asyncio.to_thread(use, url)).state == "cancelled"


async def test_a_job_may_be_named_by_itself(house):
    async with AsyncClient("http://house", transport=house.transport) as client:
        first = await client.submit("noop")
        assert (await client.submit("noop", after=[first])).after == [first.id]


class Flaky(httpx.AsyncBaseTransport):
    """Does something else first, or loses the answer, for some requests."""

    def __init__(self, house, *troubles):
        self.troubles = list(troubles)
        self._inner = house.transport

    async def handle_async_request(self, request):
        trouble = self.troubles.pop(0) if self.troubles else None
        if isinstance(trouble, httpx.Response):
            return trouble
        answer = await self._inner.handle_async_request(request)
        await answer.aread()
        if trouble is not None:
            raise httpx.ReadError(trouble)
        return answer


def refusal(status, code):
    body = {"error": {"code": code, "message": "not now", "details": {}, "request_id": None}}
    return httpx.Response(status, json=body)


async def test_refusals_that_pass_are_outlasted(house, monkeypatch):
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)
    flaky = Flaky(
        house, refusal(429, "RATE_LIMITED"), refusal(503, "QUEUE_FULL"), refusal(503, "BROKER_UNAVAILABLE")
    )
    async with AsyncClient("http://house", transport=flaky) as client:
        assert (await client.submit("noop")).state == "queued"
    assert flaky.troubles == []


async def test_a_submission_whose_answer_got_lost_makes_one_job(house, monkeypatch):
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)
    async with AsyncClient("http://house", transport=Flaky(house, "cut", "cut", None, "cut")) as client:
        await client.submit("noop", {"n": 1})
        assert await house.stored() == 1
        await client.submit_many([{"task": "noop"}] * 3)
        assert await house.stored() == 4


async def test_what_does_not_bear_it_is_not_repeated(house):
    async with AsyncClient("http://house", transport=Flaky(house, "cut")) as client:
        with pytest.raises(PenstockError) as caught:
            await client.retry("some job")
    assert caught.value.code is ErrorCode.NODE_UNREACHABLE


def test_the_nodes_word_counts_and_time_is_limited(monkeypatch):
    call = gathering.messages.get("id")
    tries = patience.Patience(10)
    assert 3.0 <= tries.pause_s(call, broker_unavailable("away", retry_after_s=3)) <= 3.75
    assert 0.1 <= patience.Patience(10).pause_s(call, broker_unavailable("away", retry_after_s=None)) <= 0.125
    with pytest.raises(PenstockError):
        tries.pause_s(call, broker_unavailable("away", retry_after_s=60))
    with pytest.raises(PenstockError):
        patience.Patience(10).pause_s(call, PenstockError(ErrorCode.CONFLICT, "no"))

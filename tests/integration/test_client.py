"""`Client` and `AsyncClient` say the same to a node over a real socket."""

import asyncio
import contextlib
import inspect
import json
import socket
import time

import pytest

from penstock import AsyncClient, Client, PenstockError
from penstock.client import shell
from penstock.core.errors import ErrorCode
from penstock.core.job import JobError, State
from penstock.core.lifecycle import Failed
from penstock.core.submission import JobView, Submission, TaskView
from penstock.service.desk import Desk
from support.served import served

PATIENCE_S = 20.0
BROKEN = Failed(JobError("TASK_ERROR", "it broke"), permanent=True)


class InThread:
    """A `Client` whose methods can be awaited."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        method = getattr(self._client, name)

        async def call(*args, **kwargs):
            return await asyncio.to_thread(method, *args, **kwargs)

        return call


@contextlib.asynccontextmanager
async def opened(kind, url, **options):
    options.setdefault("patience_s", 0)
    if kind == "Client":
        with Client(url, **options) as client:
            yield InThread(client)
    else:
        async with AsyncClient(url, **options) as client:
            yield client


@pytest.fixture
async def url(house):
    async with served(house.app) as address:
        yield address


@pytest.fixture(params=["Client", "AsyncClient"])
async def kind(request):
    return request.param


@pytest.fixture
async def client(kind, url):
    async with opened(kind, url) as connected:
        yield connected


@contextlib.contextmanager
def refused(code):
    with pytest.raises(PenstockError) as caught:
        yield caught
    assert caught.value.code is code


def test_both_have_the_same_methods():
    def surface(cls):
        methods = {name: getattr(cls, name) for name in vars(cls) if not name.startswith("_")}
        return {name: list(inspect.signature(method).parameters) for name, method in methods.items()}

    assert surface(Client) == surface(AsyncClient)


async def test_an_address_may_lack_its_scheme(kind, url):
    async with opened(kind, url.removeprefix("http://")) as client:
        assert (await client.stats())["queues"] == []


async def test_submit_and_get(client):
    job = await client.submit("noop", {"n": 3}, priority="high", queue="own", max_attempts=2)
    assert isinstance(job, JobView)
    assert (job.params, job.priority, job.queue, job.max_attempts) == ({"n": 3}, "high", "own", 2)
    found = await client.get(job.id)
    assert found.model_copy(update={"position": None, "eta_s": None}) == job
    assert found.position == 0
    assert not job.final


async def test_submit_without_parameters(client):
    assert (await client.submit("noop")).params == {"n": 0}


async def test_submit_and_wait(house, client):
    asking = asyncio.create_task(client.submit("noop", wait_s=PATIENCE_S))
    await house.hands.work()
    job = await asking
    assert (job.state, job.result, job.final) == (State.SUCCEEDED, 42, True)


async def test_submit_many_in_order(client):
    jobs = await client.submit_many(
        [{"task": "noop", "params": {"n": 1}}, Submission(task="noop", params={"n": 2}, priority="low")]
    )
    assert [(job.params, job.priority) for job in jobs] == [({"n": 1}, "medium"), ({"n": 2}, "low")]


async def test_submit_many_raises_the_refusal_after_the_good_ones(house, client):
    with refused(ErrorCode.VALIDATION_ERROR) as caught:
        await client.submit_many([{"task": "noop"}, {"task": "noop", "params": {"n": "x"}}])
    assert caught.value.details["fields"][0]["field"] == "params.n"
    assert await house.stored() == 1


async def test_get_and_wait(house, client):
    job = await client.submit("noop")
    asking = asyncio.create_task(client.get(job.id, PATIENCE_S))
    await house.hands.work()
    assert (await asking).state is State.SUCCEEDED


async def test_wait_takes_as_many_requests_as_it_needs(house, client, monkeypatch):
    monkeypatch.setattr(shell, "MAX_WAIT_S", 0.02)
    job = await client.submit("noop")
    asked = asyncio.Semaphore(0)
    get = Desk.get

    async def counted(*args):
        asked.release()
        return await get(*args)

    monkeypatch.setattr(Desk, "get", counted)
    waiting = asyncio.create_task(client.wait(job.id))
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(4):
            await asked.acquire()
    await house.hands.work()
    assert (await waiting).state is State.SUCCEEDED


async def test_wait_gives_up_at_its_deadline(client):
    job = await client.submit("noop")
    began = time.monotonic()
    assert (await client.wait(job.id, 0.2)).state is State.QUEUED
    assert 0.2 <= time.monotonic() - began < 0.2 + PATIENCE_S


async def test_cancel_and_retry(house, client):
    job = await client.submit("noop")
    assert (await client.cancel(job.id)).state is State.CANCELLED
    assert (await client.retry(job.id)).state is State.QUEUED
    await house.hands.work(1, BROKEN)
    failed = await client.get(job.id)
    assert (failed.state, failed.error.message) == (State.FAILED, "it broke")


async def test_jobs(house, client):
    first = await client.submit("noop")
    await house.hands.work()
    second = await client.submit("nap")
    assert [job.id for job in await client.jobs()] == [second.id, first.id]
    assert [job.id for job in await client.jobs(state=State.SUCCEEDED)] == [first.id]
    assert [job.id for job in await client.jobs(task="nap", queue=None)] == [second.id]
    assert [job.id for job in await client.jobs(limit=1, before=second.id)] == [first.id]


async def test_tasks_and_stats(client):
    tasks = await client.tasks()
    assert all(isinstance(each, TaskView) for each in tasks)
    assert "credit_loss" in [each.name for each in tasks]
    await client.submit("noop")
    assert (await client.stats())["states"]["queued"] == 1


async def test_refusals_have_the_code_the_message_and_the_details(client):
    with refused(ErrorCode.TASK_UNKNOWN) as caught:
        await client.submit("no_such_task")
    assert "no_such_task" in caught.value.message
    with refused(ErrorCode.VALIDATION_ERROR) as caught:
        await client.submit("noop", {"n": "x"})
    assert caught.value.details["fields"][0]["field"] == "params.n"
    with refused(ErrorCode.VALIDATION_ERROR):
        await client.submit("noop", urgency="high")
    for method in (client.get, client.cancel, client.retry, client.wait):
        with refused(ErrorCode.JOB_NOT_FOUND):
            await method("no-such-job")
    job = await client.submit("noop")
    with refused(ErrorCode.CONFLICT):
        await client.retry(job.id)
    with refused(ErrorCode.VALIDATION_ERROR):
        await client.jobs(stat="failed")


async def test_time_to_come_back_is_told(house, client, monkeypatch):
    async def fails(*_, **__):
        raise PenstockError(ErrorCode.BROKER_UNAVAILABLE, "away", retry_after_s=7)

    monkeypatch.setattr(type(house.broker), "submit", fails)
    with refused(ErrorCode.BROKER_UNAVAILABLE) as caught:
        await client.submit("noop")
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, float("-inf")]])
async def test_numbers_that_json_does_not_have_are_refused_here(house, client, value):
    with refused(ErrorCode.VALIDATION_ERROR) as caught:
        await client.submit("noop", {"n": value})
    assert caught.value.details["fields"][0]["field"].startswith("params.n")
    with refused(ErrorCode.VALIDATION_ERROR) as caught:
        await client.submit_many([{"task": "noop"}, {"task": "noop", "params": {"n": value}}])
    assert caught.value.details["fields"][0]["field"].startswith("jobs[1].params.n")
    assert await house.stored() == 0


async def test_what_json_cannot_say_is_refused_here(client):
    with refused(ErrorCode.INVALID_REQUEST):
        await client.submit("noop", {"n": object()})


async def test_ids_are_never_taken_for_paths(client):
    for job_id in ("../stats", "a/b", "a?wait=1", "a#b", "%2e%2e", "ümlaut", "a b", " "):
        for method in (client.get, client.cancel, client.retry):
            with pytest.raises(PenstockError) as caught:
                await method(job_id)
            assert caught.value.code in (ErrorCode.JOB_NOT_FOUND, ErrorCode.NOT_FOUND), job_id


async def test_nobody_there(kind):
    async with opened(kind, "http://127.0.0.1:1") as client:
        with refused(ErrorCode.NODE_UNREACHABLE) as caught:
            await client.get("some-job")
    assert "http://127.0.0.1:1" in caught.value.message


async def test_address_that_is_none(kind):
    for url in ("http://127.0.0.1:port", "ftp://127.0.0.1", "127.0.0.1:port", "http://\n"):
        with refused(ErrorCode.NODE_UNREACHABLE):
            async with opened(kind, url) as client:
                await client.stats()


async def test_node_that_says_nothing(kind):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with opened(kind, url, timeout_s=0.1) as client:
            with refused(ErrorCode.NODE_UNREACHABLE):
                await client.get("some-job")


SOMEBODY_ELSE = [
    (200, b"<html>welcome</html>"),
    (200, b'{"hello": "world"}'),
    (200, b"[]"),
    (200, b""),
    (302, b""),
    (404, b'{"detail": "Not Found"}'),
    (502, b'{"error": "bad gateway"}'),
    (503, b'{"error": {"code": 7}}'),
    (500, b"null"),
]


async def test_somebody_else_answers(kind):
    answers = iter(SOMEBODY_ELSE)

    async def other(scope, receive, send):
        status, body = next(answers)
        headers = [(b"content-type", b"application/json"), (b"retry-after", b"Wed, 21 Oct 2026 07:28:00 GMT")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async with served(other) as url, opened(kind, url) as client:
        for status, _ in SOMEBODY_ELSE:
            with refused(ErrorCode.NODE_UNREACHABLE) as caught:
                await client.get("some-job")
            assert str(status) in caught.value.message


async def test_code_of_a_newer_node_is_no_obstacle(kind):
    async def newer(scope, receive, send):
        error = {"code": "OUT_OF_CHEESE", "message": "no cheese", "details": {}, "request_id": "r"}
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps({"error": error}).encode()})

    async with served(newer) as url, opened(kind, url) as client:
        with refused(ErrorCode.INTERNAL_ERROR) as caught:
            await client.get("some-job")
    assert caught.value.message == "no cheese"


async def test_transport_may_replace_the_network(house):
    async with AsyncClient("http://anywhere", transport=house.transport) as client:
        assert (await client.submit("noop")).state is State.QUEUED

"""`Executor` against a node whose jobs end as the test says."""

import asyncio
import contextlib
import functools
import threading
from collections import Counter
from concurrent.futures import CancelledError, as_completed, wait

import httpx
import msgspec
import pytest
from pydantic import BaseModel

from penstock import Executor, JobFailed, PenstockError, Progress, task
from penstock.client import dispatch
from penstock.core.errors import ErrorCode
from penstock.core.job import JobError
from penstock.core.lifecycle import Failed, Succeeded
from support.served import served
from support.wait import PATIENCE_S, eventually, until

BROKEN = Failed(JobError("TASK_ERROR", "it broke"), permanent=True)


class Point(BaseModel):
    x: float
    y: float = 0.0


@task
def moved(point: Point, by: int = 1, *, progress: Progress, label: str = "") -> tuple[Point, str]:
    """Never run here."""
    raise NotImplementedError


@task
def mirrored(point: Point) -> Point:
    """Never run here."""
    raise NotImplementedError


@task
def number(n: int) -> int:
    """Never run here."""
    raise NotImplementedError


@task(cache="1h")
def shared(n: int) -> int:
    """Never run here."""
    raise NotImplementedError


def plain(n):
    return n


@pytest.fixture
async def full_house(open_house):
    return await open_house([moved, mirrored, number, shared], max_depth=50)


@pytest.fixture
async def pool(full_house):
    async with served(full_house.app) as url:
        executor = Executor(url=url, patience_s=2)
        try:
            yield executor
        finally:
            await asyncio.to_thread(executor.shutdown, cancel_futures=True)


async def ended(future):
    async with asyncio.timeout(PATIENCE_S):
        return await asyncio.wrap_future(future)


@contextlib.asynccontextmanager
async def worked(house, ending=lambda _: None):
    async def work():
        while True:
            for claim in await house.broker.claim("hands/1", ["default"], 40, 20):
                n = msgspec.json.decode(claim.spec.params)["n"]
                await house.hands.end(claim, ending(n) or Succeeded(msgspec.Raw(b"%d" % n)))

    working = asyncio.create_task(work())
    try:
        yield
    finally:
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working


async def test_arguments_are_bound_as_in_a_call_and_results_come_back_typed(full_house, pool):
    future = pool.submit(moved, Point(x=1), 5, label="there")
    (claim,) = await full_house.hands.take()
    params = {"by": 5, "label": "there", "point": {"x": 1.0, "y": 0.0}}
    assert msgspec.json.decode(claim.spec.params) == params
    await full_house.hands.end(claim, Succeeded(msgspec.Raw(b'[{"x": 6.0, "y": 0.0}, "there"]')))
    assert await ended(future) == (Point(x=6), "there")
    assert future.job_id == claim.spec.id


async def test_a_task_of_one_model_takes_that_model(full_house, pool):
    future = pool.submit(functools.partial(mirrored, point={"x": 2, "y": 1}))
    await full_house.hands.work(1, Succeeded(msgspec.Raw(b'{"x": 1.0, "y": 2.0}')))
    assert await ended(future) == Point(x=1, y=2)


async def test_a_task_may_be_named(full_house, pool):
    future = pool.submit("number", n=3)
    await full_house.hands.work()
    assert await ended(future) == 42


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        ((plain, 1), TypeError, "plain is a plain function.*write @task above"),
        ((lambda: 1,), TypeError, "<lambda> is a plain function"),
        ((7,), TypeError, "7 is neither a @task function nor the name of a task"),
        (("number", 1), TypeError, "the parameters of 'number' must be named"),
        ((number,), TypeError, "task number: missing a required argument: 'n'"),
        ((number, 1, 2), TypeError, "task number: too many positional arguments"),
        ((number, "x"), PenstockError, "params.n"),
    ],
)
async def test_what_cannot_be_a_job_is_refused_by_submit(full_house, pool, call, error, told):
    with pytest.raises(error, match=told):
        pool.submit(*call)
    assert await full_house.stored() == 0


async def test_refusals_failures_and_results_of_another_kind(full_house, pool):
    with pytest.raises(PenstockError, match="no task 'nobody'"):
        await ended(pool.submit("nobody"))
    future = pool.submit(number, 1)
    await full_house.hands.work(1, BROKEN)
    with pytest.raises(JobFailed, match="it broke") as caught:
        await ended(future)
    assert caught.value.code == "TASK_ERROR"
    future = pool.submit(number, 1)
    await full_house.hands.work(1, Succeeded(msgspec.Raw(b"null")))
    with pytest.raises(PenstockError, match="not what its annotation says") as caught:
        await ended(future)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


async def test_cancelled_while_queued_or_running(full_house, pool):
    running = pool.submit(number, 1)
    (claim,) = await full_house.hands.take()
    queued = pool.submit(number, 2)
    await eventually(lambda: queued.job_id)
    assert await asyncio.to_thread(running.running)
    assert not await asyncio.to_thread(queued.running)
    for future in (queued, running):
        assert future.cancel()
        assert future.cancel(), "as the standard library's says"
        with pytest.raises(CancelledError):
            future.result(0)
    assert await asyncio.to_thread(wait, [queued, running], PATIENCE_S) == ({queued, running}, set())

    async def cancelled():
        jobs = [await full_house.job(future.job_id) for future in (queued, running)]
        return jobs[0]["state"] == "cancelled" and jobs[1]["cancel_requested"]

    await eventually(cancelled)
    await full_house.hands.end(claim)


async def test_cancelled_before_it_is_sent_is_never_a_job(full_house, monkeypatch):
    async with served(full_house.app) as url:
        with Executor(url=url) as pool:
            held = threading.Event()
            monkeypatch.setattr(pool._dispatch, "_connect", held_back(held, pool._dispatch._connect))
            future = pool.submit(number, 1)
            assert future.cancel()
            held.set()
        assert await full_house.stored() == 0


def held_back(event, connect):
    def later(wanted):
        event.wait(PATIENCE_S)
        return connect(wanted)

    return later


async def test_somebody_elses_cancel_cancels_the_future(full_house, pool):
    future = pool.submit(number, 1)
    await eventually(lambda: future.job_id)
    await full_house.ask("DELETE", f"/jobs/{future.job_id}")
    await eventually(future.done)
    with pytest.raises(CancelledError):
        future.result(0)


async def test_what_has_ended_is_not_cancelled(full_house, pool):
    future = pool.submit(number, 1)
    seen = []
    future.add_done_callback(seen.append)
    await full_house.hands.work()
    assert await ended(future) == 42
    assert not future.cancel()
    assert future.exception() is None
    assert seen == [future]


async def test_hundreds_of_futures_take_two_threads_and_few_requests(full_house, pool, monkeypatch):
    """Also where the queue takes fifty at a time: what is refused is sent again, nothing is lost."""
    monkeypatch.setattr(dispatch, "PAUSE_S", 0.1)
    requests = Counter()
    send = httpx.Client.request

    def counted(self, method, path, **options):
        requests[path] += 1
        return send(self, method, path, **options)

    monkeypatch.setattr(httpx.Client, "request", counted)

    def use():
        futures = [pool.submit(number, n) for n in range(600)]
        names = [each.name for each in threading.enumerate() if each.name.startswith("penstock-executor")]
        return sorted(future.result() for future in as_completed(futures, PATIENCE_S)), names

    async with worked(full_house):
        found, names = await asyncio.to_thread(use)
    assert found == list(range(600))
    assert len(names) == 2
    assert set(requests) == {"/batches", "/waits"}
    assert requests.total() < 200
    assert await full_house.stored() == 600


async def test_map_is_that_of_the_standard_library(full_house, pool):
    async with worked(full_house):
        found = await asyncio.to_thread(lambda: list(pool.map(number, range(30), timeout=20, chunksize=5)))
        assert found == list(range(30))
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(lambda: list(pool.map(number, [1], timeout=0.05)))


async def test_futures_that_share_a_job_all_end(full_house, pool):
    futures = [pool.submit(shared, 7) for _ in range(3)]
    await eventually(lambda: all(future.job_id for future in futures))
    assert len({future.job_id for future in futures}) == 1
    await full_house.hands.work()
    assert [await ended(future) for future in futures] == [42, 42, 42]
    assert await ended(pool.submit(shared, 7)) == 42, "known at once"


async def test_shutdown_does_what_was_taken(full_house, pool):
    future = pool.submit(number, 5)
    async with worked(full_house):
        await asyncio.to_thread(pool.shutdown)
    assert future.result(0) == 5
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(number, 1)


async def test_or_only_what_runs(full_house, pool):
    running = pool.submit(number, 1)
    (claim,) = await full_house.hands.take()
    queued = pool.submit(number, 2)
    await eventually(lambda: queued.job_id)
    leaving = asyncio.create_task(asyncio.to_thread(pool.shutdown, cancel_futures=True))
    await eventually(queued.done)
    assert queued.cancelled()
    await full_house.hands.end(claim)
    await leaving
    assert running.result(0) == 42


async def test_leaving_by_ctrl_c_cancels_what_runs_as_well(full_house):
    def leave(url, interrupted):
        with Executor(url=url) as pool:
            future = pool.submit(number, 1)
            interrupted.wait(PATIENCE_S)
            left.append(future)
            raise KeyboardInterrupt

    left, interrupted = [], threading.Event()
    async with served(full_house.app) as url:
        leaving = asyncio.create_task(asyncio.to_thread(in_vain, leave, url, interrupted))
        (claim,) = await full_house.hands.take()
        interrupted.set()
        await asyncio.wait([leaving], timeout=PATIENCE_S)
        gone, job = leaving.done(), await full_house.job(claim.spec.id)
        await full_house.hands.end(claim)  # lets it go in any case
        await leaving
    assert gone
    assert left[0].cancelled()
    assert job["cancel_requested"]


def in_vain(leave, *given):
    """A KeyboardInterrupt must not reach the event loop."""
    with pytest.raises(KeyboardInterrupt):
        leave(*given)


async def test_the_last_cancel_reaches_the_node(full_house):
    async with served(full_house.app) as url:
        pool = Executor(url=url)
        future = pool.submit(number, 1)
        await eventually(lambda: future.job_id)
        await asyncio.to_thread(pool.shutdown, cancel_futures=True)
    assert (await full_house.job(future.job_id))["state"] == "cancelled"


async def test_options_and_the_key_go_with_every_job(full_house):
    async with served(full_house.app) as url, worked(full_house):
        with Executor(url=url, priority="high", max_attempts=9) as pool:
            await ended(pool.submit(number, 1))
    (job,) = (await full_house.ask("GET", "/jobs")).json()["jobs"]
    assert (job["priority"], job["max_attempts"]) == ("high", 9)


async def test_a_node_that_is_gone_fails_the_futures(full_house):
    async with served(full_house.app) as url:
        pool = Executor(url=url, patience_s=0.2)
        future = pool.submit(number, 1)
        await full_house.hands.take()
    with pytest.raises(PenstockError) as caught:
        await asyncio.to_thread(future.result, PATIENCE_S)
    assert caught.value.code is ErrorCode.NODE_UNREACHABLE
    late = pool.submit(number, 2)
    with pytest.raises(PenstockError):
        await asyncio.to_thread(late.result, PATIENCE_S)
    await asyncio.to_thread(pool.shutdown)


async def test_dropped_without_a_word_it_ends_by_itself(full_house):
    def threads():
        return [each for each in threading.enumerate() if each.name.startswith("penstock-executor")]

    async with served(full_house.app) as url, worked(full_house):
        assert await ended(Executor(url=url).submit(number, 4)) == 4
        await asyncio.to_thread(until, lambda: not threads())

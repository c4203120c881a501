"""A server that is full refuses new work whole, and lets what ends work go on."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from kit.redis import contents, opened
from kit.time import ManualClock
from kit.values import BROKEN, claim, feed, finish, get_one, held, ids, spec, submit, submit_one, worker

from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import JobProgress, Limits, State
from penstock.core.lifecycle import Lost, Released, Succeeded
from penstock.ports import Broker
from support.redis_server import RedisServer, ValkeyServer

pytestmark = pytest.mark.slow


@pytest.fixture(params=[RedisServer, ValkeyServer])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    with request.param(tmp_path, maxmemory_policy="noeviction") as started:
        yield started


def fill(server: RedisServer) -> None:
    """From now on it is full: it has less memory than it uses already."""
    server.configure("maxmemory", "1")


def make_room(server: RedisServer) -> None:
    server.configure("maxmemory", "0")


BRINGS_WORK: dict[str, Callable[[Broker, str], Awaitable[object]]] = {
    "submit one": lambda broker, _: broker.submit([spec()]),
    "submit many": lambda broker, _: broker.submit([spec(idempotency_key=f"k{n}") for n in range(50)]),
    "submit for later": lambda broker, _: broker.submit([spec(delay_ms=1_000), spec(queue="new")]),
    "retry": lambda broker, failed: broker.retry([failed]),
    "pause": lambda broker, _: broker.pause("default"),
    "put": lambda broker, _: broker.put("shelf", "name", b"body"),
}


@pytest.mark.parametrize("call", BRINGS_WORK.values(), ids=BRINGS_WORK)
async def test_what_brings_work_is_refused_and_nothing_of_it_is_stored(
    server: RedisServer, call: Callable[[Broker, str], Awaitable[object]]
) -> None:
    async with opened(server.url("n")) as broker:
        failed = await submit_one(broker)
        await broker.cancel([failed.id])
        await submit(broker, spec(), spec(delay_ms=60_000))
        before = contents(server)
        fill(server)
        server.ask("SCRIPT", "FLUSH")  # sending the script again must not be what opens a gap
        for _ in range(2):
            with pytest.raises(PenstockError, match="OOM") as refused:
                await call(broker, failed.id)
            assert refused.value.code is ErrorCode.BROKER_UNAVAILABLE
            assert refused.value.retry_after_s
        assert contents(server) == before
        make_room(server)
        await call(broker, failed.id)
        assert contents(server) != before


async def test_whether_a_job_could_be_kept_is_told_without_keeping_one(server: RedisServer) -> None:
    async with opened(server.url("n")) as broker:
        before = contents(server)
        await broker.submit([])
        fill(server)
        with pytest.raises(PenstockError, match="OOM"):
            await broker.submit([])
        make_room(server)
        await broker.submit([])
        assert contents(server) == before


async def test_work_that_is_there_is_done_to_its_end(server: RedisServer) -> None:
    clock, result = ManualClock(), Succeeded(msgspec.Raw(b'"' + b"x" * 10_000 + b'"'))
    async with opened(server.url("n"), clock) as broker:
        queued = await submit(broker, *(spec(limits=Limits(backoff_ms=0)) for _ in range(6)))
        later = await submit_one(broker, delay_ms=1_000)
        unwanted = await submit_one(broker, queue="another")
        fill(server)
        first, second, third, fourth, fifth, sixth = await claim(broker)
        orders = await broker.renew(worker(), [held(first, JobProgress(0.5, "half"), ("a line",))])
        assert orders.lost == frozenset()
        await broker.cancel([second.spec.id])
        await broker.cancel([unwanted.id])
        assert (await broker.renew(worker(), [held(second)])).cancel == {second.token}
        outcomes = [result, result, BROKEN, Released()]
        pairs = zip((first, second, third, fourth), outcomes, strict=True)
        assert await broker.settle([finish(*pair) for pair in pairs]) == [True] * 4
        clock.advance(20_000)
        taken = await broker.reclaim("r", 10)
        assert ids(taken) == ids([fifth, sixth])
        assert await broker.settle([finish(one, Lost("w")) for one in taken]) == [True] * 2
        await broker.retire("w")
        again = await claim(broker, "x")
        assert set(ids(again)) == {later.id, *(job.id for job in queued[2:])}
        assert await broker.settle([finish(one, result) for one in again]) == [True] * 5
        await broker.resume("default")
        jobs = await broker.get([job.id for job in [*queued, later, unwanted]])
        assert [job.state for job in jobs if job] == [State.SUCCEEDED] * 7 + [State.CANCELLED]
        assert {event.kind for event in await feed(broker)} >= {"progress", "log", "running", "succeeded"}


async def test_the_old_is_forgotten_and_makes_room(server: RedisServer) -> None:
    clock = ManualClock()
    async with opened(server.url("n"), clock, keep_jobs_ms=1_000, keep_events_ms=1_000) as broker:
        jobs = await submit(broker, *(spec(queue=f"q{n}") for n in range(3)))
        await broker.cancel([job.id for job in jobs])
        clock.advance(5_000)
        fill(server)
        assert await broker.trim(1_000) == 3 + 6
        assert await get_one(broker, jobs[0].id) is None
        assert await broker.claim("w", ["default"], 1, 0.05) == []
        with pytest.raises(PenstockError, match="OOM"):
            await submit_one(broker)
        make_room(server)
        job = await submit_one(broker)
        assert ids(await claim(broker)) == [job.id]

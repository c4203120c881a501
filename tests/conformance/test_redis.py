"""What only a server has: it is restarted, its scripts are flushed, and others have their jobs on it."""

import asyncio
from collections import Counter

import pytest
from kit.backends import RedisBackend
from kit.everything import LONG_MS, do_everything
from kit.redis import EVERY_KIND, contents, opened, owner, writable
from kit.time import ManualClock, deadline
from kit.values import claim, claim_one, feed, finish, get_one, ids, run_one, spec, submit, submit_one, worker

from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import State
from penstock.ports import JobQuery, Receipt
from support.wait import eventually

every_kind = pytest.mark.parametrize("backend", EVERY_KIND, indirect=True)
single_server = pytest.mark.parametrize("backend", ["redis", "valkey"], indirect=True)

WAIT_S = 30.0


@every_kind
async def test_scripts_that_the_server_forgot_are_sent_again(backend: RedisBackend) -> None:
    broker, server = await backend.open(), owner(backend)
    job = await submit_one(broker)
    server.ask("SCRIPT", "FLUSH")
    claimed = await claim_one(broker)
    for call in (
        lambda: broker.renew(worker(), []),
        lambda: broker.reclaim("r", 10),
        lambda: broker.settle([finish(claimed)]),
        lambda: broker.get([job.id]),
        lambda: broker.events("", 0),
        broker.stats,
        lambda: broker.cancel([job.id]),
        lambda: broker.retry([job.id]),
        lambda: broker.pause("default"),
        lambda: broker.resume("default"),
        lambda: broker.trim(10),
        lambda: broker.put("shelf", "name", b"body"),
        lambda: broker.shelf("shelf"),
        lambda: broker.retire("w"),
        broker.open,
    ):
        server.ask("SCRIPT", "FLUSH")
        await call()
    assert (await get_one(broker, job.id)).state is State.SUCCEEDED


@every_kind
async def test_scripts_that_are_forgotten_under_load_cost_no_job(backend: RedisBackend) -> None:
    broker, server = await backend.open(), owner(backend)
    submitted: list[str] = []
    for _ in range(20):
        calls = [asyncio.ensure_future(submit_one(broker)) for _ in range(5)]
        server.ask("SCRIPT", "FLUSH")
        submitted += [job.id for job in await asyncio.gather(*calls)]
    assert sorted(ids(await claim(broker))) == sorted(submitted)
    assert Counter(event.kind for event in await feed(broker)) == {"queued": 100, "running": 100}


@pytest.mark.slow
@single_server
async def test_one_broker_outlives_its_server(backend: RedisBackend) -> None:
    broker = await backend.open()
    done, running, queued = await run_one(broker), await submit_one(broker), await submit_one(broker)
    (claimed,) = await claim(broker, limit=1)
    told = await feed(broker)
    for _ in range(3):
        with backend.outage("the server is gone"):
            pass
        assert await feed(broker) == told
    assert claimed.spec.id == running.id
    assert await broker.settle([finish(claimed)]) == [True]
    assert ids(await claim(broker)) == [queued.id]
    assert await get_one(broker, done.id) == done


@pytest.mark.slow
@single_server
async def test_who_waits_at_a_server_that_dies_is_told_and_can_wait_at_the_next(
    backend: RedisBackend,
) -> None:
    broker, other = await backend.open(), await backend.open()
    kept = await submit_one(broker, queue="another")
    server = owner(backend)

    async def wait() -> tuple[asyncio.Future, asyncio.Future]:
        waiting = (
            asyncio.ensure_future(broker.claim("w", ["default"], 1, WAIT_S)),
            asyncio.ensure_future(broker.events(await broker.head(), WAIT_S)),
        )
        await eventually(lambda: server.info("clients")["blocked_clients"] == 2, what="both wait")
        return waiting

    waiting = await wait()
    with backend.outage("the server is gone"):
        async with deadline():
            answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [getattr(answer, "code", answer) for answer in answers] == [ErrorCode.BROKER_UNAVAILABLE] * 2
    claiming, listening = await wait()
    async with deadline():
        job = await submit_one(other)
        assert ids(await claiming) == [job.id]
        assert (await listening)[0].job_id == job.id
    assert await get_one(broker, kept.id) == kept


async def make_busy(backend: RedisBackend, namespace: str) -> None:
    """Do everything there is in this namespace, and check that only its own jobs are met."""
    clock = ManualClock()
    async with opened(backend.server.url(namespace), clock, keep_events_ms=10 * LONG_MS) as broker:
        mine = await do_everything(broker, clock)
        assert {event.job_id for event in await feed(broker)} == mine
        found = {job.id for job in await broker.find(JobQuery(limit=10_000))}
        assert found <= mine
        assert sum((await broker.stats()).states.values()) == len(found) < len(mine)


@every_kind
async def test_namespaces_of_one_server_do_not_meet(backend: RedisBackend) -> None:
    """The names are chosen so that a prefix, or a pattern without its braces, would take both for one."""
    first, second = backend.namespace, f"{backend.namespace}x"
    clock = ManualClock()
    server = owner(backend)
    async with opened(backend.server.url(first), clock) as broker:
        shared = await submit_one(broker, idempotency_key="same key", client="same client")
        await claim_one(broker, "x")
        delayed = await submit_one(broker, delay_ms=100)
        before = contents(server, f"{{{first}}}*")
        try:
            await make_busy(backend, second)
            assert contents(server, f"{{{first}}}*") == before
            async with opened(backend.server.url(second), clock) as other:
                again: Receipt
                (again,) = await other.submit([shared.spec])
                assert again.admission == "accepted"
                assert await get_one(other, delayed.id) is None
                assert await other.cancel([delayed.id]) == [None]
        finally:
            backend.server.delete(f"*{{{second}}}*")


@every_kind
async def test_everything_lies_under_the_hash_tag_of_the_namespace(backend: RedisBackend) -> None:
    """A cluster then keeps it in one place, and one pattern of an ACL covers it."""
    await make_busy(backend, backend.namespace)
    found = [contents(server, f"*{backend.namespace}*").keys() for server in writable(backend)]
    (keys,) = [each for each in found if each]
    assert len(keys) > 15
    assert {key.partition(b":")[0] for key in keys} == {f"{{{backend.namespace}}}".encode()}


@every_kind
async def test_data_of_a_newer_penstock_are_refused_and_left_alone(backend: RedisBackend) -> None:
    broker = await backend.open()
    job = await submit_one(broker)
    server = owner(backend)
    server.ask("HSET", f"{{{backend.namespace}}}:meta", "schema", 99)
    with pytest.raises(PenstockError, match="newer") as refused:
        await backend.open()
    assert refused.value.code is ErrorCode.INVALID_REQUEST
    assert await get_one(broker, job.id) == job


@single_server
async def test_queues_in_which_nothing_waits_cost_figures_no_command(backend: RedisBackend) -> None:
    broker, server = await backend.open(), owner(backend)

    async def commands() -> int:
        before = server.info("commandstats")
        await broker.stats()
        after = server.info("commandstats")
        inside = ("hget", "hgetall", "hmget", "zrange", "zrangebyscore", "hlen")
        return sum(
            each["calls"] - before.get(name, {"calls": 0})["calls"]
            for name, each in after.items()
            if name.removeprefix("cmdstat_") in inside
        )

    few = await commands()
    jobs = [job.id for job in await submit(broker, *(spec(queue=f"q{n}") for n in range(100)))]
    await broker.cancel(jobs)
    assert len((await broker.stats()).queues) == 100
    assert await commands() <= few + 2

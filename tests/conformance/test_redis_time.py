"""A call that comes too late does nothing, by the clock of the server that it comes to."""

import asyncio
import time

import pytest
from kit.backends import RedisBackend
from kit.redis import EVERY_KIND, contents, opened, owner
from kit.time import deadline
from kit.values import claim_one, finish, get_one, ids, spec, submit_one, worker

from penstock.brokers.redis import RedisBroker
from penstock.brokers.redis.scripts import script
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import State
from penstock.ports import Admission
from support.redis_server import RedisServer
from support.wait import eventually

HOUR_MS = 3_600_000
BRISK_S = 0.3

every_kind = pytest.mark.parametrize("backend", EVERY_KIND, indirect=True)


def late_answers(server: RedisServer) -> int:
    """How many calls this server has turned away so far because they came too late."""
    return int(server.info("errorstats").get("errorstat_LATE", {}).get("count", 0))


def error_ms(broker: RedisBroker) -> float:
    """How far the broker's idea of the server's clock is off; both run on this machine."""
    ahead = time.time() * 1000 - asyncio.get_running_loop().time() * 1000
    return abs(broker._link._ahead_ms - ahead)


@pytest.mark.slow
@every_kind
async def test_calls_that_a_paused_server_finds_when_it_wakes_do_nothing(backend: RedisBackend) -> None:
    server = owner(backend)
    for verb in ("submit", "claim", "settle", "cancel", "renew", "retire"):
        server.ask("SCRIPT", "LOAD", script(verb).text)  # of one that it does not know it would say that
    async with opened(backend.url) as patient, opened(backend.url) as broker:
        done = await submit_one(patient)
        running = await claim_one(patient)
        await submit_one(broker)
        broker._link.timeout_s = BRISK_S  # from here on nobody is to answer
        calls = [
            lambda: broker.submit([spec()]),
            lambda: broker.claim("w", ["default"], 1, 0),
            lambda: broker.settle([finish(running)]),
            lambda: broker.cancel([done.id]),
            lambda: broker.renew(worker("x"), []),
            lambda: broker.retire("w"),
        ]
        pattern = f"{{{backend.namespace}}}*"
        before, late = contents(server, pattern), late_answers(server)
        with server.paused():
            answers = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
        codes = [getattr(answer, "code", answer) for answer in answers]
        assert codes == [ErrorCode.BROKER_UNAVAILABLE] * len(calls)
        # Behind Sentinel each is followed by a WAIT; there it sees that nobody is left, and drops the rest.
        found = 1 if backend.url.startswith("redis+sentinel") else len(calls)
        await eventually(lambda: late_answers(server) >= late + found, what="it found them")
        assert contents(server, pattern) == before


@every_kind
async def test_a_clock_that_was_thought_to_be_behind_is_learnt_from_the_refusal(
    backend: RedisBackend,
) -> None:
    """As after the server's clock jumped ahead: every call would seem to be an hour late."""
    broker, server = await backend.open(), owner(backend)
    await submit_one(broker)
    late = late_answers(server)
    broker._link._ahead_ms -= HOUR_MS
    async with deadline():
        (receipt,) = await broker.submit([one := spec()])
    assert receipt.admission is Admission.ACCEPTED
    assert late_answers(server) == late + 1
    assert error_ms(broker) < 5_000
    assert (await get_one(broker, one.id)).state is State.QUEUED


@every_kind
async def test_a_clock_that_was_thought_to_be_ahead_is_learnt_from_the_next_answer(
    backend: RedisBackend,
) -> None:
    """As after the server's clock was put back: a call that is an hour late would seem to be in time."""
    broker, server = await backend.open(), owner(backend)
    late = late_answers(server)
    broker._link._ahead_ms += HOUR_MS
    async with deadline():
        job = await submit_one(broker)
    assert error_ms(broker) < 5_000
    assert late_answers(server) == late
    assert ids([await claim_one(broker)]) == [job.id]


@every_kind
async def test_many_calls_at_a_wrong_clock_are_all_answered(backend: RedisBackend) -> None:
    broker = await backend.open()
    broker._link._ahead_ms -= HOUR_MS
    async with deadline():
        jobs = await asyncio.gather(*(submit_one(broker) for _ in range(50)), broker.stats())
    assert [job.state for job in await broker.get([job.id for job in jobs[:50]]) if job] == [
        State.QUEUED
    ] * 50


@every_kind
async def test_a_call_whose_time_is_over_before_it_is_sent_is_refused(backend: RedisBackend) -> None:
    """However often it is repeated, a call is not made after its caller was told that it failed."""
    async with opened(backend.url) as broker:
        await submit_one(broker)
        broker._link._note_clock = lambda _: None
        broker._link.timeout_s = BRISK_S
        broker._link._ahead_ms -= HOUR_MS
        with pytest.raises(PenstockError, match="LATE") as refused:
            await broker.submit([one := spec()])
        assert refused.value.code is ErrorCode.BROKER_UNAVAILABLE
        assert await get_one(await backend.open(), one.id) is None

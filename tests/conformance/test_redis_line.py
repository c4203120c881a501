"""A connection that is lost at the worst moment: before a command arrived, or before its answer did."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from kit.backends import RedisBackend
from kit.redis import opened, owner
from kit.time import ManualClock, deadline
from kit.values import claim, claim_one, feed, finish, get_one, held, ids, run_one, spec, submit_one, worker

from penstock.brokers.redis import RedisBroker
from penstock.brokers.redis.scripts import script
from penstock.core.job import State
from penstock.ports import Admission
from support.ports import HOST
from support.proxy import Proxy

Lose = Callable[[Proxy, bytes], None]

lose = pytest.mark.parametrize(
    "lose", [pytest.param(Proxy.lose_answer, id="answer"), pytest.param(Proxy.lose_command, id="command")]
)
pytestmark = pytest.mark.parametrize("backend", ["redis", "valkey"], indirect=True)


@asynccontextmanager
async def cuttable(backend: RedisBackend, clock: ManualClock) -> AsyncIterator[tuple[RedisBroker, Proxy]]:
    """A broker, and the way to its server."""
    async with Proxy(owner(backend).port) as proxy:
        url = f"redis://{HOST}:{proxy.port}/0?namespace={backend.namespace}"
        async with opened(url, clock) as broker, deadline():
            yield broker, proxy


async def kinds(broker: RedisBroker) -> Counter[str]:
    return Counter(event.kind for event in await feed(broker))


def sha(verb: str) -> bytes:
    return script(verb).sha


@lose
async def test_a_lost_submission_is_accepted_once(
    backend: RedisBackend, clock: ManualClock, lose: Lose
) -> None:
    async with cuttable(backend, clock) as (broker, proxy):
        first = await submit_one(broker)
        wanted = [spec(), spec(idempotency_key="key"), spec(delay_ms=1_000)]
        lose(proxy, sha("submit"))
        receipts = await broker.submit(wanted)
        assert proxy.lost == 1
        assert [receipt.admission for receipt in receipts] == [Admission.ACCEPTED] * 3
        assert await broker.get([one.id for one in wanted]) == [receipt.job for receipt in receipts]
        assert await kinds(broker) == {"queued": 3, "scheduled": 1}
        assert ids(await claim(broker)) == [first.id, wanted[0].id, wanted[1].id]


@lose
async def test_submissions_that_shared_a_lost_call_are_each_accepted_once(
    backend: RedisBackend, clock: ManualClock, lose: Lose
) -> None:
    async with cuttable(backend, clock) as (broker, proxy):
        await submit_one(broker)
        lose(proxy, sha("submit"))
        calls = [broker.submit([spec() for _ in range(n % 3)]) for n in range(30)]
        receipts = [receipt for answer in await asyncio.gather(*calls) for receipt in answer]
        assert {receipt.admission for receipt in receipts} == {Admission.ACCEPTED}
        assert await kinds(broker) == {"queued": 31}


@lose
async def test_what_was_there_before_a_lost_call_is_still_repeated(
    backend: RedisBackend, clock: ManualClock, lose: Lose
) -> None:
    """Only a job that the lost call itself may have brought is taken for new."""
    async with cuttable(backend, clock) as (broker, proxy):
        known = await submit_one(broker, idempotency_key="key", fingerprint="f")
        lose(proxy, sha("submit"))
        same, other, fresh = await broker.submit(
            [
                spec(idempotency_key="key", fingerprint="f"),
                spec(idempotency_key="key", fingerprint="g"),
                spec(idempotency_key="fresh"),
            ]
        )
        assert (same.admission, same.job) == (Admission.REPEATED, known)
        assert (other.admission, other.job) == (Admission.CONFLICT, known)
        assert fresh.admission is Admission.ACCEPTED


@lose
async def test_a_lost_settlement_is_stored_once(
    backend: RedisBackend, clock: ManualClock, lose: Lose
) -> None:
    async with cuttable(backend, clock) as (broker, proxy):
        await run_one(broker)
        await submit_one(broker)
        claimed = await claim_one(broker)
        lose(proxy, sha("settle"))
        accepted = await broker.settle([finish(claimed)])
        assert proxy.lost == 1
        assert len(accepted) == 1, "whether it was the lost call that stored it cannot be told"
        job = await get_one(broker, claimed.spec.id)
        assert (job.state, job.attempt, job.token) == (State.SUCCEEDED, 1, 0)
        assert await broker.settle([finish(claimed)]) == [False]
        assert (await kinds(broker))["succeeded"] == 2


async def test_claims_that_got_lost_are_given_out_again(backend: RedisBackend, clock: ManualClock) -> None:
    """The worker that they were given to lives and does not hold them; its own renewals tell."""
    async with cuttable(backend, clock) as (broker, proxy):
        await run_one(broker)
        job = await submit_one(broker)
        proxy.lose_answer(sha("claim"))
        assert await claim(broker) == []
        assert (await get_one(broker, job.id)).state is State.RUNNING
        clock.advance(6_000)
        await broker.renew(worker("w"), [])
        (taken,) = await broker.reclaim("r", 10)
        assert taken.spec.id == job.id


@lose
async def test_other_verbs_are_simply_repeated(backend: RedisBackend, clock: ManualClock, lose: Lose) -> None:
    async with cuttable(backend, clock) as (broker, proxy):
        await submit_one(broker)
        claimed = await claim_one(broker)
        calls = {
            "renew": lambda: broker.renew(worker(), [held(claimed)]),
            "cancel": lambda: broker.cancel([claimed.spec.id]),
            "retry": lambda: broker.retry([claimed.spec.id]),
            "reclaim": lambda: broker.reclaim("r", 10),
            "trim": lambda: broker.trim(10),
            "get": lambda: broker.get([claimed.spec.id]),
            "events": lambda: broker.events("", 0),
            "stats": broker.stats,
            "pause": lambda: broker.pause("default"),
            "resume": lambda: broker.resume("default"),
            "retire": lambda: broker.retire("another"),
        }
        for verb, call in calls.items():
            await call()
            before = await kinds(broker)
            lose(proxy, sha(verb))
            await call()
            assert proxy.lost == list(calls).index(verb) + 1
            assert await kinds(broker) == before
        assert (await broker.renew(worker(), [held(claimed)])).cancel == {claimed.token}


async def test_a_way_that_is_cut_while_others_wait_is_found_again(
    backend: RedisBackend, clock: ManualClock
) -> None:
    """A claim that waits is told when its connection goes, and can be repeated at once."""
    async with cuttable(backend, clock) as (broker, proxy):
        await run_one(broker)
        proxy.lose_command(b"BLPOP")
        with pytest.raises(Exception, match="lost"):
            await broker.claim("w", ["default"], 1, 20.0)
        waiting = asyncio.ensure_future(broker.claim("w", ["default"], 1, 20.0))
        job = await submit_one(broker)
        assert ids(await waiting) == [job.id]

"""The primary is another server now: calls find it, whoever tells that it moved."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from kit.redis import opened
from kit.time import deadline
from kit.values import claim_one, feed, finish, get_one, ids, submit_one, worker

from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import State
from penstock.ports import JobQuery
from support.ports import HOST
from support.redis_groups import SERVICE, Cluster, Sentinel, SentinelGroup
from support.redis_server import RedisServer
from support.wait import eventually, until

pytestmark = pytest.mark.slow

NAMESPACE = "moving"
TAG = f"{{{NAMESPACE}}}"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as started:
        yield started


def move(cluster: Cluster) -> tuple[RedisServer, RedisServer]:
    """Give the namespace's slot with all that is in it to another server, as an operator does."""
    slot = cluster.servers[0].ask("CLUSTER", "KEYSLOT", TAG)
    old = next(each for each in cluster.servers if each.ask("CLUSTER", "COUNTKEYSINSLOT", slot))
    new = next(each for each in cluster.servers if each is not old)
    names = {each: each.ask("CLUSTER", "MYID") for each in (old, new)}
    new.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", names[old])
    old.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", names[new])
    with old.client(decode_responses=False) as client:
        keys = client.cluster("GETKEYSINSLOT", slot, 10_000)
        client.execute_command("MIGRATE", HOST, new.port, "", 0, 5_000, "KEYS", *keys)
    for each in (new, old, *cluster.servers):
        each.ask("CLUSTER", "SETSLOT", slot, "NODE", names[new])
    return old, new


async def test_a_slot_that_moved_is_followed_by_every_call(cluster: Cluster) -> None:
    async with opened(cluster.url(NAMESPACE)) as broker:
        running = await submit_one(broker)
        claimed = await claim_one(broker)
        failed = await submit_one(broker)
        await broker.cancel([failed.id])
        told = await feed(broker)
        calls = [
            lambda: broker.submit([]),
            lambda: broker.find(JobQuery(state=State.RUNNING)),
            lambda: broker.renew(worker(), []),
            lambda: broker.find(JobQuery(state=State.CANCELLED)),
            lambda: broker.get([running.id]),
            lambda: broker.find(JobQuery()),
            broker.stats,
        ]
        for call in calls:
            move(cluster)
            async with deadline():
                await call()
        move(cluster)
        assert await broker.settle([finish(claimed)]) == [True]
        assert (await feed(broker))[: len(told)] == told
        assert (await get_one(broker, running.id)).state is State.SUCCEEDED


async def test_who_waits_at_a_slot_that_moves_can_wait_at_the_new_place(cluster: Cluster) -> None:
    async with opened(cluster.url(NAMESPACE)) as broker, opened(cluster.url(NAMESPACE)) as other:
        await submit_one(broker, queue="another")

        async def wait() -> list[asyncio.Future]:
            waiting = [
                asyncio.ensure_future(broker.claim("w", ["default"], 1, 30)),
                asyncio.ensure_future(broker.events(await broker.head(), 30)),
            ]
            await eventually(lambda: blocked(cluster) == 2, what="both wait")
            return waiting

        waiting = await wait()
        move(cluster)
        async with deadline():
            answers = await asyncio.gather(*waiting, return_exceptions=True)
        for answer in answers:
            assert answer == [] or answer.code is ErrorCode.BROKER_UNAVAILABLE
        claiming, listening = await wait()
        async with deadline():
            job = await submit_one(other)
            assert ids(await claiming) == [job.id]
            assert (await listening)[0].job_id == job.id


def blocked(cluster: Cluster) -> int:
    return sum(each.info("clients")["blocked_clients"] for each in cluster.servers)


async def test_a_server_that_takes_no_writes_for_a_while_is_tried_again(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        async with opened(server.url()) as broker, opened(server.url(), timeout_s=1.0) as brisk:
            await submit_one(broker)
            claimed = await claim_one(broker)
            # Of itself, which it cannot follow: it stays a replica with the data that it has.
            server.ask("REPLICAOF", HOST, server.port)
            with pytest.raises(PenstockError, match="READONLY") as refused:
                await submit_one(brisk)
            assert refused.value.code is ErrorCode.BROKER_UNAVAILABLE
            waiting = asyncio.ensure_future(broker.settle([finish(claimed)]))
            await asyncio.wait([waiting], timeout=0.1)
            assert not waiting.done()
            server.ask("REPLICAOF", "NO", "ONE")
            async with deadline():
                assert await waiting == [True]


def begins(sentinel: Sentinel) -> bool:
    """Whether it does what it is asked; not while a busy machine makes a replica look as if it were away."""
    try:
        sentinel.ask("SENTINEL", "FAILOVER", SERVICE)
    except redis.ResponseError as refused:
        if "NOGOODSLAVE" not in str(refused):
            raise
        return False
    return True


async def test_every_replica_that_confirms_makes_a_planned_failover_harmless(tmp_path: Path) -> None:
    """An operator asks for a failover, say for an upgrade, while the primary works on.

    For about a second the old primary still takes writes and the second replica still follows it, so
    that one replica's word would not be enough here.
    """
    with SentinelGroup(tmp_path, down_after_ms=3_000) as group:
        async with opened(f"{group.url(NAMESPACE)}&replicas=2", timeout_s=30) as broker:
            jobs = [await submit_one(broker)]
            claimed = await claim_one(broker)
            old = group.primary
            until(lambda: begins(group.sentinels[0]), what="the failover begins")
            async with deadline(90):
                while old.port in {sentinel.primary_port() for sentinel in group.sentinels}:
                    with contextlib.suppress(PenstockError):
                        jobs.append(await submit_one(broker))
                new = group.wait_replaced(old)
                jobs.append(await submit_one(broker))
                assert await broker.settle([finish(claimed)]) == [True]
            assert [job.id for job in await broker.get([job.id for job in jobs]) if job] == [
                job.id for job in jobs
            ]
            assert new.ask("EXISTS", f"{TAG}:specs") == 1

"""What verbs ask of the server: the fewer commands, the faster; jobs of a batch share theirs."""

import asyncio

import pytest
from kit.backends import RedisBackend
from kit.redis import owner
from kit.time import deadline
from kit.values import claim, finish, get_one, ids, spec, submit, submit_one

from penstock.core.job import State
from penstock.ports import Broker
from support.wait import eventually

pytestmark = pytest.mark.parametrize("backend", ["redis", "valkey"], indirect=True)

WAIT_S = 30.0
PER_CALL = 20
"""Commands that a call of a verb may take, whatever its batch; what nobody uses takes hardly any."""


def called(backend: RedisBackend) -> dict[str, int]:
    """How often each command was carried out, those of scripts included."""
    stats = owner(backend).info("commandstats")
    return {name.removeprefix("cmdstat_"): int(each["calls"]) for name, each in stats.items()}


def since(before: dict[str, int], backend: RedisBackend) -> dict[str, int]:
    after = called(backend)
    return {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}


async def a_round(broker: Broker, jobs: int) -> None:
    """So many plain jobs, from being submitted to being settled."""
    await broker.submit([spec() for _ in range(jobs)])
    claims = await claim(broker, limit=jobs)
    assert len(claims) == jobs
    assert all(await broker.settle([finish(each) for each in claims]))


async def test_a_batch_of_plain_jobs_takes_as_many_commands_as_one(backend: RedisBackend) -> None:
    broker = await backend.open()
    await a_round(broker, 1)
    counts = []
    for jobs in (2, 400):
        before = called(backend)
        await a_round(broker, jobs)
        made = since(before, backend)
        made.pop("info", None)
        assert made["evalsha"] == 3
        counts.append(sum(made.values()))
    # A thousandth of a second or the window of time in which jobs are listed may change in between.
    assert abs(counts[1] - counts[0]) <= 3
    assert counts[1] <= 3 * PER_CALL


async def test_a_job_that_succeeds_although_it_was_to_stop_leaves_no_order_behind(
    backend: RedisBackend,
) -> None:
    broker = await backend.open()
    job = await submit_one(broker)
    (taken,) = await claim(broker)
    await broker.cancel([job.id])
    assert await broker.settle([finish(taken)]) == [True]
    assert (await get_one(broker, job.id)).state is State.SUCCEEDED
    assert await broker._link.ask("EXISTS", broker._link.key("stopping")) == 0


async def test_a_claim_after_one_that_left_nothing_begins_by_waiting(backend: RedisBackend) -> None:
    broker = await backend.open()
    first = await submit_one(broker)
    assert ids(await broker.claim("w", ["default"], 2, WAIT_S)) == [first.id]
    before = called(backend)
    waiting = asyncio.ensure_future(broker.claim("w", ["default"], 2, WAIT_S))
    await eventually(lambda: owner(backend).info("clients")["blocked_clients"] == 1, what="it waits")
    second = await submit_one(broker)
    async with deadline():
        assert ids(await waiting) == [second.id]
    assert since(before, backend)["evalsha"] == 2  # the submission, and one claim


async def test_a_claim_that_begins_by_waiting_wakes_for_what_is_due(backend: RedisBackend) -> None:
    broker = await backend.open()
    first = await submit_one(broker)
    (late,) = await submit(broker, spec(delay_ms=300))
    assert ids(await broker.claim("w", ["default"], 2, WAIT_S)) == [first.id]
    waiting = asyncio.ensure_future(broker.claim("w", ["default"], 2, 10 * WAIT_S))
    done, _ = await asyncio.wait({waiting}, timeout=WAIT_S)  # a claim that is cut short answers all the same
    assert done
    assert ids(await waiting) == [late.id]


async def test_a_claim_that_took_all_it_asked_for_asks_again_at_once(backend: RedisBackend) -> None:
    broker = await backend.open()
    jobs = [await submit_one(broker) for _ in range(2)]
    for job in jobs:
        before = called(backend)
        assert ids(await broker.claim("w", ["default"], 1, WAIT_S)) == [job.id]
        assert "blpop" not in since(before, backend)


async def test_whoever_submits_and_waits_asks_for_the_job_in_one_step(backend: RedisBackend) -> None:
    broker, other = await backend.open(), await backend.open()
    for _ in range(2):  # the first time scripts are sent as well
        before = called(backend)
        (receipt,) = await broker.submit([spec()], awaited=True)
        waiting = asyncio.ensure_future(broker.wait(receipt.job.id, WAIT_S))
        (taken,) = await claim(other)
        await other.settle([finish(taken)])
        async with deadline():
            assert (await waiting).state.final
    assert since(before, backend)["evalsha"] == 4  # submit, claim, settle, and what was in the mailbox

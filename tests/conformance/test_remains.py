"""What was kept for a job goes with it, and parts that are withdrawn twice are counted once."""

import contextlib
import sqlite3

from kit.backends import Backend, RedisBackend, SqliteBackend
from kit.families import end, split
from kit.redis import contents, owner
from kit.time import ManualClock
from kit.values import BROKEN, claim, claim_one, finish, queue_stats, spec, submit_one

from penstock.core.job import State
from penstock.core.lifecycle import Cancelled, Failed
from penstock.ports import Broker, JobQuery

LONG_MS = 10**9
EVERYTHING = 1_000_000


def kept(backend: Backend, name: str) -> int:
    """How many rows of a table, or keys that begin so, there are."""
    if isinstance(backend, SqliteBackend):
        with contextlib.closing(sqlite3.connect(backend.path)) as connection:
            found: tuple[int] = connection.execute(f"SELECT count(*) FROM {name}").fetchone()
            return found[0]
    assert isinstance(backend, RedisBackend)
    return len(contents(owner(backend), f"*{backend.namespace}}}:{name}*"))


async def withdraw_all(broker: Broker) -> None:
    while await broker.trim(100):
        pass


async def test_who_joined_a_job_and_left_it_is_forgotten(
    broker: Broker, backend: Backend, clock: ManualClock
) -> None:
    ask = {"cache_ms": 1_000, "fingerprint": "f"}
    job = await submit_one(broker, **ask)
    assert (await submit_one(broker, **ask)).id == job.id
    assert kept(backend, "joins") == 1
    await broker.cancel([job.id])
    assert await broker.settle([finish(await claim_one(broker))]) == [True]
    clock.advance(LONG_MS)
    await broker.trim(EVERYTHING)
    assert kept(backend, "joins") == 0


async def test_who_joined_a_job_whose_answer_was_forgotten_is_forgotten_with_it(
    broker: Broker, backend: Backend, clock: ManualClock
) -> None:
    ask = {"cache_ms": 1_000, "fingerprint": "f"}
    await submit_one(broker, **ask)
    await submit_one(broker, **ask)
    await broker.forget_answers()
    assert await broker.settle([finish(await claim_one(broker))]) == [True]
    clock.advance(LONG_MS)
    await broker.trim(EVERYTHING)
    assert kept(backend, "joins") == 0


async def test_who_was_waited_for_by_a_job_that_gave_up_is_forgotten(
    broker: Broker, backend: Backend
) -> None:
    table = "waits" if isinstance(backend, SqliteBackend) else "followers"
    failing, other = await submit_one(broker), await submit_one(broker)
    await submit_one(broker, after=(failing.id, other.id))
    assert kept(backend, table) > 0
    first, second = await claim(broker)
    await broker.settle([finish(first, Failed(BROKEN.error, permanent=True))])
    await broker.settle([finish(second)])
    assert kept(backend, table) == 0


async def test_parts_of_a_job_that_is_retried_before_they_are_withdrawn_are_counted_once(
    broker: Broker,
) -> None:
    parent = await split(broker, 4)
    await broker.cancel([parent.id])
    await broker.retry([parent.id])
    await withdraw_all(broker)
    figures = queue_stats(await broker.stats())
    assert (figures.queued, figures.running) == (1, 0)
    assert (await broker.stats()).states[State.CANCELLED] == 0
    assert [job.id for job in await broker.find(JobQuery(parts=True))] == [parent.id]


async def test_parts_of_a_job_that_is_purged_before_they_are_withdrawn_are_counted_once(
    broker: Broker, backend: Backend
) -> None:
    parent = await split(broker, 4)
    (running,) = await claim(broker, limit=1)
    await broker.cancel([parent.id])
    assert await broker.purge([parent.id]) == [True]
    await withdraw_all(broker)
    assert (queue_stats(await broker.stats()).queued, queue_stats(await broker.stats()).running) == (0, 1)
    assert [job.id for job in await broker.find(JobQuery(parts=True))] == [running.spec.id]
    assert await broker.settle([finish(running, Cancelled())]) == [True]
    clear = (await broker.stats()).states
    assert {state: jobs for state, jobs in clear.items() if jobs} == {State.CANCELLED: 1}
    await broker.submit([spec()])
    assert queue_stats(await broker.stats()).queued == 1


async def test_a_part_that_ended_badly_after_its_job_was_purged_is_forgotten(
    broker: Broker, backend: Backend
) -> None:
    parent = await split(broker, 2)
    (part,) = await claim(broker, limit=1)
    await broker.cancel([parent.id])
    assert await broker.purge([parent.id]) == [True]
    assert await end(broker, part, outcome=Failed(BROKEN.error, permanent=True)) == [True]
    await withdraw_all(broker)
    assert sum((await broker.stats()).states.values()) == 0
    assert kept(backend, "jobs" if isinstance(backend, SqliteBackend) else "ended_badly") == 0

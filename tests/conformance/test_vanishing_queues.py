"""A queue without a job is told of no more, unless somebody has set something for it."""

import pytest
from kit.backends import RedisBackend
from kit.redis import contents, owner
from kit.time import ManualClock
from kit.values import BROKEN, DONE, claim, ids, queue_stats, run_one, spec, submit, submit_one

from penstock.core.lifecycle import Cancelled, Failed, Outcome
from penstock.ports import DEPTHS, Broker

KEEP_JOBS_MS = 600_000


async def names(broker: Broker) -> set[str]:
    return {queue.name for queue in (await broker.stats()).queues}


@pytest.mark.parametrize("outcome", [DONE, Failed(BROKEN.error, permanent=True), Cancelled()])
async def test_it_goes_with_its_last_job(
    broker: Broker, other: Broker, clock: ManualClock, outcome: Outcome
) -> None:
    await run_one(broker, outcome, queue="trimmed", client="c")
    clock.advance(KEEP_JOBS_MS + 1)
    last = [await run_one(broker, outcome, queue="purged") for _ in range(2)]
    await broker.trim(100)
    assert await names(other) == {"purged"}
    await broker.purge([last[0].id])
    assert await names(other) == {"purged"}
    await broker.purge([last[1].id])
    assert await names(other) == set()


async def test_it_stays_while_a_job_is_in_it(broker: Broker, clock: ManualClock) -> None:
    for queue in ("queued", "scheduled", "running"):
        await run_one(broker, queue=queue)
    await submit(broker, spec(queue="queued"), spec(queue="scheduled", delay_ms=10**9), spec(queue="running"))
    assert await claim(broker, queues=("running",))
    clock.advance(KEEP_JOBS_MS + 1)
    await broker.trim(100)
    assert await names(broker) == {"queued", "scheduled", "running"}


async def test_it_stays_while_something_is_set_for_it(broker: Broker, clock: ManualClock) -> None:
    await broker.pause("paused")
    await broker.put(DEPTHS, "limited", b"5")
    for queue in ("paused", "limited"):
        await broker.cancel(ids([await submit_one(broker, queue=queue)]))
    clock.advance(KEEP_JOBS_MS + 1)
    await broker.trim(100)
    assert await names(broker) == {"paused", "limited"}
    await broker.resume("paused")
    assert await names(broker) == {"limited"}


async def test_it_comes_back_as_if_it_were_new(broker: Broker, other: Broker, clock: ManualClock) -> None:
    await run_one(broker, queue="again")
    clock.advance(KEEP_JOBS_MS + 1)
    await broker.trim(100)
    job = await submit_one(other, queue="again")
    assert queue_stats(await broker.stats(), "again").queued == 1
    assert ids(await claim(broker, queues=("again",))) == [job.id]


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
async def test_nothing_of_it_is_left_on_the_server(backend: RedisBackend) -> None:
    broker, server = await backend.open(), owner(backend)
    pattern = f"{{{backend.namespace}}}:*"
    jobs = await submit(broker, *(spec(queue=f"mine{n}", client="c") for n in range(50)))
    await broker.cancel(ids(jobs))
    assert "mine49" in repr(contents(server, pattern))
    await broker.purge(ids(jobs))
    kept = {key: told for key, told in contents(server, pattern).items() if not key.endswith(b":events")}
    assert "mine" not in repr(kept)

"""Every verb of a broker, and every path of those that have several, in one go."""

import asyncio
import random
from functools import partial

from kit import workload
from kit.families import end, merge, number_of, split
from kit.time import ManualClock
from kit.values import BROKEN, claim, feed, finish, get_one, held, run_one, spec, submit_one, worker
from penstock.core.fairness import ClientTerms
from penstock.core.job import JobProgress, Priority, State
from penstock.core.lifecycle import Claim
from penstock.ports import DEPTHS, Broker, JobQuery

LONG_MS = 10**9
"""Longer than anything is kept."""


async def do_everything(broker: Broker, clock: ManualClock, seed: int = 1) -> set[str]:
    """Leaves some jobs of each kind behind; returns the ids of all that it submitted."""
    mine = set(await workload.churn([broker], clock, random.Random(seed), 200))
    mine |= {
        await _end_one(broker),
        await _wait_for_one(broker),
        await _cancel_one(broker),
        await _lose_one(broker, clock),
        *await _chain_some(broker),
        *await _split_some(broker),
    }
    mine |= await _share(broker)
    mine.add((await submit_one(broker, idempotency_key="key", delay_ms=LONG_MS)).id)
    await _read(broker)
    await broker.pause("a")
    await broker.resume("b")
    await broker.put("shelf", "name", b"body")
    await broker.put("shelf", "gone", None)
    assert await broker.swap("shelf", "name", b"body", b"other") == []
    assert await broker.swap("shelf", "name", b"body", b"third") is None
    await broker.shelf("shelf")
    await broker.now()
    mine |= await _take_turns(broker)
    await broker.claim("w", ["nothing here"], 1, 0.05)
    await broker.events(await broker.head(), 0.05)
    clock.advance(LONG_MS - 1)
    mine.add((await run_one(broker, queue="of the last")).id)
    await broker.trim(1_000_000)
    purged = (await run_one(broker, queue="to purge")).id
    assert await broker.purge([purged]) == [True]
    return mine | {purged}


async def _share(broker: Broker) -> set[str]:
    """Join a job, raise it, leave it, be answered; meet a full queue; forget answers, one and all."""
    ask = partial(submit_one, broker, queue="shared", cache_ms=1_000)
    first, second = await ask(priority=Priority.LOW), await ask(idempotency_key="joins")
    assert first.id == second.id
    await broker.cancel([first.id])
    await broker.cancel([first.id], force=True)
    await broker.retry([first.id])
    (claimed,) = await claim(broker, queues=("shared",))
    assert await broker.settle([finish(claimed)]) == [True]
    hit = await ask()
    assert hit.cached
    await broker.put(DEPTHS, "shared", b"0")
    (refused,) = await broker.submit([spec(queue="shared")])
    assert refused.job is None
    await broker.put(DEPTHS, "shared", None)
    assert await broker.forget_answers(["nothing"]) == 0
    assert await broker.forget_answers() == 1
    return {first.id, hit.id}


async def _split_some(broker: Broker) -> set[str]:
    """Three jobs with parts: one is merged, one fails with a part of it, one is cancelled."""
    merged = await split(broker, 4, queue="merged")
    mine = {job.id for job in await broker.find(JobQuery(parent_id=merged.id))}
    claims = sorted(await claim(broker, queues=("merged",)), key=number_of)
    for two in (claims[:2], claims[2:]):
        await end(broker, *two)
        (step,) = await claim(broker, queues=("merged",))
        await merge(broker, step)
    failing = await split(broker, 3, queue="failing")
    claims = await claim(broker, queues=("failing",), limit=2)
    await end(broker, claims[0], outcome=BROKEN)
    cancelled = await split(broker, 3, queue="ended")
    mine |= {job.id for job in await broker.find(JobQuery(parts=True))}
    await broker.cancel([cancelled.id])
    await broker.trim(1)
    await broker.trim(1)
    await broker.claim("w", ["ended"], 1, 0)
    await broker.settle([finish(claims[1])])
    await broker.retry([failing.id])
    await broker.cancel([failing.id])
    return mine | {merged.id, failing.id, cancelled.id}


async def _take_turns(broker: Broker) -> set[str]:
    await broker.limit_client("c", ClientTerms(max_running=1))
    jobs = [spec(queue="turns", client=client, max_running=2, weight=2) for client in ("c", "c", "d", None)]
    await broker.submit(jobs)
    await broker.ahead([job.id for job in jobs])
    await broker.clients(20)
    claims = await claim(broker, queues=("turns",))
    assert len(claims) == 2
    await broker.renew(worker(queues=("turns",)), [held(each) for each in claims])
    await broker.settle([finish(each) for each in claims])
    await broker.cancel([job.id for job in jobs])
    await broker.stats()
    await broker.purge([job.id for job in jobs])
    await broker.limit_client("c", None)
    return {job.id for job in jobs}


async def _read(broker: Broker) -> None:
    for state in (None, *State):
        for job in await broker.find(JobQuery(state=state)):
            await get_one(broker, job.id)
            await broker.attempts([job.id])
    await broker.stats()
    await feed(broker)


async def _begun(broker: Broker, worker_id: str = "w") -> Claim:
    """A new job that is running; the queue has nothing else."""
    job = await submit_one(broker, queue=f"of {worker_id}")
    (claimed,) = await claim(broker, worker_id, queues=(job.spec.queue,))
    return claimed


async def _end_one(broker: Broker) -> str:
    claimed = await _begun(broker)
    await broker.renew(worker(queues=("a", "b")), [held(claimed, JobProgress(0.5, "half"), ("a line",))])
    await broker.stats()
    assert await broker.settle([finish(claimed)]) == [True]
    return claimed.spec.id


async def _wait_for_one(broker: Broker) -> str:
    claimed = await _begun(broker)
    waiting = asyncio.ensure_future(broker.wait(claimed.spec.id, 20))
    await asyncio.wait([waiting], timeout=0.05)
    assert await broker.settle([finish(claimed)]) == [True]
    assert (await waiting).state is State.SUCCEEDED
    return claimed.spec.id


async def _cancel_one(broker: Broker) -> str:
    claimed = await _begun(broker)
    await broker.cancel([claimed.spec.id])
    assert claimed.token in (await broker.renew(worker(), [held(claimed)])).cancel
    assert await broker.settle([finish(claimed)]) == [True]
    await broker.retry([claimed.spec.id])
    await broker.cancel([claimed.spec.id])
    return claimed.spec.id


async def _chain_some(broker: Broker) -> set[str]:
    claimed = await _begun(broker, "chain")
    waits = [await submit_one(broker, after=(claimed.spec.id,)) for _ in range(3)]
    last = await submit_one(broker, after=(waits[0].id, waits[1].id))
    await broker.cancel([waits[0].id])
    assert await broker.settle([finish(claimed)]) == [True]
    await broker.cancel([one.id for one in (*waits, last)])
    return {claimed.spec.id, last.id, *(one.id for one in waits)}


async def _lose_one(broker: Broker, clock: ManualClock) -> str:
    claimed = await _begun(broker, "lost")
    await broker.cancel([claimed.spec.id])
    clock.advance(60_000)
    assert claimed.spec.id in {one.spec.id for one in await broker.reclaim("r", 1_000)}
    await broker.retire("r")
    await broker.retire("never seen")
    return claimed.spec.id

"""A caller that is cancelled either did nothing, or learns what it did."""

import asyncio

from kit.backends import Backend
from kit.values import spec, submit_one

from penstock.core.job import State


async def test_a_claim_that_is_cancelled_while_it_waits_has_claimed_nothing(backend: Backend) -> None:
    broker = await backend.open()
    claiming = asyncio.create_task(broker.claim("w", ["default"], 1, 30.0))
    await broker.pause("another")  # when this is done, the claim has looked in vain: before that it has begun
    await asyncio.wait({claiming}, timeout=0.1)
    claiming.cancel()
    await asyncio.wait({claiming})
    job = await submit_one(broker)
    (found,) = await broker.get([job.id])
    assert claiming.cancelled()
    assert found is not None
    assert found.state is State.QUEUED


async def test_a_cancelled_claim_never_keeps_jobs_that_nobody_knows_of(backend: Backend) -> None:
    """Cancelled at any moment, what is running afterwards is exactly what was answered."""
    broker = await backend.open()
    await broker.submit([spec() for _ in range(60)])
    known: set[str] = set()
    for turn in range(60):
        claiming = asyncio.create_task(broker.claim("w", ["default"], 1, 0.0))
        for _ in range(turn % 6):
            await asyncio.sleep(0)
        await asyncio.wait({claiming}, timeout=(turn % 4) / 2000)
        claiming.cancel()
        await asyncio.wait({claiming})
        if not claiming.cancelled():
            known.update(claim.spec.id for claim in claiming.result())
    running = (await broker.stats()).states.get("running", 0)
    assert running == len(known)


async def test_a_cancelled_claim_that_got_nothing_ends_at_once(backend: Backend) -> None:
    broker = await backend.open()
    for turn in range(60):
        claiming = asyncio.create_task(broker.claim("w", ["default"], 1, 30.0))
        await asyncio.wait({claiming}, timeout=(turn % 4) / 2000)
        claiming.cancel()
        done, _ = await asyncio.wait({claiming}, timeout=20)
        assert done

"""Waiting for the first of many jobs to end, at the price of waiting for a few."""

import asyncio
from collections.abc import Sequence

from penstock.core.begun import heed_cancel
from penstock.core.job import Job
from penstock.core.keys import Key
from penstock.ports import Broker
from penstock.service.asker import may_see

WATCHED = 16
"""Of many jobs only the first so many are waited for: mostly they end first. The others are looked at."""

LOOK_S = 1.0
"""How often all are looked at; so late at most is the end of one heard of that is not watched."""

LINGER_S = 0.01
"""Jobs seldom end alone: so long others may join the first one in its answer."""


async def seen(broker: Broker, job_ids: Sequence[str], by: Key | None) -> list[Job | None]:
    """The jobs as they stand; None for an unknown id, and for a job that ``by`` may not see."""
    return [job if job is not None and may_see(by, job) else None for job in await broker.get(job_ids)]


async def wait_any(broker: Broker, job_ids: Sequence[str], wait_s: float, by: Key | None) -> list[Job | None]:
    """The same, once one has ended or is None, or ``wait_s`` seconds have passed."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + wait_s
    while True:
        jobs = await seen(broker, job_ids, by)
        remaining = give_up - loop.time()
        open_ids = [job.id for job in jobs if job is not None and not job.state.final]
        if remaining <= 0 or len(open_ids) < len(jobs):
            return jobs
        heed_cancel()
        if await _one_ends(broker, open_ids[:WATCHED], min(LOOK_S, remaining)):
            await asyncio.sleep(LINGER_S)


async def _one_ends(broker: Broker, job_ids: Sequence[str], wait_s: float) -> bool:
    """Whether one of them has ended within the time."""
    waiting = [asyncio.ensure_future(broker.wait(job_id, wait_s)) for job_id in job_ids]
    try:
        done, _ = await asyncio.wait(waiting, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return bool(done)

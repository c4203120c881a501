"""arq: two processes on uvloop, a short polling delay; jobs are coroutines that do not wait."""

# mypy: disable-error-code="import-not-found, import-untyped"
# The peer is installed in its own environment only.
import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import uvloop
from arq import create_pool
from arq.connections import RedisSettings

from peers import jobs
from peers.contract import AIM, REDIS_URL, About, Process, batches

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
CONCURRENT_SUBMITS = 50


async def noop(_context: Any, n: int) -> int:
    """See `jobs`."""
    return jobs.noop(n)


async def burn(_context: Any, n: int) -> int:
    """See `jobs`."""
    return jobs.burn(n)


async def note(_context: Any, n: int) -> int:
    """See `jobs`."""
    return jobs.note(n)


class WorkerSettings:
    """What the command reads."""

    functions: ClassVar[list[Any]] = [noop, burn, note]
    redis_settings = RedisSettings.from_dsn(REDIS_URL)
    poll_delay = {"idle": 0.5, "latency": 0.002}.get(AIM, 0.01)
    max_jobs = 500 if AIM == "drain" else 1
    job_timeout = 3 if AIM == "kill" else 60
    log_results = False


class Arq:
    """The producer."""

    about = About(
        packages=("arq", "redis", "hiredis", "uvloop"),
        settings="2 processes, uvloop, max_jobs 1, for the drain 500; poll_delay 10 ms,"
        " latency: 2 ms on both sides, idle: 0.5 s (default); kill: job_timeout 3 s",
        drain_rate=2_000,
        submit_rate=6_000,
    )

    def workers(self) -> Sequence[Process]:
        """The command twice."""
        return [Process(["-m", "arq", "peers.contestants.arq.WorkerSettings"])] * 2

    async def open(self) -> None:
        """Connects."""
        self._submitted = 0
        self._pool = await create_pool(WorkerSettings.redis_settings)

    async def submit(self, task: str, numbers: Sequence[int]) -> None:
        """Fifty at a time: arq has no way to queue many jobs in one call, but may be asked concurrently."""
        for batch in batches(numbers, CONCURRENT_SUBMITS):
            await asyncio.gather(*(self._pool.enqueue_job(task, n) for n in batch))
        self._submitted += len(numbers)

    async def answer(self, number: int) -> int:
        """Looks for the result every two milliseconds."""
        self._submitted += 1
        job = await self._pool.enqueue_job("noop", number)
        return int(await job.result(timeout=30, poll_delay=0.002))

    async def stored(self) -> int:
        """A job leaves the queue in the step that stores its result."""
        return self._submitted - int(await self._pool.zcard("arq:queue"))

    async def close(self) -> None:
        """Hang up."""
        await self._pool.aclose()


def contestant() -> Arq:
    """For the driver."""
    return Arq()

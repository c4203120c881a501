"""SAQ: two processes on uvloop; jobs are coroutines that do not wait, as CPU work is."""

# mypy: disable-error-code="import-not-found, import-untyped"
# The peer is installed in its own environment only.
import asyncio
from collections.abc import Sequence
from typing import Any

import uvloop
from saq import Queue
from saq.job import Job, Status

from peers import jobs
from peers.contract import AIM, REDIS_URL, About, Process, batches

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
queue = Queue.from_url(REDIS_URL, max_concurrent_ops=50)


async def noop(_context: Any, *, n: int) -> int:
    """See `jobs`."""
    return jobs.noop(n)


async def burn(_context: Any, *, n: int) -> int:
    """See `jobs`."""
    return jobs.burn(n)


async def note(_context: Any, *, n: int) -> int:
    """See `jobs`."""
    return jobs.note(n)


settings: dict[str, Any] = {
    "queue": queue,
    "functions": [noop, burn, note],
    "concurrency": 20 if AIM == "drain" else 1,
    "timers": {"sweep": 5} if AIM == "kill" else {},
}
LIMITS = {"timeout": 2, "retries": 3} if AIM == "kill" else {"timeout": 60}


class Saq:
    """The producer."""

    about = About(
        packages=("saq", "redis", "hiredis", "uvloop"),
        settings="2 processes, uvloop, concurrency 1, for the drain 20; latency: poll_interval 1 ms;"
        " kill: timeout 2 s, 3 retries, sweep every 5 s",
        drain_rate=2_000,
        submit_rate=10_000,
    )

    def workers(self) -> Sequence[Process]:
        """One master with two processes."""
        return [Process(["-m", "saq", "peers.contestants.saq.settings", "--workers", "2", "--quiet"])]

    async def open(self) -> None:
        """Connects."""
        self._submitted = 0
        await queue.connect()

    async def submit(self, task: str, numbers: Sequence[int]) -> None:
        """Fifty at a time: SAQ has no way to queue many jobs in one call, but may be asked concurrently."""
        for batch in batches(numbers, 200):
            await asyncio.gather(*(queue.enqueue(Job(task, kwargs={"n": n}, **LIMITS)) for n in batch))
        self._submitted += len(numbers)

    async def answer(self, number: int) -> int:
        """Looks for the result every millisecond."""
        self._submitted += 1
        return int(await queue.apply("noop", timeout=30, poll_interval=0.001, n=number))

    async def stored(self) -> int:
        """A job leaves the set of the incomplete ones in the step that stores its result.

        One that is taken from a dead worker leaves it before, so after a kill the jobs are looked at.
        """
        if AIM == "kill":
            return len([job async for job in queue.iter_jobs([Status.COMPLETE], batch_size=1000)])
        return self._submitted - int(await queue.count("incomplete"))

    async def close(self) -> None:
        """Hang up."""
        await queue.disconnect()


def contestant() -> Saq:
    """For the driver."""
    return Saq()

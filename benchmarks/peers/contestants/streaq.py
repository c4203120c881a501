"""streaQ: two processes on uvloop; jobs are coroutines that do not wait, as CPU work is."""

# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator"
# The peer is installed in its own environment only, so its decorators have no types here.
from collections.abc import Sequence
from contextlib import AsyncExitStack

from streaq import Worker

from peers import jobs
from peers.contract import AIM, REDIS_URL, About, Process, batches

worker = Worker(
    redis_url=REDIS_URL,
    concurrency=500 if AIM == "drain" else 1,
    idle_timeout=3 if AIM == "kill" else 60,
    anyio_kwargs={"use_uvloop": True},
)


@worker.task(silent=True)
async def noop(n: int) -> int:
    """See `jobs`."""
    return jobs.noop(n)


@worker.task(silent=True)
async def burn(n: int) -> int:
    """See `jobs`."""
    return jobs.burn(n)


@worker.task(silent=True)
async def note(n: int) -> int:
    """See `jobs`."""
    return jobs.note(n)


TASKS = {"noop": noop, "burn": burn, "note": note}


class Streaq:
    """The producer."""

    about = About(
        packages=("streaq", "coredis", "uvloop"),
        settings="2 processes, uvloop, concurrency 1, for the drain 500; kill: idle_timeout 3 s",
        drain_rate=2_000,
        submit_rate=18_000,
    )

    def workers(self) -> Sequence[Process]:
        """Its command starts both processes."""
        return [Process(["-m", "streaq", "run", "peers.contestants.streaq:worker", "-w", "2"])]

    async def open(self) -> None:
        """The worker object is the producer, too."""
        self._stack = AsyncExitStack()
        await self._stack.enter_async_context(worker)

    async def submit(self, task: str, numbers: Sequence[int]) -> None:
        """``enqueue_many``, a thousand at a time."""
        for batch in batches(numbers):
            await worker.enqueue_many([TASKS[task].enqueue(n) for n in batch])

    async def answer(self, number: int) -> int:
        """Waits on the job's channel."""
        job = await noop.enqueue(number)
        return int((await job.result(timeout=30)).result)

    async def stored(self) -> int:
        """Size of its index of results."""
        return int(await worker.redis.zcard("streaq:default:index:results"))

    async def close(self) -> None:
        """Hang up."""
        await self._stack.aclose()


def contestant() -> Streaq:
    """For the driver."""
    return Streaq()

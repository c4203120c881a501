"""Huey: processes as its documentation advises for CPU work, blocking reads, results in a hash."""

# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator"
# The peer is installed in its own environment only, so its decorators have no types here.
from collections.abc import Sequence

from huey import RedisHuey

from peers import jobs
from peers.contract import AIM, REDIS_URL, About, Process

app = RedisHuey(url=REDIS_URL, blocking=True, notify_result=AIM == "latency")


@app.task()
def noop(n: int) -> int:
    """See `jobs`."""
    return jobs.noop(n)


@app.task()
def burn(n: int) -> int:
    """See `jobs`."""
    return jobs.burn(n)


@app.task(retries=3)
def note(n: int) -> int:
    """See `jobs`."""
    return jobs.note(n)


TASKS = {"noop": noop, "burn": burn, "note": note}


class Huey:
    """The producer; Huey has no way to queue many jobs in one call."""

    about = About(
        packages=("huey", "redis", "hiredis"),
        settings="2 processes, blocking reads, no periodic tasks; latency: notify_result",
        drain_rate=4_000,
        submit_rate=22_000,
    )

    def workers(self) -> Sequence[Process]:
        """One consumer with two processes."""
        consumer = ["-m", "huey.bin.huey_consumer", "peers.contestants.huey.app"]
        return [Process([*consumer, "-k", "process", "-w", "2", "-n", "-q"])]

    async def open(self) -> None:
        """Connects by itself."""

    async def submit(self, task: str, numbers: Sequence[int]) -> None:
        """One after the other."""
        for n in numbers:
            TASKS[task](n)

    async def answer(self, number: int) -> int:
        """Blocks on the notification of the result."""
        return int(noop(number)(blocking=True, timeout=30))

    async def stored(self) -> int:
        """Fields of the hash of results."""
        return int(app.result_count())

    async def close(self) -> None:
        """Nothing to do."""


def contestant() -> Huey:
    """For the driver."""
    return Huey()

"""taskiq on the stream broker of taskiq-redis, the one that acknowledges; uvloop, two processes.

Jobs are coroutines that do not wait: one runs at a time in a process, as CPU work should.
"""

# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator"
# The peer is installed in its own environment only, so its decorators have no types here.
from collections.abc import Sequence

import redis
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from peers import jobs
from peers.contract import AIM, REDIS_URL, RESULTS_URL, About, Process

READ_AHEAD = 100 if AIM == "drain" else 1
broker = RedisStreamBroker(
    REDIS_URL,
    consumer_id="0",
    xread_count=READ_AHEAD,
    idle_timeout=2_000 if AIM == "kill" else 600_000,
    unacknowledged_lock_timeout=5.0,
).with_result_backend(RedisAsyncResultBackend(RESULTS_URL, result_ex_time=3600))


@broker.task
async def noop(n: int) -> int:
    """See `jobs`."""
    return jobs.noop(n)


@broker.task
async def burn(n: int) -> int:
    """See `jobs`."""
    return jobs.burn(n)


@broker.task
async def note(n: int) -> int:
    """See `jobs`."""
    return jobs.note(n)


TASKS = {"noop": noop, "burn": burn, "note": note}


class Taskiq:
    """The producer; taskiq has no way to queue many jobs in one call."""

    about = About(
        packages=("taskiq", "taskiq-redis", "redis", "hiredis", "uvloop"),
        settings="RedisStreamBroker, 2 processes, uvloop, no parsing of parameters; one job at a"
        " time read singly, for the drain 100; latency: check_interval 1 ms; kill: idle_timeout 2 s",
        drain_rate=2_500,
        submit_rate=6_000,
    )

    def workers(self) -> Sequence[Process]:
        """One master with two processes."""
        master = ["-m", "taskiq", "worker", "peers.contestants.taskiq:broker", "-w", "2", "--no-parse"]
        return [Process([*master, "--max-async-tasks", str(READ_AHEAD), "--log-level", "WARNING"])]

    async def open(self) -> None:
        """Declares the stream's group; a connection of its own for counting."""
        await broker.startup()
        self._results = redis.Redis.from_url(RESULTS_URL)

    async def submit(self, task: str, numbers: Sequence[int]) -> None:
        """One after the other."""
        for n in numbers:
            await TASKS[task].kiq(n)

    async def answer(self, number: int) -> int:
        """Looks for the result every millisecond."""
        waiting = await noop.kiq(number)
        return int((await waiting.wait_result(check_interval=0.001, timeout=30)).return_value)

    async def stored(self) -> int:
        """The backend's database holds results only."""
        return int(self._results.dbsize())

    async def close(self) -> None:
        """Hang up."""
        self._results.close()
        await broker.shutdown()


def contestant() -> Taskiq:
    """For the driver."""
    return Taskiq()

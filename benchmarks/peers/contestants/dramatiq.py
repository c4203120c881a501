"""Dramatiq: two processes with one thread each, as documented for CPU work; least middleware."""

# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator"
# The peer is installed in its own environment only, so its decorators have no types here.
from collections.abc import Sequence

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Retries
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from peers import jobs
from peers.contract import AIM, REDIS_URL, RESULTS_URL, About, Process

RECOVERY = {"heartbeat_timeout": 5_000, "maintenance_chance": 1_000_000} if AIM == "kill" else {}
backend = RedisBackend(url=f"{RESULTS_URL}?socket_timeout=60")
middleware = [Retries(), Results(backend=backend, store_results=True)]
broker = RedisBroker(url=REDIS_URL, middleware=middleware, **RECOVERY)
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(n: int) -> int:
    """See `jobs`."""
    return jobs.noop(n)


@dramatiq.actor
def burn(n: int) -> int:
    """See `jobs`."""
    return jobs.burn(n)


@dramatiq.actor
def note(n: int) -> int:
    """See `jobs`."""
    return jobs.note(n)


TASKS = {"noop": noop, "burn": burn, "note": note}
PREFETCH = {"drain": "500", "latency": "2"}
POLL_MS = {"latency": "5"}


class Dramatiq:
    """The producer; Dramatiq has no way to queue many jobs in one call."""

    about = About(
        packages=("dramatiq", "redis", "hiredis"),
        settings="2 processes, 1 thread, middleware Retries and Results only; drain: queue_prefetch 500;"
        " latency: worker_timeout 5 ms; kill: heartbeat_timeout 5 s, maintenance at every command",
        drain_rate=5_000,
        submit_rate=15_000,
    )

    def workers(self) -> Sequence[Process]:
        """One master with two processes."""
        master = ["-m", "dramatiq", "peers.contestants.dramatiq", "-p", "2", "-t", "1", "--skip-logging"]
        tuned = {
            "dramatiq_queue_prefetch": PREFETCH.get(AIM, "1"),
            "dramatiq_worker_timeout": POLL_MS.get(AIM, "1000"),
        }
        return [Process(master, tuned)]

    async def open(self) -> None:
        """A connection of its own for counting."""
        self._results = redis.Redis.from_url(RESULTS_URL)

    async def submit(self, task: str, numbers: Sequence[int]) -> None:
        """One after the other."""
        for n in numbers:
            TASKS[task].send(n)

    async def answer(self, number: int) -> int:
        """Blocks on the key of the result."""
        return int(noop.send(number).get_result(block=True, timeout=30_000))

    async def stored(self) -> int:
        """The backend's database holds results only."""
        return int(self._results.dbsize())

    async def close(self) -> None:
        """Hang up."""
        self._results.close()


def contestant() -> Dramatiq:
    """For the driver."""
    return Dramatiq()

"""RQ: a pool of two workers that fork for every job, which is its default and its protection."""

# mypy: disable-error-code="import-not-found, import-untyped"
# The peer is installed in its own environment only.
from collections.abc import Sequence

import redis
from rq import Queue
from rq.registry import FinishedJobRegistry

from peers.contract import REDIS_URL, About, Process, batches
from peers.jobs import FUNCTIONS, noop


class Rq:
    """The producer. ``worker_class`` tells what the pool is made of."""

    def __init__(self, worker_class: str, about: About) -> None:
        self.about = about
        self._worker_class = worker_class

    def workers(self) -> Sequence[Process]:
        """The pool."""
        pool = ["-m", "rq.cli", "worker-pool", "-n", "2", "-u", REDIS_URL, "-q", "-w", self._worker_class]
        return [Process([*pool, "default"])]

    async def open(self) -> None:
        """The queue, and the registry that counts."""
        self._queue = Queue(connection=redis.Redis.from_url(REDIS_URL, socket_timeout=None))
        self._finished = FinishedJobRegistry(queue=self._queue)

    async def submit(self, task: str, numbers: Sequence[int]) -> None:
        """``enqueue_many``, a thousand at a time."""
        for batch in batches(numbers):
            self._queue.enqueue_many(
                [Queue.prepare_data(FUNCTIONS[task], (n,), description=task) for n in batch]
            )

    async def answer(self, number: int) -> int:
        """Blocks on the job's stream of results."""
        job = self._queue.enqueue(noop, number, description="noop")
        return int(job.latest_result(timeout=30).return_value)

    async def stored(self) -> int:
        """Size of the registry of finished jobs."""
        return int(self._finished.get_job_count(cleanup=False))

    async def close(self) -> None:
        """Hang up."""
        self._queue.connection.close()


def contestant() -> Rq:
    """For the driver."""
    about = About(
        packages=("rq", "redis", "hiredis"),
        settings="worker-pool of 2 Workers (a fork per job), quiet",
        drain_rate=110,
        submit_rate=20_000,
    )
    return Rq("rq.worker.Worker", about)

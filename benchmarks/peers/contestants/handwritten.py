"""What one would write by hand: a list, two processes in a BRPOP loop, a key per result. No promises at all.

The measure of how fast Redis and Python allow a job per round trip to be.
"""

import json
import uuid
from collections.abc import Sequence

import redis

from peers.contract import REDIS_URL, About, Process, batches
from peers.jobs import FUNCTIONS

QUEUE = "queue"
IDLE_S = 2
KEEP_S = 3600


def connect() -> redis.Redis:
    """Without a socket timeout: blocking reads are meant to block."""
    return redis.Redis.from_url(REDIS_URL, socket_timeout=None)


class HandWritten:
    """The producer."""

    about = About(
        packages=("redis", "hiredis"),
        settings=f"BRPOP, then one pipeline of SET EX, LPUSH and EXPIRE of the reply; idle wait {IDLE_S} s",
        drain_rate=8_000,
        submit_rate=120_000,
    )

    def workers(self) -> Sequence[Process]:
        """The same loop twice."""
        return [Process(["-m", "peers.contestants.handwritten"])] * 2

    async def open(self) -> None:
        """One connection."""
        self._redis = connect()

    async def submit(self, task: str, numbers: Sequence[int]) -> None:
        """Pipelines of a thousand."""
        for batch in batches(numbers):
            pipeline = self._redis.pipeline(transaction=False)
            for n in batch:
                pipeline.lpush(QUEUE, message(uuid.uuid4().hex, task, n))
            pipeline.execute()

    async def answer(self, number: int) -> int:
        """Wait on the job's own reply list, then read the result."""
        job = uuid.uuid4().hex
        self._redis.lpush(QUEUE, message(job, "noop", number))
        if self._redis.brpop([f"reply:{job}"], timeout=30) is None:
            raise TimeoutError
        result: int = json.loads(self._redis.get(f"result:{job}") or b"null")
        return result

    async def stored(self) -> int:
        """Every ended job has two keys, and the queue is one while it is not empty."""
        pipeline = self._redis.pipeline()
        pipeline.dbsize()
        pipeline.exists(QUEUE)
        keys, queue = pipeline.execute()
        return int(keys - queue) // 2

    async def close(self) -> None:
        """Hang up."""
        self._redis.close()


def message(job: str, task: str, n: int) -> str:
    """A job on the wire."""
    return json.dumps({"id": job, "task": task, "n": n})


def work() -> None:
    """The loop of a worker, until it is killed."""
    client = connect()
    while True:
        popped = client.brpop([QUEUE], timeout=IDLE_S)
        if popped is None:
            continue
        job = json.loads(popped[1])
        result = FUNCTIONS[job["task"]](job["n"])
        pipeline = client.pipeline(transaction=False)
        pipeline.set(f"result:{job['id']}", json.dumps(result), ex=KEEP_S)
        pipeline.lpush(f"reply:{job['id']}", job["id"])
        pipeline.expire(f"reply:{job['id']}", KEEP_S)
        pipeline.execute()


def contestant() -> HandWritten:
    """For the driver."""
    return HandWritten()


if __name__ == "__main__":
    work()

"""Celery: prefork with two children; prefetch and acknowledgement as documented for the aim."""

# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator"
# The peer is installed in its own environment only, so its decorators have no types here.
from collections.abc import Sequence

import redis
from celery import Celery as Application

from peers import jobs
from peers.contract import AIM, REDIS_URL, RESULTS_URL, About, Process

app = Application("bench", broker=REDIS_URL, backend=RESULTS_URL)
app.conf.update(
    task_ignore_result=False,
    worker_prefetch_multiplier=64 if AIM == "drain" else 1,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)
if AIM == "kill":
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        broker_transport_options={"visibility_timeout": 5},
    )


@app.task
def noop(n: int) -> int:
    """See `jobs`."""
    return jobs.noop(n)


@app.task
def burn(n: int) -> int:
    """See `jobs`."""
    return jobs.burn(n)


@app.task
def note(n: int) -> int:
    """See `jobs`."""
    return jobs.note(n)


TASKS = {"noop": noop, "burn": burn, "note": note}


class Celery:
    """The producer."""

    about = About(
        packages=("celery", "kombu", "redis", "hiredis"),
        settings="prefork, concurrency 2, -O fair, no gossip, mingle, heartbeat or events; prefetch"
        " multiplier 1, for the drain 64; kill: acks_late, reject_on_worker_lost, visibility timeout 5 s",
        drain_rate=1_200,
        submit_rate=3_000,
    )

    def workers(self) -> Sequence[Process]:
        """One worker with two children."""
        worker = ["-m", "celery", "-A", "peers.contestants.celery", "worker", "-P", "prefork", "-c", "2"]
        quiet = ["-O", "fair", "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING"]
        return [Process([*worker, *quiet])]

    async def open(self) -> None:
        """A connection of its own for counting."""
        self._results = redis.Redis.from_url(RESULTS_URL)

    async def submit(self, task: str, numbers: Sequence[int]) -> None:
        """One producer for all; a group would do the same one by one, and store itself on top."""
        with app.producer_pool.acquire(block=True) as producer:
            for n in numbers:
                TASKS[task].apply_async((n,), producer=producer)

    async def answer(self, number: int) -> int:
        """Waits on the result backend's channel."""
        return int(noop.delay(number).get(timeout=30))

    async def stored(self) -> int:
        """The backend's database holds results only."""
        return int(self._results.dbsize())

    async def close(self) -> None:
        """Hang up."""
        self._results.close()
        app.close()


def contestant() -> Celery:
    """For the driver."""
    return Celery()

"""RQ with its SimpleWorker, which runs jobs in the worker's own process: faster, without RQ's protection."""

from peers.contestants.rq import Rq
from peers.contract import About


def contestant() -> Rq:
    """For the driver."""
    about = About(
        packages=("rq", "redis", "hiredis"),
        settings="worker-pool of 2 SimpleWorkers (no fork, no isolation), quiet",
        drain_rate=600,
        submit_rate=20_000,
    )
    return Rq("rq.worker.SimpleWorker", about)

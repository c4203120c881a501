"""Values to hand to a broker, with everything a test does not care about filled in."""

from typing import Any

import msgspec

from penstock.core.ids import new_id
from penstock.core.job import Job, JobError, JobProgress, JobSpec, WorkerInfo
from penstock.core.lifecycle import Claim, Failed, Outcome, Settlement, Succeeded
from penstock.core.verdict import settlement
from penstock.ports import Broker, Event, Held, QueueStats, Stats

DONE = Succeeded(msgspec.Raw(b'{"ok":true}'))
CRASHED = Failed(JobError("CRASHED", "SIGSEGV"), crashed=True)
BROKEN = Failed(JobError("TASK_ERROR", "it broke", "Traceback: here"))


def spec(**changes: Any) -> JobSpec:
    """A job to submit, with an id of its own."""
    return JobSpec(**({"id": new_id(), "task": "square"} | changes))


def worker(worker_id: str = "w", **changes: Any) -> WorkerInfo:
    """A worker that renews its lease."""
    return WorkerInfo(**({"id": worker_id, "node": "n", "host": "h", "pid": 1, "slots": 2} | changes))


def held(claim: Claim, progress: JobProgress | None = None, lines: tuple[str, ...] = ()) -> Held:
    """What a worker says about a claim when it renews."""
    return Held(job_id=claim.spec.id, token=claim.token, progress=progress, lines=lines)


def finish(claim: Claim, outcome: Outcome = DONE, draw: float = 0.5) -> Settlement:
    """The settlement of a claim."""
    return settlement(claim, outcome, draw)


async def submit(broker: Broker, *specs: JobSpec, **changes: Any) -> list[Job]:
    """Submit these, or one that is made from ``changes``; the jobs that were kept."""
    receipts = await broker.submit(specs or [spec(**changes)])
    return [receipt.job for receipt in receipts]


async def submit_one(broker: Broker, **changes: Any) -> Job:
    """Submit one job."""
    (job,) = await submit(broker, **changes)
    return job


async def claim(
    broker: Broker, worker_id: str = "w", queues: tuple[str, ...] = ("default",), limit: int = 1000
) -> list[Claim]:
    """What can be claimed now, without waiting."""
    return await broker.claim(worker_id, queues, limit, 0)


async def claim_one(broker: Broker, worker_id: str = "w") -> Claim:
    """The one job that can be claimed now."""
    (only,) = await claim(broker, worker_id)
    return only


async def get_one(broker: Broker, job_id: str) -> Job | None:
    """One job as it stands."""
    (job,) = await broker.get([job_id])
    return job


async def run_one(broker: Broker, outcome: Outcome = DONE, **changes: Any) -> Job:
    """Submit a job, run it to this outcome, and return it as it then stands."""
    job = await submit_one(broker, **changes)
    claims = await claim(broker, queues=(job.spec.queue,))
    assert [one.spec.id for one in claims] == [job.id]
    assert await broker.settle([finish(claims[0], outcome)]) == [True]
    return await get_one(broker, job.id)


async def feed(broker: Broker, after: str = "", limit: int = 1000) -> list[Event]:
    """Every event after this id that has happened so far."""
    found: list[Event] = []
    while page := await broker.events(after, 0, limit):
        assert page[0].id != after, "what came before is not told again"
        found += page
        after = page[-1].id
    return found


def ids(values: list[Any]) -> list[str]:
    """The job ids of claims or jobs, in order."""
    return [value.spec.id for value in values]


def queue_stats(stats: Stats, name: str = "default") -> QueueStats:
    """One queue's figures, all zero for a queue that nothing is known of."""
    return next((queue for queue in stats.queues if queue.name == name), QueueStats(name=name))

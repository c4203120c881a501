"""``map``: many jobs of one task, their results as they are wanted. Sans I/O: the shells send what it asks.

`steps` yields requests, of which it is sent the answers, and `Ready` results in between.
"""

import uuid
from collections.abc import Generator, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeVar

from penstock.client import choosing, messages
from penstock.client.messages import MAX_WAIT_S, Call
from penstock.client.named import Params
from penstock.core.cancelling import CancelReport
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import State
from penstock.core.submission import JobView

BATCH = 1_000
"""Jobs submitted or waited for with one request."""

IN_FLIGHT = 10_000
"""Jobs that have been submitted and not ended; further inputs are not even looked at."""

Failures = Literal["raise", "return"]


class JobFailed(Exception):
    """A job did not succeed; ``job`` is how it ended."""

    def __init__(self, job: JobView) -> None:
        error = job.error
        why = f"{error.code}: {error.message}" if error else str(job.state)
        super().__init__(f"job {job.id} ({job.task}) {job.state}: {why}")
        self.job = job

    @property
    def code(self) -> str:
        """The job's error code, such as TASK_ERROR or TIMED_OUT."""
        return self.job.error.code if self.job.error else str(self.job.state)


class Ready(NamedTuple):
    """The job of the input with this number, from 0, has ended."""

    number: int
    job: JobView


class Counts:
    """How far it has come; ``total`` is what is known of so far.

    ``open`` are the jobs that have not ended, each with the numbers of its inputs: equal ones share a job.
    """

    total = 0
    ended = 0
    failed = 0

    def __init__(self) -> None:
        self.open: dict[str, list[int]] = {}


Steps = Generator[Call[Any] | Ready, Any, None]


def steps(
    task: str,
    inputs: Iterable[Params],
    options: Mapping[str, Any],
    counts: Counts,
    *,
    ordered: bool,
) -> Steps:
    """Submit the inputs in batches, wait for their jobs, and give each as it ends, or in order."""
    source = iter(inputs)
    open_jobs = counts.open
    done: dict[int, JobView] = {}
    turn, more = 0, True
    while more or open_jobs:
        if more and len(open_jobs) <= IN_FLIGHT - BATCH:
            more = yield from _submit(task, source, options, open_jobs, counts)
            if more:
                continue
        for job in (yield from _wait(open_jobs)):
            for number in open_jobs.pop(job.id):
                counts.ended += 1
                counts.failed += job.state is not State.SUCCEEDED
                if ordered:
                    done[number] = job
                else:
                    yield Ready(number, job)
        while turn in done:
            yield Ready(turn, done.pop(turn))
            turn += 1


def _submit(
    task: str,
    source: Iterator[Params],
    options: Mapping[str, Any],
    open_jobs: dict[str, list[int]],
    counts: Counts,
) -> Generator[Call[Any], list[JobView], bool]:
    """Submit the next batch; whether there may be more."""
    batch = [_submission(task, params, options) for params in islice(source, BATCH)]
    if batch:
        jobs = yield messages.submit_many(batch, "inputs", counts.total)
        for number, job in enumerate(jobs, counts.total):
            open_jobs.setdefault(job.id, []).append(number)
        counts.total += len(jobs)
    return len(batch) == BATCH


def _submission(task: str, params: Params, options: Mapping[str, Any]) -> dict[str, Any]:
    # With a key of its own, each may be sent again when an answer gets lost.
    return {"task": task, "params": params, "idempotency_key": uuid.uuid4().hex} | dict(options)


def _wait(open_jobs: Mapping[str, list[int]]) -> Generator[Call[Any], messages.Waited, list[JobView]]:
    """Those of the oldest that have ended; the answer to one request."""
    if not open_jobs:
        return []
    waited = yield messages.wait_any(list(islice(open_jobs, BATCH)), MAX_WAIT_S)
    if waited.unknown:
        gone = waited.unknown[0]
        message = f"job {gone} was forgotten before its result was read"
        raise PenstockError(ErrorCode.JOB_NOT_FOUND, message, {"job_id": gone})
    return waited.jobs


def leave(counts: Counts) -> Generator[Call[CancelReport], CancelReport, None]:
    """Cancel the jobs that are open, each as often as it is waited for: others may wait for it, too."""
    times = max(map(len, counts.open.values()), default=0)
    for time in range(times):
        waited = [job_id for job_id, numbers in counts.open.items() if len(numbers) > time]
        yield from choosing.steps(messages.cancel_many, waited, {})


def value_of(job: JobView, failures: Failures) -> Any:
    """A job's result; of one that did not succeed, `JobFailed`, raised or returned."""
    if job.state is State.SUCCEEDED:
        return job.result
    failed = JobFailed(job)
    if failures == "raise":
        raise failed
    return failed


def chain_of(submissions: Iterable[Mapping[str, Any]]) -> Generator[Call[JobView], JobView, None]:
    """Submit jobs each of which waits for the one before it."""
    before: JobView | None = None
    for each in submissions:
        options = {name: value for name, value in each.items() if name not in {"task", "params"}}
        if before is not None:
            options["after"] = [before, *options.get("after", ())]
        before = yield messages.submit(each["task"], each.get("params", {}), 0.0, options)


Step = TypeVar("Step")


def advance(steps: Generator[Step, Any, None], answer: Any) -> Step | None:
    """The next step, given the answer to the one before; None at the end."""
    try:
        return steps.send(answer)
    except StopIteration:
        return None

"""The front desk: what clients may ask for, in terms of tasks and jobs. Edges translate, this decides."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from penstock.core.catalog import AnyTask, Catalog
from penstock.core.errors import ErrorCode, PenstockError, field_error
from penstock.core.fingerprint import fingerprint
from penstock.core.ids import new_id
from penstock.core.job import Job, JobSpec, Limits
from penstock.core.lifecycle import RETRYABLE_STATES
from penstock.core.past import Attempt
from penstock.core.submission import Submission
from penstock.ports import Admission, Broker, Event, JobQuery, Receipt, Stats
from penstock.service.clients import Clients
from penstock.service.dead import DeadLetters
from penstock.service.places import Places

STREAM_WAIT_S = 15.0


class Desk:
    """One node's use cases. ``node`` is written on what it initiates."""

    def __init__(self, broker: Broker, catalog: Catalog, node: str) -> None:
        self.catalog = catalog
        self.node = node
        self._broker = broker
        self._patience: set[asyncio.Timeout] = set()
        self._leaving = asyncio.Event()
        self.dead = DeadLetters(broker)
        self.places = Places(broker)
        self.clients = Clients(broker)

    @property
    def leaving(self) -> bool:
        """Whether the node is about to stop."""
        return self._leaving.is_set()

    def leave(self) -> None:
        """The node stops: jobs that are waited for are answered as they stand, streams of events end."""
        self._leaving.set()
        for patience in self._patience:
            patience.reschedule(0)

    async def submit(
        self, submission: Submission, request_id: str | None = None, wait_s: float = 0.0
    ) -> Receipt:
        """Have one job done; with ``wait_s`` the receipt's job is as it has ended by then.

        Raises TASK_UNKNOWN, VALIDATION_ERROR naming the fields, or CONFLICT for a reused key.
        """
        spec = self._spec(submission, request_id, new_id())
        if wait_s <= 0:
            return await self._submit(spec)
        receipt = await self._submit(spec)
        job = receipt.job
        if job is None or job.state.final:
            return receipt
        return replace(receipt, job=await self._wait(job.id, wait_s))

    async def _submit(self, spec: JobSpec) -> Receipt:
        (receipt,) = await self._broker.submit([spec])
        answer = _answer(receipt, spec)
        if isinstance(answer, PenstockError):
            raise answer
        return answer

    async def submit_many(
        self, submissions: Sequence[Submission], request_id: str | None = None
    ) -> list[Receipt | PenstockError]:
        """Have independent jobs done in one broker call; a bad one does not keep the others out."""
        ids = new_id.many(len(submissions))
        specs = [
            self._check(submission, request_id, job_id)
            for submission, job_id in zip(submissions, ids, strict=True)
        ]
        good = [spec for spec in specs if isinstance(spec, JobSpec)]
        receipts = iter(await self._broker.submit(good) if good else [])
        return [_answer(next(receipts), spec) if isinstance(spec, JobSpec) else spec for spec in specs]

    def _check(self, submission: Submission, request_id: str | None, job_id: str) -> JobSpec | PenstockError:
        try:
            return self._spec(submission, request_id, job_id)
        except PenstockError as refused:
            return refused

    def _spec(self, submission: Submission, request_id: str | None, job_id: str) -> JobSpec:
        task = self.catalog.find(submission.task)
        params = _params(task, submission)
        return JobSpec(
            id=job_id,
            task=task.name,
            version=task.version,
            params=msgspec.Raw(params),
            queue=submission.queue or task.queue,
            priority=submission.priority or task.priority,
            limits=_limits(task, submission),
            fingerprint=fingerprint(task.name, task.version, params),
            delay_ms=round(submission.delay_s * 1000),
            idempotency_key=submission.idempotency_key,
            client=submission.client,
            max_running=task.max_running,
            initiated_by=self.node,
            request_id=request_id,
        )

    async def get(self, job_id: str, wait_s: float = 0.0) -> Job:
        """The job, once it has ended or ``wait_s`` seconds have passed. Raises JOB_NOT_FOUND."""
        return await self._get(job_id) if wait_s <= 0 else await self._wait(job_id, wait_s)

    async def _wait(self, job_id: str, wait_s: float) -> Job:
        """The job when it has ended, when the time is up, or when this node stops."""
        try:
            async with asyncio.timeout(None) as patience:
                with self._until_leaving(patience):
                    return _found(job_id, await self._broker.wait(job_id, wait_s))
        except TimeoutError:
            return await self._get(job_id)

    @contextlib.contextmanager
    def _until_leaving(self, patience: asyncio.Timeout) -> Iterator[None]:
        self._patience.add(patience)
        if self._leaving.is_set():
            patience.reschedule(0)
        try:
            yield
        finally:
            self._patience.discard(patience)

    async def _get(self, job_id: str) -> Job:
        return _found(job_id, (await self._broker.get([job_id]))[0])

    async def find(self, query: JobQuery) -> list[Job]:
        """Jobs that match, newest first, without their results."""
        return await self._broker.find(query)

    async def cancel(self, job_id: str) -> Job:
        """Stop a job; one that has ended stays as it is. Raises JOB_NOT_FOUND."""
        return _found(job_id, (await self._broker.cancel([job_id]))[0])

    async def retry(self, job_id: str) -> Job:
        """Queue a failed or cancelled job anew. Raises JOB_NOT_FOUND or CONFLICT."""
        await self._retryable(job_id)
        return _found(job_id, (await self._broker.retry([job_id]))[0])

    async def retry_with(self, job_id: str, params: Mapping[str, Any], request_id: str | None = None) -> Job:
        """A new job like a failed or cancelled one, but with these parameters; the old one stays.

        Its limits are those of the task as it is now. Raises as `submit` and `retry` do.
        """
        old = (await self._retryable(job_id)).spec
        again = Submission(
            task=old.task, params=dict(params), queue=old.queue, priority=old.priority, client=old.client
        )
        spec = replace(self._spec(again, request_id, new_id()), parent_id=job_id)
        return _found(spec.id, (await self._submit(spec)).job)

    async def _retryable(self, job_id: str) -> Job:
        job = await self._get(job_id)
        if job.state not in RETRYABLE_STATES:
            message = f"job {job_id} is {job.state}; only failed and cancelled jobs can be retried"
            raise PenstockError(ErrorCode.CONFLICT, message, {"state": job.state})
        return job

    async def attempts(self, job_id: str) -> list[Attempt]:
        """The job's attempts that are over, oldest first. Raises JOB_NOT_FOUND."""
        await self._get(job_id)
        return (await self._broker.attempts([job_id]))[0]

    async def pause(self, queue: str) -> None:
        """Give out no more jobs of a queue."""
        await self._broker.pause(queue)

    async def resume(self, queue: str) -> None:
        """Give out jobs of a queue again."""
        await self._broker.resume(queue)

    async def stats(self) -> Stats:
        """Depths, ages and workers."""
        return await self._broker.stats()

    async def ready(self) -> None:
        """Returns if jobs can be taken now; raises BROKER_UNAVAILABLE if not."""
        await self._broker.submit([])  # reading may go on where writing is held up

    async def start(self, after: str | None) -> str:
        """Where to begin with `events`: after a known event, or with what happens from now on.

        Raises INVALID_REQUEST for an id that is none.
        """
        if after is None:
            return await self._broker.head()
        await self._broker.events(after, 0.0, limit=1)
        return after

    async def events(self, after: str, job_id: str | None = None) -> AsyncIterator[Event | None]:
        """What happens after an event id, until `leave`; of one job, until it has ended.

        Yields None when nothing happened for a while, so that the caller can see whether anybody
        still listens.
        """
        # Of a job that has ended before, only what the feed still keeps can be told.
        ended = job_id is not None and (await self._get(job_id)).state.final
        while not self._leaving.is_set():
            events = await self._read(after, 0.0 if ended else STREAM_WAIT_S)
            for event in events:
                if job_id is None or event.job_id == job_id:
                    yield event
                    if job_id is not None and event.kind in ("succeeded", "failed", "cancelled"):
                        return
            if events:
                after = events[-1].id
            elif ended:
                return
            else:
                yield None

    async def _read(self, after: str, wait_s: float) -> list[Event]:
        reading = asyncio.ensure_future(self._broker.events(after, wait_s))
        leaving = asyncio.ensure_future(self._leaving.wait())
        try:
            await asyncio.wait((reading, leaving), return_when=asyncio.FIRST_COMPLETED)
            return reading.result() if reading.done() else []
        finally:
            reading.cancel()
            leaving.cancel()


def _params(task: AnyTask, submission: Submission) -> bytes:
    try:
        return task.parse(submission.params)
    except (ValueError, RecursionError) as failed:  # nested too deeply, or text that is no Unicode
        raise field_error([("params", f"cannot be kept as JSON: {failed}")]) from None


def _limits(task: AnyTask, submission: Submission) -> Limits:
    limits = task.limits
    if submission.timeout_s is not None:
        limits = replace(limits, timeout_ms=max(1, round(submission.timeout_s * 1000)))
    if submission.max_attempts is not None:
        limits = replace(limits, max_attempts=submission.max_attempts)
    return limits


def _answer(receipt: Receipt, spec: JobSpec) -> Receipt | PenstockError:
    if receipt.admission is Admission.CONFLICT:
        message = f"idempotency key {spec.idempotency_key!r} was used before with other parameters"
        details = {"job_id": receipt.job.id if receipt.job else None}
        return PenstockError(ErrorCode.CONFLICT, message, details)
    if receipt.admission is Admission.REFUSED:
        message = f"queue {spec.queue!r} is full"
        return PenstockError(ErrorCode.QUEUE_FULL, message, {"queue": spec.queue}, retry_after_s=1.0)
    return receipt


def _found(job_id: str, job: Job | None) -> Job:
    if job is None:
        raise PenstockError(ErrorCode.JOB_NOT_FOUND, f"there is no job {job_id}", {"job_id": job_id})
    return job

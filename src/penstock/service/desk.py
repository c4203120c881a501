"""The front desk: what clients may ask for, in terms of tasks and jobs. Edges translate, this decides."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from penstock.core import drain
from penstock.core.catalog import AnyTask, Catalog
from penstock.core.drain import Full
from penstock.core.errors import ErrorCode, PenstockError, field_error
from penstock.core.fingerprint import fingerprint
from penstock.core.ids import new_id
from penstock.core.job import AfterFailure, Job, JobSpec, Limits
from penstock.core.keys import Key
from penstock.core.lifecycle import RETRYABLE_STATES
from penstock.core.past import Attempt
from penstock.core.submission import Submission
from penstock.ports import DEPTHS, Admission, Broker, Event, JobQuery, QueueStats, Receipt, Stats
from penstock.service.asker import client_of, kept_apart
from penstock.service.cancelling import Cancelling
from penstock.service.clients import Clients
from penstock.service.dead import DeadLetters
from penstock.service.extension import EXTEND, manifest_of
from penstock.service.later import delay_ms, unknown_ahead
from penstock.service.places import Places
from penstock.service.probe import Probe
from penstock.service.schedules import Schedules
from penstock.service.waits import seen, wait_any

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
        self.cancelling = Cancelling(broker)
        self.schedules = Schedules(broker, lambda asked: self._spec(asked, None, "", None), node)
        self.places = Places(broker)
        self.probe = Probe(broker, node)
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
        self,
        submission: Submission,
        request_id: str | None = None,
        wait_s: float = 0.0,
        by: Key | None = None,
    ) -> Receipt:
        """Have one job done; with ``wait_s`` the receipt's job is as it has ended by then.

        ``by`` is the key that it was asked for with.

        Raises TASK_UNKNOWN, VALIDATION_ERROR naming the fields, or CONFLICT for a reused key.
        """
        spec = self._spec(submission, request_id, new_id(), by)
        if spec.after:
            (checked,) = await unknown_ahead(self._broker, [spec], by)
            if isinstance(checked, PenstockError):
                raise checked
        receipt = await self._submit(spec, awaited=wait_s > 0)
        job = receipt.job
        if wait_s <= 0 or job is None or job.state.final:
            return receipt
        return replace(receipt, job=await self._wait(job.id, wait_s))

    async def _submit(self, spec: JobSpec, *, awaited: bool = False) -> Receipt:
        (receipt,) = await self._broker.submit([spec], awaited=awaited)
        answer = _answer(receipt, spec)
        if isinstance(answer, PenstockError):
            raise answer
        return answer

    async def submit_many(
        self,
        submissions: Sequence[Submission | PenstockError],
        request_id: str | None = None,
        by: Key | None = None,
    ) -> list[Receipt | PenstockError]:
        """Have independent jobs done in one broker call; a bad one does not keep the others out.

        One that was found misshapen before comes as its error, which is its answer.
        """
        ids = new_id.many(len(submissions))
        specs = [
            self._check(submission, request_id, job_id, by)
            for submission, job_id in zip(submissions, ids, strict=True)
        ]
        specs = await unknown_ahead(self._broker, specs, by)
        good = [spec for spec in specs if isinstance(spec, JobSpec)]
        receipts = iter(await self._broker.submit(good) if good else [])
        return [_answer(next(receipts), spec) if isinstance(spec, JobSpec) else spec for spec in specs]

    def _check(
        self, submission: Submission | PenstockError, request_id: str | None, job_id: str, by: Key | None
    ) -> JobSpec | PenstockError:
        if isinstance(submission, PenstockError):
            return submission
        try:
            return self._spec(submission, request_id, job_id, by)
        except PenstockError as refused:
            return refused

    def _spec(self, submission: Submission, request_id: str | None, job_id: str, by: Key | None) -> JobSpec:
        task = self.catalog.find(submission.task)
        params = _params(task, submission)
        client = client_of(submission.client, by)
        spec = JobSpec(
            id=job_id,
            task=task.name,
            version=task.version,
            params=msgspec.Raw(params),
            queue=submission.queue or task.queue,
            priority=submission.priority or task.priority,
            limits=_limits(task, submission),
            fingerprint=kept_apart(fingerprint(task.name, task.version, params, task.data_version()), by),
            delay_ms=delay_ms(submission),
            idempotency_key=submission.idempotency_key,
            client=client,
            max_running=task.max_running,
            initiated_by=self.node,
            request_id=request_id,
        )
        if by is None and not task.cache_ms and task.fanout is None and not submission.after:
            return spec  # more than 15 keywords in the call above would make it four times as slow
        return replace(
            spec,
            weight=1 if by is None else by.weight,
            cache_ms=0 if submission.cache == "bypass" else task.cache_ms,
            refresh=submission.cache == "refresh",
            after=tuple(submission.after or ()),
            after_failure=submission.after_failure or AfterFailure.CANCEL,
            merge_block=task.fanout.block if task.fanout else 0,
            skip_failed_parts=task.fanout is not None and task.fanout.skip_failed,
        )

    async def get(self, job_id: str, wait_s: float = 0.0, by: Key | None = None) -> Job:
        """The job, once it has ended or ``wait_s`` seconds have passed.

        Raises JOB_NOT_FOUND, also for a job that ``by`` may not see; nobody waits for that.
        """
        if wait_s <= 0 or (by is not None and by.confined):
            job = _found(job_id, (await seen(self._broker, [job_id], by))[0])
            if wait_s <= 0 or job.state.final:
                return job
        return await self._wait(job_id, wait_s)

    async def _wait(self, job_id: str, wait_s: float) -> Job:
        """The job when it has ended, when the time is up, or when this node stops."""
        try:
            async with asyncio.timeout(None) as patience:
                with self._until_leaving(patience):
                    return _found(job_id, await self._broker.wait(job_id, wait_s))
        except TimeoutError:
            return await self._get(job_id)

    async def wait_any(
        self, job_ids: Sequence[str], wait_s: float, by: Key | None = None
    ) -> list[Job | None]:
        """The jobs as they stand, once any of them has ended or ``wait_s`` seconds have passed.

        None for an unknown id, and for a job that ``by`` may not see; both are answered at once.
        """
        try:
            async with asyncio.timeout(None) as patience:
                with self._until_leaving(patience):
                    return await wait_any(self._broker, job_ids, wait_s, by)
        except TimeoutError:
            return await seen(self._broker, job_ids, by)

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

    async def cancel(self, job_id: str, *, force: bool = False) -> Job:
        """Stop a job; one that has ended stays as it is. Raises JOB_NOT_FOUND.

        One that others wait for, too, goes on for them, unless by ``force``.
        """
        return _found(job_id, (await self._broker.cancel([job_id], force=force))[0])

    async def retry(self, job_id: str) -> Job:
        """Queue a failed or cancelled job anew. Raises JOB_NOT_FOUND or CONFLICT."""
        await self._retryable(job_id)
        return _found(job_id, (await self._broker.retry([job_id]))[0])

    async def retry_with(
        self, job_id: str, params: Mapping[str, Any], request_id: str | None = None, by: Key | None = None
    ) -> Job:
        """A new job like a failed or cancelled one, but with these parameters; the old one stays.

        Its limits are those of the task as it is now. Raises as `submit` and `retry` do.
        """
        old = (await self._retryable(job_id)).spec
        return await self._like(old, dict(params), request_id, by)

    async def extend(
        self, job_id: str, params: Mapping[str, Any], request_id: str | None = None, by: Key | None = None
    ) -> Job:
        """A new job like a finished simulation, but larger; what was drawn before is not drawn again.

        Its parameters are the old one's with these in place, and ``extend`` is the manifest in the old one's
        result. Raises JOB_NOT_FOUND, CONFLICT if there is nothing to extend, and as `submit` does.
        """
        old = await self._get(job_id)
        manifest = manifest_of(old)
        if manifest is None or EXTEND not in self.catalog.find(old.spec.task).params_model.model_fields:
            message = f"job {job_id} cannot be extended; only a finished simulation with a manifest can"
            raise PenstockError(ErrorCode.CONFLICT, message, {"state": old.state})
        larger = msgspec.json.decode(old.spec.params) | dict(params) | {EXTEND: manifest}
        return await self._like(old.spec, larger, request_id, by)

    async def _like(
        self, old: JobSpec, params: dict[str, Any], request_id: str | None, by: Key | None
    ) -> Job:
        """A new job like an old one, with other parameters."""
        again = Submission(
            task=old.task,
            params=params,
            queue=old.queue,
            priority=old.priority,
            client=old.client,
            cache="refresh",  # another job's answer would have another parent
        )
        spec = replace(self._spec(again, request_id, new_id(), by), parent_id=old.id)
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

    async def pause(self, queue: str) -> bool:
        """Give out no more jobs of a queue, and whether anybody knows it: it may be paused before it is used.

        Known is what has jobs or a limit, and what a worker takes jobs from.
        """
        stats = await self._broker.stats()
        await self._broker.pause(queue)
        used = {each.name for each in stats.queues if _has_jobs(each) or not each.paused}
        return queue in used.union(*(each.queues for each in stats.serving))

    async def resume(self, queue: str) -> None:
        """Give out jobs of a queue again."""
        await self._broker.resume(queue)

    async def limit_depth(self, queue: str, max_depth: int | None) -> None:
        """Let at most so many jobs wait in a queue; None for as many as in any other."""
        body = None if max_depth is None else str(max_depth).encode()
        await self._broker.put(DEPTHS, queue, body)

    async def forget_answers(self, keys: Sequence[str] | None = None) -> int:
        """Give out no answer under these keys, or none at all, that is known by now; how many were."""
        return await self._broker.forget_answers(keys)

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
        return _queue_full(spec.queue, receipt.full or Full(depth=0, limit=0))
    return receipt


def _queue_full(queue: str, full: Full) -> PenstockError:
    message = f"queue {queue!r} is full: {full.depth} jobs wait, of at most {full.limit}"
    details = {"queue": queue, "depth": full.depth, "limit": full.limit}
    wait_s = drain.retry_after_s(full.depth, full.limit, full.drain_per_s)
    return PenstockError(ErrorCode.QUEUE_FULL, message, details, retry_after_s=wait_s)


def _found(job_id: str, job: Job | None) -> Job:
    if job is None:
        raise PenstockError(ErrorCode.JOB_NOT_FOUND, f"there is no job {job_id}", {"job_id": job_id})
    return job


def _has_jobs(queue: QueueStats) -> bool:
    return queue.scheduled + queue.queued + queue.running > 0

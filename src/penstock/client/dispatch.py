"""What stands behind an executor: two threads and two connections, however many futures there are.

One sends what is wanted, in batches; the other waits for whatever ends first. Futures are ended once, by
whoever comes first: a result, a cancel, or an error that leaves no hope.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any

from penstock.client import messages
from penstock.client.blocking import Client
from penstock.client.calls import Wanted, submit_each
from penstock.client.future import JobFuture
from penstock.client.patience import REFUSALS
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import State
from penstock.core.submission import JobView

BATCH = 1_000
BATCH_BYTES = 2**20
LOOK_S = 0.25
"""How long the node is asked to wait; what is submitted meanwhile is only waited for afterwards."""

PAUSE_S = 0.5
"""Between two tries of what a full queue refused."""

MOST_RUNNING = 1_000

Connection = tuple[Client, Callable[[], None] | None]


class Dispatch:
    """``connect`` gives a client when the first job is wanted, and how to end its node if that is our own."""

    def __init__(self, connect: Callable[[Wanted], Connection], options: Mapping[str, Any]) -> None:
        self._connect = connect
        self._options = dict(options)
        self._wishes: SimpleQueue[JobFuture | str | None] = SimpleQueue()
        self._refused: list[JobFuture] = []
        self._open: dict[str, list[JobFuture]] = {}
        self._changed = threading.Condition()
        self._unended: set[JobFuture] = set()
        self._closing = False
        self._client: Client | None = None
        self._end_node: Callable[[], None] | None = None
        self._sender = threading.Thread(target=self._send_all, name="penstock-executor-send", daemon=True)
        self._waiter = threading.Thread(target=self._wait_for_all, name="penstock-executor-wait", daemon=True)

    def put(self, wanted: Wanted) -> JobFuture:
        """Have a job done; raises RuntimeError if the executor has been shut down."""
        future = JobFuture(wanted, self)
        with self._changed:
            if self._closing:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._unended.add(future)
            if self._sender.ident is None:
                self._sender.start()
        future.add_done_callback(self._ended)
        self._wishes.put(future)
        return future

    def _ended(self, future: Any) -> None:
        with self._changed:
            self._unended.discard(future)
            self._end_if_done()

    def _end_if_done(self) -> None:
        if self._closing and not self._unended:
            self._wishes.put(None)
            self._changed.notify_all()

    def close(self) -> None:
        """Take nothing more, and end when all that was taken has ended."""
        with self._changed:
            if not self._closing:
                self._closing = True
                self._end_if_done()

    def join(self) -> None:
        """Until that has happened; only after `close`."""
        if self._sender.ident is not None:
            self._sender.join()

    # what futures ask for

    def drop(self, future: JobFuture) -> None:
        """A future was cancelled: its job, once there is one, is wanted no longer."""
        with self._changed:
            if future.job_id is not None and not future.dropped:
                future.dropped = True
                self._wishes.put(future.job_id)

    def is_running(self, job_id: str) -> bool:
        """Whether an attempt of the job is under way."""
        return self._client is not None and self._client.get(job_id).state is State.RUNNING

    def cancel_waiting(self) -> None:
        """Cancel every future whose job does not run yet."""
        running: set[str] = set()
        if self._client is not None and self._unended:
            found = self._client.jobs(state=State.RUNNING, limit=MOST_RUNNING)
            running = {job.id for job in found}
        with self._changed:
            waiting = [future for future in self._unended if future.job_id not in running]
        for future in waiting:
            future.cancel()

    def cancel_all(self) -> None:
        """Cancel every future, also those whose jobs run."""
        with self._changed:
            unended = [*self._unended]
        for future in unended:
            future.cancel()

    # the thread that sends

    def _send_all(self) -> None:
        self._waiter.start()
        try:
            while (batch := self._next_batch()) is not None:
                if self._client is None:
                    self._open_client(batch)
                if self._client is not None:
                    self._send(self._client, batch)
        finally:
            self._waiter.join()
            self._leave()

    def _open_client(self, batch: list[JobFuture | str]) -> None:
        futures = _unended(batch)
        if futures:
            try:
                self._client, self._end_node = self._connect(futures[0].wanted)
            except (PenstockError, OSError) as failed:
                _fail(futures, failed)

    def _leave(self) -> None:
        if self._client is None:
            return
        while not self._wishes.empty():  # what was cancelled last
            self._send(self._client, [wish for wish in [self._wishes.get()] if wish is not None])
        self._client.close()
        if self._end_node is not None:
            self._end_node()

    def _next_batch(self) -> list[JobFuture | str] | None:
        """What is wanted by now, as much as fits into one request; None at the end."""
        batch: list[JobFuture | str] = [*self._refused]
        self._refused = []
        size = 0
        with contextlib.suppress(Empty):
            while len(batch) < BATCH and size < BATCH_BYTES:
                wish = self._wishes.get() if not batch else self._wishes.get_nowait()
                if wish is None and not batch:
                    return None
                if wish is None:
                    self._wishes.put(None)  # first what was cancelled last
                    break
                batch.append(wish)
                size += wish.wanted.size if isinstance(wish, JobFuture) else 0
        return batch

    def _send(self, client: Client, batch: list[JobFuture | str]) -> None:
        self._submit(client, _unended(batch))
        for job_id in (each for each in batch if isinstance(each, str)):
            if self._closing and self._end_node is not None:
                break  # the node ends with all that it runs
            with contextlib.suppress(PenstockError):  # it has ended meanwhile, or nobody can be told
                client.cancel(job_id)
        if self._refused:
            time.sleep(PAUSE_S)

    def _submit(self, client: Client, futures: list[JobFuture]) -> None:
        if not futures:
            return
        try:
            answers = client.send(submit_each(self._submission(future) for future in futures))
        except PenstockError as failed:
            _fail(futures, failed)
            return
        for future, answer in zip(futures, answers, strict=True):
            if not isinstance(answer, PenstockError):
                self._opened(future, answer)
            elif answer.code in REFUSALS:
                self._refused.append(future)
            else:
                future.fail(answer)

    def _submission(self, future: JobFuture) -> dict[str, Any]:
        wanted = future.wanted
        return {"task": wanted.task, "params": wanted.params, "idempotency_key": future.key} | self._options

    def _opened(self, future: JobFuture, job: JobView) -> None:
        with self._changed:
            future.job_id = job.id
            if not job.final:
                self._open.setdefault(job.id, []).append(future)
                self._changed.notify_all()
        if job.final:
            future.end(job)
        elif future.claimed:
            self.drop(future)

    # the thread that waits

    def _wait_for_all(self) -> None:
        while ids := self._next_ids():
            client = self._client
            assert client is not None, "a job is open"  # noqa: S101 - for the type checker
            try:
                waited = client.send(messages.wait_any(ids, LOOK_S))
            except PenstockError as failed:
                _fail(self._taken(ids), failed)
                continue
            for job in waited.jobs:
                for future in self._taken([job.id]):
                    future.end(job)
            for gone in waited.unknown:
                message = f"job {gone} was forgotten before its result was read"
                _fail(self._taken([gone]), PenstockError(ErrorCode.JOB_NOT_FOUND, message))
            if not waited.jobs:
                self._turn(ids)

    def _next_ids(self) -> list[str]:
        """The jobs to be waited for, the oldest first; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._open or (self._closing and not self._unended))
            if self._closing and not self._unended:
                return []
            return list(islice(self._open, BATCH))

    def _taken(self, ids: Iterable[str]) -> list[JobFuture]:
        with self._changed:
            return [future for job_id in ids for future in self._open.pop(job_id, [])]

    def _turn(self, ids: list[str]) -> None:
        """Look at others next, if there are any."""
        with self._changed:
            if len(self._open) > len(ids):
                for job_id in ids:
                    self._open[job_id] = self._open.pop(job_id)


def _unended(batch: Iterable[JobFuture | str]) -> list[JobFuture]:
    return [each for each in batch if isinstance(each, JobFuture) and not each.claimed]


def _fail(futures: Iterable[JobFuture], error: Exception) -> None:
    for future in futures:
        future.fail(error)

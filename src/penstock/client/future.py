"""The future of one job, as `concurrent.futures` knows futures."""

import threading
import uuid
from concurrent.futures import Future
from typing import Any, Protocol

from penstock.client.calls import Wanted
from penstock.client.gathering import JobFailed
from penstock.core.errors import PenstockError
from penstock.core.job import State
from penstock.core.submission import JobView


class Behind(Protocol):
    """What a future wants of the executor behind it."""

    def drop(self, future: "JobFuture") -> None:
        """The future was cancelled."""

    def is_running(self, job_id: str) -> bool:
        """Whether an attempt of the job is under way."""


class JobFuture(Future[Any]):
    """``job_id`` is None until the node has taken the job.

    `result` raises what `concurrent.futures` lets it raise, or `JobFailed`, or the `PenstockError` with
    which the job was refused or lost sight of.
    """

    def __init__(self, wanted: Wanted, behind: Behind) -> None:
        super().__init__()
        self.wanted = wanted
        self.key = uuid.uuid4().hex
        self.job_id: str | None = None
        self.dropped = False
        self._behind = behind
        self._once = threading.Lock()  # never released: whoever gets it ends the future

    @property
    def claimed(self) -> bool:
        """Whether it has ended, or is just being ended."""
        return self._once.locked()

    def cancel(self) -> bool:
        """End the future, and the job as well, also if it runs; False if it has ended otherwise."""
        if not self._cancelled_here():
            return self.cancelled()
        self._behind.drop(self)
        return True

    def _cancelled_here(self) -> bool:
        if not self._once.acquire(blocking=False):
            return False
        super().cancel()
        self.set_running_or_notify_cancel()  # tells those who wait for several futures
        return True

    def running(self) -> bool:
        """Whether an attempt is under way: asks the node. Raises `PenstockError` if that does not answer."""
        return self.job_id is not None and not self.done() and self._behind.is_running(self.job_id)

    def end(self, job: JobView) -> None:
        """The job has ended."""
        if job.state is State.CANCELLED:
            self._cancelled_here()
        elif job.state is not State.SUCCEEDED:
            self.fail(JobFailed(job))
        elif not self.claimed:
            self._succeed(job)

    def _succeed(self, job: JobView) -> None:
        try:
            value = self.wanted.revive(job.result)
        except PenstockError as failed:
            self.fail(failed)
        else:
            if self._once.acquire(blocking=False):
                self.set_result(value)

    def fail(self, error: Exception) -> None:
        """There will be no result."""
        if self._once.acquire(blocking=False):
            self.set_exception(error)

"""What a running task says about itself, and how it learns that nobody wants its answer any more."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from penstock.core.job import JobProgress
from penstock.core.text import encodable

Item = TypeVar("Item")


class JobCancelled(BaseException):
    """Raised inside a task whose job was cancelled.

    Not an ``Exception``, so that a task's own ``except Exception`` does not swallow it.
    """


class SoftTimeout(Exception):
    """Raised inside a task that has used up its timeout; the process is killed a grace period later."""


class DoNotRetry(Exception):
    """Raise it in a task when another attempt cannot help: the job fails at once, with this message."""


class Progress:
    """Handed to a task that asks for it. Without a sink (a plain function call) it does nothing.

    ``job_id`` is the same in every attempt of a job, so it can name what the task writes; ``attempt``
    counts from 1. Parameters: ``sink`` receives each report; ``cancelled`` tells whether the job was
    cancelled.
    """

    def __init__(
        self,
        sink: Callable[[JobProgress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        *,
        job_id: str = "",
        attempt: int = 1,
    ) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self._sink = sink
        self._cancelled = cancelled

    @property
    def cancelled(self) -> bool:
        """Whether the job was cancelled; a task may look and tidy up before it returns."""
        return self._cancelled is not None and self._cancelled()

    def check(self) -> None:
        """Raise `JobCancelled` if the job was cancelled."""
        if self.cancelled:
            raise JobCancelled

    def update(self, fraction: float, message: str = "") -> None:
        """Report a fraction from 0 to 1 (clamped) and a sentence; raises `JobCancelled` when cancelled."""
        self.check()
        if self._sink is not None:
            self._sink(JobProgress(min(1.0, max(0.0, float(fraction))), encodable(str(message))))

    def track(self, items: Iterable[Item], total: int, message: str = "") -> Iterator[Item]:
        """Yield ``items`` and report how many of ``total`` are done."""
        for done, item in enumerate(items):
            self.update(done / total if total else 1.0, message)
            yield item

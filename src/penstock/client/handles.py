"""A job with the client that it was submitted by, so that one need not carry both."""

from typing import Any, Protocol

from penstock.client.gathering import value_of
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.submission import JobView, ProgressView


class Verbs(Protocol):
    """What a handle wants of a client."""

    def get(self, job_id: str, wait_s: float = 0.0) -> JobView:
        """A job as it stands."""

    def wait(self, job_id: str, timeout_s: float | None = None) -> JobView:
        """A job when it has ended, or as it stands after so long."""

    def cancel(self, job_id: str) -> JobView:
        """Stop a job."""


class AsyncVerbs(Protocol):
    """The same of an asynchronous one."""

    async def get(self, job_id: str, wait_s: float = 0.0) -> JobView:
        """See `Verbs.get`."""

    async def wait(self, job_id: str, timeout_s: float | None = None) -> JobView:
        """See `Verbs.wait`."""

    async def cancel(self, job_id: str) -> JobView:
        """See `Verbs.cancel`."""


class Handle:
    """One job of a `Client`. Every method asks the node and raises `PenstockError` as that does."""

    def __init__(self, client: Verbs, job_id: str) -> None:
        self._client = client
        self.id = job_id

    def wait(self, timeout_s: float | None = None) -> JobView:
        """The job when it has ended, or as it stands after ``timeout_s`` seconds."""
        return self._client.wait(self.id, timeout_s)

    def result(self, timeout_s: float | None = None) -> Any:
        """What its task returned; raises `JobFailed`, or TASK_TIMEOUT if it has not ended by then."""
        return result_of(self.wait(timeout_s))

    def cancel(self) -> JobView:
        """Stop it."""
        return self._client.cancel(self.id)

    @property
    def progress(self) -> ProgressView | None:
        """How far it has come by now, None if it has said nothing."""
        return self._client.get(self.id).progress


class AsyncHandle:
    """`Handle` of an `AsyncClient`."""

    def __init__(self, client: AsyncVerbs, job_id: str) -> None:
        self._client = client
        self.id = job_id

    async def wait(self, timeout_s: float | None = None) -> JobView:
        """See `Handle.wait`."""
        return await self._client.wait(self.id, timeout_s)

    async def result(self, timeout_s: float | None = None) -> Any:
        """See `Handle.result`."""
        return result_of(await self.wait(timeout_s))

    async def cancel(self) -> JobView:
        """See `Handle.cancel`."""
        return await self._client.cancel(self.id)

    async def progress(self) -> ProgressView | None:
        """See `Handle.progress`."""
        return (await self._client.get(self.id)).progress


def result_of(job: JobView) -> Any:
    """The result of a job that has succeeded; raises otherwise."""
    if not job.final:
        message = f"job {job.id} is still {job.state}"
        raise PenstockError(ErrorCode.TASK_TIMEOUT, message, {"job_id": job.id})
    return value_of(job, "raise")

"""A job with the client that it was submitted by, so that one need not carry both."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

from penstock.client.feed import JobEvent
from penstock.client.gathering import value_of
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.submission import JobView, ProgressView


class HasId(Protocol):
    """A job, a handle, or whatever else stands for one."""

    @property
    def id(self) -> str:
        """The job's id."""


def id_of(job: str | HasId) -> str:
    """The id of a job that is named by it, or by itself."""
    return job if isinstance(job, str) else job.id


class Verbs(Protocol):
    """What a handle wants of a client."""

    url: str

    def get(self, job_id: str, wait_s: float = 0.0) -> JobView:
        """A job as it stands."""

    def wait(self, job_id: str, timeout_s: float | None = None) -> JobView:
        """A job when it has ended, or as it stands after so long."""

    def cancel(self, job_id: str) -> JobView:
        """Stop a job."""

    def stream(self, job: str) -> Iterator[JobEvent]:
        """What happens to a job."""


class AsyncVerbs(Protocol):
    """The same of an asynchronous one."""

    url: str

    async def get(self, job_id: str, wait_s: float = 0.0) -> JobView:
        """See `Verbs.get`."""

    async def wait(self, job_id: str, timeout_s: float | None = None) -> JobView:
        """See `Verbs.wait`."""

    async def cancel(self, job_id: str) -> JobView:
        """See `Verbs.cancel`."""

    def stream(self, job: str) -> AsyncIterator[JobEvent]:
        """See `Verbs.stream`."""


class Handle:
    """One job of a `Client`. Every method asks the node and raises `PenstockError` as that does."""

    def __init__(self, client: Verbs, job_id: str) -> None:
        self._client = client
        self.id = job_id

    def __repr__(self) -> str:
        return f"<job {self.id} at {self._client.url}>"

    def wait(self, timeout_s: float | None = None) -> JobView:
        """The job when it has ended, or as it stands after ``timeout_s`` seconds."""
        return self._client.wait(self.id, timeout_s)

    def result(self, timeout_s: float | None = None) -> Any:
        """What its task returned; raises `JobFailed`, or TASK_TIMEOUT if it has not ended by then."""
        return result_of(self.wait(timeout_s))

    def cancel(self) -> JobView:
        """Stop it."""
        return self._client.cancel(self.id)

    def stream(self) -> Iterator[JobEvent]:
        """What happens to it until it has ended, as it happens."""
        return self._client.stream(self.id)

    def progress(self) -> ProgressView | None:
        """How far it has come by now, None if it has said nothing."""
        return self._client.get(self.id).progress


class AsyncHandle:
    """`Handle` of an `AsyncClient`."""

    def __init__(self, client: AsyncVerbs, job_id: str) -> None:
        self._client = client
        self.id = job_id

    def __repr__(self) -> str:
        return f"<job {self.id} at {self._client.url}>"

    async def wait(self, timeout_s: float | None = None) -> JobView:
        """See `Handle.wait`."""
        return await self._client.wait(self.id, timeout_s)

    async def result(self, timeout_s: float | None = None) -> Any:
        """See `Handle.result`."""
        return result_of(await self.wait(timeout_s))

    async def cancel(self) -> JobView:
        """See `Handle.cancel`."""
        return await self._client.cancel(self.id)

    def stream(self) -> AsyncIterator[JobEvent]:
        """See `Handle.stream`."""
        return self._client.stream(self.id)

    async def progress(self) -> ProgressView | None:
        """See `Handle.progress`."""
        return (await self._client.get(self.id)).progress


def result_of(job: JobView) -> Any:
    """The result of a job that has succeeded; raises otherwise."""
    if not job.final:
        message = f"job {job.id} is still {job.state}"
        raise PenstockError(ErrorCode.TASK_TIMEOUT, message, {"job_id": job.id})
    return value_of(job, "raise")

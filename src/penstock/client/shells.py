"""`Client` and `AsyncClient`: they send the messages and do nothing else."""

import os
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from penstock.client import messages
from penstock.client.messages import MAX_WAIT_S, Call
from penstock.core.submission import JobView, Submission, TaskView

Answer = TypeVar("Answer")

DEFAULT_URL = "http://127.0.0.1:8000"
TIMEOUT_S = 30.0
_JSON = {"Content-Type": "application/json"}


class Client:
    """Talks to a node. Every method raises `PenstockError` with the node's code and message.

    ``url`` is the node's address, by default PENSTOCK_URL or http://127.0.0.1:8000; ``timeout_s`` the
    longest silence of the node that is accepted.
    """

    def __init__(self, url: str | None = None, *, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url or os.environ.get("PENSTOCK_URL", DEFAULT_URL)
        self._timeout_s = timeout_s
        self._http = httpx.Client(base_url=_address(self.url), timeout=timeout_s, headers=_JSON)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, call: Call[Answer]) -> Answer:
        """Carry out one message."""
        timeout = self._timeout_s + call.wait_s
        try:
            response = self._http.request(
                call.method, call.path, params=call.query, content=call.body, timeout=timeout
            )
        except httpx.RequestError as failed:
            raise messages.unreachable(self.url, failed) from failed
        return messages.read(
            call, response.status_code, response.content, response.headers.get("Retry-After")
        )

    def submit(
        self, task: str, params: Mapping[str, Any] | None = None, *, wait_s: float = 0.0, **options: Any
    ) -> JobView:
        """Have a job done; ``options`` are the fields of `SubmitOptions`."""
        return self.send(messages.submit(task, params or {}, wait_s, options))

    def submit_many(self, submissions: Iterable[Submission | Mapping[str, Any]]) -> list[JobView]:
        """Have many jobs done with one request (at most 10 000), in order."""
        return self.send(messages.submit_many(submissions))

    def get(self, job_id: str, wait_s: float = 0.0) -> JobView:
        """A job as it stands, or as it has ended within ``wait_s`` seconds (at most 60)."""
        return self.send(messages.get(job_id, wait_s))

    def wait(self, job_id: str, timeout_s: float | None = None) -> JobView:
        """The job when it has ended, or as it stands after ``timeout_s`` seconds."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            job = self.get(job_id, _turn(deadline))
            if job.final or _over(deadline):
                return job

    def cancel(self, job_id: str) -> JobView:
        """Stop a job."""
        return self.send(messages.cancel(job_id))

    def retry(self, job_id: str, params: Mapping[str, Any] | None = None) -> JobView:
        """Queue a failed or cancelled job anew; with ``params``, a new job like it with these parameters."""
        return self.send(messages.retry(job_id, params))

    def extend(self, job_id: str, params: Mapping[str, Any]) -> JobView:
        """Go on with a finished simulation: a larger job by these parameters, that keeps what was drawn."""
        return self.send(messages.extend(job_id, params))

    def jobs(self, **filters: Any) -> list[JobView]:
        """Jobs newest first; filters are ``state``, ``task``, ``queue``, ``before``, ``limit``.

        Parts of jobs are listed with ``parent_id`` (those of one job) or ``parts`` (all).
        """
        return self.send(messages.find(**filters))

    def tasks(self) -> list[TaskView]:
        """Every task with its schemas."""
        return self.send(messages.tasks())

    def stats(self) -> dict[str, Any]:
        """Jobs by state, queues, workers."""
        return self.send(messages.report("/stats"))


class AsyncClient:
    """`Client` for asyncio. ``transport`` may replace the network, for example by an application."""

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url or os.environ.get("PENSTOCK_URL", DEFAULT_URL)
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(
            base_url=_address(self.url), timeout=timeout_s, headers=_JSON, transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, call: Call[Answer]) -> Answer:
        """Carry out one message."""
        timeout = self._timeout_s + call.wait_s
        try:
            response = await self._http.request(
                call.method, call.path, params=call.query, content=call.body, timeout=timeout
            )
        except httpx.RequestError as failed:
            raise messages.unreachable(self.url, failed) from failed
        return messages.read(
            call, response.status_code, response.content, response.headers.get("Retry-After")
        )

    async def submit(
        self, task: str, params: Mapping[str, Any] | None = None, *, wait_s: float = 0.0, **options: Any
    ) -> JobView:
        """See `Client.submit`."""
        return await self.send(messages.submit(task, params or {}, wait_s, options))

    async def submit_many(self, submissions: Iterable[Submission | Mapping[str, Any]]) -> list[JobView]:
        """See `Client.submit_many`."""
        return await self.send(messages.submit_many(submissions))

    async def get(self, job_id: str, wait_s: float = 0.0) -> JobView:
        """See `Client.get`."""
        return await self.send(messages.get(job_id, wait_s))

    async def wait(self, job_id: str, timeout_s: float | None = None) -> JobView:
        """See `Client.wait`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            job = await self.get(job_id, _turn(deadline))
            if job.final or _over(deadline):
                return job

    async def cancel(self, job_id: str) -> JobView:
        """See `Client.cancel`."""
        return await self.send(messages.cancel(job_id))

    async def retry(self, job_id: str, params: Mapping[str, Any] | None = None) -> JobView:
        """See `Client.retry`."""
        return await self.send(messages.retry(job_id, params))

    async def extend(self, job_id: str, params: Mapping[str, Any]) -> JobView:
        """See `Client.extend`."""
        return await self.send(messages.extend(job_id, params))

    async def jobs(self, **filters: Any) -> list[JobView]:
        """See `Client.jobs`."""
        return await self.send(messages.find(**filters))

    async def tasks(self) -> list[TaskView]:
        """See `Client.tasks`."""
        return await self.send(messages.tasks())

    async def stats(self) -> dict[str, Any]:
        """See `Client.stats`."""
        return await self.send(messages.report("/stats"))


def _address(url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except httpx.InvalidURL as failed:
        raise messages.unreachable(url, failed) from None


def _turn(deadline: float | None) -> float:
    """How long the next request may wait."""
    return MAX_WAIT_S if deadline is None else min(MAX_WAIT_S, max(0.0, deadline - time.monotonic()))


def _over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline

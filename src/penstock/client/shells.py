"""`Client` and `AsyncClient`: they send the messages and do nothing else."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from penstock.client import gathering, messages
from penstock.client.bar import progress_bar
from penstock.client.feed import JobEvent, Reading
from penstock.client.gathering import Counts, Failures, Ready
from penstock.client.handles import AsyncHandle, Handle, HasId, id_of
from penstock.client.messages import DEFAULT_URL, MAX_WAIT_S, Call
from penstock.client.patience import PATIENCE_S, Patience, all_keyed, keyed
from penstock.core.errors import PenstockError
from penstock.core.submission import JobView, Submission, TaskView

Answer = TypeVar("Answer")

TIMEOUT_S = 30.0
_JSON = {"Content-Type": "application/json"}


class Client:
    """Talks to a node. Every method raises `PenstockError` with the node's code and message.

    ``url`` is the node's address, by default PENSTOCK_URL or http://127.0.0.1:8000; ``timeout_s`` the
    longest silence of the node that is accepted; ``api_key`` what the node knows us by, by default
    PENSTOCK_API_KEY. For ``patience_s`` a request is repeated, when that cannot do harm: see `patience`. With
    0 nothing is repeated, and submissions get no keys of their own.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        patience_s: float = PATIENCE_S,
        api_key: str | None = None,
    ) -> None:
        self._patience_s = patience_s
        self.url = url or os.environ.get("PENSTOCK_URL") or DEFAULT_URL
        self._timeout_s = timeout_s
        self._http = httpx.Client(base_url=_address(self.url), timeout=timeout_s, headers=_headers(api_key))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def _keyed(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return keyed(options) if self._patience_s else options

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, call: Call[Answer]) -> Answer:
        """Carry out one message, with several tries if need be."""
        patience = Patience(self._patience_s)
        while True:
            try:
                return self._try(call)
            except PenstockError as failed:
                time.sleep(patience.pause_s(call, failed))

    def _try(self, call: Call[Answer]) -> Answer:
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
        return self.send(messages.submit(task, params or {}, wait_s, self._keyed(options)))

    def start(self, task: str, params: Mapping[str, Any] | None = None, **options: Any) -> Handle:
        """Like `submit`, for a handle to the job: wait for it, take its result, cancel it."""
        return self.handle(self.submit(task, params, **options).id)

    def handle(self, job_id: str) -> Handle:
        """A handle to a job; asks nobody yet."""
        return Handle(self, job_id)

    def submit_many(self, submissions: Iterable[Submission | Mapping[str, Any]]) -> list[JobView]:
        """Have many jobs done with one request (at most 10 000), in order."""
        return self.send(messages.submit_many(all_keyed(submissions) if self._patience_s else submissions))

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

    def map(
        self,
        task: str,
        inputs: Iterable[Mapping[str, Any]],
        *,
        ordered: bool = True,
        progress: bool = True,
        failures: Failures = "raise",
        **options: Any,
    ) -> Iterator[Any]:
        """The results of one job for each of the inputs, in their order or as they come.

        All are submitted in batches, and waited for with few requests. A job that does not succeed raises
        `JobFailed` or, with ``failures="return"``, is given as one; the others go on in either case.
        ``progress`` shows one bar for all on a terminal; ``options`` are the fields of `SubmitOptions`.
        """
        counts = Counts()
        steps = gathering.steps(task, inputs, options, counts, ordered=ordered)
        answer: Any = None
        with progress_bar(task, counts, wanted=progress) as draw:
            while (step := gathering.advance(steps, answer)) is not None:
                answer = self.send(step) if isinstance(step, Call) else None
                draw()
                if isinstance(step, Ready):
                    yield gathering.value_of(step.job, failures)

    def chain(self, *submissions: Mapping[str, Any]) -> list[JobView]:
        """Submit jobs, each a mapping like `Submission`, of which each waits for the one before it."""
        steps, answer = gathering.chain_of(submissions), None
        jobs: list[JobView] = []
        while (call := gathering.advance(steps, answer)) is not None:
            answer = self.send(call)
            jobs.append(answer)
        return jobs

    def cancel(self, job_id: str, *, force: bool = False) -> JobView:
        """Stop a job; with ``force`` even if others wait for it."""
        return self.send(messages.cancel(job_id, force=force))

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

    def stream(self, job: str | HasId, *, after: str | None = None) -> Iterator[JobEvent]:
        """What happens to a job until it has ended, as it happens; resumed when a connection breaks.

        It begins with a ``snapshot`` or, if the id of an event is given, ``after`` that one.
        """
        reading, patience = Reading(id_of(job), after), Patience(self._patience_s)
        while not reading.over:
            broken: PenstockError | None = None
            reading.begin()
            try:
                for piece in self.download(reading.path, reading.query):
                    for event in reading.take(piece):
                        patience = Patience(self._patience_s)
                        yield event
            except PenstockError as failed:
                broken = failed
            if not reading.over:
                time.sleep(patience.pause_s(reading.call, reading.broken_off(self.url, broken)))

    def download(self, path: str, query: Mapping[str, Any]) -> Iterator[bytes]:
        """The body of a plain GET, piece by piece. Raises as `send` does, also if it breaks off."""
        call = Call("GET", path, dict)
        try:
            with self._http.stream("GET", path, params=query, timeout=self._timeout_s) as response:
                if response.status_code >= 400:
                    messages.read(call, response.status_code, response.read())
                yield from response.iter_bytes()
        except httpx.RequestError as failed:
            raise messages.unreachable(self.url, failed) from failed

    def tasks(self) -> list[TaskView]:
        """Every task with its schemas."""
        return self.send(messages.tasks())

    def stats(self) -> dict[str, Any]:
        """Jobs by state, queues, workers, cache."""
        return self.send(messages.report("/stats"))


class AsyncClient:
    """`Client` for asyncio. ``transport`` may replace the network, for example by an application."""

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        patience_s: float = PATIENCE_S,
        api_key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._patience_s = patience_s
        self.url = url or os.environ.get("PENSTOCK_URL") or DEFAULT_URL
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(
            base_url=_address(self.url), timeout=timeout_s, headers=_headers(api_key), transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.close()

    def _keyed(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return keyed(options) if self._patience_s else options

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, call: Call[Answer]) -> Answer:
        """See `Client.send`."""
        patience = Patience(self._patience_s)
        while True:
            try:
                return await self._try(call)
            except PenstockError as failed:
                await asyncio.sleep(patience.pause_s(call, failed))

    async def _try(self, call: Call[Answer]) -> Answer:
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
        return await self.send(messages.submit(task, params or {}, wait_s, self._keyed(options)))

    async def start(self, task: str, params: Mapping[str, Any] | None = None, **options: Any) -> AsyncHandle:
        """See `Client.start`."""
        return self.handle((await self.submit(task, params, **options)).id)

    def handle(self, job_id: str) -> AsyncHandle:
        """See `Client.handle`."""
        return AsyncHandle(self, job_id)

    async def submit_many(self, submissions: Iterable[Submission | Mapping[str, Any]]) -> list[JobView]:
        """See `Client.submit_many`."""
        return await self.send(
            messages.submit_many(all_keyed(submissions) if self._patience_s else submissions)
        )

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

    async def map(
        self,
        task: str,
        inputs: Iterable[Mapping[str, Any]],
        *,
        ordered: bool = True,
        progress: bool = True,
        failures: Failures = "raise",
        **options: Any,
    ) -> AsyncIterator[Any]:
        """See `Client.map`."""
        counts = Counts()
        steps = gathering.steps(task, inputs, options, counts, ordered=ordered)
        answer: Any = None
        with progress_bar(task, counts, wanted=progress) as draw:
            while (step := gathering.advance(steps, answer)) is not None:
                answer = await self.send(step) if isinstance(step, Call) else None
                draw()
                if isinstance(step, Ready):
                    yield gathering.value_of(step.job, failures)

    async def chain(self, *submissions: Mapping[str, Any]) -> list[JobView]:
        """See `Client.chain`."""
        steps, answer = gathering.chain_of(submissions), None
        jobs: list[JobView] = []
        while (call := gathering.advance(steps, answer)) is not None:
            answer = await self.send(call)
            jobs.append(answer)
        return jobs

    async def cancel(self, job_id: str, *, force: bool = False) -> JobView:
        """See `Client.cancel`."""
        return await self.send(messages.cancel(job_id, force=force))

    async def retry(self, job_id: str, params: Mapping[str, Any] | None = None) -> JobView:
        """See `Client.retry`."""
        return await self.send(messages.retry(job_id, params))

    async def extend(self, job_id: str, params: Mapping[str, Any]) -> JobView:
        """See `Client.extend`."""
        return await self.send(messages.extend(job_id, params))

    async def jobs(self, **filters: Any) -> list[JobView]:
        """See `Client.jobs`."""
        return await self.send(messages.find(**filters))

    async def stream(self, job: str | HasId, *, after: str | None = None) -> AsyncIterator[JobEvent]:
        """See `Client.stream`."""
        reading, patience = Reading(id_of(job), after), Patience(self._patience_s)
        while not reading.over:
            broken: PenstockError | None = None
            reading.begin()
            try:
                async for piece in self.download(reading.path, reading.query):
                    for event in reading.take(piece):
                        patience = Patience(self._patience_s)
                        yield event
            except PenstockError as failed:
                broken = failed
            if not reading.over:
                await asyncio.sleep(patience.pause_s(reading.call, reading.broken_off(self.url, broken)))

    async def download(self, path: str, query: Mapping[str, Any]) -> AsyncIterator[bytes]:
        """See `Client.download`."""
        call = Call("GET", path, dict)
        try:
            async with self._http.stream("GET", path, params=query, timeout=self._timeout_s) as response:
                if response.status_code >= 400:
                    messages.read(call, response.status_code, await response.aread())
                async for piece in response.aiter_bytes():
                    yield piece
        except httpx.RequestError as failed:
            raise messages.unreachable(self.url, failed) from failed

    async def tasks(self) -> list[TaskView]:
        """See `Client.tasks`."""
        return await self.send(messages.tasks())

    async def stats(self) -> dict[str, Any]:
        """See `Client.stats`."""
        return await self.send(messages.report("/stats"))


def _headers(api_key: str | None) -> dict[str, str]:
    key = api_key or os.environ.get("PENSTOCK_API_KEY")
    return _JSON | {"Authorization": f"Bearer {key}"} if key else _JSON


def _address(url: str) -> httpx.URL:
    try:
        return httpx.URL(url if "://" in url else f"http://{url}")
    except httpx.InvalidURL as failed:
        raise messages.unreachable(url, failed) from None


def _turn(deadline: float | None) -> float:
    """How long the next request may wait."""
    return MAX_WAIT_S if deadline is None else min(MAX_WAIT_S, max(0.0, deadline - time.monotonic()))


def _over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline

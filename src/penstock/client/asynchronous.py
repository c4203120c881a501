"""`AsyncClient`: sends the messages and does nothing else."""

import asyncio
from collections.abc import AsyncIterator, Generator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from penstock.client import choosing, gathering, messages
from penstock.client.bar import progress_bar
from penstock.client.feed import JobEvent, Reading
from penstock.client.gathering import Counts, Failures, Ready
from penstock.client.handles import AsyncHandle, HasId, id_of
from penstock.client.messages import Call
from penstock.client.named import Params, TaskOrName, name_of
from penstock.client.patience import PATIENCE_S, Patience
from penstock.client.shell import TIMEOUT_S, Shell, Turns, read
from penstock.core.cancelling import CancelReport
from penstock.core.errors import PenstockError
from penstock.core.submission import JobView, Submission, TaskView

Answer = TypeVar("Answer")


class AsyncClient(Shell):
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
        super().__init__(url, timeout_s, patience_s, api_key)
        self._http = httpx.AsyncClient(
            base_url=self._address, timeout=timeout_s, headers=self._headers, transport=transport
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
        """See `Client.send`."""
        patience = Patience(self._patience_s)
        while True:
            try:
                return await self._try(call)
            except PenstockError as failed:
                await asyncio.sleep(patience.pause_s(call, failed))

    async def send_all(self, steps: Generator[Call[Answer], Answer, None]) -> list[Answer]:
        """See `Client.send_all`."""
        answers: list[Answer] = []
        while (call := gathering.advance(steps, answers[-1] if answers else None)) is not None:
            answers.append(await self.send(call))
        return answers

    async def _try(self, call: Call[Answer]) -> Answer:
        try:
            response = await self._http.request(call.method, call.path, **self._options(call))
        except httpx.RequestError as failed:
            raise messages.unreachable(self.url, failed) from None
        return read(call, response)

    async def submit(
        self, task: TaskOrName, params: Params | None = None, *, wait_s: float = 0.0, **options: Any
    ) -> JobView:
        """See `Client.submit`."""
        return await self.send(self._submit(task, params, wait_s, options))

    async def start(self, task: TaskOrName, params: Params | None = None, **options: Any) -> AsyncHandle:
        """See `Client.start`."""
        return self.handle((await self.submit(task, params, **options)).id)

    def handle(self, job_id: str) -> AsyncHandle:
        """See `Client.handle`."""
        return AsyncHandle(self, job_id)

    async def submit_many(self, submissions: Iterable[Submission | Mapping[str, Any]]) -> list[JobView]:
        """See `Client.submit_many`."""
        return await self.send(self._submit_many(submissions))

    async def get(self, job_id: str, wait_s: float = 0.0) -> JobView:
        """See `Client.get`."""
        return await self.send(messages.get(job_id, wait_s))

    async def wait(self, job_id: str, timeout_s: float | None = None) -> JobView:
        """See `Client.wait`."""
        turns = Turns(timeout_s)
        while True:
            job = await self.get(job_id, turns.next_s)
            if job.final or turns.over:
                return job

    async def map(
        self,
        task: TaskOrName,
        inputs: Iterable[Params],
        *,
        ordered: bool = True,
        progress: bool = True,
        failures: Failures = "raise",
        cancel_rest: bool = False,
        **options: Any,
    ) -> AsyncIterator[Any]:
        """See `Client.map`."""
        counts = Counts()
        name = name_of(task)
        steps = gathering.steps(name, inputs, options, counts, ordered=ordered)
        answer: Any = None
        with progress_bar(name, counts, wanted=progress) as draw:
            try:
                while (step := gathering.advance(steps, answer)) is not None:
                    answer = await self.send(step) if isinstance(step, Call) else None
                    draw()
                    if isinstance(step, Ready):
                        yield gathering.value_of(step.job, failures)
            finally:
                if cancel_rest:
                    await self.send_all(gathering.leave(counts))

    async def chain(self, *submissions: Mapping[str, Any]) -> list[JobView]:
        """See `Client.chain`."""
        return await self.send_all(gathering.chain_of(submissions))

    async def cancel(self, job_id: str, *, force: bool = False) -> JobView:
        """See `Client.cancel`."""
        return await self.send(messages.cancel(job_id, force=force))

    async def cancel_many(self, jobs: Iterable[str | HasId] | None = None, **choice: Any) -> CancelReport:
        """See `Client.cancel_many`."""
        ids = None if jobs is None else map(id_of, jobs)
        steps = choosing.steps(messages.cancel_many, ids, choice)
        return choosing.total(CancelReport, await self.send_all(steps))

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
            raise messages.unreachable(self.url, failed) from None

    async def tasks(self) -> list[TaskView]:
        """See `Client.tasks`."""
        return await self.send(messages.tasks())

    async def stats(self) -> dict[str, Any]:
        """See `Client.stats`."""
        return await self.send(messages.report("/stats"))

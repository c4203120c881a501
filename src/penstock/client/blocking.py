"""`Client`: sends the messages and does nothing else."""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from penstock.client import choosing, gathering, messages
from penstock.client.bar import progress_bar
from penstock.client.feed import JobEvent, Reading
from penstock.client.gathering import Counts, Failures, Ready
from penstock.client.handles import Handle, HasId, id_of
from penstock.client.messages import Call
from penstock.client.named import Params, TaskOrName, name_of
from penstock.client.patience import PATIENCE_S, Patience
from penstock.client.shell import TIMEOUT_S, Shell, Turns, read
from penstock.core.cancelling import CancelReport
from penstock.core.errors import PenstockError
from penstock.core.submission import JobView, Submission, TaskView

Answer = TypeVar("Answer")


class Client(Shell):
    """Talks to a node. Every method raises `PenstockError` with the node's code and message.

    ``url`` is the node's address, by default PENSTOCK_URL, else the node on this machine that serves the same
    broker, else http://127.0.0.1:8000; ``timeout_s`` the longest silence of the node that is accepted;
    ``api_key`` what the node knows us by, by default PENSTOCK_API_KEY. For ``patience_s`` a request is
    repeated, when that cannot do harm: see `patience`. With 0 nothing is repeated, and submissions get no
    keys of their own.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        patience_s: float = PATIENCE_S,
        api_key: str | None = None,
    ) -> None:
        super().__init__(url, timeout_s, patience_s, api_key)
        self._http = httpx.Client(base_url=self._address, timeout=timeout_s, headers=self._headers)

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
        """Carry out one message, with several tries if need be."""
        patience = Patience(self._patience_s)
        while True:
            try:
                return self._try(call)
            except PenstockError as failed:
                time.sleep(patience.pause_s(call, failed))

    def send_all(self, steps: Generator[Call[Answer], Answer, None]) -> list[Answer]:
        """Carry out messages of which each may depend on the answer to the one before; the answers."""
        answers: list[Answer] = []
        while (call := gathering.advance(steps, answers[-1] if answers else None)) is not None:
            answers.append(self.send(call))
        return answers

    def _try(self, call: Call[Answer]) -> Answer:
        try:
            response = self._http.request(call.method, call.path, **self._options(call))
        except httpx.RequestError as failed:
            raise messages.unreachable(self.url, failed) from None
        return read(call, response)

    def submit(
        self, task: TaskOrName, params: Params | None = None, *, wait_s: float = 0.0, **options: Any
    ) -> JobView:
        """Have a job done of a task, by its name or the `@task` function itself.

        ``params`` are a mapping or a pydantic model, ``options`` the fields of `SubmitOptions`.
        """
        return self.send(self._submit(task, params, wait_s, options))

    def start(self, task: TaskOrName, params: Params | None = None, **options: Any) -> Handle:
        """Like `submit`, for a handle to the job: wait for it, take its result, cancel it."""
        return self.handle(self.submit(task, params, **options).id)

    def handle(self, job_id: str) -> Handle:
        """A handle to a job; asks nobody yet."""
        return Handle(self, job_id)

    def submit_many(self, submissions: Iterable[Submission | Mapping[str, Any]]) -> list[JobView]:
        """Have many jobs done with one request (at most 10 000), in order."""
        return self.send(self._submit_many(submissions))

    def get(self, job_id: str, wait_s: float = 0.0) -> JobView:
        """A job as it stands, or as it has ended within ``wait_s`` seconds (at most 60)."""
        return self.send(messages.get(job_id, wait_s))

    def wait(self, job_id: str, timeout_s: float | None = None) -> JobView:
        """The job when it has ended, or as it stands after ``timeout_s`` seconds."""
        turns = Turns(timeout_s)
        while True:
            job = self.get(job_id, turns.next_s)
            if job.final or turns.over:
                return job

    def map(
        self,
        task: TaskOrName,
        inputs: Iterable[Params],
        *,
        ordered: bool = True,
        progress: bool = True,
        failures: Failures = "raise",
        cancel_rest: bool = False,
        **options: Any,
    ) -> Iterator[Any]:
        """The results of one job for each of the inputs, in their order or as they come.

        All are submitted in batches, and waited for with few requests. A job that does not succeed raises
        `JobFailed` or, with ``failures="return"``, is given as one; the others go on in either case. With
        ``cancel_rest`` they are cancelled when nobody reads on: after an error, Ctrl-C, or ``close()`` of the
        iterator. ``progress`` shows one bar for all on a terminal; ``options`` are the fields of
        `SubmitOptions`.
        """
        counts = Counts()
        name = name_of(task)
        steps = gathering.steps(name, inputs, options, counts, ordered=ordered)
        answer: Any = None
        with progress_bar(name, counts, wanted=progress) as draw:
            try:
                while (step := gathering.advance(steps, answer)) is not None:
                    answer = self.send(step) if isinstance(step, Call) else None
                    draw()
                    if isinstance(step, Ready):
                        yield gathering.value_of(step.job, failures)
            finally:
                if cancel_rest:
                    self.send_all(gathering.leave(counts))

    def chain(self, *submissions: Mapping[str, Any]) -> list[JobView]:
        """Submit jobs, each a mapping like `Submission`, of which each waits for the one before it."""
        return self.send_all(gathering.chain_of(submissions))

    def cancel(self, job_id: str, *, force: bool = False) -> JobView:
        """Stop a job; with ``force`` even if others wait for it."""
        return self.send(messages.cancel(job_id, force=force))

    def cancel_many(self, jobs: Iterable[str | HasId] | None = None, **choice: Any) -> CancelReport:
        """Stop many jobs: these, or those that match, or, with ``all=True``, whatever has not ended.

        ``choice`` are ``state``, ``task``, ``queue``, ``client``, ``all``, and ``force``: even if others wait
        for them.
        """
        ids = None if jobs is None else map(id_of, jobs)
        steps = choosing.steps(messages.cancel_many, ids, choice)
        return choosing.total(CancelReport, self.send_all(steps))

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
            raise messages.unreachable(self.url, failed) from None

    def tasks(self) -> list[TaskView]:
        """Every task with its schemas."""
        return self.send(messages.tasks())

    def stats(self) -> dict[str, Any]:
        """Jobs by state, queues, workers, cache."""
        return self.send(messages.report("/stats"))

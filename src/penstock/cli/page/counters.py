"""Where the page hands its demands in: at a node, or at a thread of its own process. Neither holds it up."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import msgspec

from penstock.client import Client
from penstock.core.catalog import load
from penstock.core.errors import PenstockError
from penstock.core.ids import new_id
from penstock.core.job import JobProgress, State
from penstock.core.progress import DoNotRetry, Progress

TASK = "habitat_allocation"
ANSWER_S = 5.0
"""How long a node may take to answer."""

THREADS = 2
MOST_KEPT = 200
"""Jobs that a page remembers of all its visitors."""


class Standing(NamedTuple):
    """How a job stands. ``state`` is the API's word, ``fraction`` is from 0 to 1."""

    state: State
    fraction: float = 0.0
    message: str = ""
    result: Any = None
    error: str | None = None
    cached: bool = False


class Counter(Protocol):
    """Takes parameters and answers at once. Both raise `PenstockError`."""

    name: str

    def submit(self, params: Mapping[str, Any]) -> str:
        """The new job's id."""

    def look(self, job_id: str) -> Standing:
        """How it stands."""


class NodeCounter:
    """At a node, over HTTP."""

    def __init__(self, url: str) -> None:
        self.name = f"node {url}"
        self._url = url

    def submit(self, params: Mapping[str, Any]) -> str:
        """See `Counter.submit`."""
        with self._client() as client:
            return client.submit(TASK, params).id

    def look(self, job_id: str) -> Standing:
        """See `Counter.look`."""
        with self._client() as client:
            job = client.get(job_id)
        fraction, message = (job.progress.fraction, job.progress.message) if job.progress else (0.0, "")
        error = f"{job.error.code}: {job.error.message}" if job.error else None
        return Standing(job.state, fraction, message, job.result, error, job.cached)

    def _client(self) -> Client:
        return Client(self._url, timeout_s=ANSWER_S, patience_s=0)


class OwnCounter:
    """In threads of this process, with the very task that a worker runs; for a page without a node."""

    name = "this page"

    def __init__(self) -> None:
        self._task = load(()).find(TASK)
        self._lock = threading.Lock()
        self._jobs: dict[str, Standing] = {}
        self._threads = ThreadPoolExecutor(THREADS, "page")

    def submit(self, params: Mapping[str, Any]) -> str:
        """See `Counter.submit`."""
        parsed, job_id = self._task.parse(dict(params)), new_id()
        self._set(job_id, Standing(State.QUEUED))
        self._threads.submit(self._run, job_id, parsed)
        return job_id

    def look(self, job_id: str) -> Standing:
        """See `Counter.look`."""
        with self._lock:
            gone = Standing(State.FAILED, error="it was asked for too long ago; ask again")
            return self._jobs.get(job_id, gone)

    def _run(self, job_id: str, params: bytes) -> None:
        def report(progress: JobProgress) -> None:
            self._set(job_id, Standing(State.RUNNING, progress.fraction, progress.message))

        self._set(job_id, Standing(State.RUNNING))
        try:
            result = msgspec.json.decode(self._task.run(params, Progress(report)))
            self._set(job_id, Standing(State.SUCCEEDED, 1.0, result=result))
        except DoNotRetry as refused:
            self._set(job_id, Standing(State.FAILED, error=str(refused)))
        except Exception as failed:  # noqa: BLE001 - whatever it is, the visitor must learn of it
            self._set(job_id, Standing(State.FAILED, error=f"{type(failed).__name__}: {failed}"))

    def _set(self, job_id: str, standing: Standing) -> None:
        with self._lock:
            self._jobs[job_id] = standing
            while len(self._jobs) > MOST_KEPT:
                del self._jobs[next(iter(self._jobs))]


def lost(failed: PenstockError) -> str:
    """A sentence for a visitor whose question did not get through."""
    return f"{failed.message} ({failed.code})"

"""Every request as a value: what to send, and how to read the answer. Nothing here does I/O."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec
from pydantic import BaseModel, ValidationError

from penstock.client.named import Params, TaskOrName, name_of
from penstock.core.cancelling import CancelReport
from penstock.core.dead import DeadList, DeadReport
from penstock.core.errors import ErrorCode, PenstockError, field_error
from penstock.core.fingerprint import non_finite
from penstock.core.foreign import plain
from penstock.core.record_query import RecordView
from penstock.core.submission import AttemptView, JobView, Submission, TaskView

Answer = TypeVar("Answer")
Model = TypeVar("Model", bound=BaseModel)

DEFAULT_URL = "http://127.0.0.1:8000"

MAX_WAIT_S = 60.0
"""Longest wait the server grants one request; longer waits are several requests."""


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One HTTP exchange; ``wait_s`` is how long the server may take on purpose."""

    method: str
    path: str
    read: Callable[[Any], Answer]
    query: Mapping[str, Any] = field(default_factory=dict)
    body: bytes | None = None
    wait_s: float = 0.0


def submit(task: TaskOrName, params: Params, wait_s: float, options: Mapping[str, Any]) -> Call[JobView]:
    """Have one job done. ``options`` are the fields of `SubmitOptions`."""
    submission = {"task": name_of(task), "params": params} | _given(_with_ids(options))
    return Call("POST", "/jobs", JobView.model_validate, _wait(wait_s), _encode(submission), wait_s)


def submit_many(
    submissions: Iterable[Submission | Mapping[str, Any]], what: str = "jobs", first: int = 0
) -> Call[list[JobView]]:
    """Have many jobs done; raises the first refusal, after all good ones were accepted.

    ``what`` they are called where they come from, counted from ``first``, for the refusal to name one.
    """
    body = _encode({"jobs": list(map(_submission, submissions))})
    return Call("POST", "/batches", partial(_read_receipts, what, first), body=body)


def _submission(given: Submission | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(given, Submission):
        return given.model_dump(exclude_unset=True)
    task = given.get("task", "")  # the node says what is missing
    return given if isinstance(task, str) else {**given, "task": name_of(task)}


class Waited(NamedTuple):
    """What a node says of jobs that are waited for: those that have ended, and ids that it does not know."""

    jobs: list[JobView]
    unknown: list[str]


def wait_any(job_ids: Sequence[str], wait_s: float) -> Call[Waited]:
    """Those of up to 1000 jobs that have ended, as soon as there are any."""
    body = _encode({"ids": job_ids, "wait": wait_s})
    return Call("POST", "/waits", _read_waited, body=body, wait_s=wait_s)


def get(job_id: str, wait_s: float = 0.0) -> Call[JobView]:
    """A job as it stands or, with ``wait_s``, as it has ended by then."""
    return Call("GET", _path("jobs", job_id), JobView.model_validate, _wait(wait_s), wait_s=wait_s)


def cancel(job_id: str, *, force: bool = False) -> Call[JobView]:
    """Stop a job; with ``force`` even if others wait for it."""
    return Call("DELETE", _path("jobs", job_id), JobView.model_validate, {"force": True} if force else {})


def cancel_many(**choice: Any) -> Call[CancelReport]:
    """Stop many jobs; ``choice`` are the fields of `CancelChoice`, with at most some hundred ids."""
    return Call("DELETE", "/jobs", CancelReport.model_validate, _given(choice))


def retry(job_id: str, params: Mapping[str, Any] | None = None) -> Call[JobView]:
    """Queue a failed or cancelled job anew; with ``params``, a new job like it."""
    body = None if params is None else _encode({"params": params})
    return Call("POST", _path("jobs", job_id, "retry"), JobView.model_validate, body=body)


def extend(job_id: str, params: Mapping[str, Any]) -> Call[JobView]:
    """Go on with a finished simulation, with these parameters in place of its own."""
    body = _encode({"params": params})
    return Call("POST", _path("jobs", job_id, "extend"), JobView.model_validate, body=body)


def attempts(job_id: str) -> Call[list[AttemptView]]:
    """A job's attempts that are over."""
    path = _path("jobs", job_id, "attempts")
    return Call("GET", path, lambda found: _models(AttemptView, found["attempts"]))


def dead(**page: Any) -> Call[DeadList]:
    """Dead letters; ``page`` are the fields of `DeadPage`."""
    return Call("GET", "/dead", DeadList.model_validate, _given(page))


def retry_dead(**choice: Any) -> Call[DeadReport]:
    """Queue dead letters anew; ``choice`` are the fields of `DeadChoice`."""
    return Call("POST", "/dead/retry", DeadReport.model_validate, body=_encode(_given(choice)))


def purge_dead(**choice: Any) -> Call[DeadReport]:
    """Forget dead letters; ``choice`` are the fields of `DeadChoice`, with at most some hundred ids."""
    return Call("DELETE", "/dead", DeadReport.model_validate, _given(choice))


def find(**filters: Any) -> Call[list[JobView]]:
    """Jobs that match, newest first."""
    return Call("GET", "/jobs", lambda found: _models(JobView, found["jobs"]), _given(filters))


def history(**filters: Any) -> Call[list[RecordView]]:
    """Recorded jobs that match; ``filters`` are the fields of `JobPage`."""
    query = {"source": "history"} | _given(filters)
    return Call("GET", "/jobs", lambda found: _models(RecordView, found["jobs"]), query)


def tasks() -> Call[list[TaskView]]:
    """Every task with its schemas."""
    return Call("GET", "/tasks", lambda found: _models(TaskView, found))


def task(name: str) -> Call[TaskView]:
    """One task with its schemas."""
    return Call("GET", _path("tasks", name), TaskView.model_validate)


def report(path: str, **query: Any) -> Call[dict[str, Any]]:
    """A plain report: ``/stats``, ``/queues``, ``/clients``, ``/cache``, ``/health``, and so on."""
    return Call("GET", path, dict, _given(query))


def limit_client(client: str, max_running: int | None, weight: int | None) -> Call[dict[str, Any]]:
    """Allow a client so many jobs at a time, and a share."""
    terms = {"max_running": max_running, "weight": weight}
    return Call("PUT", _path("clients", client), dict, body=_encode(terms))


def free_client(client: str) -> Call[dict[str, Any]]:
    """Forget what a client was allowed."""
    return Call("DELETE", _path("clients", client), dict)


def switch_queue(name: str, *, paused: bool) -> Call[dict[str, Any]]:
    """Pause or resume a queue."""
    return Call("POST", _path("queues", name, "pause" if paused else "resume"), dict)


def limit_queue(name: str, max_depth: int | None) -> Call[dict[str, Any]]:
    """Let at most so many jobs wait in a queue."""
    return Call("PUT", _path("queues", name), dict, body=_encode({"max_depth": max_depth}))


def forget_answer(key: str) -> Call[dict[str, Any]]:
    """Forget the answer that is kept under a job's ``cache_key``."""
    return Call("DELETE", _path("cache", key), dict)


def forget_all_answers() -> Call[dict[str, Any]]:
    """Forget every answer."""
    return Call("POST", "/cache/clear-all", dict)


def read(call: Call[Answer], status: int, content: bytes, retry_after: str | None = None) -> Answer:
    """The answer's value; raises the `PenstockError` that the node reported."""
    try:
        value = msgspec.json.decode(content)
        if status < 400:
            return call.read(value)
        error = _error(value["error"], _seconds(retry_after))
    except (msgspec.DecodeError, ValidationError, LookupError, TypeError, ValueError):
        message = f"{call.method} {call.path}: no node answers like this (status {status}); is it Penstock?"
        raise PenstockError(ErrorCode.NODE_UNREACHABLE, message) from None
    raise error


def unreachable(url: str, cause: Exception) -> PenstockError:
    """No node answered at this address."""
    why = str(cause) or type(cause).__name__  # a timeout has no more to say
    hint = "; start one with `penstock up`, or say where it is: PENSTOCK_URL" if url == DEFAULT_URL else ""
    return PenstockError(ErrorCode.NODE_UNREACHABLE, f"no Penstock node answers at {url}: {why}{hint}")


def _path(*parts: str) -> str:
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after and retry_after.isdecimal() else None


def _error(body: Mapping[str, Any], retry_after_s: float | None) -> PenstockError:
    known = body["code"] in ErrorCode.__members__
    code = ErrorCode(body["code"]) if known else ErrorCode.INTERNAL_ERROR
    return PenstockError(code, body["message"], body.get("details"), retry_after_s)


def _read_receipts(what: str, first: int, value: Mapping[str, Any]) -> list[JobView]:
    receipts = value["receipts"]
    for number, receipt in enumerate(receipts, first):
        if "error" in receipt:
            refused = _error(receipt["error"], None)
            refused.message = f"{what}[{number}]: {refused.message}"
            refused.args = (refused.message,)
            raise refused
    return [JobView.model_validate(receipt["job"]) for receipt in receipts]


def _read_waited(value: Mapping[str, Any]) -> Waited:
    return Waited(_models(JobView, value["jobs"]), list(value["unknown"]))


def _with_ids(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options, with ids in the place of the jobs that are to be waited for."""
    after = options.get("after")
    if not after:
        return options
    return {**options, "after": [getattr(each, "id", each) for each in after]}


def _models(model: type[Model], values: Iterable[Any]) -> list[Model]:
    return [model.model_validate(value) for value in values]


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _wait(wait_s: float) -> dict[str, Any]:
    return {"wait": wait_s} if wait_s > 0 else {}


def _encode(value: Any) -> bytes:
    try:
        try:
            return _written(value)
        except TypeError:  # looked through only now: most of what is sent is plain
            return _written(plain(value))
    except (TypeError, ValueError, OverflowError, RecursionError) as failed:
        raise PenstockError(ErrorCode.INVALID_REQUEST, f"cannot be written as JSON: {failed}") from None


def _written(value: Any) -> bytes:
    problems = [(path, "must be a finite number") for path in non_finite(value, "")]
    if problems:  # written as null they would be taken for "not given"
        raise field_error(problems)
    return msgspec.json.encode(value)

"""The finance queue's own way in, ``/api/v1``: a task's type is among its data, its state is one word."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from penstock.api.doors import key_of
from penstock.api.errors import request_id
from penstock.api.health import health_of
from penstock.api.office import Office
from penstock.api.originals import in_their_words, params_of, task_of
from penstock.api.records import job_or_record
from penstock.api.routes.jobs import IdempotencyKey, JobId
from penstock.api.routing import make_router
from penstock.api.wire import answer
from penstock.core.errors import PenstockError
from penstock.core.job import Job, Priority, State
from penstock.core.submission import Submission, SubmitOptions

Status = Literal["PENDING", "STARTED", "SUCCESS", "FAILURE", "RETRY"]

STATUS: dict[State, Status] = {
    State.RUNNING: "STARTED",
    State.SUCCEEDED: "SUCCESS",
    State.FAILED: "FAILURE",
    State.CANCELLED: "FAILURE",
}
"""In the words of this API; the other states are PENDING, or RETRY after an attempt."""


class TaskData(BaseModel):
    """What is to be computed: the task's type, and beside it its parameters."""

    model_config = ConfigDict(extra="allow")

    task_type: str = Field(
        max_length=100,
        description="a task's name, or calculate_var, monte_carlo, optimize, stress_test",
    )


class FinanceTask(SubmitOptions):
    """One task to be done; all options of a job may be given, too."""

    data: TaskData = Field(description="the task's type and its parameters")


class TaskAccepted(BaseModel):
    """The task is kept. ``estimated_wait_time_seconds`` until it begins; null if nothing is known yet."""

    task_id: str
    status: Status
    queue: str
    message: str
    estimated_wait_time_seconds: float | None


class FinanceTaskView(BaseModel):
    """A task as it stands. Times are ISO 8601 in UTC, the processing time is that of the last attempt."""

    task_id: str
    status: Status
    priority: Priority
    queue: str
    result: Any = None
    error: str | None = None
    created_at: str
    started_at: str | None = None
    completed_at: str | None = None
    processing_time_ms: float | None = None
    request_id: str | None = None


def router(office: Office) -> APIRouter:
    """The routes under ``/api/v1``."""
    routes = make_router("finance")
    desk = office.desk

    @routes.post("/api/v1/tasks", status_code=201, response_model=TaskAccepted)
    async def submit(
        request: Request, task: Annotated[FinanceTask, Body()], idempotency_key: IdempotencyKey = None
    ) -> Response:
        """Have a task done: 201, it is kept and will run."""
        submission, data = _submission(task, idempotency_key)
        try:
            receipt = await desk.submit(submission, request_id(request), by=key_of(request))
        except PenstockError as refused:
            raise in_their_words(refused, submission.task, data) from None
        assert receipt.job is not None  # noqa: S101 - what is not refused has a job
        told = await _accepted(office, receipt.job)
        return answer(told, 201, {"Location": f"/api/v1/tasks/{receipt.job.id}"})

    @routes.get("/api/v1/tasks/{job_id}", response_model=FinanceTaskView)
    async def get(request: Request, job_id: JobId) -> Response:
        """A task as it stands."""
        return answer(_told(await job_or_record(office, job_id, key_of(request))))

    @routes.get("/api/v1/health")
    async def health() -> Response:
        """The same as ``/health``."""
        return answer(await health_of(office))

    return routes


def _submission(task: FinanceTask, key: str | None) -> tuple[Submission, dict[str, Any]]:
    """The job that is meant, and its parameters as they were given."""
    name, data = task_of(task.data.task_type), dict(task.data.model_extra or {})
    options = task.model_dump(exclude_unset=True, exclude={"data"})
    if key is not None:
        options.setdefault("idempotency_key", key)
    return Submission(task=name, params=params_of(name, data), **options), data


async def _accepted(office: Office, job: Job) -> dict[str, Any]:
    places = await office.desk.places.of([job])
    return {
        "task_id": job.id,
        "status": status_of(job.state, job.attempt),
        "queue": job.spec.queue,
        "message": f"{job.spec.task} was accepted",
        "estimated_wait_time_seconds": places[job.id].eta_s if job.id in places else None,
    }


def status_of(state: State, attempt: int) -> Status:
    """The word for a job that has used up so many attempts."""
    return STATUS.get(state) or ("RETRY" if attempt else "PENDING")


def _told(view: dict[str, Any]) -> dict[str, Any]:
    """A job as `FinanceTaskView` describes it."""
    same = ("priority", "queue", "result", "created_at", "started_at", "request_id")
    return {
        "task_id": view["id"],
        "status": status_of(State(view["state"]), view["attempt"]),
        "error": _error(view["error"]),
        "completed_at": view["finished_at"],
        "processing_time_ms": _took_ms(view["started_at"], view["finished_at"]),
    } | {name: view[name] for name in same}


def _error(error: Any) -> str | None:
    """``TASK_ERROR: what went wrong``."""
    if error is None:
        return None
    code, message = (
        (error["code"], error["message"]) if isinstance(error, dict) else (error.code, error.message)
    )
    return f"{code}: {message}"


def _took_ms(started: str | None, ended: str | None) -> float | None:
    if started is None or ended is None:
        return None
    took = datetime.fromisoformat(ended) - datetime.fromisoformat(started)
    return took.total_seconds() * 1000

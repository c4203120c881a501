"""What a client sends to have a job done, and what it gets to see of it."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from penstock.core.after import MOST
from penstock.core.job import AfterFailure, Priority, State


class SubmitOptions(BaseModel):
    """How a job should be run; everything left out comes from the task."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    priority: Priority | None = Field(default=None, description="high, medium or low; the task's by default")
    queue: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.\-]{1,100}$", description="queue name")
    idempotency_key: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="a second submission with the same key gets the first one's job",
    )
    delay_s: float = Field(default=0.0, ge=0, le=31_536_000, description="seconds before the job is due")
    run_at: AwareDatetime | None = Field(
        default=None, description="when the job is due, in place of delay_s; ISO 8601 with a zone"
    )
    after: list[Annotated[str, Field(max_length=100)]] | None = Field(
        default=None, max_length=MOST, description="ids of jobs that must have ended before"
    )
    after_failure: AfterFailure | None = Field(
        default=None, description="what to do if one of those does not succeed: cancel (the default) or run"
    )
    timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=31_536_000,
        description="seconds one attempt may take, and a job in parts in all",
    )
    max_attempts: int | None = Field(default=None, ge=1, le=100, description="attempts before it fails")
    client: str | None = Field(default=None, max_length=200, description="who asks; scopes idempotency keys")
    cache: Literal["use", "refresh", "bypass"] = Field(
        default="use",
        description="if the task's answers are kept: use one, refresh it with a new one, or bypass the cache",
    )


class Submission(SubmitOptions):
    """One job to be done."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"task": "add", "params": {"a": 2, "b": 3}}]})

    task: str = Field(max_length=100, description="the task's name")
    params: dict[str, Any] = Field(default_factory=dict, description="the task's parameters")


class RetryOptions(BaseModel):
    """How a job should be retried."""

    model_config = ConfigDict(extra="forbid")

    params: dict[str, Any] | None = Field(
        default=None,
        description="other parameters: a new job is made with them, whose parent_id is the retried one's id",
    )


class ExtendOptions(BaseModel):
    """How a finished simulation should be extended."""

    model_config = ConfigDict(extra="forbid")

    params: dict[str, Any] = Field(
        description="what is to be larger; the other parameters are those of the finished job"
    )


class ErrorView(BaseModel):
    """Why a job's last attempt did not succeed."""

    code: str
    message: str
    detail: str = ""


class ProgressView(BaseModel):
    """How far a running job has come."""

    fraction: float
    message: str


class PartsView(BaseModel):
    """How many parts a job has, and how many of them have succeeded, failed for good, and been merged.

    While the job is being split, more may come.
    """

    total: int
    done: int = 0
    failed: int = 0
    merged: int = 0


class AttemptView(BaseModel):
    """One attempt that is over; ``code`` and ``message`` are a failure's. Times are ISO 8601 in UTC."""

    attempt: int
    worker: str | None
    started_at: str | None
    ended_at: str | None
    outcome: str
    code: str | None = None
    message: str = ""


class JobView(BaseModel):
    """A job as every client sees it. Times are ISO 8601 in UTC.

    ``initiated_by``, ``handled_by`` and ``checked_by`` are the nodes that took the job, run it, and
    answered this question. ``losses`` counts workers that vanished while running the job; those
    attempts are not charged. ``crashes`` counts attempts that ended their process; see ``max_crashes``.
    ``cached``: it never ran, as its answer was known. ``joined``, only told to whoever submits: it was there
    before and is shared by ``waiters`` that have not left. ``cache_key`` is what its answer is kept under.
    ``after`` are the jobs that it waits for, ``waits`` tells whether it still does.
    ``parts`` tells how far a job has come that was split; a part has its number, from 0, in
    ``part`` and that job's id in ``parent_id``.
    """

    id: str
    task: str
    state: State
    queue: str
    priority: Priority
    params: Any
    result: Any = None
    error: ErrorView | None = None
    progress: ProgressView | None = None
    parts: PartsView | None = None
    attempt: int
    max_attempts: int
    losses: int = 0
    crashes: int = 0
    cancel_requested: bool = False
    cached: bool = False
    joined: bool = False
    waiters: int = 1
    cache_key: str | None = None
    created_at: str
    due_at: str
    started_at: str | None = None
    finished_at: str | None = None
    initiated_by: str
    handled_by: str | None = None
    checked_by: str
    request_id: str | None = None
    parent_id: str | None = None
    after: list[str] = []
    waits: bool = False
    part: int | None = None
    position: int | None = None
    eta_s: float | None = None

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state.final

    def __repr__(self) -> str:
        """One line for people: notebooks and interpreters show it, and a job may be large."""
        told = [f"job {self.id} {self.task}", str(self.state)]
        if self.parts is not None:
            told.append(f"{self.parts.done} of {self.parts.total} parts")
        if self.progress is not None and not self.final:
            told.append(f"{self.progress.fraction:.0%} {self.progress.message}".rstrip())
        if self.error is not None:
            told.append(f"{self.error.code}: {self.error.message}")
        return f"<{', '.join(told)}>"

    __str__ = __repr__


class TaskView(BaseModel):
    """A task with its JSON Schemas. Durations are seconds, sizes bytes."""

    name: str
    version: str
    description: str
    queue: str
    priority: Priority
    max_attempts: int
    max_crashes: int = 3
    timeout_s: float | None
    cpu_s: float | None = None
    cache_s: float | None = None
    memory_bytes: int | None
    params_schema: dict[str, Any]
    result_schema: dict[str, Any]
    example: dict[str, Any]

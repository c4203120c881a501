"""What a client says to stop many jobs with one request, and what it is told."""

from enum import StrEnum

from pydantic import ConfigDict, Field

from penstock.core.choice import Choice, Report
from penstock.core.job import State


class OpenState(StrEnum):
    """The states in which there is something to stop."""

    SCHEDULED = State.SCHEDULED.value
    QUEUED = State.QUEUED.value
    RUNNING = State.RUNNING.value


class CancelChoice(Choice):
    """Jobs to stop: by ids, by filter, or all that have not ended. Parts of jobs go with their job."""

    FILTER = ("state", "task", "queue", "client")
    NAMED = "state, task, queue, client"

    model_config = ConfigDict(extra="forbid")

    state: OpenState | None = Field(default=None, description="only in this state")
    task: str | None = Field(default=None, min_length=1, max_length=100, description="only of this task")
    queue: str | None = Field(default=None, min_length=1, max_length=100, description="only of this queue")
    client: str | None = Field(default=None, min_length=1, max_length=200, description="only of this client")
    force: bool = Field(default=False, description="also stop jobs that others wait for")
    before: str | None = Field(default=None, max_length=100, description="`next` of the request before")


class CancelReport(Report):
    """The jobs that were stopped, or told to.

    ``skipped`` are ids that had ended or are unknown, and jobs that go on for others who wait for them.
    """

"""What a client says to stop many jobs with one request, and what it is told."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from penstock.core.errors import field_error
from penstock.core.job import State

MOST_AT_ONCE = 1_000
"""Jobs that one request stops."""


class OpenState(StrEnum):
    """The states in which there is something to stop."""

    SCHEDULED = State.SCHEDULED.value
    QUEUED = State.QUEUED.value
    RUNNING = State.RUNNING.value


class CancelChoice(BaseModel):
    """Jobs to stop: by ids, by filter, or all that have not ended. Parts of jobs go with their job."""

    model_config = ConfigDict(extra="forbid")

    ids: list[Annotated[str, Field(max_length=100)]] = Field(
        default=[], max_length=MOST_AT_ONCE, description="these; excludes a filter"
    )
    state: OpenState | None = Field(default=None, description="only in this state")
    task: str | None = Field(default=None, min_length=1, max_length=100, description="only of this task")
    queue: str | None = Field(default=None, min_length=1, max_length=100, description="only of this queue")
    client: str | None = Field(default=None, min_length=1, max_length=200, description="only of this client")
    all: bool = Field(default=False, description="must be true where neither ids nor a filter are given")
    force: bool = Field(default=False, description="also stop jobs that others wait for")
    before: str | None = Field(default=None, max_length=100, description="`next` of the request before")
    limit: int = Field(default=MOST_AT_ONCE, ge=1, le=MOST_AT_ONCE, description="at most so many")

    def check(self) -> None:
        """Raise VALIDATION_ERROR unless it says in exactly one way which are meant.

        Whoever forgets the filter must not thereby mean all.
        """
        filtered = any((self.state, self.task, self.queue, self.client))
        if bool(self.ids) + filtered + self.all != 1:
            raise field_error([("ids", "say which: ids, a filter (state, task, queue, client), or all")])


class CancelReport(BaseModel):
    """The jobs that were stopped, or told to.

    ``skipped`` are ids that had ended or are unknown, and jobs that go on for others who wait for them;
    ``next`` is the ``before`` of the next request, null when nothing that was meant is left.
    """

    count: int
    ids: list[str]
    skipped: list[str]
    next: str | None

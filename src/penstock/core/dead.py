"""What a client says to choose among dead letters, the failed jobs that nothing will run again by itself."""

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from penstock.core.choice import MOST_AT_ONCE, Choice, Report
from penstock.core.errors import FailureCode
from penstock.core.submission import AttemptView, JobView


class DeadFilter(BaseModel):
    """Which dead letters; what is left out does not matter. Times are ISO 8601 with a time zone."""

    model_config = ConfigDict(extra="forbid")

    task: str | None = Field(default=None, max_length=100, description="only of this task")
    queue: str | None = Field(default=None, max_length=100, description="only of this queue")
    code: FailureCode | None = Field(default=None, description="only with this error")
    ended_after: AwareDatetime | None = Field(default=None, description="only those that ended then or later")
    ended_before: AwareDatetime | None = Field(default=None, description="only those that ended earlier")
    before: str | None = Field(default=None, max_length=100, description="`next` of the page before")


class DeadPage(DeadFilter):
    """A page of those that match."""

    limit: int = Field(default=50, ge=1, le=MOST_AT_ONCE, description="how many")


class DeadChoice(Choice, DeadFilter):
    """Dead letters to do something with: by id, by filter, or all of them."""

    FILTER = ("task", "queue", "code", "ended_after", "ended_before")
    NAMED = "task, queue, code, ended_…"


class DeadView(JobView):
    """A dead letter: its job, and every attempt that is remembered."""

    attempts: list[AttemptView]


class DeadList(BaseModel):
    """Newest first; ``next`` is the ``before`` of the next page, null at the end."""

    dead: list[DeadView]
    next: str | None


class DeadReport(Report):
    """What was done to how many. ``skipped`` are ids that are no dead letters."""

"""What a client says to choose among dead letters, the failed jobs that nothing will run again by itself."""

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from penstock.core.errors import FailureCode, field_error
from penstock.core.submission import AttemptView, JobView

MOST_AT_ONCE = 1_000
"""Dead letters that one request shows, retries or purges."""


class DeadFilter(BaseModel):
    """Which dead letters; what is left out does not matter. Times are ISO 8601 with a time zone."""

    model_config = ConfigDict(extra="forbid")

    task: str | None = Field(default=None, max_length=100, description="only of this task")
    queue: str | None = Field(default=None, max_length=100, description="only of this queue")
    code: FailureCode | None = Field(default=None, description="only with this error")
    ended_after: AwareDatetime | None = Field(default=None, description="only those that ended then or later")
    ended_before: AwareDatetime | None = Field(default=None, description="only those that ended earlier")
    before: str | None = Field(default=None, max_length=100, description="`next` of the page before")

    @property
    def open(self) -> bool:
        """Whether it lets everything through."""
        return all(getattr(self, name) is None for name in DeadFilter.model_fields if name != "before")


class DeadPage(DeadFilter):
    """A page of those that match."""

    limit: int = Field(default=50, ge=1, le=MOST_AT_ONCE, description="how many")


class DeadChoice(DeadFilter):
    """Dead letters to do something with: by id, by filter, or all of them."""

    ids: list[Annotated[str, Field(max_length=100)]] = Field(
        default=[], max_length=MOST_AT_ONCE, description="these; excludes a filter"
    )
    all: bool = Field(default=False, description="must be true where neither ids nor a filter are given")
    limit: int = Field(default=MOST_AT_ONCE, ge=1, le=MOST_AT_ONCE, description="at most so many")

    def check(self) -> None:
        """Raise VALIDATION_ERROR unless it says in exactly one way which are meant.

        Whoever forgets the filter must not thereby mean all.
        """
        if bool(self.ids) + (not self.open) + self.all != 1:
            raise field_error([("ids", "say which: ids, or a filter (task, queue, code, ended_…), or all")])


class DeadView(JobView):
    """A dead letter: its job, and every attempt that is remembered."""

    attempts: list[AttemptView]


class DeadList(BaseModel):
    """Newest first; ``next`` is the ``before`` of the next page, null at the end."""

    dead: list[DeadView]
    next: str | None


class DeadReport(BaseModel):
    """What was done to how many. ``skipped`` are ids that are no dead letters; ``next`` as in `DeadList`."""

    count: int
    ids: list[str]
    skipped: list[str]
    next: str | None

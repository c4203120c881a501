"""What a client says to choose among the jobs of history, and what it gets to see of them."""

import base64
import binascii
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from penstock.core.clock import epoch_ms
from penstock.core.errors import field_error
from penstock.core.job import State
from penstock.core.record import storable
from penstock.core.submission import JobView

MOST_PAGES = 10_000


class Sort(StrEnum):
    """What jobs are sorted by; with ``-`` the greatest, newest or last comes first."""

    NEWEST = "-created_at"
    OLDEST = "created_at"
    ENDED_LAST = "-finished_at"
    ENDED_FIRST = "finished_at"
    TASK = "task"
    TASK_DOWN = "-task"
    STATE = "state"
    STATE_DOWN = "-state"

    @property
    def field(self) -> str:
        """The record's field."""
        return self.value.removeprefix("-")

    @property
    def down(self) -> bool:
        """Whether the greatest comes first."""
        return self.value.startswith("-")


class RecordFilter(BaseModel):
    """Which jobs; what is left out does not matter. Times are ISO 8601 with a time zone."""

    model_config = ConfigDict(extra="forbid")

    state: State | None = Field(default=None, description="only in this state")
    task: str | None = Field(default=None, max_length=100, description="only of this task")
    queue: str | None = Field(default=None, max_length=100, description="only of this queue")
    client: str | None = Field(default=None, max_length=200, description="only what this client asked for")
    created_after: AwareDatetime | None = Field(default=None, description="only submitted then or later")
    created_before: AwareDatetime | None = Field(default=None, description="only submitted earlier")
    text: str | None = Field(
        default=None, min_length=1, max_length=200, description="only with this in the parameters' JSON"
    )
    sort: Sort | None = Field(default=None, description="-created_at unless told otherwise")

    def query(self, **more: Any) -> "RecordQuery":
        """The same for `History.find`."""
        return RecordQuery(
            state=self.state,
            task=storable(self.task),
            queue=storable(self.queue),
            client=storable(self.client),
            created_after=epoch_ms(self.created_after),
            created_before=epoch_ms(self.created_before),
            text=storable(self.text),
            sort=self.sort or Sort.NEWEST,
            **more,
        )


class JobPage(RecordFilter):
    """A page of the live list, or of history if only that can answer; ``source`` says which one must."""

    before: str | None = Field(
        default=None, max_length=100, description="`next` of the page before, of the live list"
    )
    limit: int = Field(default=50, ge=1, le=1000, description="how many")
    parent_id: str | None = Field(default=None, max_length=100, description="only parts of this job")
    parts: bool = Field(default=False, description="parts of jobs too")
    cursor: str | None = Field(
        default=None, max_length=1000, description="`next` of the page before, of history"
    )
    page: int | None = Field(default=None, ge=1, le=MOST_PAGES, description="number of the page, from 1")
    total: bool = Field(default=False, description="also count all that match")
    source: Literal["broker", "history"] | None = Field(
        default=None, description="who answers; by default history only where a filter needs it"
    )

    @property
    def of_history(self) -> bool:
        """Whether history must answer. Raises VALIDATION_ERROR for what fits neither."""
        named = [name for name in _ONLY_HISTORY if getattr(self, name)]
        if self.source == "broker" and named:
            raise field_error([(name, "only history can answer this") for name in named])
        wanted = self.source == "history" or bool(named)
        if wanted and self.before is not None:
            raise field_error([("before", "belongs to the live list; of history it is cursor")])
        if self.cursor is not None and self.page is not None:
            raise field_error([("page", "say either page or cursor")])
        return wanted


_ONLY_HISTORY = ("client", "created_after", "created_before", "text", "sort", "cursor", "page", "total")


Text = Annotated[str, msgspec.Meta(pattern=r"^[^\0]*\Z")]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""What every database can compare with."""


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """Where a page of history ended: the last row's value of what it is sorted by, and its id."""

    value: Text | Number
    id: Text

    def __str__(self) -> str:
        """For clients, who must not make one up."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


def read_mark(text: str, sort: Sort) -> Mark:
    """What `str` of a mark said. Raises VALIDATION_ERROR for anything else."""
    try:
        mark = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Mark)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        mark = None
    if mark is None or isinstance(mark.value, int) != sort.field.endswith("_at"):
        raise field_error([("cursor", "is no `next` of a list that is sorted like this")])
    return mark


class RecordQuery(msgspec.Struct, frozen=True, kw_only=True):
    """`RecordFilter` as history reads it. Times are UTC milliseconds; ``after`` is where the last page ended.

    Sorted by its end, a job is listed once it has ended.
    """

    state: State | None = None
    task: str | None = None
    queue: str | None = None
    client: str | None = None
    created_after: int | None = None
    created_before: int | None = None
    text: str | None = None
    sort: Sort = Sort.NEWEST
    after: Mark | None = None
    offset: int = 0
    limit: int = 50


class RecordView(JobView):
    """A job as history has it. ``params`` and ``result`` are null beside their size if they were too long."""

    source: Literal["history"] = "history"
    client: str | None = None
    params_bytes: int = 0
    result_bytes: int | None = None

"""What a client sends to have jobs submitted by the clock, and what it gets to see of it."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from penstock.core.job import Priority
from penstock.core.schedule import Missed

NAME = r"^[A-Za-z0-9_.\-]{1,100}$"

Cron = Annotated[
    str, Field(min_length=1, max_length=200, description="five cron fields, or six with seconds first")
]
Timezone = Annotated[str, Field(max_length=100, description="name of a time zone, such as Europe/Berlin")]


class ScheduleBody(BaseModel):
    """What is to be submitted when; the limits are the task's as it is now."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    cron: Cron
    timezone: Timezone = "UTC"
    task: str = Field(max_length=100, description="the task's name")
    params: dict[str, Any] = Field(default_factory=dict, description="the task's parameters")
    priority: Priority | None = Field(default=None, description="high, medium or low; the task's by default")
    queue: str | None = Field(default=None, pattern=NAME, description="queue name")
    missed: Missed = Field(
        default=Missed.ONCE,
        description="ticks that nobody could submit for a minute: skip them, make up for the last one"
        " once, or for all (the last 100)",
    )
    paused: bool = Field(default=False, description="whether it begins paused")


class ScheduleForm(ScheduleBody):
    """A new schedule."""

    name: str = Field(pattern=NAME, description="its name, letters, digits, '.', '_' and '-'")


class ScheduleView(BaseModel):
    """A schedule as every client sees it. Times are ISO 8601 in UTC; ``next`` are the next five ticks.

    ``missed_ticks`` counts those that never were submitted, ``last_error`` says why one that is due waits.
    """

    name: str
    cron: str
    timezone: str
    task: str
    params: Any
    priority: Priority
    queue: str
    missed: Missed
    paused: bool
    created_at: str
    created_by: str
    last_tick: str | None
    last_job: str | None
    missed_ticks: int = 0
    last_error: str | None = None
    next: list[str]


class ScheduleList(BaseModel):
    """By name."""

    schedules: list[ScheduleView]

"""Which jobs a request is about that does something with many, and what it is told."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, Field

from penstock.core.errors import field_error

MOST_AT_ONCE = 1_000
"""Jobs that one request is about."""


class Choice(BaseModel):
    """Jobs by id, by filter, or all of them. ``FILTER`` are the filter's fields, ``NAMED`` their names."""

    FILTER: ClassVar[tuple[str, ...]]
    NAMED: ClassVar[str]

    ids: list[Annotated[str, Field(max_length=100)]] = Field(
        default=[], max_length=MOST_AT_ONCE, description="these; excludes a filter"
    )
    all: bool = Field(default=False, description="must be true where neither ids nor a filter are given")
    limit: int = Field(default=MOST_AT_ONCE, ge=1, le=MOST_AT_ONCE, description="at most so many")

    def check(self) -> None:
        """Raise VALIDATION_ERROR unless it says in exactly one way which are meant.

        Whoever forgets the filter must not thereby mean all.
        """
        filtered = any(getattr(self, name) is not None for name in self.FILTER)
        if bool(self.ids) + filtered + self.all != 1:
            raise field_error([("ids", f"say which: ids, a filter ({self.NAMED}), or all")])


class Report(BaseModel):
    """With how many of them it was done, which, and with which not.

    ``next`` is the ``before`` of the next request, null when nothing that was meant is left.
    """

    count: int
    ids: list[str]
    skipped: list[str]
    next: str | None

"""The contract of history in words: what its database promises to those who record and who ask.

It stands beside ``ports``, of which it is a part, so that a reader can hold either in the head.
"""

from collections.abc import Sequence
from typing import Protocol

from penstock.core.chapter import Chapter, Place
from penstock.core.job import State
from penstock.core.record import Record
from penstock.core.record_query import RecordQuery


class History(Protocol):
    """Keeps what was submitted and what became of it, longer than the broker does.

    Every call blocks for the database, may come from any thread, and raises HISTORY_UNAVAILABLE
    (`PenstockError`) when that cannot be had; then nothing of it was kept.
    """

    def open(self) -> None:
        """Connect and bring the tables up to date; idempotent, also across processes."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...

    def place(self) -> Place | None:
        """Where history stands, None if nothing was ever recorded."""
        ...

    def take(self, holder: str, seen: Place | None) -> Place | None:
        """Become the one who records; None if somebody else wrote since ``seen``."""
        ...

    def leave(self, place: Place) -> None:
        """Let the next one record at once; nothing if somebody else does already."""
        ...

    def record(self, place: Place, chapter: Chapter) -> Place | None:
        """Write a chapter and where it ends in one transaction; None, and nothing, if the place was taken."""
        ...

    def known(self, job_ids: Sequence[str]) -> dict[str, tuple[int, State]]:
        """``told_at`` and state of those that are recorded."""
        ...

    def get(self, job_id: str) -> Record | None:
        """A recorded job."""
        ...

    def find(self, query: RecordQuery) -> list[Record]:
        """Recorded jobs that match, sorted, without tracebacks."""
        ...

    def count(self, query: RecordQuery) -> int:
        """How many match on all pages."""
        ...

    def trim(self, results_before: int, jobs_before: int, limit: int) -> int:
        """Forget results of jobs that ended before one time, and jobs that nothing was told of since another.

        Both are UTC milliseconds. Takes at most ``limit`` of each; returns how many it were.
        """
        ...

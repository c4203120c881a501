"""What a recorder and its database say to each other: where history stands, and what comes next."""

from collections.abc import Sequence

import msgspec

from penstock.core.record import Asked, Record, Told


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where history stands in the feed, and who is recording.

    ``beat`` changes with every write, so that a recorder which is no longer the only one finds out.
    Everything up to ``told_at`` (UTC milliseconds) was recorded. ``sweep`` is not None while all jobs are
    being read as well, because the feed does not tell everything: the id of the last one, or "".
    """

    holder: str | None
    beat: int
    cursor: str = ""
    told_at: int = 0
    sweep: str | None = None


class Chapter(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction adds to history, and how far it gets with it.

    ``records`` are jobs as the broker has them, ``told`` what happened to jobs that it has no more.
    """

    cursor: str
    told_at: int
    sweep: str | None = None
    records: Sequence[Record] = ()
    told: Sequence[Told] = ()
    asked: Sequence[Asked] = ()

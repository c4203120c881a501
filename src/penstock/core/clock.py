"""Time as a value that is handed in, so that rules and brokers can be tested at any instant."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import overload

Clock = Callable[[], int]
"""Returns the present as whole milliseconds since 1970-01-01T00:00:00Z."""


def system_clock() -> int:
    """The machine's own UTC time in milliseconds."""
    return time.time_ns() // 1_000_000


@overload
def epoch_ms(moment: datetime) -> int: ...


@overload
def epoch_ms(moment: None) -> None: ...


def epoch_ms(moment: datetime | None) -> int | None:
    """A moment with a time zone as milliseconds since the epoch, as `iso` took it; None of None."""
    return None if moment is None else round(moment.timestamp() * 1000)


@lru_cache(maxsize=1024)  # the jobs of a batch share their times, and formatting one costs 5 µs
def iso(at: int) -> str:
    """Milliseconds since the epoch as ISO 8601 in UTC, for example ``2026-01-31T12:00:00.250Z``."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

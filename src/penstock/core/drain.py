"""How fast a queue empties, measured, and when a full one is likely to have room.

Brokers count the jobs of each queue that ended in slots of `SLOT_MS` and keep the last `SLOTS` of them.
"""

import math
from collections.abc import Sequence

import msgspec

SLOT_MS = 10_000
SLOTS = 6

SHORTEST_S, LONGEST_S = 1, 60
"""Bounds of what a client is told to wait."""

UNKNOWN_S = 5
"""What it is told when nothing has ended lately."""


class Full(msgspec.Struct, frozen=True, kw_only=True):
    """Why a submission was refused: so many jobs wait in its queue, of so many that may.

    ``drain_per_s`` is how many of its jobs have ended per second lately.
    """

    depth: int
    limit: int
    drain_per_s: float = 0.0


def slots_at(now: int) -> list[int]:
    """The numbers of the slots that count at this time (UTC milliseconds), oldest first."""
    newest = now // SLOT_MS
    return list(range(newest - SLOTS + 1, newest + 1))


def per_second(ended: Sequence[int], now: int) -> float:
    """Jobs per second, from the counts of `slots_at`; the time begins with the first slot that has any."""
    for place, (slot, count) in enumerate(zip(slots_at(now), ended, strict=True)):
        if count:
            return sum(ended[place:]) / max(1.0, (now - slot * SLOT_MS) / 1000)
    return 0.0


def retry_after_s(depth: int, limit: int, rate: float) -> int:
    """Whole seconds until a queue of this depth that loses ``rate`` jobs a second has room for one more."""
    if rate <= 0:
        return UNKNOWN_S
    return min(LONGEST_S, max(SHORTEST_S, math.ceil((depth - limit + 1) / rate)))

"""How far a whole is cut: into long spans first, and ever shorter ones towards the end.

Long spans keep down what each costs besides its work; short ones at the end let all slots end together.
Whole-number arithmetic on the whole alone, so it is cut the same on any number of slots.
"""

from collections.abc import Iterator
from typing import Final

TAPER: Final = 5
"""No span is longer than this share of what is left: up to so many slots end evenly."""


MOST_SPANS: Final = 10_000
"""Of one whole: each costs something to hand out and to put together."""


def chunk_spans(chunks: int, size: int, most: int, least: int) -> Iterator[tuple[int, int]]:
    """`spans` of chunks of ``size`` each, where ``most`` and ``least`` are sizes: at least one chunk each."""
    return spans(chunks, max(-(-most // size), -(-chunks // MOST_SPANS)), -(-least // size))


def spans(total: int, most: int, least: int) -> Iterator[tuple[int, int]]:
    """First and end of each span of ``total`` things, in order: ``most`` at first, ``least`` at last."""
    first = 0
    while first < total:
        left = total - first
        end = first + min(left, max(least, min(most, left // TAPER)))
        yield first, end
        first = end

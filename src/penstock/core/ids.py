"""Ids made by the server: UUID version 7 (RFC 9562), so that sorting by id is sorting by age."""

import os
import threading
import time
from functools import lru_cache

_COUNTER_BITS = 42
_COUNTER_MASK = (1 << _COUNTER_BITS) - 1
_LOW_BITS = 30
_LOW_MASK = (1 << _LOW_BITS) - 1


class IdMaker:
    """Makes UUIDv7 strings that strictly increase within this process.

    Below the millisecond stands a counter that starts at a random point each millisecond
    (RFC 9562, section 6.2, method 1), so ids of one process never tie; the last 32 bits are random.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at = 0
        self._counter = 0

    def __call__(self) -> str:
        """The next id."""
        at, counter = self._take(1)
        return _text(at, counter, int.from_bytes(os.urandom(4)))

    def many(self, count: int) -> list[str]:
        """The next so many ids: one look at the clock and one draw for all of them."""
        at, first = self._take(count)
        tails = memoryview(os.urandom(4 * count)).cast("I")
        return [_text(at, counter, tail) for counter, tail in enumerate(tails, first)]

    def _take(self, count: int) -> tuple[int, int]:
        """A millisecond, and the first of so many values of its counter that nobody else gets."""
        with self._lock:
            at = time.time_ns() // 1_000_000
            if at > self._at:
                self._at = at
                # The top bit stays free so that one millisecond can never overflow the counter.
                self._counter = int.from_bytes(os.urandom(6)) & (_COUNTER_MASK >> 1)
            first = self._counter
            self._counter += count
            return self._at, first


def _text(at: int, counter: int, tail: int) -> str:
    low = (0b10 << 62) | ((counter & _LOW_MASK) << 32) | tail
    text = f"{low:x}"
    return f"{_head(at, counter >> _LOW_BITS)}{text[:4]}-{text[4:]}"


@lru_cache(maxsize=16)  # the ids of one millisecond share it, and it is more than half of the writing
def _head(at: int, high: int) -> str:
    return f"{at >> 16:08x}-{at & 0xFFFF:04x}-7{high:03x}-"


new_id = IdMaker()

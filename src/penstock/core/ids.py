"""Ids made by the server: UUID version 7 (RFC 9562), so that sorting by id is sorting by age."""

import os
import threading
import time

_COUNTER_BITS = 42
_COUNTER_MASK = (1 << _COUNTER_BITS) - 1


class IdMaker:
    """Makes UUIDv7 strings that strictly increase within this process.

    Below the millisecond stands a counter that starts at a random point each millisecond
    (RFC 9562, section 6.2, method 1), so ids of one process never tie.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at = 0
        self._counter = 0

    def __call__(self) -> str:
        """The next id."""
        with self._lock:
            at = time.time_ns() // 1_000_000
            if at > self._at:
                self._at = at
                # The top bit stays free so that one millisecond can never overflow the counter.
                self._counter = int.from_bytes(os.urandom(6)) & (_COUNTER_MASK >> 1)
            else:
                self._counter += 1
            at, counter = self._at, self._counter
        high = (at << 16) | 0x7000 | (counter >> 30)
        low = (0b10 << 62) | ((counter & 0x3FFFFFFF) << 32) | int.from_bytes(os.urandom(4))
        text = f"{high:016x}{low:016x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


new_id = IdMaker()

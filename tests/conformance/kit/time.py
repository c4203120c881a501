"""Time for tests: a clock that is moved by hand, and a deadline for whatever is waited for."""

import asyncio
from contextlib import AbstractAsyncContextManager

PATIENCE_S = 25.0


class ManualClock:
    """A `Clock` that stands still until it is told to move, forward or back."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, ms: int) -> None:
        self.now += ms


def deadline(seconds: float = PATIENCE_S) -> AbstractAsyncContextManager[object]:
    """Fails what is inside when it takes longer; generous, because the machine may be busy."""
    return asyncio.timeout(seconds)

"""Waiting for a condition with a deadline: what tests do instead of sleeping."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from penstock.core.errors import ErrorCode, PenstockError

PATIENCE_S = 90.0
STEP_S = 0.01

Found = TypeVar("Found")


def until(condition: Callable[[], Found], within: float = PATIENCE_S, what: str = "") -> Found:
    """The condition's first true value; fails when there is none within so many seconds."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, f"did not happen within {within} s: {what or condition}"
        time.sleep(STEP_S)
    return found


async def eventually(
    condition: Callable[[], Found | Awaitable[Found]], within: float = PATIENCE_S, what: str = ""
) -> Found:
    """`until` for tests that share their event loop with what they wait for."""
    deadline = time.monotonic() + within
    while not (found := await _value(condition())):
        assert time.monotonic() < deadline, f"did not happen within {within} s: {what or condition}"
        await asyncio.sleep(STEP_S)
    return found


async def answered(call: Callable[[], Awaitable[Found]], within: float = PATIENCE_S) -> Found:
    """The answer of a broker that is there: a busy machine may be slower than one in a hurry waits."""
    give_up = time.monotonic() + within
    while True:
        try:
            return await call()
        except PenstockError as refused:
            if refused.code is not ErrorCode.BROKER_UNAVAILABLE or time.monotonic() > give_up:
                raise


async def _value(found: Found | Awaitable[Found]) -> Found:
    return await found if inspect.isawaitable(found) else found


async def least(measure: Callable[[], Awaitable[float]], limit: float, tries: int = 5) -> float:
    """The smallest figure, measured again until one is below the limit, at most so often.

    For what must be quick: a busy neighbour on this machine spoils one measurement, a defect spoils all.
    """
    figures = [await measure()]
    while min(figures) >= limit and len(figures) < tries:
        figures.append(await measure())
    return min(figures)

"""Waiting for a condition with a deadline: what tests do instead of sleeping."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

PATIENCE_S = 60.0
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


async def _value(found: Found | Awaitable[Found]) -> Found:
    return await found if inspect.isawaitable(found) else found

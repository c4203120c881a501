"""A verb that has begun answers even a caller that is cancelled meanwhile, who must learn what it now holds.

That caller was cancelled nevertheless: `called_off` tells it not to go on, as asyncio tells it only once.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


async def answer_of(begun: asyncio.Future[Answer], abandon: Callable[[], bool]) -> Answer:
    """The verb's answer. A caller that is cancelled goes without one only if ``abandon`` says so.

    ``abandon`` returns whether there will be none, and sees to it if nothing has begun yet.
    """
    try:
        return await asyncio.shield(begun)
    except asyncio.CancelledError:
        if abandon():
            raise
    while not begun.done():  # who is cancelled again, as in a task group, must not cancel the verb itself
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(begun)
    return begun.result()


def called_off() -> bool:
    """Whether the running asyncio task was cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def heed_cancel() -> None:
    """Raise CancelledError if the running asyncio task was cancelled; call it before each wait."""
    if called_off():
        raise asyncio.CancelledError

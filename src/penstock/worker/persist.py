"""Trying again while the broker is away."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from penstock.core.begun import called_off
from penstock.core.errors import ErrorCode, PenstockError

RETRY_CAP_S = 5.0

Answer = TypeVar("Answer")


async def persist(action: Callable[[], Awaitable[Answer]], on_outage: Callable[[], None], log: Any) -> Answer:
    """Repeat while the broker is away, with growing, jittered pauses; each time ``on_outage`` is called."""
    pause_s = 0.1
    while True:
        try:
            return await action()
        except PenstockError as failed:
            if failed.code is not ErrorCode.BROKER_UNAVAILABLE:
                raise
            on_outage()
            if called_off():  # the verb had begun and took the cancel for itself: it is not repeated
                raise asyncio.CancelledError from failed
            log.warning("broker unavailable, trying again", error=failed.message)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - jitter
            pause_s = min(RETRY_CAP_S, pause_s * 2)

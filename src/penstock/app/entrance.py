"""A node's way in, from its settings."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from penstock.api.entrance import Entrance
from penstock.api.limiter import Limiter
from penstock.app.broker import make_meter
from penstock.core.addresses import networks
from penstock.ports import Broker
from penstock.service.keyring import Keyring
from penstock.settings import Settings


def make_entrance(settings: Settings, broker: Broker) -> Entrance:
    """Who may come in; knows the keys of the broker's shelf once it is `watched`."""
    rate = settings.rate
    return Entrance(
        keyring=Keyring(broker, settings.keys),
        public=not (settings.on_loopback or settings.insecure),
        limiter=None if rate is None else Limiter(rate, make_meter(settings)),
        proxies=networks(settings.trusted_proxies),
        origins=settings.cors_origins,
        hsts_s=(settings.hsts or 0) // 1000,
    )


@contextlib.asynccontextmanager
async def watched(entrance: Entrance) -> AsyncIterator[None]:
    """Keep the keys fresh, and let go of what counts requests in the end.

    Raises BROKER_UNAVAILABLE if the keys cannot be had at first: nobody is let in by a node that knows none.
    """
    async with contextlib.AsyncExitStack() as stack:
        if entrance.limiter is not None:
            stack.push_async_callback(entrance.limiter.close)
        if entrance.keyring is not None:
            await entrance.keyring.load()
            watching = asyncio.create_task(entrance.keyring.run())
            stack.push_async_callback(_end, watching)
        yield


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

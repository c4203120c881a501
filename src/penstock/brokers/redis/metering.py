"""Requests counted on the server that all nodes share; see `penstock.ports.Meter`.

On a connection of its own, with little patience: a request is not held up for the sake of being counted.
"""

from penstock.brokers.redis.link import Link
from penstock.brokers.redis.url import Target, parse
from penstock.ports import BrokerOptions

PATIENCE_S = 1.0


def meter(url: str, options: BrokerOptions) -> "RedisMeter":
    """A meter for the URLs of `url.parse`; connects to nothing yet."""
    return RedisMeter(parse(url, options.namespace))


class RedisMeter:
    """Counts in one script."""

    def __init__(self, target: Target) -> None:
        self._link = Link(target, PATIENCE_S, None)

    async def take(self, name: str, most: int, window_ms: int) -> int:
        """See `Meter.take`."""
        _, wait_ms = await self._link.call("meter", name, most, window_ms)
        return int(wait_ms)

    async def close(self) -> None:
        """See `Meter.close`."""
        await self._link.close()

"""Counts each client's requests: together with the other nodes where they share a server, else alone.

The library `limits` counts; `Shared` lets it count through a `Meter`, on the connection that the broker's
URL describes. It is never waited for long: while it is away each node counts for itself.
"""

import time
from typing import Any

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, MovingWindowSupport, Storage
from limits.aio.strategies import MovingWindowRateLimiter

from penstock.core.errors import PenstockError
from penstock.core.rate import Rate
from penstock.ports import Meter

PAUSE_S = 5.0
"""How long the shared count is left alone after it did not answer."""

MOST_REFUSED = 10_000
"""Clients remembered as refused; an attack from more addresses costs the server a call each."""


class Shared(Storage, MovingWindowSupport):
    """The shared count, as `limits` wants to see it. ``waits`` has the ms until a refused one may come."""

    STORAGE_SCHEME = None

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter
        self.waits: dict[str, int] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        """Part of `Storage`."""
        return PenstockError

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:  # noqa: ARG002
        """Part of `MovingWindowSupport`; every request counts as one."""
        wait_ms = await self._meter.take(key, limit, expiry * 1000)
        if wait_ms:
            self.waits[key] = wait_ms
        return not wait_ms

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Part of `MovingWindowSupport`: of a client that was refused just now, whose window is full."""
        return time.time() + self.waits.pop(key, 0) / 1000 - expiry, limit

    async def _unused(self, *_: Any) -> Any:
        raise NotImplementedError("only moving windows are counted here")

    incr = get = get_expiry = check = reset = clear = _unused  # type: ignore[assignment]


class Limiter:
    """One rate for every client."""

    def __init__(self, rate: Rate, meter: Meter | None) -> None:
        self.rate = rate
        self._meter = meter
        self._item: RateLimitItem = RateLimitItemPerSecond(rate.most, rate.window_s, namespace="api")
        self._alone = MovingWindowRateLimiter(MemoryStorage())
        self._together = None if meter is None else MovingWindowRateLimiter(Shared(meter))
        self._again = 0.0
        self._refused: dict[str, float] = {}

    async def close(self) -> None:
        """Let go of the shared count."""
        if self._meter is not None:
            await self._meter.close()

    async def take(self, client: str) -> float:
        """Count one request: 0.0, or the seconds after which the next may come."""
        now = time.monotonic()
        if (until := self._refused.get(client, 0.0)) > now:
            return until - now  # his window is full until then, whoever counts
        wait_s = await self._take(client, now)
        if wait_s > 0:
            self._remember(client, now + wait_s)
        return wait_s

    async def _take(self, client: str, now: float) -> float:
        if self._together is not None and now >= self._again:
            try:
                return await self._ask(self._together, client)
            except PenstockError:
                self._again = time.monotonic() + PAUSE_S
        return await self._ask(self._alone, client)

    async def _ask(self, strategy: MovingWindowRateLimiter, client: str) -> float:
        if await strategy.hit(self._item, client):
            return 0.0
        stats = await strategy.get_window_stats(self._item, client)
        wait_s = stats.reset_time - time.time()
        if wait_s > self.rate.window_s:  # the machine's clock was set back, and nobody is locked out for that
            await strategy.clear(self._item, client)
            return 0.0
        return max(0.001, wait_s)

    def _remember(self, client: str, until: float) -> None:
        if len(self._refused) >= MOST_REFUSED:
            self._refused.clear()
        self._refused[client] = until

"""A look at the broker from one node: does it answer, does it keep what is written, what time has it."""

import time

import msgspec

from penstock.core.ids import new_id
from penstock.ports import Broker

SHELF = "probes"
"""The shelf on which each node writes one small document, and takes it away again."""


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. ``matches``: what was read is what was written. Times are milliseconds."""

    ping_ms: float
    write_ms: float
    read_ms: float
    wrote: str
    read: str | None
    matches: bool
    broker_time: int


class Probe:
    """Asks the broker as ``node``. Raises BROKER_UNAVAILABLE if it cannot be reached."""

    def __init__(self, broker: Broker, node: str) -> None:
        self._broker = broker
        self._node = node

    async def __call__(self) -> Probed:
        """Ping, write, read back, tidy up."""
        name = wrote = f"{self._node}-{new_id()}"  # requests at a time must not read each other's
        began = time.perf_counter()
        broker_time = await self._broker.now()
        pinged = time.perf_counter()
        await self._broker.put(SHELF, name, wrote.encode())
        written = time.perf_counter()
        body = (await self._broker.shelf(SHELF)).get(name)
        done = time.perf_counter()
        await self._broker.put(SHELF, name, None)
        read = None if body is None else body.decode(errors="replace")
        return Probed(
            ping_ms=_ms(began, pinged),
            write_ms=_ms(pinged, written),
            read_ms=_ms(written, done),
            wrote=wrote,
            read=read,
            matches=read == wrote,
            broker_time=broker_time,
        )


def _ms(began: float, ended: float) -> float:
    return round((ended - began) * 1000, 3)

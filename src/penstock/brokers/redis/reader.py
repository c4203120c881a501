"""Follows the event feed: what is there already by a script, what comes by waiting at the stream."""

import hiredis

from penstock.brokers.redis import feed
from penstock.brokers.redis.link import Link
from penstock.brokers.redis.waiter import BLOCK_S, Waiter
from penstock.core.begun import heed_cancel
from penstock.core.errors import broker_unavailable
from penstock.ports import Event


class Reader:
    """``events`` and ``head`` of the broker.

    Whoever reads on where the last call ended is spared looking whether that place exists: one command
    per wake-up. It is looked at again on a new connection, and when nothing came for a whole wait.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiter = Waiter(link)
        self._proven: tuple[str, int] | None = None

    async def head(self) -> str:
        """See `Broker.head`."""
        _, _, _, _, last = await self._link.call("events", "+", 1)
        return self._prove(f"{last.decode()}-0")

    async def events(self, after: str, wait_s: float, limit: int) -> list[Event]:
        """See `Broker.events`."""
        position = feed.position(after)
        last = f"{position[0]}-{position[1]}".encode()
        if wait_s <= 0 or position[2] or (after, self._link.dialled) != self._proven:
            found, last = await self._now(after, position, limit)
            if found or wait_s <= 0:
                return self._ended(found)
        return self._ended(await self._wait(last, limit, wait_s))

    async def _now(self, after: str, position: feed.Position, limit: int) -> tuple[list[Event], bytes]:
        first = f"{position[0]}-{position[1]}"
        # The entry that is begun with may have nothing left to tell.
        _, entries, gone, oldest, last = await self._link.call("events", first, limit + 1)
        begun = entries and feed.entry_id(entries[0][0]) == position[:2]
        if position[:2] > feed.entry_id(last) or (begun and position[2] >= feed.size(entries[0])):
            raise feed.unknown(after)
        return feed.read(entries, position, gone, oldest)[:limit], last

    async def _wait(self, last: bytes, limit: int, wait_s: float) -> list[Event]:
        key = self._link.key("events")
        block = ("XREAD", "COUNT", limit, "BLOCK", BLOCK_S * 1000, "STREAMS", key, last)
        (answer,) = await self._waiter.wait(block, timeout_s=wait_s)
        if isinstance(answer, hiredis.ReplyError):
            raise broker_unavailable(f"the broker refused: {answer}")
        if answer:
            return feed.read(answer[0][1], (*feed.entry_id(last), 0), 0, b"")[:limit]
        heed_cancel()
        return []

    def _ended(self, found: list[Event]) -> list[Event]:
        if found:
            self._prove(found[-1].id)
        else:
            self._proven = None
        return found

    def _prove(self, event_id: str) -> str:
        self._proven = (event_id, self._link.dialled)
        return event_id

"""How a node listens to a connection: as uvicorn does, but a request must come to an end.

The parser takes a head of any size and waits for the rest of a request for ever, before anybody is asked
for a key. What arrives whole, as nearly all requests do, costs a look.
"""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD = 65_536
"""Bytes of a request line and headers beyond what arrived with their beginning."""

ARRIVE_S = 60.0
"""How long a request may take to arrive, head and body; 8 MiB need 140 kB/s."""

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Protocol(HttpToolsProtocol):
    """One connection."""

    arrive_s: ClassVar[float] = ARRIVE_S

    _arriving = False
    _headed = False
    _head = 0
    _given_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Part of `asyncio.Protocol`. Who connects and says nothing keeps a place, too."""
        super().connection_made(transport)
        self._given_up = self.loop.call_later(self.arrive_s, transport.close)

    def data_received(self, data: bytes) -> None:
        """Part of `asyncio.Protocol`."""
        super().data_received(data)
        if self._arriving:
            self._wait_for_the_rest(len(data))

    def on_message_begin(self) -> None:
        """Part of the parser's callbacks."""
        self._arriving, self._headed = True, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Part of the parser's callbacks."""
        self._headed = True
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Part of the parser's callbacks. What follows a body in pieces is nobody's, and may never end."""
        if not self._headed:
            super().on_header(name, value)

    def on_message_complete(self) -> None:
        """Part of the parser's callbacks."""
        self._arriving = False
        if self._given_up is not None:
            self._stop_waiting()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of `asyncio.Protocol`."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_the_rest(self, size: int) -> None:
        if self._given_up is None:
            self._given_up = self.loop.call_later(self.arrive_s, self.transport.close)
        elif getattr(self.cycle, "scope", None) is not self.scope:  # its head is not complete
            self._head += size
            if self._head > MOST_HEAD:
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def _stop_waiting(self) -> None:
        if self._given_up is not None:
            self._given_up.cancel()
        self._given_up, self._head = None, 0

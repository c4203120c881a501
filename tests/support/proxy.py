"""A stretch of network between a broker and its server that a test can cut at a chosen moment."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Self

from support.ports import HOST

CHUNK = 65_536


class Proxy:
    """``async with Proxy(server.port) as proxy``: whoever talks to ``proxy.port`` talks to that port.

    The next command that holds some bytes can be made to fail in two ways: `lose_answer` passes it on
    and hangs up when the server has answered, `lose_command` hangs up instead of passing it on.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._trap = b""
        self._passes_on = True
        self._serving: set[asyncio.Task[None]] = set()
        self.lost = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for serving in self._serving:
            serving.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    def lose_answer(self, word: bytes) -> None:
        """Let the server carry out the next command with this word, and nobody hear of it."""
        self._trap, self._passes_on = word, True

    def lose_command(self, word: bytes) -> None:
        """Let the next command with this word never arrive."""
        self._trap, self._passes_on = word, False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.create_task(self._connect(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(HOST, self._target)
        except OSError:  # nobody there, which is what the other side is to see
            writer.transport.abort()
            return
        cut = asyncio.Event()
        ways = [
            asyncio.create_task(self._pass(reader, back, lambda data: self._there(data, cut))),
            asyncio.create_task(self._pass(there, writer, lambda _: not cut.is_set())),
        ]
        try:
            # One direction that ends takes the other with it, as a connection that is lost does.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (writer, back):
                each.transport.abort()
            await asyncio.wait(ways)

    def _there(self, data: bytes, cut: asyncio.Event) -> bool:
        if not self._trap or self._trap not in data:
            return True
        self._trap = b""
        self.lost += 1
        cut.set()
        return self._passes_on

    @staticmethod
    async def _pass(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, allowed: Callable[[bytes], bool]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if not allowed(data):
                    return
                writer.write(data)
                await writer.drain()

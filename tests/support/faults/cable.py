"""The network between one node and its broker's server, which can be cut, held up, or work one way only."""

import asyncio
import contextlib
from typing import Self

HOST = "127.0.0.1"
CHUNK = 65_536


class Cable:
    """``async with Cable(server.port) as cable``: who talks to ``cable.port`` talks to that port.

    What is held up is not lost: it arrives when the cable is mended, as it does on a network that stood
    still.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._is_cut = False
        self._there, self._back = asyncio.Event(), asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()
        self.mend()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Every connection breaks, and a new one does too."""
        self._is_cut = True
        for connection in self._open:
            connection.cancel()

    def hold(self) -> None:
        """Nothing arrives anywhere."""
        self._there.clear()
        self._back.clear()

    def mute(self) -> None:
        """What the node says arrives, what it is answered does not."""
        self._back.clear()

    def deafen(self) -> None:
        """What the node says does not arrive."""
        self._there.clear()

    def mend(self) -> None:
        """All is well again."""
        self._is_cut = False
        self._there.set()
        self._back.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._connect(reader, writer))
        self._open.add(connection)
        connection.add_done_callback(self._open.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back = None
        try:
            if self._is_cut:
                return
            there, back = await asyncio.open_connection(HOST, self._target)
            ways = {
                asyncio.create_task(self._pass(reader, back, self._there)),
                asyncio.create_task(self._pass(there, writer, self._back)),
            }
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
        except OSError:
            pass  # the server is away
        finally:
            for end in (writer, back):
                if end is not None:
                    end.transport.abort()

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await way.wait()
                writer.write(data)
                await writer.drain()

"""The HTTP server of a node: uvicorn, with a way to leave that a load balancer in front can follow.

A stop goes in three steps. First everything goes on, but /healthz is red and every answer closes its
connection. Then nobody new is let in, and connections that are kept open are waited for: the balancer
closes them itself or uses them once more. Only what is left then is closed from here.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn

TICK_S = 0.05


class Server(uvicorn.Server):
    """``linger_s`` is how long each of the first two steps may last; `force_exit` ends both at once."""

    def __init__(self, config: uvicorn.Config, linger_s: float) -> None:
        super().__init__(config)
        self._linger_s = linger_s

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Part of `uvicorn.Server`: leaves the signals to us, so that a requested stop exits with 0."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Part of `uvicorn.Server`, called when it has been asked to stop."""
        await self._until(lambda: False)
        await self._let_nobody_in(sockets or [])
        await self._until(lambda: not self.server_state.connections)
        await super().shutdown(sockets)

    async def _let_nobody_in(self, listeners: list[socket.socket]) -> None:
        """Close the door behind those who stand in it: the system took them in, and they have spoken."""
        admitted = [each for listener in listeners for each in _waiting(listener)]
        for server in self.servers:
            server.close()
        for listener in listeners:
            listener.close()
        loop = asyncio.get_running_loop()
        for each in admitted:
            await loop.connect_accepted_socket(self._protocol, each)

    def _protocol(self) -> asyncio.Protocol:
        kind: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    async def _until(self, reached: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._linger_s
        # uvicorn signals none of this
        while not reached() and not self.force_exit and loop.time() < deadline:  # noqa: ASYNC110 - see above
            await asyncio.sleep(TICK_S)


def _waiting(listener: socket.socket) -> Iterator[socket.socket]:
    listener.setblocking(False)
    with contextlib.suppress(OSError):
        while True:
            yield listener.accept()[0]

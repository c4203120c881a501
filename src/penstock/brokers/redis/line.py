"""One connection: commands go out as they come, answers return in that order.

An own protocol over the hiredis parser, because every call of every verb passes here: it costs one
future per command and no task, stream or lock (``docs/decisions/0009``).
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from typing import Any, cast

import hiredis

from penstock.brokers.redis.url import Address, Target

_MORE = object()


class LineLostError(ConnectionError):
    """The connection ended before the answer came: whether the command was carried out is not known."""


class Line(asyncio.Protocol):
    """Use `dial` to get one. Errors that the server answers come as values, `hiredis.ReplyError`."""

    def __init__(self) -> None:
        self._parser = hiredis.Reader(notEnoughData=_MORE)
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self.heard_at = self._loop.time()

    @property
    def alive(self) -> bool:
        """Whether commands can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, *command: bytes | str | int) -> asyncio.Future[Any]:
        """Send a command; the future holds its answer, or raises `LineLostError`."""
        (answer,) = self.send_together(command)
        return answer

    def send_together(self, *commands: tuple[bytes | str | int, ...]) -> list[asyncio.Future[Any]]:
        """Send commands in one piece, so that the server wakes once for them."""
        answers = [self._loop.create_future() for _ in commands]
        if self._transport is None or self._transport.is_closing():
            for answer in answers:
                answer.set_exception(LineLostError("the connection is closed"))
                answer.exception()  # nobody may come to look at it
            return answers
        packed = [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]  # its stub forgets the …
        self._transport.write(packed[0] if len(packed) == 1 else b"".join(packed))
        self._waiting.extend(answers)
        return answers

    def close(self) -> None:
        """Hang up; who still waits for an answer is told at once."""
        if self._transport is not None:
            self._transport.abort()
        self._fail("the connection was closed")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Part of `asyncio.Protocol`."""
        self.heard_at = self._loop.time()
        self._parser.feed(data)
        while (answer := self._parser.gets()) is not _MORE:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of `asyncio.Protocol`."""
        self._transport = None
        self._fail(f"the server hung up: {exc}" if exc else "the server hung up")

    def _fail(self, why: str) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(LineLostError(why))
                waiting.exception()  # nobody may be left to look at it


async def dial(address: Address, target: Target, *, sentinel: bool = False) -> Line:
    """A connection that has introduced itself. Raises OSError, or `hiredis.ReplyError` when refused."""
    loop = asyncio.get_running_loop()
    context = target.context()
    host = address[0] if context else None
    _, line = await loop.create_connection(Line, *address, ssl=context, server_hostname=host)
    with closed_unless_good(line):
        await _introduce(line, target, sentinel=sentinel)
    return line


@contextlib.contextmanager
def closed_unless_good(line: Line) -> Iterator[None]:
    """Hang up when what is said first on a new connection fails or is cut short."""
    try:
        yield
    except BaseException:
        line.close()
        raise


async def _introduce(line: Line, target: Target, *, sentinel: bool) -> None:
    username = target.sentinel_username if sentinel else target.username
    password = target.sentinel_password if sentinel else target.password
    if password is not None:
        await ask(line, "AUTH", *((username,) if username else ()), password)
    if target.database and not sentinel:
        await ask(line, "SELECT", target.database)


async def ask(line: Line, *command: bytes | str | int) -> Any:
    """The answer to a command; an error is raised."""
    answer = await line.send(*command)
    if isinstance(answer, hiredis.ReplyError):
        raise answer
    return answer

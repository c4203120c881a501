"""Waits at the server for something to happen, on a connection apart, and lets go when told to."""

import asyncio
from typing import Any

import hiredis

from penstock.brokers.redis.line import Line, LineLostError, ask
from penstock.brokers.redis.link import Link
from penstock.core.errors import broker_unavailable

BLOCK_MS = 60_000
"""A blocking command that nobody ends is ended by the server after this long."""


class Waiter:
    """One call at a time has the connection; a second one waits on a connection of its own."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._idle: list[tuple[Line, int]] = []

    async def wait(self, *command: bytes | str | int, timeout_s: float) -> Any:
        """The answer of a command that blocks, None after ``timeout_s``. Raises BROKER_UNAVAILABLE."""
        line, number = await self._take()
        answer = line.send(*command)
        try:
            if not await _within(answer, timeout_s):
                await self._let_go(answer, number)
        except BaseException as failed:
            # Of a claim that is cancelled here: a marker that comes now is put back by the next renewal.
            self._link.forget(line)
            if isinstance(failed, LineLostError):
                raise broker_unavailable(f"the broker was lost: {failed}") from failed
            raise
        self._idle.append((line, number))
        return answer.result()

    async def _take(self) -> tuple[Line, int]:
        while self._idle:
            line, number = self._idle.pop()
            if line.alive:
                return line, number
        line = await self._link.another()
        try:
            return line, await ask(line, "CLIENT", "ID")
        except LineLostError as lost:
            raise broker_unavailable(f"the broker was lost: {lost}") from lost

    async def _let_go(self, answer: asyncio.Future[Any], number: int) -> None:
        """End the block from the other connection, so that how long it lasts is ours to choose."""
        await self._link.ask("CLIENT", "UNBLOCK", number)
        if not await _within(answer, self._link.timeout_s):
            raise broker_unavailable("the broker does not answer in time")


async def _within(answer: asyncio.Future[Any], timeout_s: float) -> bool:
    """Whether the answer came; the time never takes it back."""
    done, _ = await asyncio.wait({answer}, timeout=timeout_s)
    if done and isinstance(said := answer.result(), hiredis.ReplyError):
        raise broker_unavailable(f"the broker refused: {said}")
    return bool(done)

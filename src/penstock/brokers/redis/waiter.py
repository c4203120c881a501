"""Waits at the server for something to happen, on a connection apart, and lets go when told to."""

import asyncio
import contextlib
from typing import Any

import hiredis

from penstock.brokers.redis.line import Line, LineLostError, ask, closed_unless_good
from penstock.brokers.redis.link import Link
from penstock.core.errors import broker_unavailable

BLOCK_S = 60
"""A blocking command that nobody ends is ended by the server after this long."""


OVERTAKEN_S = 0.005

Command = tuple[bytes | str | int, ...]


class Waiter:
    """One call at a time has the connection; a second one waits on a connection of its own."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._idle: list[tuple[Line, int]] = []

    async def wait(self, blocking: Command, *then: Command, timeout_s: float) -> list[Any]:
        """Answers of a command that blocks and of what follows it, at the latest after ``timeout_s``.

        What follows is on the server already and is done the moment the block ends, which saves a
        round trip. A caller that is cancelled ends the block and gets the answers all the same, as it
        must learn what it now holds. Raises BROKER_UNAVAILABLE.
        """
        line, number = await self._take()
        answers = line.send_together(blocking, *then)
        try:
            if not await _within(answers[0], timeout_s):
                await self._let_go(answers[0], number)
            await self._rest(answers[-1])
        except BaseException as failed:
            self._link.forget(line)
            if isinstance(failed, LineLostError):
                raise broker_unavailable(f"the broker was lost: {failed}") from failed
            raise
        said = [answer.result() for answer in answers]
        if any(isinstance(each, hiredis.ReplyError) for each in said):
            self._link.forget(line)  # it may no longer be the primary's
        else:
            self._idle.append((line, number))
        return said

    async def _take(self) -> tuple[Line, int]:
        while self._idle:
            line, number = self._idle.pop()
            if line.alive:
                return line, number
        line = await self._link.another()
        try:
            with closed_unless_good(line):
                return line, await ask(line, "CLIENT", "ID")
        except LineLostError as lost:
            raise broker_unavailable(f"the broker was lost: {lost}") from lost

    async def _rest(self, answer: asyncio.Future[Any]) -> None:
        if not await _within(answer, self._link.timeout_s):
            raise broker_unavailable("the broker does not answer in time")

    async def _let_go(self, answer: asyncio.Future[Any], number: int) -> None:
        """End the block from the other connection, so that how long it lasts is ours to choose.

        What is sent on one connection may overtake what is on its way on another, and then ends nothing.
        """
        give_up = asyncio.get_running_loop().time() + self._link.timeout_s
        while not await self._link.ask("CLIENT", "UNBLOCK", number):
            if await _within(answer, OVERTAKEN_S) or asyncio.get_running_loop().time() > give_up:
                return


async def _within(answer: asyncio.Future[Any], timeout_s: float) -> bool:
    """Whether the answer came; neither the time nor a cancelled caller ever takes it back."""
    if not answer.done():  # what was sent together mostly comes together
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({answer}, timeout=timeout_s)
    if answer.done():
        answer.result()
    return answer.done()

"""The broker's connection to the primary: dialled again after every loss, and every call bounded in time.

What a caller was refused must not happen later. So each call carries the moment, by the server's clock,
until which it is waited for, and a script that arrives later does nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import hiredis

from penstock.brokers.redis.dangers import dangers
from penstock.brokers.redis.directory import call_primary
from penstock.brokers.redis.line import Line, LineLostError, ask, closed_unless_good
from penstock.brokers.redis.scripts import Script, script
from penstock.brokers.redis.url import Target
from penstock.core.begun import answer_of
from penstock.core.errors import broker_unavailable

PAUSE_S, PAUSE_CAP_S = 0.02, 0.5
"""Between two tries to reach the server within one call."""

NOT_YET = (b"LOADING", b"READONLY", b"MOVED", b"ASK", b"CLUSTERDOWN", b"MASTERDOWN", b"TRYAGAIN", b"BUSY")
"""Refusals after which the same command may succeed, soon or on another server. Nothing was done."""

Arguments = tuple[bytes | str | int, ...]


class Link:
    """Calls scripts on the primary. ``clock`` is given in tests; None takes the server's."""

    def __init__(self, target: Target, timeout_s: float, clock: Any) -> None:
        self.base = f"{{{target.namespace}}}"
        self._target = target
        self.timeout_s = timeout_s
        self._clock = clock
        self._line: Line | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._wanted = 0
        self.dialled = 0
        self._problem = ""
        self.warnings: tuple[str, ...] = ()
        self._others: set[Line] = set()
        self._ahead_ms = 0.0
        self._closed = False

    def key(self, name: str) -> str:
        """The one way in which keys are made, here and in the scripts."""
        return f"{self.base}:{name}"

    async def close(self) -> None:
        """Hang up for good."""
        self._closed = True
        self.hang_up()
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.wait({self._dialling})
        await asyncio.sleep(0)  # a transport that was aborted lets go of its socket in the loop's next turn

    def hang_up(self) -> None:
        """Drop every connection; the next call finds out anew where the primary is."""
        for line in (self._line, *self._others):
            if line is not None:
                line.close()
        self._line = None
        self._others.clear()

    async def call(self, verb: str, *arguments: bytes | str | int, confirmed: bool = False) -> Any:
        """A verb's answer, after the replicas have ``confirmed`` it if they should.

        A call whose answer was lost is made again: every verb bears that. Raises BROKER_UNAVAILABLE if
        no answer could be had in time. A caller that is cancelled once the call is on its way gets the
        answer all the same, as it must learn what it now holds.
        """
        answer, _ = await self.call_telling(verb, *arguments, confirmed=confirmed)
        return answer

    async def call_telling(
        self, verb: str, *arguments: bytes | str | int, confirmed: bool = False
    ) -> tuple[Any, bool]:
        """Like `call`, with whether an answer was lost: then the call may have happened before."""
        chosen, replicas = script(verb), self._target.replicas if confirmed else 0
        return await self._repeated(partial(self._attempt, chosen, arguments, replicas))

    async def ask(self, *command: bytes | str | int) -> Any:
        """The answer to one plain command that changes no job. Raises BROKER_UNAVAILABLE."""
        answer, _ = await self._repeated(partial(self._ask, command))
        return answer

    async def now(self) -> int:
        """The server's present in ms."""
        if self._clock is not None:
            return int(self._clock())
        seconds, micros = await self.ask("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def _repeated(self, attempt: Callable[[Line, float], Awaitable[Any]]) -> tuple[Any, bool]:
        """What an attempt gives in the end, and whether an answer was lost on the way."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self.timeout_s
        pause_s, lost = PAUSE_S, False
        while True:
            line = await self._reach(give_up)
            try:
                return await attempt(line, give_up), lost
            except _AgainError as refused:
                again = refused
            lost = lost or again.lost
            if again.elsewhere:
                self.hang_up()
            if loop.time() + pause_s >= give_up:
                await asyncio.sleep(give_up - loop.time())
                raise broker_unavailable(f"the broker refused: {again}")
            if not again.at_once:
                await asyncio.sleep(pause_s)
                pause_s = min(PAUSE_CAP_S, pause_s * 2)

    async def _ask(self, command: Arguments, line: Line, give_up: float) -> Any:
        answer = await self._bounded(line.send(*command), line, give_up)
        if isinstance(answer, hiredis.ReplyError):
            raise self._refused(answer)
        return answer

    async def _attempt(
        self, chosen: Script, arguments: Arguments, replicas: int, line: Line, give_up: float
    ) -> Any:
        answer = await self._exchange(line, chosen, arguments, give_up, replicas)
        if isinstance(answer, hiredis.ReplyError) and str(answer).startswith("NOSCRIPT"):
            # It was flushed or the server is a new one. Loading it is no call: that is then repeated.
            await self._bounded(line.send("SCRIPT", "LOAD", chosen.text), line, give_up)
            answer = await self._exchange(line, chosen, arguments, give_up, replicas)
        if isinstance(answer, hiredis.ReplyError):
            raise self._refused(answer)
        self._note_clock(answer[0])
        return answer

    async def _exchange(
        self, line: Line, chosen: Script, arguments: Arguments, give_up: float, replicas: int
    ) -> Any:
        answer = line.send(*self._command(chosen, arguments, give_up))
        confirmed = line.send("WAIT", replicas, _wait_ms(give_up)) if replicas else None
        said = await self._bounded(answer, line, give_up)
        if confirmed is not None and not isinstance(said, hiredis.ReplyError):
            reached = await self._bounded(confirmed, line, give_up)
            if not isinstance(reached, int) or reached < replicas:
                self.hang_up()
                raise broker_unavailable(f"not confirmed by {replicas} replica(s) in time")
        return said

    def command(self, verb: str, *arguments: bytes | str | int, patience_s: float) -> Arguments:
        """A verb as a command, to be sent behind one that blocks for so long."""
        return self._command(script(verb), arguments, asyncio.get_running_loop().time() + patience_s)

    def _command(self, chosen: Script, arguments: Arguments, give_up: float) -> Arguments:
        until = int(give_up * 1000 + self._ahead_ms)
        now = 0 if self._clock is None else self._clock()
        return ("EVALSHA", chosen.sha, 1, self.base, until, now, *arguments)

    async def _bounded(self, answer: asyncio.Future[Any], line: Line, give_up: float) -> Any:
        sent_at = line.heard_at
        timer = asyncio.get_running_loop().call_at(give_up, answer.cancel)
        try:
            return await answer_of(answer, answer.cancelled)
        except asyncio.CancelledError:
            if line.heard_at <= sent_at:  # not a word since: the way may be cut without either end knowing
                self.hang_up()
            raise broker_unavailable("the broker does not answer in time") from None
        except LineLostError as lost:
            raise _AgainError(str(lost), elsewhere=True, lost=True) from lost
        finally:
            timer.cancel()

    def _refused(self, error: hiredis.ReplyError) -> Exception:
        text = str(error)
        code = text.partition(" ")[0].encode()
        if code == b"LATE":  # this server's clock is not where it was: learn it, and say it again
            self._note_clock(float(text.split()[1]))
            return _AgainError(text, at_once=True)
        if code in NOT_YET:
            return _AgainError(text, elsewhere=code in {b"READONLY", b"MOVED", b"ASK", b"CLUSTERDOWN"})
        return broker_unavailable(f"the broker refused: {text}")

    async def _reach(self, give_up: float) -> Line:
        """The connection, dialled if need be by one for all who wait for it."""
        if self._closed:
            raise broker_unavailable("the broker is closed")
        if self._line is not None and self._line.alive:
            return self._line
        if self._dialling is None or self._dialling.done():
            self._dialling = asyncio.get_running_loop().create_task(self._dial())
        self._wanted += 1
        try:
            async with asyncio.timeout_at(give_up):
                await asyncio.shield(self._dialling)
        except TimeoutError:
            raise broker_unavailable(self._why_not()) from None
        finally:
            self._wanted -= 1
        return await self._reach(give_up)

    def _why_not(self) -> str:
        hosts = ", ".join(f"{host}:{port}" for host, port in self._target.addresses)
        return f"the broker at {hosts} cannot be reached: {self._problem or 'no answer'}"

    async def _dial(self) -> None:
        """Try until it is reached or nobody waits for it any more."""
        pause_s = PAUSE_S
        while self._wanted:
            try:
                async with asyncio.timeout(self.timeout_s):
                    line = await call_primary(self._target, self.base)
                    with closed_unless_good(line):
                        seconds, micros = await ask(line, "TIME")
                        self.warnings = await dangers(line)
            except (OSError, hiredis.ReplyError) as failed:
                self._problem = str(failed) or type(failed).__name__
            else:
                self._line = line
                self.dialled += 1
                self._note_clock(int(seconds) * 1000 + int(micros) / 1000)
                return
            await asyncio.sleep(pause_s)
            pause_s = min(PAUSE_CAP_S, pause_s * 2)

    def _note_clock(self, server_ms: float) -> None:
        self._ahead_ms = server_ms - asyncio.get_running_loop().time() * 1000

    async def another(self) -> Line:
        """A second connection to the same server, for a command that blocks; dropped with the first."""
        line = await self._reach(asyncio.get_running_loop().time() + self.timeout_s)
        try:
            async with asyncio.timeout(self.timeout_s):
                other = await call_primary(self._target, self.base)
        except (OSError, hiredis.ReplyError, TimeoutError) as failed:
            raise broker_unavailable(f"the broker cannot be reached: {failed}") from failed
        if self._line is not line:
            other.close()
            raise broker_unavailable("the broker was lost")
        self._others.add(other)
        return other

    def forget(self, line: Line) -> None:
        """Hang up one of `another`'s."""
        self._others.discard(line)
        line.close()


class _AgainError(Exception):
    """The same call is to be made again; unless the answer was ``lost``, nothing was done."""

    def __init__(
        self, why: str, *, at_once: bool = False, elsewhere: bool = False, lost: bool = False
    ) -> None:
        super().__init__(why)
        self.at_once = at_once
        self.elsewhere = elsewhere
        self.lost = lost


def _wait_ms(give_up: float) -> int:
    """How long to wait for replicas: a little less than for the answer, so that it tells what is amiss."""
    left_s = give_up - asyncio.get_running_loop().time()
    return max(1, int(left_s * 900))  # 0 would be for ever

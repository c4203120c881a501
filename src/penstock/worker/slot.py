"""One slot: a child process and the attempts it was given; the first without an answer is the one that runs.

The slot decides when its child must be asked, signalled or killed, and what that means for the
attempt. It reports every attempt back to its supervisor exactly once: finished or returned.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Protocol

from penstock.core.attempt import (
    Answer,
    Done,
    Fault,
    FromChild,
    Line,
    MergeDone,
    Note,
    PartsPage,
    Ready,
    Recalled,
    Reply,
    Request,
    ResultsWanted,
    SplitDone,
)
from penstock.core.errors import ErrorCode, FailureCode, PenstockError
from penstock.core.job import JobProgress
from penstock.core.lifecycle import Cancelled, Outcome, Released
from penstock.core.units import readable_duration, readable_size
from penstock.worker.holding import Holding
from penstock.worker.outcome import died, failed, said
from penstock.worker.pace import WORTH_MS, Pace
from penstock.worker.policy import SlotPolicy
from penstock.worker_ports import Child, Executor, Exit

STUCK_MS = 100.0
"""A running attempt this old holds hostage whatever was shipped behind it, so that is recalled."""

ASK_S = 0.3
TERMINATE_S = 0.5
"""A cancelled attempt is asked to stop, SIGTERMed after `ASK_S` and SIGKILLed `TERMINATE_S` later."""

TINY_MS = 10.0
"""Attempts shorter than this count by their length towards recycling, longer ones count as one."""


class Reports(Protocol):
    """What a slot tells its supervisor."""

    def finished(self, holding: Holding, outcome: Outcome, elapsed_ms: float) -> None:
        """This attempt is over."""

    def returned(self, holdings: list[Holding]) -> None:
        """These were not begun."""

    def noted(self, holding: Holding, progress: JobProgress) -> None:
        """The attempt reported progress."""

    def logged(self, holding: Holding, stream: str, text: str) -> None:
        """The attempt printed or logged a line."""

    def asked(self, slot: "Slot", holding: Holding, request: Request) -> None:
        """The attempt wants something of the broker; `Slot.reply` gives it."""

    def child_ended(self, slot: "Slot", *, idle: bool) -> None:
        """The slot's child is gone, ``idle`` if it had nothing to do; `Slot.start` gives it another."""


class Slot:
    """A place in which one attempt runs at a time."""

    def __init__(
        self, number: int, executor: Executor, reports: Reports, pace: Pace, policy: SlotPolicy
    ) -> None:
        self.number = number
        self._executor = executor
        self._reports = reports
        self._pace = pace
        self._policy = policy
        self._child: Child | None = None
        self._fresh: Child | None = None
        self._warming: asyncio.Task[None] | None = None
        self._given: dict[int, Holding] = {}  # in the order in which they are run
        self._unsent: list[Holding] = []
        self.load_ms = 0.0
        """What it has at hand, in expected milliseconds."""
        self._head_since = 0.0
        self._cpu_from: tuple[int, float] | None = None
        self._recalled = False
        self._ending: tuple[int, Outcome] | None = None
        self._timers: dict[int, list[asyncio.TimerHandle]] = {}
        self._used = 0.0

    async def start(self) -> None:
        """Get a child; until then nothing can be given."""
        child = await self._spawn()
        if self._child is None:
            self._child, self._used = child, 0.0
        else:
            child.close()  # the replacement that was already being made came first

    async def _spawn(self) -> Child:
        known = asyncio.Event()
        child: Child | None = None
        gone = False

        def heard(message: FromChild) -> None:
            if isinstance(message, Ready):
                known.set()
            else:
                self._heard(message)

        def ended(how: Exit) -> None:
            nonlocal gone
            gone = True
            known.set()
            if child is not None:
                self._ended(child, how)

        child = await self._executor.spawn(heard, ended)
        await known.wait()
        if gone:
            raise PenstockError(ErrorCode.INTERNAL_ERROR, "a child ended before it was ready")
        return child

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return self._child.pid if self._child else None

    @property
    def busy(self) -> bool:
        """Whether it has an attempt."""
        return bool(self._given)

    def room(self) -> bool:
        """Whether it should be given an attempt now."""
        return self.ready and self.fits()

    @property
    def ready(self) -> bool:
        """Whether its child is there to stay, and what runs takes no longer than a read-ahead is worth."""
        return self._child is not None and self._fresh is None and self._ending is None and not self._held_up

    def fits(self) -> bool:
        """Whether another attempt would begin within what a read-ahead is worth."""
        return not self._given or self.load_ms < WORTH_MS

    def appetite(self, depth: int) -> int:
        """How many more jobs it could take if all were like the recent ones."""
        return max(0, depth - len(self._given)) if self.ready else 0

    @property
    def _held_up(self) -> bool:
        if not self._given:
            return False
        return self._recalled or (time.monotonic() - self._head_since) * 1000 > WORTH_MS

    def take(self, holding: Holding) -> None:
        """Accept an attempt; `ship` sends all that were taken."""
        if not self._given:
            self._begin_head()
        holding.worth_ms = self._pace.expected_ms(holding.kind)
        self.load_ms += holding.worth_ms
        self._given[holding.token] = holding
        self._unsent.append(holding)

    def ship(self) -> None:
        """Send what was taken to the child in one message."""
        if self._unsent and self._child is not None:
            self._child.send([holding.run() for holding in self._unsent])
        self._unsent.clear()

    def stop_attempt(self, token: int) -> None:
        """The job was cancelled or taken over: ask, then SIGTERM, then SIGKILL if it is running.

        An attempt that waits in the child is answered as cancelled when its turn comes.
        """
        if self._child is None or token not in self._given:
            return
        self._child.cancel(token)
        later = asyncio.get_running_loop().call_later
        self._timers[token] = [
            later(ASK_S, self._terminate, token),
            later(ASK_S + TERMINATE_S, self._end, token, Cancelled()),
        ]

    def reply(self, reply: Reply) -> None:
        """Give the running attempt what it asked for, if it still runs."""
        if self._child is not None and reply.token in self._given:
            self._child.reply(reply)

    def recall(self) -> None:
        """Ask for everything that was not begun."""
        if self._child is not None and len(self._given) > 1 and not self._recalled:
            self._recalled = True
            self._child.recall()

    def patrol(self, now: float) -> None:
        """Look after the running attempt: its time, its memory, and who waits behind it."""
        head = self._running()
        if head is None:
            return
        age_ms = (now - self._head_since) * 1000
        overrun = self._overrun(head, age_ms)
        if overrun is not None:
            self._kill(head, failed(FailureCode.TIMED_OUT, f"{overrun} and did not stop"))
        elif age_ms > STUCK_MS:
            self.recall()
            self._check_memory(head)

    def _overrun(self, head: Holding, age_ms: float) -> str | None:
        """Which limit of time the attempt has passed, with its grace period, if any."""
        limits = head.claim.spec.limits
        if limits.timeout_ms is not None and age_ms > limits.timeout_ms + limits.grace_ms:
            return f"took longer than {readable_duration(limits.timeout_ms)}"
        if limits.cpu_ms is not None and self._cpu_ms(head) > limits.cpu_ms + limits.grace_ms:
            return f"used more than {readable_duration(limits.cpu_ms)} of CPU time"
        return None

    def _cpu_ms(self, head: Holding) -> float:
        """CPU time of the attempt since a patrol first saw it; what it used before then is forgiven."""
        used = self._child.cpu_ms() if self._child else 0.0
        if self._cpu_from is None or self._cpu_from[0] != head.token:
            self._cpu_from = (head.token, used)
        return used - self._cpu_from[1]

    def _check_memory(self, head: Holding) -> None:
        limit = self._memory_limit(head)
        used = self._child.rss() if self._child else 0
        if used > limit:
            message = f"{readable_size(used)} > limit {readable_size(limit)}"
            self._kill(head, failed(FailureCode.OUT_OF_MEMORY, message))

    def _memory_limit(self, holding: Holding) -> int:
        return holding.claim.spec.limits.memory_bytes or self._policy.memory_bytes

    def release_all(self) -> None:
        """Give up what is still here at once: the running attempt is killed and released."""
        if head := self._running():
            self._kill(head, Released())

    def close(self) -> None:
        """No more work."""
        if self._warming is not None:
            self._warming.cancel()
        for child in (self._child, self._fresh):
            if child is not None:
                child.close()

    def _terminate(self, token: int) -> None:
        if self._runs(token) and self._child is not None:
            self._child.terminate()

    def _end(self, token: int, outcome: Outcome) -> None:
        if self._runs(token):
            self._kill(self._given[token], outcome)

    def _kill(self, head: Holding, outcome: Outcome) -> None:
        """Kill the child for the sake of its running attempt, which ends with ``outcome``."""
        if self._child is not None:
            self._ending = (head.token, outcome)
            self._child.kill()

    def _runs(self, token: int) -> bool:
        head = self._running()
        return head is not None and head.token == token

    def _running(self) -> Holding | None:
        """The attempt that runs, if its child is not being killed already.

        It is the first without an answer. So the answers that its child has not sent yet are taken in
        before anything is decided about it: what befalls an attempt must not be meant for an earlier one.
        """
        if self._child is None or self._ending is not None:
            return None
        self._child.look()
        return next(iter(self._given.values()), None)

    def _begin_head(self) -> None:
        self._head_since = time.monotonic()

    def _heard(self, message: FromChild) -> None:
        match message:
            case Done() | Fault() | SplitDone() | MergeDone():
                self._answered(message.token, message)
            case PartsPage() | ResultsWanted():
                if message.token in self._given:
                    self._reports.asked(self, self._given[message.token], message)
            case Note(token=token, progress=progress):
                if token in self._given:
                    self._reports.noted(self._given[token], progress)
            case Line(token=token, stream=stream, text=text):
                if token in self._given:
                    self._reports.logged(self._given[token], stream, text)
            case Recalled(tokens=tokens):
                self._recalled = False
                back = self._take_back(tokens)
                self._swap_if_empty()
                self._reports.returned(back)

    def _take_back(self, tokens: Iterable[int]) -> list[Holding]:
        back = [self._given.pop(token) for token in tokens if token in self._given]
        self.load_ms = sum(holding.worth_ms for holding in self._given.values())
        return back

    def _answered(self, token: int, answer: Answer) -> None:
        holding = self._given.pop(token, None)
        if holding is None:
            return
        elapsed_ms = answer.elapsed_us / 1000
        self.load_ms = self.load_ms - holding.worth_ms if self._given else 0.0
        self._pace.learn(holding.kind, elapsed_ms)
        self._used += min(1.0, elapsed_ms / TINY_MS)
        self._begin_head()
        self._drop_timers(token)
        self._recycle_if_due(elapsed_ms)
        self._reports.finished(holding, said(answer), elapsed_ms)

    def _drop_timers(self, token: int) -> None:
        for timer in self._timers.pop(token, ()):
            timer.cancel()

    def _recycle_if_due(self, elapsed_ms: float) -> None:
        if self._fresh is not None:
            self._swap_if_empty()
        elif self._warming is None and (self._used >= self._policy.recycle_after or self._grown(elapsed_ms)):
            self._warming = asyncio.get_running_loop().create_task(self._warm())

    def _grown(self, elapsed_ms: float) -> bool:
        return (
            elapsed_ms >= TINY_MS
            and self._child is not None
            and self._child.rss() > self._policy.recycle_bytes
        )

    async def _warm(self) -> None:
        """Have the replacement ready before the old child leaves, so that recycling costs no time."""
        try:
            self._fresh = await self._spawn()
        except PenstockError:
            return  # the old one works on, and after its next attempt this is tried again
        finally:
            self._warming = None
        self._swap_if_empty()

    def _swap_if_empty(self) -> None:
        if self._fresh is None or self._given:
            return
        old, self._child, self._fresh, self._used = self._child, self._fresh, None, 0.0
        self._ending = None
        if old is not None:
            old.close()

    def _ended(self, child: Child, how: Exit) -> None:
        if child is self._fresh:
            self._fresh = None
        if child is not self._child:
            return  # it had been replaced, and left as it should
        self._child, self._fresh, self._used = self._fresh, None, 0.0
        given = list(self._given.values())
        elapsed_ms = (time.monotonic() - self._head_since) * 1000
        ending, self._ending = self._ending, None
        self._empty()
        if given:
            self._reports.returned(given[1:])
            self._reports.finished(given[0], self._fate(given[0], ending, how), elapsed_ms)
        self._reports.child_ended(self, idle=not given)

    def _fate(self, holding: Holding, ending: tuple[int, Outcome] | None, how: Exit) -> Outcome:
        """How the attempt ended with which the child died."""
        if ending is None:
            return died(how, self._memory_limit(holding))
        token, outcome = ending
        # An answer may cross the kill, which then hits the next attempt through no fault of its own.
        return outcome if token == holding.token else Released()

    def _empty(self) -> None:
        for token in list(self._timers):
            self._drop_timers(token)
        self._given.clear()
        self._unsent.clear()
        self.load_ms, self._recalled = 0.0, False

"""Submits the jobs of schedules when they are due. Every worker runs one, and none is the leader.

All of them try, and the broker lets one succeed: a tick's job is kept in the step that replaces the very
schedule that was read by one whose ``last`` is that tick. By the broker's clock it is never too early. A job
that does not fit into its queue leaves its tick due.
"""

import asyncio
import contextlib

import structlog

from penstock.core.begun import called_off
from penstock.core.clock import Clock, system_clock
from penstock.core.errors import PenstockError
from penstock.core.ids import new_id
from penstock.core.schedule import (
    SHELF,
    Schedule,
    Turn,
    after_turn,
    decode,
    encode,
    first_of,
    kept_waiting,
    next_due,
    spec_of,
    turn,
)
from penstock.ports import Admission, Broker, Receipt

LOOK_S, IDLE_S = 1.0, 2.0
"""How often schedules are read again, and how often if there are none; a new one begins within this time."""

SOON_S = 0.05
"""How soon to look again after a refusal: another worker was faster, or the broker's clock is behind."""

SET_CLOCK_EVERY = 60
"""Looks between two questions to the broker for its time."""


class Ticker:
    """Runs until cancelled. ``node`` is written on the jobs that it submits."""

    def __init__(self, broker: Broker, node: str, clock: Clock = system_clock) -> None:
        self._broker = broker
        self._node = node
        self._clock = clock
        self._ahead_ms = 0
        self._looks = 0
        self._due: dict[str, tuple[bytes, int | None]] = {}
        self._log = structlog.get_logger("penstock.ticker")

    @property
    def now(self) -> int:
        """The broker's present as this worker knows it, UTC milliseconds."""
        return self._clock() + self._ahead_ms

    async def run(self) -> None:
        """Look, submit what is due, and sleep until the next tick or the next look."""
        while not called_off():
            pause_s = LOOK_S
            try:
                pause_s = await self.look()
            except PenstockError as failed:
                self._log.warning("schedules put off", error=failed.message)
            except Exception:  # noqa: BLE001 - a worker without its ticker would look well
                self._log.exception("schedules failed")
            await asyncio.sleep(pause_s)

    async def look(self) -> float:
        """Submit what is due; returns the seconds until it is worth another look."""
        kept = await self._broker.shelf(SHELF)
        if not kept:
            return IDLE_S
        if self._looks % SET_CLOCK_EVERY == 0:
            await self._set_clock()
        self._looks += 1
        self._due = {name: due for name, due in self._due.items() if name in kept}
        pauses = [await self._serve(name, body) for name, body in kept.items()]
        return min([LOOK_S, *pauses])

    async def _set_clock(self) -> None:
        asked_at = self._clock()
        theirs = await self._broker.now()
        self._ahead_ms = theirs - (asked_at + self._clock()) // 2

    async def _serve(self, name: str, body: bytes) -> float:
        """Take one schedule's turn if it is due; the seconds until its next."""
        known, due = self._due.get(name, (b"", None))
        if known != body:
            due = self._note(name, body)
        if due is None:
            return LOOK_S
        if due > self.now:
            return (due - self.now) / 1000
        return await self._submit(name, body)

    def _note(self, name: str, body: bytes) -> int | None:
        """When it is due; None for never, and for what only a newer release or machine understands."""
        due, schedule = None, decode(body)
        with contextlib.suppress(ValueError):
            due = None if schedule is None else next_due(schedule)
        self._due[name] = body, due
        return due

    async def _submit(self, name: str, body: bytes) -> float:
        schedule = decode(body)
        taken = None if schedule is None else turn(schedule, self.now)
        if schedule is None or taken is None:
            return SOON_S
        changed, receipts = await self._take(name, body, schedule, taken)
        if len(taken.ticks) > 1 and _why_refused(receipts):
            taken = first_of(taken)
            changed, receipts = await self._take(name, body, schedule, taken)
        if receipts is None:
            await self._set_clock()
            return SOON_S
        if why := _why_refused(receipts):
            return await self._wait_for_room(name, body, kept_waiting(schedule, taken, why))
        due = self._note(name, changed)
        return LOOK_S if due is None else max(0.0, (due - self.now) / 1000)

    async def _take(
        self, name: str, body: bytes, schedule: Schedule, taken: Turn
    ) -> tuple[bytes, list[Receipt] | None]:
        """Submit the jobs of a turn; the schedule after that, and what `Broker.swap` answered."""
        specs = [spec_of(schedule, tick, new_id(), self._node) for tick in taken.ticks]
        changed = encode(after_turn(schedule, taken, [spec.id for spec in specs]))
        return changed, await self._broker.swap(SHELF, name, body, changed, specs, taken.last)

    async def _wait_for_room(self, name: str, body: bytes, waits: Schedule) -> float:
        """Say that a tick waits, once; it is due all the while."""
        changed = encode(waits)
        if changed != body and await self._broker.swap(SHELF, name, body, changed) is not None:
            self._log.warning("a tick has to wait", schedule=name, error=waits.last_error)
        return LOOK_S


def _why_refused(receipts: list[Receipt] | None) -> str:
    """Why the jobs were not kept; nothing if they were."""
    for receipt in receipts or ():
        if receipt.admission is Admission.REFUSED:
            return "its queue is full" + (
                f", at most {receipt.full.limit} jobs wait in it" if receipt.full else ""
            )
    return ""

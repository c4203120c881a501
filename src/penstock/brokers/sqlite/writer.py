"""The one thread of this process that writes. Steps that wait at the same time share a transaction.

Across processes writers queue at a lock file, where the kernel wakes the next one at once; SQLite's
own lock would make them sleep and try again, and give up with "database is locked".
"""

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from penstock.core.begun import answer_of
from penstock.core.clock import Clock
from penstock.core.errors import PenstockError, broker_unavailable

Answer = TypeVar("Answer")

MAX_GROUP = 256
"""Steps that may share one transaction; more would only make the first of them wait."""

_HELD = "the database is held by another process; try again"


class Transaction:
    """What a step works with: the connection, one reading of the clock, and notes for the end.

    ``depths`` collects changes of (queue, state) counts; ``rings`` names the bells to ring after
    the commit; ``ended`` the jobs that ended, in this step or in one before it.
    """

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self.connection = connection
        self.now = now
        self.depths: Counter[tuple[str, str]] = Counter()
        self.rings: set[str] = set()
        self.ended: list[str] = []


Step = Callable[[Transaction], Answer]
Lasting = bool | Callable[[sqlite3.Connection], bool]
"""Whether a step has to be on the disk before it is answered, or how to see that just before it begins."""


class _Waiting(Generic[Answer]):
    """A step with the future of whoever waits for it."""

    def __init__(self, step: Step[Answer], loop: asyncio.AbstractEventLoop, *, lasting: Lasting) -> None:
        self.step = step
        self._lasting = lasting
        self.loop = loop
        self.future: asyncio.Future[Answer] = loop.create_future()
        self.begun = False
        self.abandoned = False

    def lasting(self, connection: sqlite3.Connection) -> bool:
        return self._lasting if isinstance(self._lasting, bool) else self._lasting(connection)

    def resolve(self, answer: Answer | None, error: Exception | None) -> None:
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(answer)  # type: ignore[arg-type]  # None only with an error


class Writer:
    """Runs steps in order of arrival, many per transaction, each whole or not at all."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        lock_path: Path,
        clock: Clock,
        ring: Callable[[set[str]], None],
        synchronous: str,
    ) -> None:
        self._connect = connect
        self._lock_path = lock_path
        self._clock = clock
        self._ring = ring
        self._synchronous = synchronous
        self._set = ""
        self._kept: _Waiting[Any] | None = None
        self._connection: sqlite3.Connection | None = None
        self._queue: queue.SimpleQueue[_Waiting[Any] | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="penstock-sqlite-writer", daemon=True)
        self._open = False

    def start(self) -> None:
        """Begin to take steps; harmless when it was begun before."""
        if self._thread.ident is None:
            self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._thread.start()
            self._open = True

    def stop(self, timeout_s: float) -> None:
        """Finish what was handed in and end the thread, unless the database cannot be had in time."""
        self._open = False
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    async def run(self, step: Step[Answer], timeout_s: float, *, lasting: Lasting = True) -> Answer:
        """The step's answer, after its transaction is committed and, if ``lasting``, on the disk.

        A step that is not lasting survives the death of any process, but a power cut may undo it.

        Raises BROKER_UNAVAILABLE if the database could not be had within ``timeout_s``; the step
        has then not happened and never will. The same holds for a caller that is cancelled; once the
        step has begun, its answer comes all the same.
        """
        if not self._open:
            raise broker_unavailable("the database is not open")
        waiting = _Waiting(step, asyncio.get_running_loop(), lasting=lasting)
        self._queue.put(waiting)
        timer = waiting.loop.call_later(timeout_s, self._give_up, waiting)
        try:
            return await answer_of(waiting.future, partial(self._abandon, waiting))
        finally:
            timer.cancel()

    def _give_up(self, waiting: _Waiting[Any]) -> None:
        if self._abandon(waiting):
            waiting.resolve(None, broker_unavailable(_HELD))

    def _abandon(self, waiting: _Waiting[Any]) -> bool:
        with self._guard:
            if waiting.begun:
                return False
            waiting.abandoned = True
            return True

    def _run(self) -> None:
        try:
            while (first := self._next_step()) is not None:
                fcntl.flock(self._lock, fcntl.LOCK_EX)
                try:
                    rings, last = self._share_transaction(first)
                finally:
                    fcntl.flock(self._lock, fcntl.LOCK_UN)
                with contextlib.suppress(OSError):  # waiters also look again by themselves
                    self._ring(rings)
                if last:
                    return
        finally:
            os.close(self._lock)
            if self._connection is not None:
                self._connection.close()

    def _next_step(self) -> _Waiting[Any] | None:
        kept, self._kept = self._kept, None
        return kept or self._queue.get()

    def _share_transaction(self, first: _Waiting[Any]) -> tuple[set[str], bool]:
        group, last = [first], False
        answers: list[tuple[_Waiting[Any], Any, Exception | None]] = []
        rings: set[str] = set()
        try:
            connection = self._begin(first)
            group, last = self._gather(first, connection)
            transaction = Transaction(connection, self._clock())
            answers.extend((waiting, *_attempt(transaction, waiting.step)) for waiting in group)
            _store_depths(transaction)
            connection.execute("COMMIT")
            rings = transaction.rings
        except sqlite3.Error as failed:
            self._roll_back()
            answers = [(waiting, None, unavailable("the database refused", failed)) for waiting in group]
        _deliver(answers)
        return rings, last

    def _roll_back(self) -> None:
        """Undo the transaction; a connection that cannot even do that is replaced."""
        if self._connection is None:
            return
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._connection.close()
            self._connection, self._set = None, ""

    def _begin(self, first: _Waiting[Any]) -> sqlite3.Connection:
        """Connect if need be and begin, for as long as ``first`` waits for a program that holds the file.

        No step has begun before this returns, so every one of them can still be abandoned.
        """
        while True:
            try:
                self._connection = self._connection or self._connect()
                self._set_durability(self._connection, lasting=first.lasting(self._connection))
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as failed:
                if first.abandoned or not _busy(failed):
                    raise
            else:
                return self._connection

    def _set_durability(self, connection: sqlite3.Connection, *, lasting: bool) -> None:
        """Wait for the disk only where a promise depends on it; a wait costs more than the commit."""
        wanted = self._synchronous if lasting else "normal"
        if wanted != self._set:
            connection.execute(f"PRAGMA synchronous = {wanted}")
            self._set = wanted

    def _gather(
        self, first: _Waiting[Any], connection: sqlite3.Connection
    ) -> tuple[list[_Waiting[Any]], bool]:
        arrived: list[_Waiting[Any]] = [first]
        last = False
        while len(arrived) < MAX_GROUP:
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                break
            if waiting is None:
                last = True
                break
            if self._set != self._synchronous and waiting.lasting(connection):
                self._kept = waiting  # a transaction's durability is settled when it begins
                break
            arrived.append(waiting)
        with self._guard:
            group = [waiting for waiting in arrived if not waiting.abandoned]
            for waiting in group:
                waiting.begun = True
        return group, last


def _attempt(transaction: Transaction, step: Step[Answer]) -> tuple[Answer | None, Exception | None]:
    """Run one step so that its failure undoes it alone and not its neighbours."""
    before = transaction.depths.copy()
    transaction.connection.execute("SAVEPOINT step")
    try:
        answer = step(transaction)
    except sqlite3.OperationalError:
        raise  # the disk is full or the file is damaged: nothing of this transaction can stand
    except Exception as failed:  # noqa: BLE001 - handed to whoever waits for this step
        transaction.connection.execute("ROLLBACK TO step")
        transaction.depths = before
        return None, failed
    finally:
        if transaction.connection.in_transaction:
            transaction.connection.execute("RELEASE step")
    return answer, None


def _store_depths(transaction: Transaction) -> None:
    if not transaction.depths:
        return
    transaction.connection.executemany(
        "INSERT INTO depths (queue, state, jobs) VALUES (?, ?, ?)"
        " ON CONFLICT (queue, state) DO UPDATE SET jobs = jobs + excluded.jobs",
        [(name, state, change) for (name, state), change in transaction.depths.items() if change],
    )
    more: Counter[str] = Counter()
    for (name, _), change in transaction.depths.items():
        more[name] += change
    # A queue without a job is told of no more: anybody may name one, and any number of them.
    transaction.connection.executemany(
        "DELETE FROM depths WHERE queue = ?1"
        " AND NOT EXISTS (SELECT 1 FROM depths WHERE queue = ?1 AND jobs > 0)",
        [(name,) for name, change in more.items() if change < 0],
    )


def _deliver(answers: list[tuple[_Waiting[Any], Any, Exception | None]]) -> None:
    """Wake each event loop once, however many of its steps were in the transaction."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Waiting[Any], Any, Exception | None]]] = {}
    for answered in answers:
        by_loop.setdefault(answered[0].loop, []).append(answered)
    for loop, batch in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed, nobody waits there any more
            loop.call_soon_threadsafe(_resolve_all, batch)


def _resolve_all(batch: list[tuple[_Waiting[Any], Any, Exception | None]]) -> None:
    for waiting, answer, error in batch:
        waiting.resolve(answer, error)


def unavailable(what: str, failed: sqlite3.Error) -> PenstockError:
    """SQLite's error as one that a caller can act on."""
    return broker_unavailable(_HELD if _busy(failed) else f"{what}: {failed}")


def _busy(failed: sqlite3.Error) -> bool:
    # The low byte is the kind of error; python raises some errors of its own that have no code.
    return getattr(failed, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

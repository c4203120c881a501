"""The one thread of this process that writes. Steps that wait at the same time share a transaction.

Across processes writers queue at a lock file, where the kernel wakes the next one at once; SQLite's
own lock would make them sleep and try again, and give up with "database is locked".
"""

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from penstock.core.clock import Clock
from penstock.core.errors import broker_unavailable

Answer = TypeVar("Answer")

MAX_GROUP = 256
"""Steps that may share one transaction; more would only make the first of them wait."""


class Transaction:
    """What a step works with: the connection, one reading of the clock, and notes for the end.

    ``depths`` collects changes of (queue, state) counts; ``rings`` names the bells to ring after
    the commit.
    """

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self.connection = connection
        self.now = now
        self.depths: Counter[tuple[str, str]] = Counter()
        self.rings: set[str] = set()


Step = Callable[[Transaction], Answer]


class _Waiting(Generic[Answer]):
    """A step with the future of whoever waits for it."""

    def __init__(self, step: Step[Answer], loop: asyncio.AbstractEventLoop) -> None:
        self.step = step
        self.loop = loop
        self.future: asyncio.Future[Answer] = loop.create_future()
        self.begun = False
        self.abandoned = False

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
    ) -> None:
        self._connect = connect
        self._lock_path = lock_path
        self._clock = clock
        self._ring = ring
        self._queue: queue.SimpleQueue[_Waiting[Any] | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="penstock-sqlite-writer", daemon=True)

    def start(self) -> None:
        """Begin to take steps."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what was handed in and end the thread."""
        self._queue.put(None)
        self._thread.join()

    async def run(self, step: Step[Answer], timeout_s: float) -> Answer:
        """The step's answer, after its transaction is durable.

        Raises BROKER_UNAVAILABLE if the database could not be had within ``timeout_s``; the step
        has then not happened and never will.
        """
        waiting = _Waiting(step, asyncio.get_running_loop())
        self._queue.put(waiting)
        timer = waiting.loop.call_later(timeout_s, self._give_up, waiting)
        try:
            return await waiting.future
        except asyncio.CancelledError:
            self._abandon(waiting)
            raise
        finally:
            timer.cancel()

    def _give_up(self, waiting: _Waiting[Any]) -> None:
        if self._abandon(waiting):
            waiting.resolve(None, broker_unavailable("the database is held by another process; try again"))

    def _abandon(self, waiting: _Waiting[Any]) -> bool:
        with self._guard:
            if waiting.begun:
                return False
            waiting.abandoned = True
            return True

    def _run(self) -> None:
        connection = self._connect()
        lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while (first := self._queue.get()) is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
                try:
                    rings, last = self._share_transaction(connection, first)
                finally:
                    fcntl.flock(lock, fcntl.LOCK_UN)
                if rings:
                    self._ring(rings)
                if last:
                    return
        finally:
            os.close(lock)
            connection.close()

    def _share_transaction(
        self, connection: sqlite3.Connection, first: _Waiting[Any]
    ) -> tuple[set[str], bool]:
        group, last = self._gather(first)
        transaction = Transaction(connection, self._clock())
        answers: list[tuple[_Waiting[Any], Any, Exception | None]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            answers.extend((waiting, *_attempt(transaction, waiting.step)) for waiting in group)
            _store_depths(transaction)
            connection.execute("COMMIT")
        except sqlite3.Error as failed:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            transaction.rings.clear()
            answers = [(waiting, None, _unavailable(failed)) for waiting in group]
        _deliver(answers)
        return transaction.rings, last

    def _gather(self, first: _Waiting[Any]) -> tuple[list[_Waiting[Any]], bool]:
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
    transaction.connection.executemany(
        "INSERT INTO depths (queue, state, jobs) VALUES (?, ?, ?)"
        " ON CONFLICT (queue, state) DO UPDATE SET jobs = jobs + excluded.jobs",
        [(name, state, change) for (name, state), change in transaction.depths.items() if change],
    )


def _deliver(answers: list[tuple[_Waiting[Any], Any, Exception | None]]) -> None:
    """Wake each event loop once, however many of its steps were in the transaction."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Waiting[Any], Any, Exception | None]]] = {}
    for answered in answers:
        by_loop.setdefault(answered[0].loop, []).append(answered)
    for loop, batch in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve_all, batch)


def _resolve_all(batch: list[tuple[_Waiting[Any], Any, Exception | None]]) -> None:
    for waiting, answer, error in batch:
        waiting.resolve(answer, error)


def _unavailable(failed: sqlite3.Error) -> Exception:
    return broker_unavailable(f"the database refused the change: {failed}")

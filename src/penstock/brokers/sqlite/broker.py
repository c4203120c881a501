"""The `Broker` contract on one SQLite file: verbs go to the writer, reads to a thread of their own."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from penstock.brokers.sqlite import (
    answers,
    family,
    followers,
    lines,
    pausing,
    reads,
    removal,
    shelves,
    verbs,
)
from penstock.brokers.sqlite.ahead import ahead, clients
from penstock.brokers.sqlite.bell import Bell
from penstock.brokers.sqlite.feed import Feed
from penstock.brokers.sqlite.writer import Lasting, Step, Transaction, Writer, unavailable
from penstock.core.begun import heed_cancel
from penstock.core.clock import Clock
from penstock.core.errors import ErrorCode, PenstockError, broker_unavailable
from penstock.core.fairness import ClientTerms
from penstock.core.forecast import Ahead
from penstock.core.job import Job, JobSpec, WorkerInfo
from penstock.core.lifecycle import Claim, Settlement
from penstock.core.past import Attempt
from penstock.ports import (
    Admission,
    BrokerOptions,
    ClientWaits,
    Event,
    Held,
    JobQuery,
    Orders,
    Receipt,
    Stats,
)

Answer = TypeVar("Answer")

LOOK_AGAIN_S = 0.1
"""How often the writer looks whether a program that took SQLite's lock without ours has let go."""


class SqliteOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What may follow the path in the URL: ``sqlite:///penstock.db?synchronous=normal``.

    ``full`` (the default) waits for the disk at every commit, so that accepted jobs survive a power
    cut; ``normal`` survives the death of any process, but a power cut may undo the last commits.
    """

    synchronous: str = "full"


def connect(url: str, options: BrokerOptions, clock: Clock) -> "SqliteBroker":
    """A broker for ``sqlite:///relative/path`` or ``sqlite:////absolute/path``; opens nothing yet."""
    location, _, query = url.removeprefix("sqlite://").partition("?")
    path = location.removeprefix("/")
    if not path or not location.startswith("/"):
        message = f"broker URL {url!r} names no file; write sqlite:///path/to/penstock.db"
        raise PenstockError(ErrorCode.INVALID_REQUEST, message)
    given = dict(part.partition("=")[::2] for part in query.split("&") if part)
    if unknown := given.keys() - set(SqliteOptions.__struct_fields__):
        message = f"broker URL: unknown option {', '.join(sorted(unknown))}"
        raise PenstockError(ErrorCode.INVALID_REQUEST, message)
    settings = SqliteOptions(**given)
    if settings.synchronous not in ("full", "normal"):
        message = f"broker URL: synchronous is full or normal, not {settings.synchronous!r}"
        raise PenstockError(ErrorCode.INVALID_REQUEST, message)
    return SqliteBroker(Path(path), options, clock, settings.synchronous)


class _RefusedError(Exception):
    """A swap whose jobs do not fit is undone; its receipts say why."""

    def __init__(self, receipts: list[Receipt]) -> None:
        super().__init__()
        self.receipts = receipts


class SqliteBroker:
    """Jobs in one file that any number of processes of one machine share."""

    def __init__(self, path: Path, options: BrokerOptions, clock: Clock, synchronous: str = "full") -> None:
        self._path = path
        self._options = options
        self._clock = clock
        bells = path.with_name(path.name + ".bells")
        self._bells = {subject: Bell(bells, subject) for subject in (verbs.JOBS, verbs.EVENTS)}
        lock = path.with_name(path.name + ".lock")
        self._writer = Writer(partial(self._connect, LOOK_AGAIN_S), lock, clock, self._ring, synchronous)
        self._reader = ThreadPoolExecutor(1, "penstock-sqlite-reader")
        self._reading: sqlite3.Connection | None = None
        self._closed = False
        self._feed = Feed(self)

    async def open(self) -> None:
        """Make the file and its tables if need be."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Parameters and results are nobody else's business; the log beside it inherits the mode.
            self._path.touch(mode=0o600)
            for bell in self._bells.values():
                bell.open()
            # The last to close the file in order takes its log away.
            in_order = not self._path.with_name(self._path.name + "-wal").exists()
            self._writer.start()
            await self._write(partial(verbs.prepare, in_order=in_order))
        except OSError as failed:
            message = f"cannot open the broker's file {self._path}: {failed}"
            raise broker_unavailable(message) from failed

    async def close(self) -> None:
        """End the threads and the bells; whoever waits is told that the broker is closed."""
        if self._closed:
            return
        self._closed = True
        await self._feed.close()
        await asyncio.get_running_loop().run_in_executor(None, self._stop)
        for bell in self._bells.values():
            bell.close()

    async def submit(self, specs: Sequence[JobSpec], *, awaited: bool = False) -> list[Receipt]:  # noqa: ARG002
        """See `Broker.submit`; waiting is cheap here in any case."""
        return await self._write(
            lambda tx: followers.submit(tx, specs, self._options.max_depth),
            lasting=lambda db: not answers.answer_all(db, specs, self._clock()),
        )

    async def claim(self, worker: str, queues: Sequence[str], limit: int, wait_s: float) -> list[Claim]:
        """See `Broker.claim`."""
        if limit < 1:
            return []
        lease_ms = self._options.lease_ms
        bell = self._bells[verbs.JOBS]
        loop = asyncio.get_running_loop()
        give_up = loop.time() + wait_s
        while True:
            heard = bell.listen()
            claims = await self._write(
                lambda tx: followers.claim(tx, worker, queues, limit, lease_ms), lasting=False
            )
            if claims or loop.time() >= give_up:
                return claims
            heed_cancel()
            await self._until_due(bell, heard, queues, give_up)

    async def _until_due(self, bell: Bell, heard: int, queues: Sequence[str], give_up: float) -> None:
        """Wait for a ring or the next due time, looking now and then: reading takes no lock."""
        loop = asyncio.get_running_loop()
        while bell.listen() == heard and loop.time() < give_up:
            due_in_s = await self._read(lambda db: reads.due_in(db, queues, self._clock()) / 1000)
            if due_in_s <= 0:
                return
            await bell.wait(heard, min(give_up - loop.time(), max(due_in_s, 0.001)))

    async def renew(self, worker: WorkerInfo, held: Sequence[Held]) -> Orders:
        """See `Broker.renew`."""
        lease_ms = self._options.lease_ms
        return await self._write(lambda tx: verbs.renew(tx, worker, held, lease_ms), lasting=False)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """See `Broker.settle`."""
        return await self._write(lambda tx: followers.settle(tx, settlements))

    async def spread(self, parent_id: str, token: int, first: int, specs: Sequence[JobSpec]) -> bool:
        """See `Broker.spread`."""
        return await self._write(lambda tx: family.spread(tx, parent_id, token, first, specs))

    async def results(self, parent_id: str, first: int, count: int) -> list[msgspec.Raw | None]:
        """See `Broker.results`."""
        return await self._read(lambda db: family.results(db, parent_id, first, count))

    async def cancel(self, job_ids: Sequence[str], *, force: bool = False) -> list[Job | None]:
        """See `Broker.cancel`."""
        return await self._write(lambda tx: followers.cancel(tx, job_ids, force=force))

    async def retry(self, job_ids: Sequence[str]) -> list[Job | None]:
        """See `Broker.retry`."""
        return await self._write(lambda tx: family.retry(tx, job_ids))

    async def purge(self, job_ids: Sequence[str]) -> list[bool]:
        """See `Broker.purge`."""
        return await self._write(lambda tx: removal.purge(tx, job_ids))

    async def pause(self, queue: str) -> None:
        """See `Broker.pause`."""
        await self._write(lambda tx: pausing.pause(tx, queue))

    async def resume(self, queue: str) -> None:
        """See `Broker.resume`."""
        await self._write(lambda tx: pausing.resume(tx, queue))

    async def reclaim(self, worker: str, limit: int) -> list[Claim]:
        """See `Broker.reclaim`."""
        if not await self._read(lambda db: reads.anything_lapsed(db, self._clock())):
            return []
        return await self._write(lambda tx: followers.reclaim(tx, worker, limit, self._options.lease_ms))

    async def retire(self, worker: str) -> None:
        """See `Broker.retire`."""
        await self._write(lambda tx: verbs.retire(tx, worker))

    async def trim(self, limit: int) -> int:
        """See `Broker.trim`."""
        keep_jobs, keep_events = self._options.keep_jobs_ms, self._options.keep_events_ms
        return await self._write(lambda tx: followers.trim(tx, limit, keep_jobs, keep_events))

    async def get(self, job_ids: Sequence[str]) -> list[Job | None]:
        """See `Broker.get`."""
        return await self._read(lambda db: [job and family.shown(db, job) for job in reads.get(db, job_ids)])

    async def wait(self, job_id: str, wait_s: float) -> Job | None:
        """See `Broker.wait`."""
        async with self._feed.waiting(job_id) as ended:
            (job,) = await self.get([job_id])  # it may have ended before anybody listened
            if job is None or job.state.final:
                return job
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await ended.wait()
        return (await self.get([job_id]))[0]

    async def attempts(self, job_ids: Sequence[str]) -> list[list[Attempt]]:
        """See `Broker.attempts`."""
        return await self._read(lambda db: reads.attempts(db, job_ids))

    async def find(self, query: JobQuery) -> list[Job]:
        """See `Broker.find`."""
        return await self._read(lambda db: [family.shown(db, job) for job in reads.find(db, query)])

    async def head(self) -> str:
        """See `Broker.head`."""
        return await self._read(reads.head)

    async def events(self, after: str, wait_s: float, limit: int = 1000) -> list[Event]:
        """See `Broker.events`."""
        bell = self._bells[verbs.EVENTS]
        loop = asyncio.get_running_loop()
        give_up = loop.time() + wait_s
        while True:
            heard = bell.listen()
            found = await self._read(lambda db: reads.events(db, after, limit))
            remaining = give_up - loop.time()
            if found or remaining <= 0:
                return found
            await bell.wait(heard, remaining)

    async def now(self) -> int:
        """See `Broker.now`."""
        return self._clock()

    async def stats(self) -> Stats:
        """See `Broker.stats`."""
        return await self._read(lambda db: reads.stats(db, self._clock(), self._options.max_depth))

    async def forget_answers(self, fingerprints: Sequence[str] | None = None) -> int:
        """See `Broker.forget_answers`."""
        return await self._write(lambda tx: answers.forget(tx, fingerprints))

    async def limit_client(self, client: str, terms: ClientTerms | None) -> None:
        """See `Broker.limit_client`."""
        await self._write(lambda tx: lines.limit_client(tx, client, terms))

    async def ahead(self, job_ids: Sequence[str]) -> list[Ahead | None]:
        """See `Broker.ahead`."""
        return await self._read(lambda db: ahead(db, job_ids, self._clock()))

    async def clients(self, limit: int) -> list[ClientWaits]:
        """See `Broker.clients`."""
        return await self._read(lambda db: clients(db, limit))

    async def put(self, shelf: str, name: str, body: bytes | None) -> None:
        """See `Broker.put`."""
        await self._write(lambda tx: shelves.put(tx, shelf, name, body))

    async def shelf(self, shelf: str) -> dict[str, bytes]:
        """See `Broker.shelf`."""
        return await self._read(lambda db: shelves.shelf(db, shelf))

    async def swap(  # noqa: PLR0917 - see `Broker.swap`
        self,
        shelf: str,
        name: str,
        old: bytes | None,
        new: bytes | None,
        specs: Sequence[JobSpec] = (),
        not_before: int = 0,
    ) -> list[Receipt] | None:
        """See `Broker.swap`."""

        def step(tx: Transaction) -> list[Receipt] | None:
            if tx.now < not_before or not shelves.swap(tx, shelf, name, old, new):
                return None
            receipts = followers.submit(tx, specs, self._options.max_depth)
            if any(receipt.admission is Admission.REFUSED for receipt in receipts):
                raise _RefusedError(receipts)  # which undoes the step
            return receipts

        try:
            return await self._write(step)
        except _RefusedError as refused:
            return refused.receipts

    async def _write(self, step: Step[Answer], *, lasting: Lasting = True) -> Answer:
        return await self._writer.run(step, self._options.timeout_s, lasting=lasting)

    async def _read(self, question: Callable[[sqlite3.Connection], Answer]) -> Answer:
        if self._closed:
            raise broker_unavailable("the database is closed")
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._ask, question)

    def _ask(self, question: Callable[[sqlite3.Connection], Answer]) -> Answer:
        try:
            if self._reading is None:
                self._reading = self._connect(self._options.timeout_s)
                self._reading.execute("PRAGMA query_only = ON")
            return question(self._reading)
        except sqlite3.Error as failed:
            raise unavailable("the database could not be read", failed) from failed

    def _connect(self, busy_s: float) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=busy_s)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA journal_size_limit = 67108864")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _ring(self, subjects: set[str]) -> None:
        for subject in subjects:
            self._bells[subject].ring()

    def _stop(self) -> None:
        self._writer.stop(self._options.timeout_s)
        with contextlib.suppress(sqlite3.Error):
            self._reader.submit(self._close_reader).result()
        self._reader.shutdown()

    def _close_reader(self) -> None:
        if self._reading is not None:
            self._reading.close()
            self._reading = None

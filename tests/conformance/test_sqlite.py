"""What only the embedded broker has: a file, a writer's thread, and bells made of pipes."""

import asyncio
import contextlib
import shutil
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from kit.backends import SqliteBackend
from kit.process import OtherProcess
from kit.time import ManualClock, deadline
from kit.values import CRASHED, claim, feed, finish, get_one, ids, spec, submit_one

from penstock.brokers import sqlite
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import JobSpec, State
from penstock.ports import Broker, BrokerOptions, EventKind


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[SqliteBackend]:
    store = SqliteBackend(tmp_path)
    yield store
    await store.remove()


@pytest.fixture
def store(backend: SqliteBackend) -> SqliteBackend:
    return backend


def pipes(store: SqliteBackend) -> list[Path]:
    return [path for path in store.path.with_name("penstock.db.bells").rglob("*") if path.is_fifo()]


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite://penstock.db",
        "sqlite:///x.db?synchronous=off",
        "sqlite:///x.db?sync=full",
    ],
)
def test_a_url_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(PenstockError) as refused:
        sqlite.connect(url, BrokerOptions(), ManualClock())
    assert refused.value.code is ErrorCode.INVALID_REQUEST


async def test_a_url_may_name_a_folder_that_is_not_there_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    broker = sqlite.connect("sqlite:///a/b/c.db?synchronous=normal", BrokerOptions(), ManualClock())
    await broker.open()
    await submit_one(broker)
    await broker.close()
    assert (tmp_path / "a/b/c.db").is_file()


async def test_a_file_that_is_no_database_is_unavailable_until_it_is_gone(store: SqliteBackend) -> None:
    store.path.write_text("something else entirely\n" * 500)
    broker = store.make(ManualClock(), BrokerOptions())
    for _ in range(2):
        with pytest.raises(PenstockError, match="not a database") as refused:
            await broker.open()
        assert refused.value.code is ErrorCode.BROKER_UNAVAILABLE
    store.path.unlink()
    await broker.open()
    assert (await submit_one(broker)).state is State.QUEUED
    await broker.close()


async def test_a_place_that_cannot_be_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    broker = sqlite.connect(f"sqlite:///{tmp_path}/file/penstock.db", BrokerOptions(), ManualClock())
    with pytest.raises(PenstockError) as refused:
        await broker.open()
    assert refused.value.code is ErrorCode.BROKER_UNAVAILABLE
    await broker.close()


async def test_a_file_of_a_newer_penstock_is_refused_and_left_alone(store: SqliteBackend) -> None:
    broker = await store.open()
    job = await submit_one(broker)
    await broker._write(lambda tx: tx.connection.execute("PRAGMA user_version = 99"))
    late = store.make(ManualClock(), BrokerOptions())
    with pytest.raises(PenstockError, match="newer") as refused:
        await late.open()
    await late.close()
    assert refused.value.code is ErrorCode.INVALID_REQUEST
    assert await get_one(broker, job.id) == job


async def test_a_file_of_an_older_penstock_is_used_as_it_is(store: SqliteBackend) -> None:
    before = await store.open()
    job = await submit_one(before)
    await store.close(before)
    with contextlib.closing(sqlite3.connect(store.path)) as older:
        older.execute("ALTER TABLE jobs DROP COLUMN crashes")
        older.execute("DROP TABLE attempts")
        older.commit()
    broker = await store.open()
    assert await get_one(broker, job.id) == job
    (claimed,) = await claim(broker)
    assert await broker.settle([finish(claimed, CRASHED)]) == [True]
    assert (await get_one(broker, job.id)).crashes == 1
    ((attempt,),) = await broker.attempts([job.id])
    assert attempt.code == "CRASHED"


async def test_reading_goes_on_while_another_process_holds_the_lock(store: SqliteBackend) -> None:
    broker = await store.open()
    job = await submit_one(broker)
    for kind in store.outages:
        with store.outage(kind):
            assert await get_one(broker, job.id) == job
            assert len(await feed(broker)) == 1
            assert (await broker.stats()).states[State.QUEUED] == 1


async def test_submissions_that_arrive_together_share_a_transaction(store: SqliteBackend) -> None:
    broker = await store.open()
    statements: list[str] = []
    await broker._write(lambda tx: tx.connection.set_trace_callback(statements.append))
    await asyncio.gather(*(submit_one(broker) for _ in range(200)))
    counted = Counter(statement.split()[0] for statement in statements)
    assert counted["COMMIT"] < 20
    assert counted["SAVEPOINT"] == 200


async def test_a_full_disk_is_unavailable_and_leaves_nothing_half_stored(store: SqliteBackend) -> None:
    broker = await store.open()
    kept = await submit_one(broker)
    await broker._write(lambda tx: tx.connection.execute("PRAGMA max_page_count = 40"))
    neighbours = [spec() for _ in range(5)]
    calls = [broker.submit([one]) for one in neighbours]
    calls.append(broker.submit([spec() for _ in range(2_000)]))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert getattr(answers[-1], "code", None) is ErrorCode.BROKER_UNAVAILABLE
    accepted = [one.id for one, said in zip(neighbours, answers, strict=False) if isinstance(said, list)]
    assert [job.id for job in await broker.get([one.id for one in neighbours]) if job] == accepted
    assert (await broker.stats()).states[State.QUEUED] == 1 + len(accepted)
    await broker._write(lambda tx: tx.connection.execute("PRAGMA max_page_count = 100000"))
    after = await submit_one(broker)
    assert ids(await claim(broker)) == [kept.id, *accepted, after.id]


@pytest.mark.slow
async def test_the_pipe_of_a_killed_process_is_swept_away(store: SqliteBackend) -> None:
    broker = await store.open()
    async with OtherProcess(store) as victim:
        assert await victim.ask("claim", worker="w", limit=1) == []
        assert len(pipes(store)) == 1
        await victim.kill()
    async with deadline():
        while pipes(store):
            await submit_one(broker)


async def test_a_deadline_that_an_older_release_left_fails_no_job_and_goes(
    broker: Broker, store: SqliteBackend, clock: ManualClock
) -> None:
    (job,) = await claim_all(broker)
    with contextlib.closing(sqlite3.connect(store.path)) as database, database:
        for parent in (job, "of a job that is gone"):
            database.execute("INSERT INTO deadlines VALUES (?, ?)", (parent, clock.now))
    assert await broker.reclaim("w", 10) == []
    assert (await get_one(broker, job)).state is State.SUCCEEDED
    with contextlib.closing(sqlite3.connect(store.path)) as database:
        assert database.execute("SELECT count(*) FROM deadlines").fetchone() == (0,)


async def claim_all(broker: Broker) -> list[str]:
    """One job, done."""
    await submit_one(broker)
    claims = await claim(broker)
    await broker.settle([finish(each) for each in claims])
    return [each.spec.id for each in claims]


async def test_closing_leaves_no_pipe_behind(store: SqliteBackend) -> None:
    broker = await store.open()
    await claim(broker)
    await broker.events("", 0)
    assert len(pipes(store)) == 2
    await store.close(broker)
    assert pipes(store) == []


@pytest.mark.slow
async def test_work_goes_on_when_somebody_deletes_the_bells(store: SqliteBackend) -> None:
    broker, other = await store.open(), await store.open()
    waiting = asyncio.ensure_future(broker.claim("w", ["default"], 1, 30))
    await asyncio.wait([waiting], timeout=0.05)
    shutil.rmtree(store.path.with_name("penstock.db.bells"))
    async with deadline():
        job = await submit_one(other)
        await submit_one(other)
        assert ids(await waiting) == [job.id]


async def test_a_step_that_fails_undoes_itself_alone(broker: Broker, store: SqliteBackend) -> None:
    def fail(_: object) -> None:
        raise LookupError

    good = [submit_one(broker) for _ in range(10)]
    answers = await asyncio.gather(*good, broker._write(fail), return_exceptions=True)
    assert isinstance(answers[-1], LookupError)
    assert len(await claim(broker)) == 10


async def test_a_power_cut_gives_no_events_number_twice(store: SqliteBackend) -> None:
    clock = ManualClock()
    broker = await store.open(clock)
    await submit_one(broker)
    files = [path for path in store.path.parent.glob("penstock.db*") if path.is_file()]
    on_disk = {path: path.read_bytes() for path in files}
    clock.advance(1)
    await claim(broker)  # nobody waits for the disk here
    (*_, seen) = await feed(broker)
    await broker.close()
    for path, content in on_disk.items():
        path.write_bytes(content)
    broker = await store.open(clock)
    await claim(broker)
    assert [event.kind for event in await broker.events(seen.id, 0.0)] == [EventKind.RUNNING]


async def test_only_an_answer_that_was_known_waits_for_no_disk(
    store: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accepted work must outlive a power cut; whoever was answered from the cache has all it wanted."""
    said: list[str] = []

    def connect(*given: Any, **options: Any) -> sqlite3.Connection:
        connection = _connect(*given, **options)
        connection.set_trace_callback(said.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect)
    clock = ManualClock()
    broker = await store.open(clock)

    async def mode(*chosen: JobSpec) -> str:
        await broker.submit(chosen)
        return [line for line in said if line.startswith("PRAGMA synchronous")][-1].split()[-1]

    def asking(fingerprint: str = "f", **changes: Any) -> JobSpec:
        return spec(fingerprint=fingerprint, cache_ms=60_000, **changes)

    assert await mode(asking()) == "full", "it is new"
    (taken,) = await claim(broker)
    assert await mode(asking()) == "full", "it joins"
    await broker.settle([finish(taken)])
    assert await mode(asking()) == "normal"
    assert await mode(asking(), asking()) == "normal"
    assert await mode(asking(), asking("g")) == "full"
    assert await mode(asking(refresh=True)) == "full"
    assert await mode() == "full", "whether the disk can be written is what this one asks"
    assert await mode(asking()) == "normal"
    clock.advance(59_500)
    assert await mode(asking()) == "full", "the answer may be stale when the step begins"


_connect = sqlite3.connect

"""The recorder between real brokers and databases: nothing missing, nothing doubled, in nobody's way."""

import asyncio
import contextlib

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit.backends import BACKENDS
from structlog.testing import capture_logs

from penstock.core.errors import PenstockError
from penstock.core.ids import new_id
from penstock.core.job import JobError, JobSpec, Limits, State, WorkerInfo
from penstock.core.lifecycle import RETRYABLE_STATES, Failed, Released, Succeeded
from penstock.core.verdict import settlement
from penstock.history.store import SqlHistory
from penstock.ports import BrokerOptions
from penstock.service import recorder as recording_module
from penstock.service.archive import READERS, Archive
from penstock.service.recorder import Recorder
from support.databases import DATABASES, prompt
from support.postgres_server import PostgresServer
from support.wait import eventually

pytestmark = pytest.mark.slow

DATABASE = pytest.mark.parametrize("database", DATABASES)
BROKER = pytest.mark.parametrize("kind", ["sqlite", "redis"])


class Time:
    """A broker's clock that the test moves on."""

    def __init__(self):
        self.ahead_ms = 0

    def __call__(self):
        return recording_module.system_clock() + self.ahead_ms


class Desk:
    """A broker, jobs on it, and hands that end them."""

    def __init__(self, broker):
        self.broker = broker
        self.info = WorkerInfo(id="hands/1", node="hands", host="here", pid=1, slots=4)

    async def submit(self, count=1, **fields):
        specs = [
            JobSpec(
                **{"id": new_id(), "task": "t", "params": msgspec.Raw(b'{"n":1}'), "client": "ada"} | fields
            )
            for _ in range(count)
        ]
        await self.broker.submit(specs)
        return [spec.id for spec in specs]

    async def work(self, count=1, outcome=None):
        claims = []
        while len(claims) < count:
            claims += await self.broker.claim(self.info.id, ["default"], count - len(claims), 5)
        ending = outcome or Succeeded(msgspec.Raw(b"42"))
        await self.broker.settle([settlement(claim, ending, 0.0) for claim in claims])


FAILURE = Failed(JobError("TASK_ERROR", "no", "trace"))


@pytest.fixture
async def make_desk(tmp_path):
    backends = []

    async def make(kind="sqlite", clock=recording_module.system_clock, folder=tmp_path, **options):
        backend = BACKENDS[kind](folder, durable=False)
        backends.append(backend)
        desk = Desk(await backend.open(clock, BrokerOptions(**options)))
        desk.backend = backend
        return desk

    yield make
    for backend in backends:
        await backend.remove()


@contextlib.asynccontextmanager
async def recording(broker, url, name="node", clock=recording_module.system_clock, **policy):
    """A recorder at work; yields its archive."""
    archive = Archive(lambda: SqlHistory(url, "ns"))
    task = asyncio.create_task(Recorder(broker, archive, name, prompt(**policy), clock).run())
    try:
        yield archive
    finally:
        task.cancel()
        await asyncio.wait({task})
        await archive.close()


async def caught_up(desk, *archives):
    """Until one of them has recorded all that has happened."""

    async def all_told():
        head = await desk.broker.head()
        return any(each.standing.caught_up and each.standing.place.cursor == head for each in archives)

    await eventually(all_told, what=f"recorded: {[each.standing.view() for each in archives]}")


def rows(url, table="penstock_jobs"):
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        with engine.connect() as db:
            return db.execute(sa.text(f"SELECT * FROM {table} ORDER BY 1, 2, 3")).fetchall()
    finally:
        engine.dispose()


def states(url):
    return {row.id: row.state for row in rows(url)}


async def truth(desk, ids):
    return {job.id: job.state.value for job in await desk.broker.get(ids)}


@DATABASE
@BROKER
async def test_every_submission_and_outcome_is_recorded(make_desk, tmp_path, kind, database):
    desk, url = await make_desk(kind), DATABASES[database](tmp_path)
    before = await desk.submit(5)  # before anybody recorded anything
    await desk.work(3)
    async with recording(desk.broker, url) as archive:
        await caught_up(desk, archive)
        after = await desk.submit(4) + await desk.submit(delay_ms=60_000, request_id="r-1")
        await desk.work(4)
        await desk.work(1, FAILURE)
        await desk.broker.cancel(after[-1:])
        await caught_up(desk, archive)
        assert archive.standing.view()["lag_events"] == 0
    (failed,) = [row for row in rows(url) if row.error_code == "TASK_ERROR"]
    assert (failed.error_message, failed.error_detail, failed.attempt) == ("no", "trace", 1)
    assert {(row.client, row.params, row.task) for row in rows(url)} == {("ada", '{"n":1}', "t")}
    assert states(url) == await truth(desk, before + after)
    assert {row.job_id: row.request_id for row in rows(url, "penstock_submissions")} == {
        job_id: "r-1" if job_id == after[-1] else None for job_id in before + after
    }


async def replay(desk, url, cursor):
    """Record again from a cursor of earlier."""
    engine = sa.create_engine(url)
    with engine.begin() as db:
        db.execute(sa.text("UPDATE penstock_feeds SET cursor = :cursor"), {"cursor": cursor})
    engine.dispose()
    async with recording(desk.broker, url) as archive:
        await caught_up(desk, archive)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_reading_the_feed_again_from_anywhere_changes_nothing(make_desk, tmp_path, data):
    folder = tmp_path / new_id()
    folder.mkdir()
    desk, url = await make_desk(folder=folder), DATABASES["sqlite"](folder)
    ids = await desk.submit(6, limits=Limits(max_attempts=1))
    async with recording(desk.broker, url) as archive:
        for _ in range(data.draw(st.integers(1, 5))):
            await happen(desk, ids, data)
            if data.draw(st.booleans()):
                await caught_up(desk, archive)
        await caught_up(desk, archive)
    ended = [job.id for job in await desk.broker.get(ids) if job and job.state.final]
    await desk.broker.purge(ended[::2])  # of these only history knows, and the feed
    expected = rows(url), rows(url, "penstock_submissions")
    assert len(expected[0]) == 6
    cursors = ["", *(event.id for event in await desk.broker.events("", 0))]
    for at in data.draw(st.lists(st.integers(0, len(cursors) - 1), min_size=2, max_size=3)):
        await replay(desk, url, cursors[at])
        assert (rows(url), rows(url, "penstock_submissions")) == expected


async def happen(desk, ids, data):
    """Something, to some job."""
    jobs = await desk.broker.get(ids)
    waiting = sum(job.state is State.QUEUED for job in jobs)
    chosen = ids[data.draw(st.integers(0, len(ids) - 1))]
    match data.draw(st.sampled_from(["work", "fail", "cancel", "retry"])):
        case "work" if waiting:
            await desk.work(1)
        case "fail" if waiting:
            await desk.work(1, FAILURE)
        case "cancel":
            await desk.broker.cancel([chosen])
        case _:
            await desk.broker.retry([job.id for job in jobs if job.state in RETRYABLE_STATES][:1])


@BROKER
async def test_where_the_feed_is_cut_off_every_job_is_read(make_desk, tmp_path, kind, monkeypatch):
    monkeypatch.setattr(recording_module, "SWEEP_PAGE", 3)
    time = Time()
    desk = await make_desk(kind, time, keep_events_ms=60_000)
    url = DATABASES["sqlite"](tmp_path)
    async with recording(desk.broker, url) as archive:
        first = await desk.submit(2)
        await caught_up(desk, archive)
    missed = await desk.submit(8)
    await desk.work(10)
    time.ahead_ms = 120_000
    await desk.broker.trim(1_000)
    assert await desk.broker.events("", 0) == []
    last = await desk.submit(2)
    with capture_logs() as logs:
        async with recording(desk.broker, url) as archive:
            await caught_up(desk, archive)
    assert states(url) == await truth(desk, first + missed + last)
    assert [entry for entry in logs if "no longer tells" in entry["event"]]


async def test_a_feed_that_was_not_cut_off_is_not_read_anew(make_desk, tmp_path):
    desk, url = await make_desk(), DATABASES["sqlite"](tmp_path)
    with capture_logs() as logs:
        for _ in range(2):
            await desk.submit(2)
            async with recording(desk.broker, url) as archive:
                await caught_up(desk, archive)
    assert len(rows(url)) == 4
    assert not [entry for entry in logs if "no longer tells" in entry["event"]]


async def test_another_brokers_cursor_is_noticed(make_desk, tmp_path):
    desk, url = await make_desk(), DATABASES["sqlite"](tmp_path)
    await desk.submit(3)
    async with recording(desk.broker, url) as archive:
        await caught_up(desk, archive)
    moved = await make_desk("redis")
    there = await moved.submit(2)
    async with recording(moved.broker, url) as archive:
        await caught_up(moved, archive)
    assert len(rows(url)) == 5
    assert set(there) <= states(url).keys()


async def test_a_job_that_went_before_it_was_read_is_told_by_its_events(make_desk, tmp_path):
    desk, url = await make_desk(), DATABASES["sqlite"](tmp_path)
    ids = await desk.submit(3)
    await desk.work(3)
    assert await desk.broker.purge(ids) == [True] * 3
    async with recording(desk.broker, url) as archive:
        await caught_up(desk, archive)
    assert states(url) == dict.fromkeys(ids, "succeeded")


@pytest.mark.parametrize("parts", [False, True])
async def test_parts_are_recorded_where_that_is_asked_for(make_desk, tmp_path, parts):
    desk, url = await make_desk(), DATABASES["sqlite"](tmp_path)
    (parent,) = await desk.submit()
    async with recording(desk.broker, url, parts=parts) as archive:
        await caught_up(desk, archive)
        part = await desk.submit(part=0, parent_id=parent)
        await caught_up(desk, archive)
    assert states(url).keys() == {parent, *(part if parts else ())}


@BROKER
@pytest.mark.parametrize("outcome", [Released(), Failed(JobError("TASK_ERROR", "it broke"))])
async def test_a_part_that_began_again_and_is_gone_is_no_job(make_desk, tmp_path, kind, outcome):
    desk, url = await make_desk(kind), DATABASES["sqlite"](tmp_path)
    (parent,) = await desk.submit()
    quick = Limits(backoff_ms=1, max_attempts=9)
    (part,) = await desk.submit(part=0, parent_id=parent, client=None, queue="parts", limits=quick)
    async with recording(desk.broker, url) as archive:
        await caught_up(desk, archive)
    for end in (outcome, Succeeded(msgspec.Raw(b"1"))):
        (claimed,) = await desk.broker.claim("hands/1", ["parts"], 1, 10.0)
        assert await desk.broker.settle([settlement(claimed, end, 0.999)]) == [True]
    assert await desk.broker.purge([part]) == [True]
    async with recording(desk.broker, url) as archive:
        await caught_up(desk, archive)
    assert states(url).keys() == {parent}


async def test_what_is_old_goes_and_stays_away(make_desk, tmp_path):
    time = Time()
    desk, url = await make_desk(), DATABASES["sqlite"](tmp_path)
    await desk.submit(2)
    await desk.work(2)
    short = {"keep_ms": 3_600_000, "keep_results_ms": 60_000, "upkeep_s": 0.05}
    async with recording(desk.broker, url, clock=time, **short) as archive:
        await caught_up(desk, archive)
        assert {row.result for row in rows(url)} == {"42"}
        time.ahead_ms = 120_000
        await eventually(lambda: {row.result for row in rows(url)} == {None})
        time.ahead_ms = 7_200_000
        await eventually(lambda: rows(url) == [])
        assert rows(url, "penstock_submissions") == []
    engine = sa.create_engine(url)
    with engine.begin() as db:
        db.execute(sa.text("UPDATE penstock_feeds SET cursor = '', sweep = ''"))
    engine.dispose()
    async with recording(desk.broker, url, clock=time, **short) as archive:
        await caught_up(desk, archive)
    assert rows(url) == []


@DATABASE
async def test_of_several_recorders_one_writes_and_each_may_die(make_desk, tmp_path, database):
    desk, url = await make_desk(), DATABASES[database](tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        writers = [recording(desk.broker, url, f"n{n}", lease_s=1.0) for n in range(3)]
        archives = [await stack.enter_async_context(each) for each in writers]
        ids = []
        for _ in range(3):
            ids += await desk.submit(20)
            await desk.work(20)
            await caught_up(desk, *archives)
            holder = next(each for each in archives if each.standing.caught_up)
            # Somebody else writes: as if this one had been paused for longer than the lease.
            place = holder.standing.place
            await holder.write(lambda h=holder: h._history.take("somebody/else", h._history.place()))
            await eventually(lambda h=holder, p=place: h.standing.place.beat > p.beat + 1)
    assert states(url) == dict.fromkeys(ids, "succeeded")
    assert len(rows(url, "penstock_submissions")) == len(ids) == 60


async def test_whoever_leaves_is_followed_at_once(make_desk, tmp_path):
    desk, url = await make_desk(), DATABASES["sqlite"](tmp_path)
    async with recording(desk.broker, url, lease_s=600.0) as first:
        await desk.submit()
        await caught_up(desk, first)
    async with recording(desk.broker, url, lease_s=600.0) as second:
        await desk.submit()
        await caught_up(desk, second)
    assert len(rows(url)) == 2


async def test_a_database_that_goes_and_comes_back_misses_nothing(make_desk, tmp_path):
    with PostgresServer(tmp_path) as server:
        desk, url = await make_desk("redis"), server.url()
        async with recording(desk.broker, url) as archive:
            ids = await desk.submit(50)
            await desk.work(25)
            await caught_up(desk, archive)
            with server.gone():
                ids += await desk.submit(50)
                await desk.work(50)
                await eventually(lambda: archive.standing.connected is False)
                told = archive.standing.view()
                assert told["reason"].startswith("the database of history cannot be had")
                assert told["lag_s"] > 0
                assert told["lag_events"] is None
            await caught_up(desk, archive)
        assert states(url) == await truth(desk, ids)
        assert len(rows(url, "penstock_submissions")) == 100


async def test_a_frozen_database_keeps_nobody_from_leaving(make_desk, tmp_path, monkeypatch):
    monkeypatch.setattr(recording_module, "LEAVE_S", 0.2)
    monkeypatch.setattr("penstock.service.archive.ASK_S", 0.3)
    with PostgresServer(tmp_path) as server:
        desk, url = await make_desk(), server.url()
        async with recording(desk.broker, url) as archive:
            await desk.submit()
            await caught_up(desk, archive)
            with server.paused():
                await desk.submit()
                for _ in range(READERS):
                    with pytest.raises(PenstockError, match="did not answer in"):
                        await archive.get("some job")
                async with asyncio.timeout(30):
                    task = next(each for each in asyncio.all_tasks() if "Recorder.run" in repr(each))
                    task.cancel()
                    await asyncio.wait({task})
                    await archive.close()


async def test_a_page_does_not_read_more_of_the_feed_than_it_needs(make_desk):
    desk = await make_desk("redis")
    for _ in range(40):
        await desk.submit(100)
    read, cursor, pages = 0, "", 0
    while page := await desk.broker.events(cursor, 0.0, 1_000):
        read, cursor, pages = read + len(page), page[-1].id, pages + 1
    assert (read, pages) == (4_000, 4)
    small = await desk.broker.events("", 0.0, 10)
    rest = await desk.broker.events(small[-1].id, 0.0, 95)
    assert (len(small), len(rest)) == (10, 95)

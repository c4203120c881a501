"""History's tables on a real SQLite and a real PostgreSQL: migrations, one writer at a time, questions."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.core.chapter import Chapter
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import State
from penstock.core.record import Asked, Record, Told
from penstock.core.record_query import Mark, RecordQuery, Sort
from penstock.history import migrate as migration
from penstock.history.schema import HEAD, VERSION_TABLE, metadata
from penstock.history.store import SqlHistory
from support.databases import DATABASES

pytestmark = pytest.mark.slow


@pytest.fixture(params=DATABASES)
def url(request, tmp_path):
    return DATABASES[request.param](tmp_path)


@pytest.fixture
def open_history(url):
    opened = []

    def open_one(namespace="ns"):
        history = SqlHistory(url, namespace)
        opened.append(history)
        history.open()
        return history

    yield open_one
    for history in opened:
        history.close()


@pytest.fixture
def history(open_history):
    return open_history()


def record(number, **fields):
    usual = {
        "id": f"job-{number:04}",
        "state": State.SUCCEEDED,
        "task": f"task-{number % 3}",
        "told_at": number,
        "created_at": number,
        "due_at": number,
        "finished_at": number + 5,
        "params": f'{{"n":{number}}}',
        "params_bytes": 9,
        "result": "42",
        "result_bytes": 2,
    }
    return Record(**usual | fields)


def write(history, *records, **chapter):
    """Records, under whatever place is there."""
    place = history.take("writer", history.place())
    told = {"cursor": "1", "told_at": 1, "records": records} | chapter
    assert history.record(place, Chapter(**told)) is not None


def rows(history, table="penstock_jobs"):
    with history._engine.connect() as db:
        return db.execute(sa.text(f"SELECT * FROM {table} ORDER BY 1, 2, 3")).fetchall()


def test_what_is_written_is_read(history):
    kept = record(1, client="ada", error_code="X", error_detail="trace", cached=True, part=3)
    write(history, kept)
    assert history.get(kept.id) == kept
    assert history.find(RecordQuery()) == [replace(kept, error_detail=None)]
    assert history.known([kept.id, "other"]) == {kept.id: (1, State.SUCCEEDED)}
    assert history.get("other") is None


def test_opening_again_changes_nothing(history, open_history):
    write(history, record(1))
    before = rows(history)
    assert rows(open_history()) == before


def test_any_number_open_an_empty_database_at_once(url):
    several = [SqlHistory(url, "ns") for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(SqlHistory.open, several))
    assert several[0].count(RecordQuery()) == 0
    for each in several:
        each.close()


def test_migrations_lead_to_the_schema(history):
    with history._engine.connect() as db:
        context = MigrationContext.configure(db, opts={"version_table": VERSION_TABLE})
        ours = [each for each in compare_metadata(context, metadata) if "penstock" in str(each)]
        assert ours == []
        assert migration.version(db) == HEAD
    assert ScriptDirectory(str(migration.FOLDER)).get_heads() == [HEAD]


def test_a_migration_that_fails_leaves_nothing_behind(url, monkeypatch):
    history = SqlHistory(url, "ns")
    with history._engine.begin() as db:
        db.execute(sa.text("CREATE TABLE penstock_feeds (in_the_way INTEGER)"))
    with pytest.raises(PenstockError):
        history.open()
    with history._engine.connect() as db:
        assert not sa.inspect(db).has_table("penstock_jobs")
        assert migration.version(db) == ""
    history.close()


def test_a_newer_releases_tables_are_left_alone(history, open_history):
    with history._engine.begin() as db:
        db.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
        db.execute(sa.text("ALTER TABLE penstock_jobs ADD COLUMN novelty TEXT"))
    older = open_history()
    write(older, record(1))
    assert older.get(record(1).id) == record(1)


def test_only_who_wrote_last_may_write(history, open_history):
    other = open_history()
    mine = history.take("me", None)
    assert (mine.holder, mine.beat, mine.cursor, mine.sweep) == ("me", 1, "", "")
    assert other.take("you", None) is None
    yours = other.take("you", other.place())
    assert yours.holder == "you"
    chapter = Chapter(cursor="7", told_at=7, records=[record(1)])
    assert history.record(mine, chapter) is None
    assert rows(history) == []
    moved = other.record(yours, chapter)
    assert (moved.cursor, moved.told_at, moved.sweep) == ("7", 7, None)
    assert history.place() == moved
    assert other.record(yours, chapter) is None


def test_two_who_take_it_at_once_do_not_both_get_it(history, open_history):
    several = [history, *(open_history() for _ in range(3))]
    history.take("first", None)
    seen = history.place()
    with ThreadPoolExecutor(4) as threads:
        taken = list(threads.map(lambda each: each.take("x", seen), several))
    assert len([each for each in taken if each]) == 1


def test_who_leaves_is_not_waited_for(history):
    place = history.take("me", None)
    history.leave(place)
    assert history.place().holder is None
    taken = history.take("you", history.place())
    history.leave(place)
    assert history.place() == taken


def test_cursor_and_rows_are_written_together_or_not_at_all(history):
    place = history.take("me", None)
    spoilt = replace(record(2), id=None)
    with pytest.raises(PenstockError) as refused:
        history.record(place, Chapter(cursor="7", told_at=7, records=[record(1), spoilt]))
    assert refused.value.code is ErrorCode.HISTORY_UNAVAILABLE
    assert history.place() == place
    assert rows(history) == []


def test_a_job_is_one_row_and_one_submission_however_often_it_is_told(history):
    for state, at in ((State.QUEUED, 1), (State.RUNNING, 2), (State.SUCCEEDED, 3)):
        write(history, record(1, state=state, told_at=at))
    assert [each.state for each in history.find(RecordQuery())] == [State.SUCCEEDED]
    assert len(rows(history, "penstock_submissions")) == 1


def test_a_join_is_told_once(history):
    joined = Asked(job_id="job-0001", event="5", at=2, admission="joined", client="bob")
    for _ in range(2):
        write(history, record(1, client="ada"), asked=[joined])
    assert [(row.admission, row.client) for row in rows(history, "penstock_submissions")] == [
        ("accepted", "ada"),
        ("joined", "bob"),
    ]


def test_a_forgotten_job_keeps_what_is_known(history):
    write(history, record(1, state=State.RUNNING, finished_at=None, result=None, told_at=2))
    events = [Told("job-0001", 1, State.QUEUED, {}), Told("job-0001", 9, State.FAILED, {"attempt": 2})]
    write(history, told=events)
    kept = history.get("job-0001")
    assert (kept.state, kept.finished_at, kept.task, kept.attempt) == (State.FAILED, 9, "task-1", 2)
    before = rows(history)
    write(history, told=events)
    assert rows(history) == before


def test_a_job_that_nobody_knew_is_recorded_by_its_events(history):
    write(history, told=[Told("gone", 1, State.QUEUED, {}), Told("gone", 4, State.SUCCEEDED, {})])
    kept = history.get("gone")
    assert (kept.task, kept.state, kept.created_at, kept.finished_at) == ("", State.SUCCEEDED, 1, 4)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_every_page_size_and_order_shows_each_job_once(history, data):
    if history.count(RecordQuery()) == 0:
        write(history, *(record(number, created_at=number // 4) for number in range(23)))
    sort = data.draw(st.sampled_from(list(Sort)))
    query = RecordQuery(sort=sort, limit=data.draw(st.integers(1, 25)))
    found = history.find(query)
    while len(found) % query.limit == 0 and (
        more := history.find(replace(query, after=Mark(getattr(found[-1], sort.field), found[-1].id)))
    ):
        found += more
    keys = [(getattr(each, sort.field), each.id) for each in found]
    assert keys == sorted(keys, reverse=sort.down)
    assert len({each.id for each in found}) == len(found) == 23


def test_pages_are_stable_while_jobs_come(history):
    write(history, *map(record, range(10)))
    query = RecordQuery(limit=4)
    first = history.find(query)
    write(history, *map(record, range(10, 20)))
    second = history.find(replace(query, after=Mark(first[-1].created_at, first[-1].id)))
    assert [each.created_at for each in first + second] == [9, 8, 7, 6, 5, 4, 3, 2]


FILTERS = {
    "state": ({"state": State.FAILED}, [3]),
    "task": ({"task": "task-0"}, [3, 0]),
    "queue": ({"queue": "long"}, [2]),
    "client": ({"client": "ada"}, [1]),
    "after": ({"created_after": 3}, [4, 3]),
    "before": ({"created_before": 1}, [0]),
    "text": ({"text": '"N":4'}, [4]),
    "a percent sign": ({"text": "100%"}, [2]),
    "an underscore": ({"text": "n_"}, []),
    "a quote": ({"text": "'; DROP TABLE penstock_jobs; --"}, []),
    "two": ({"task": "task-0", "state": State.FAILED}, [3]),
    "offset": ({"offset": 3, "limit": 1}, [1]),
    "ended": ({"sort": Sort.ENDED_FIRST}, [0, 1, 2, 4]),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters(history, name):
    asked, expected = FILTERS[name]
    special = {
        1: {"client": "ada"},
        2: {"queue": "long", "params": '{"share":"100%"}'},
        3: {"state": State.FAILED, "finished_at": None},
    }
    write(history, *(record(number, **special.get(number, {})) for number in range(5)))
    query = RecordQuery(**asked)
    assert [each.created_at for each in history.find(query)] == expected
    if "offset" not in asked:
        assert history.count(query) == len(expected)


def test_a_namespace_sees_its_own_only(history, open_history):
    other = open_history("other")
    write(history, record(1))
    write(other, record(1, task="theirs"), record(2, task="theirs"))
    assert [each.task for each in history.find(RecordQuery())] == ["task-1"]
    assert history.get("job-0002") is None
    assert (history.count(RecordQuery()), other.count(RecordQuery())) == (1, 2)
    assert history.trim(10**9, 10**9, 100) == 2
    assert other.count(RecordQuery()) == 2


def test_results_go_first_and_jobs_later(history):
    write(history, *map(record, range(10)))
    assert history.trim(results_before=5 + 4, jobs_before=2, limit=100) == 4 + 2
    kept = history.find(RecordQuery(sort=Sort.OLDEST))
    assert [each.created_at for each in kept] == list(range(2, 10))
    assert [each.result for each in kept] == [None] * 2 + ["42"] * 6
    assert {each.result_bytes for each in kept} == {2}
    assert len(rows(history, "penstock_submissions")) == 8
    assert history.trim(0, 10**9, limit=3) == 3


def test_a_file_is_for_its_owner_only(tmp_path):
    history = SqlHistory(f"sqlite:///{tmp_path / 'deep' / 'history.db'}", "ns")
    history.open()
    write(history, record(1))
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "deep").iterdir()} == {0}
    history.close()


@pytest.mark.parametrize(
    "url", ["mysql://secret@h/d", "history.db", "sqlite://", "postgresql://secret@h:x/d"]
)
def test_a_url_of_something_else_is_refused_without_showing_it(url):
    with pytest.raises(PenstockError) as refused:
        SqlHistory(url, "ns")
    assert refused.value.code is ErrorCode.INVALID_REQUEST
    assert "secret" not in refused.value.message


def test_a_database_that_is_away_is_told_as_such(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    for url in (f"sqlite:///{in_the_way}/history.db", "postgresql://app:secret@127.0.0.1:1/none"):
        history = SqlHistory(url, "ns")
        with pytest.raises(PenstockError) as refused:
            history.open()
        assert refused.value.code is ErrorCode.HISTORY_UNAVAILABLE
        assert "secret" not in refused.value.message
        history.close()


def test_a_file_that_is_no_database_is_told_as_such(tmp_path: Path):
    path = tmp_path / "history.db"
    path.write_text("something else entirely, and long enough to be looked at" * 20)
    history = SqlHistory(f"sqlite:///{path}", "ns")
    with pytest.raises(PenstockError, match="not a database"):
        history.open()
    history.close()


def test_a_connection_in_use_at_the_close_is_closed_when_it_is_given_back(history):
    with history._asking() as db:
        driver = db.connection.dbapi_connection
        history.close()
    with pytest.raises((sqlite3.ProgrammingError, psycopg.OperationalError), match="closed"):
        driver.cursor().execute("SELECT 1")

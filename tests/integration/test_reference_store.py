"""The reference tables on a real SQLite and a real PostgreSQL: one load, whole or not at all, with a name."""

import copy
import threading

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from penstock.history.store import SqlHistory
from penstock.tasks.habitat import database, schema
from penstock.tasks.habitat.problems import BadReference
from penstock.tasks.habitat.reference import packaged, packaged_rows
from penstock.tasks.habitat.store import EditedByHand, Store
from support.databases import DATABASES

pytestmark = pytest.mark.slow


@pytest.fixture(params=DATABASES)
def url(request, tmp_path):
    return DATABASES[request.param](tmp_path)


@pytest.fixture
def store(url):
    opened = Store(url)
    yield opened
    opened.close()


@pytest.fixture
def tables():
    return copy.deepcopy(packaged_rows())


def dearer(tables, price="41000"):
    changed = copy.deepcopy(tables)
    changed["pricing"][1]["local"] = price
    return changed


def test_what_is_loaded_is_read_beside_history(url, store, tables):
    history = SqlHistory(url, "ns")
    history.open()
    stamp, changed = store.load(tables, "here")
    assert changed
    assert store.read() == (stamp, packaged())
    assert store.stamp() == stamp
    assert (stamp.version, stamp.serial, stamp.source) == (packaged().version, 1, "here")
    history.open()  # neither knows of the other's migrations
    history.close()


def test_nothing_is_known_before_the_first_load(store):
    assert store.stamp() is None
    assert store.read() is None


def test_migrations_lead_to_the_schema(store, tables):
    store.load(tables, "here")
    with store._engine.connect() as db:
        context = MigrationContext.configure(db, opts={"version_table": schema.VERSION_TABLE})
        assert [each for each in compare_metadata(context, schema.metadata) if "penstock" in str(each)] == []
    assert ScriptDirectory(str(database.FOLDER)).get_heads() == [schema.HEAD]


def test_equal_content_is_no_change_and_old_content_is_a_new_one(store, tables):
    first, _ = store.load(tables, "a")
    assert store.load({name: rows[::-1] for name, rows in tables.items()}, "b") == (first, False)
    second, changed = store.load(dearer(tables), "c")
    assert (changed, second.serial) == (True, 2)
    assert second.version != first.version
    third, _ = store.load(tables, "d")
    assert (third.version, third.serial) == (first.version, 3)


def test_a_load_that_fails_leaves_everything_as_it_was(store, tables):
    before, _ = store.load(tables, "a")
    broken = dearer(tables)
    broken["stock"][3]["bank"] = "Nowhere"
    with pytest.raises(BadReference, match="stock, row 4, bank"):
        store.load(broken, "b")

    sa.event.listen(store._engine, "before_cursor_execute", interrupted_at("INSERT INTO penstock_neighbours"))
    with pytest.raises(KeyboardInterrupt):
        store.load(dearer(tables), "c")
    again = Store(str(store._engine.url.render_as_string(hide_password=False)))
    assert again.read() == (before, packaged())
    again.close()


def interrupted_at(beginning):
    def listen(_connection, _cursor, statement, *_):
        if statement.startswith(beginning):
            raise KeyboardInterrupt

    return listen


def test_tables_that_were_changed_by_hand_are_refused_until_they_are_loaded_again(store, tables):
    before, _ = store.load(tables, "a")
    with store._engine.execution_options(writes=True).begin() as db:
        db.execute(sa.update(schema.pricing).values(local=1))
    with pytest.raises(EditedByHand, match="penstock reference load"):
        store.read()
    after, changed = store.load(tables, "a")
    assert (changed, after.serial) == (True, before.serial + 1)
    assert store.read() == (after, packaged())


def test_who_reads_while_others_load_sees_one_load_whole(url, store, tables):
    other = Store(url)
    versions = {store.load(each, "a")[0].version for each in (dearer(tables), tables)}
    done = threading.Event()

    def load_often():
        for number in range(3):
            other.load(dearer(tables) if number % 2 else tables, "b")
        done.set()

    loading = threading.Thread(target=load_often)
    loading.start()
    seen = set()
    while not done.is_set():
        stamp, reference = store.read()  # a mixture would be "edited by hand"
        seen.add(stamp.version)
        assert reference.version == stamp.version
    loading.join()
    assert seen <= versions
    other.close()


def test_two_that_load_the_first_set_at_once_both_succeed(url, tables):
    stores = [Store(url) for _ in range(3)]
    told = []
    threads = [
        threading.Thread(target=lambda each=each: told.append(each.load(tables, "x"))) for each in stores
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(changed for _, changed in told) == [False, False, True]
    for each in stores:
        each.close()

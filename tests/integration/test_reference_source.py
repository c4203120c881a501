"""Which market a node names and a worker works on, and what happens when its database does not answer."""

import copy
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.progress import DoNotRetry
from penstock.tasks.habitat import loader
from penstock.tasks.habitat import source as source_module
from penstock.tasks.habitat.reference import packaged, packaged_rows
from penstock.tasks.habitat.source import URL, Source
from penstock.tasks.habitat.store import Store
from support.wait import until

PATIENCE_S = 1.0
"""Longer than the product's, so that a machine that stops for a moment is not taken for a second wait; yet
shorter than the attempt to connect, after which there is another."""

pytestmark = pytest.mark.slow


@pytest.fixture
def url(monkeypatch, tmp_path):
    told = f"sqlite:///{tmp_path / 'history.db'}"
    monkeypatch.setenv(URL, told)
    return told


@pytest.fixture
def store(url):
    opened = Store(url)
    yield opened
    opened.close()


def with_price(price):
    tables = copy.deepcopy(packaged_rows())
    tables["pricing"][1]["local"] = price
    return tables


def test_without_a_load_the_packaged_market_is_used_and_no_file_is_made(url, tmp_path):
    source = Source()
    assert source.reference() is packaged()
    assert source.data_version() == packaged().version
    assert list(tmp_path.iterdir()) == []


def test_a_worker_sees_a_load_at_once_and_a_node_within_its_second(store, monkeypatch):
    monkeypatch.setattr(source_module, "FRESH_S", 60.0)
    source = Source()
    assert source.data_version() == packaged().version
    stamp, _ = store.load(with_price("41000"), "test")
    assert source.reference().version == stamp.version
    assert source.data_version() == packaged().version, "asked the database again too soon"
    monkeypatch.setattr(source_module, "FRESH_S", 0.0)
    assert source.data_version() == f"{stamp.version}.1"
    assert source.reference() is source.reference(), "read all tables again for nothing"
    stamp, _ = store.load(with_price("42000"), "test")
    assert source.reference().version == stamp.version


def test_once_a_load_has_returned_no_node_names_the_old_market(url):
    source = Source()
    assert source.data_version() == packaged().version
    with ThreadPoolExecutor(1) as threads:
        loading = threads.submit(loader.load, url, None)
        while not loading.done():
            source.data_version()
    assert source.data_version() == f"{packaged().version}.1"
    assert loading.result()["changed"]


def test_content_that_came_back_has_a_name_of_its_own(store, monkeypatch):
    monkeypatch.setattr(source_module, "FRESH_S", 0.0)
    names = []
    for price in ("1", "2", "1"):
        store.load(with_price(price), "test")
        names.append(Source().data_version())
    assert len(set(names)) == 3


def test_a_worker_refuses_tables_that_were_changed_by_hand(store):
    store.load(with_price("1"), "test")
    with store._engine.execution_options(writes=True).begin() as db:
        db.exec_driver_sql("UPDATE penstock_pricing SET far = 2")
    with pytest.raises(DoNotRetry, match="penstock reference load"):
        Source().reference()


def test_a_database_that_does_not_answer_holds_a_node_up_once(monkeypatch):
    monkeypatch.setattr(source_module, "PATIENCE_S", PATIENCE_S)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(URL, f"postgresql://app@127.0.0.1:{silent.getsockname()[1]}/none")
        source = Source()
        spent = []
        for _ in range(20):
            began = time.monotonic()
            with pytest.raises(PenstockError) as refused:
                source.data_version()
            spent.append(time.monotonic() - began)
            assert refused.value.code is ErrorCode.HISTORY_UNAVAILABLE
            assert refused.value.retry_after_s
    assert spent[0] >= PATIENCE_S * 0.9
    assert sum(spent[1:]) < PATIENCE_S * 0.9


def test_what_takes_a_while_the_first_time_is_no_silence_of_the_database(monkeypatch):
    """A busy machine may need longer than the patience to read the packaged market."""
    readers = []

    def slowly():
        readers.append(threading.current_thread())
        return packaged()

    monkeypatch.setattr(source_module, "packaged", slowly)
    monkeypatch.delenv(URL, raising=False)
    assert Source().data_version() == packaged().version
    assert readers[0] is threading.current_thread(), "it is read before anybody is asked, and waited for"


def test_a_node_goes_on_when_its_database_is_back(monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    monkeypatch.setenv(URL, f"postgresql://app@127.0.0.1:{port}/none")
    source = Source()
    with pytest.raises(PenstockError):
        source.data_version()
    monkeypatch.setenv(URL, f"sqlite:///{tmp_path / 'other.db'}")
    assert until(source.data_version, what="it answers") == packaged().version


def test_threads_that_ask_together_read_the_market_once(store):
    store.load(with_price("1"), "test")
    source, found = Source(), []
    threads = [threading.Thread(target=lambda: found.append(source.reference())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(each) for each in found}) == 1

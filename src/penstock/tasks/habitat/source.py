"""Which market the task works on: the one that was loaded into SQL, else the packaged one.

Two ask. A node asks for the data version of a submission, on its event loop: so the answer may be
`FRESH_S` old, and is not waited for longer than `PATIENCE_S`. A worker asks for the market itself, at
every attempt: it must never be older than what the node saw.
"""

import importlib
import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from penstock.core.errors import history_unavailable
from penstock.core.progress import DoNotRetry
from penstock.tasks.habitat.reference import Reference, packaged

URL: Final = "PENSTOCK_REFERENCE_URL"
"""The variable by which a node tells its tasks, in all of its processes, where its database is."""

FRESH_S: Final = 1.0
PATIENCE_S: Final = 0.5

_SQLITE: Final = "sqlite:///"
_STORE: Final = "penstock.tasks.habitat.store"


class Source:
    """The market of the database that `URL` names; connects when there is something to ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._url: str | None = None
        self._store: Any = None
        self._market: tuple[Any, Reference] | None = None
        self._told: str | None = None
        self._told_at = 0.0
        self._asked: tuple[float, Future[str]] | None = None
        self._asker = ThreadPoolExecutor(1, "reference")

    def reference(self) -> Reference:
        """The market as it is now. Raises `DoNotRetry` if it is none, SQLAlchemyError if it cannot be had."""
        with self._lock:
            store = self._connect()
            stamp = store and store.stamp()
            if stamp is None:
                return packaged()
            if self._market is None or self._market[0] != stamp:
                self._market = _read(store)
            return self._market[1]

    def data_version(self) -> str:
        """Names the market, at most `FRESH_S` old. Raises HISTORY_UNAVAILABLE if nobody tells."""
        if self._told is not None and _fresh(self._told_at) and not self._moved():
            return self._told
        began, answer, patience_s = self._ask()
        try:
            told = answer.result(patience_s)
        except TimeoutError:
            raise history_unavailable("the reference data cannot be read: no answer") from None
        except Exception as failed:
            self._asked = None
            message = f"the reference data cannot be read: {type(failed).__name__}"
            raise history_unavailable(message) from failed
        self._asked, self._told, self._told_at = None, told, began
        return told

    def _ask(self) -> tuple[float, "Future[str]", float]:
        """The question that is under way, for which somebody has waited enough, or a new one."""
        if self._asked is not None and (_fresh(self._asked[0]) or not self._asked[1].done()):
            return *self._asked, 0.0
        _get_ready()
        self._asked = (time.monotonic(), self._asker.submit(self._version))
        return *self._asked, PATIENCE_S

    def _version(self) -> str:
        with self._lock:
            store = self._connect()
            stamp = store and store.stamp()
        return packaged().version if stamp is None else f"{stamp.version}.{stamp.serial}"

    def _moved(self) -> bool:
        return os.environ.get(URL) != self._url

    def _connect(self) -> Any:
        """The store, None where there is none to ask."""
        url = os.environ.get(URL)
        if url != self._url:
            if self._store is not None:
                self._store.close()
            self._url, self._store, self._market = url, None, None
        if self._store is None and url and _may_be_there(url):
            # SQLAlchemy takes a quarter of a second to import; who never loads a market is spared it.
            self._store = importlib.import_module(_STORE).Store(url)
        return self._store


def _get_ready() -> None:
    """Do what takes a while the first time, so that no database is taken for silent meanwhile."""
    packaged()
    url = os.environ.get(URL)
    if url and _may_be_there(url):
        importlib.import_module(_STORE)


def _fresh(began: float) -> bool:
    return time.monotonic() - began < FRESH_S


def _may_be_there(url: str) -> bool:
    return not url.startswith(_SQLITE) or Path(url.removeprefix(_SQLITE)).exists()


def _read(store: Any) -> tuple[Any, Reference]:
    try:
        found: tuple[Any, Reference] = store.read()
    except ValueError as broken:
        raise DoNotRetry(str(broken)) from broken
    return found


_source = Source()

reference = _source.reference
data_version = _source.data_version

"""Connections to the database of a URL, set up so that nothing waits for it for ever."""

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from penstock.core.errors import ErrorCode, PenstockError

BUSY_S = 5.0
"""How long a connection waits for another process that writes to the same SQLite file."""

CONNECT_S = 3
SILENCE_MS = 10_000
"""How long PostgreSQL may work on one statement, and how long the network may swallow what is sent."""

_DRIVERS = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


def make_engine(url: str) -> Engine:
    """An engine that has not connected yet. Raises INVALID_REQUEST for a URL that names no such database."""
    found = _read(url)
    return _sqlite(found) if found.drivername == "sqlite" else _postgresql(found)


def _read(url: str) -> URL:
    try:
        found = make_url(url)
        return found.set(drivername=_DRIVERS[found.drivername])
    except (
        ArgumentError,
        KeyError,
        ValueError,
    ):  # the text may hold a password: do not show it
        message = "PENSTOCK_DATABASE_URL starts with sqlite:/// or postgresql://"
        raise PenstockError(ErrorCode.INVALID_REQUEST, message) from None


def _sqlite(url: URL) -> Engine:
    if not url.database:
        message = "PENSTOCK_DATABASE_URL names no file; write sqlite:///path/to/history.db"
        raise PenstockError(ErrorCode.INVALID_REQUEST, message)
    engine = create_engine(url, connect_args={"timeout": BUSY_S, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None  # the driver would begin transactions too late, and as readers
        _write_ahead(connection)
        # A power cut may take the last transactions, cursor and rows alike; the feed brings them again.
        connection.execute("PRAGMA synchronous = NORMAL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if not reads_only(connection):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Several that make one new file at once are refused here without waiting for each other."""
    give_up = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return


def reads_only(connection: Connection) -> bool:
    """Whether it was asked for by `reading`."""
    return connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"


def reading(engine: Engine) -> Engine:
    """The same database for single questions, which need no transaction and block nobody."""
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def _postgresql(url: URL) -> Engine:
    bounded = f"-c statement_timeout={SILENCE_MS} -c idle_in_transaction_session_timeout={SILENCE_MS}"
    told = {
        "connect_timeout": CONNECT_S,
        "options": bounded,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": SILENCE_MS,
        "application_name": "penstock",
    }
    return create_engine(url, connect_args=told, pool_size=4, max_overflow=2, pool_recycle=1_800)


def make_file(engine: Engine) -> None:
    """A SQLite file and its folder, if it is not there yet, for nobody else to read. Raises OSError."""
    if engine.dialect.name == "sqlite" and engine.url.database:
        path = Path(engine.url.database).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)

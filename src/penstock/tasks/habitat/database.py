"""Connections to the database that holds the reference tables, and the migrations that make them."""

import importlib
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text

from penstock.tasks.habitat.schema import HEAD, VERSION_TABLE

FOLDER = Path(__file__).with_name("migrations")
LOCK = 0x50_45_4E_5F_52_45_46_53
"""PostgreSQL's advisory lock: one process migrates or loads at a time, the others wait."""

BUSY_S = 5.0
CONNECT_S = 2
SILENCE_MS = 10_000
"""How long a lock, a connection and a statement may be waited for."""


def make_engine(url: str) -> Engine:
    """An engine that has not connected yet, for ``sqlite:///path`` or ``postgresql://…``."""
    found = make_url(url)
    if found.get_backend_name() == "sqlite":
        return _sqlite(create_engine(found, connect_args={"timeout": BUSY_S, "check_same_thread": False}))
    bounded = f"-c statement_timeout={SILENCE_MS}"
    told = {
        "connect_timeout": CONNECT_S,
        "options": bounded,
        "tcp_user_timeout": SILENCE_MS,
        "application_name": "penstock reference",
    }
    return create_engine(
        found.set(drivername="postgresql+psycopg"),
        connect_args=told,
        pool_size=2,
        pool_recycle=1_800,
        pool_pre_ping=True,
    )


def _sqlite(engine: Engine) -> Engine:
    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None  # the driver would begin transactions too late
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def snapshot(engine: Engine) -> Engine:
    """The same database for questions that must fit each other."""
    return engine if engine.dialect.name == "sqlite" else _isolated(engine)


def _isolated(engine: Engine) -> Engine:
    return engine.execution_options(isolation_level="REPEATABLE READ")


def migrate(connection: Connection) -> None:
    """Run the migrations that are missing, inside the caller's transaction; nobody else writes meanwhile.

    Tables that a newer release has migrated are left as they are.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    if _version(connection) < HEAD:
        config = importlib.import_module("alembic.config").Config()  # seldom needed, slow to import
        config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        importlib.import_module("alembic.command").upgrade(config, "head")


def _version(connection: Connection) -> str:
    if not inspect(connection).has_table(VERSION_TABLE):
        return ""
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() or ""  # noqa: S608

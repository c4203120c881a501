"""Brings the tables up to date when history is opened, by any number of processes at once."""

import importlib
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from penstock.history.schema import HEAD, VERSION_TABLE

FOLDER = Path(__file__).with_name("migrations")
LOCK = 0x50_45_4E_53_54_4F_43_4B
"""PostgreSQL's advisory lock: one process migrates, the others wait and find it done."""


def migrate(engine: Engine) -> None:
    """Run the migrations that are missing, all in one transaction.

    A database that a newer release has migrated is left as it is: migrations only ever add.
    """
    with engine.begin() as connection:  # on SQLite this is the one writer, and so the lock
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        if version(connection) < HEAD:
            _upgrade(connection)


def version(connection: Connection) -> str:
    """The newest migration that was run; "" if none was."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return ""
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() or ""  # noqa: S608


def _upgrade(connection: Connection) -> None:
    # Nearly every start finds all done, and Alembic takes longer to import than the rest to open.
    alembic_config = importlib.import_module("alembic.config")
    command = importlib.import_module("alembic.command")
    config = alembic_config.Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")

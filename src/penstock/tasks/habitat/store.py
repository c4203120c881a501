"""The reference set in SQL: one load is one transaction, and whoever reads sees one load whole."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, inspect, select
from sqlalchemy.exc import DBAPIError

from penstock.tasks.habitat.database import make_engine, migrate, snapshot
from penstock.tasks.habitat.problems import BadReference
from penstock.tasks.habitat.reference import Reference, assemble, validated, version_of
from penstock.tasks.habitat.rows import Row
from penstock.tasks.habitat.schema import TABLES, loads


class Stamp(NamedTuple):
    """Which content there is. ``loaded_at`` is in UTC milliseconds.

    ``serial`` counts the loads: content that comes back after another one is a new answer's matter.
    """

    version: str
    serial: int
    loaded_at: int
    source: str


class EditedByHand(ValueError):
    """The tables have other rows than were loaded."""

    def __init__(self) -> None:
        super().__init__(
            "the reference tables were changed by something else than penstock reference load, so that"
            " answers cannot be told apart; load them again"
        )


class Store:
    """The reference tables of one database. Each call raises SQLAlchemyError when that cannot be had."""

    def __init__(self, url: str) -> None:
        self._file = file_of(url)
        self._engine = make_engine(url)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def stamp(self) -> Stamp | None:
        """One row; None if nothing was ever loaded."""
        with self._engine.connect() as connection:
            return _stamp(connection)

    def rows(self) -> tuple[Stamp, dict[str, list[Row]]] | None:
        """All rows in their order, as they stand."""
        with snapshot(self._engine).connect() as connection:
            stamp = _stamp(connection)
            return None if stamp is None else (stamp, {name: _rows(connection, name) for name in TABLES})

    def read(self) -> tuple[Stamp, Reference] | None:
        """The market. Raises `EditedByHand`, or `BadReference`."""
        found = self.rows()
        if found is None:
            return None
        stamp, tables = found
        reference = assemble(tables)
        if reference.version != stamp.version:
            raise EditedByHand
        return stamp, reference

    def load(self, tables: Mapping[str, list[Row]], source: str) -> tuple[Stamp, bool]:
        """Put these rows in the place of all others; whether they are other ones. Raises `BadReference`.

        Who reads meanwhile sees the old rows; if anything fails, they stay.
        """
        rows = validated(tables)
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.touch(mode=0o600)
        with self._engine.execution_options(writes=True).begin() as connection:
            migrate(connection)
            before, version = _stamp(connection), version_of(rows)
            if before and before.version == version and _unedited(connection, version):
                return before, False
            _replace(connection, rows)
            serial = before.serial + 1 if before else 1
            stamp = Stamp(version, serial, time.time_ns() // 1_000_000, source)
            connection.execute(delete(loads))
            connection.execute(insert(loads).values(id=1, **stamp._asdict()))
            return stamp, True


def file_of(url: str) -> Path | None:
    """The file of an SQLite URL, None for another kind."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def _stamp(connection: Connection) -> Stamp | None:
    columns = [loads.c[name] for name in Stamp._fields]
    try:
        found = connection.execute(select(*columns)).one_or_none()
    except DBAPIError:
        if connection.in_transaction():
            connection.rollback()
        if inspect(connection).has_table(loads.name):
            raise
        return None
    return None if found is None else Stamp(*found)


def _rows(connection: Connection, name: str) -> list[Row]:
    table = TABLES[name]
    columns = [column for column in table.c if column.name != "number"]
    found = connection.execute(select(*columns).order_by(table.c.number)).mappings()
    return [dict(row) for row in found]


def _unedited(connection: Connection, version: str) -> bool:
    try:
        return version_of(validated({name: _rows(connection, name) for name in TABLES})) == version
    except BadReference:
        return False


def _replace(connection: Connection, rows: Mapping[str, list[Any]]) -> None:
    for table in reversed(list(TABLES.values())):
        connection.execute(delete(table))
    for name, table in TABLES.items():
        new = [row.model_dump() | {"number": number} for number, row in enumerate(rows[name], 1)]
        if new:
            connection.execute(insert(table), new)

"""What ``penstock reference`` does; which finds this module by its name and knows nothing of markets."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from penstock.core.clock import iso
from penstock.core.errors import ErrorCode, PenstockError, history_unavailable
from penstock.tasks.habitat.files import read_folder, write_folder
from penstock.tasks.habitat.problems import BadReference
from penstock.tasks.habitat.reference import assemble, packaged_rows
from penstock.tasks.habitat.rows import TABLES, Row
from penstock.tasks.habitat.source import FRESH_S
from penstock.tasks.habitat.store import EditedByHand, Stamp, Store, file_of

PACKAGED = "the packaged set"
MARGIN_S = 0.1

Told = dict[str, Any]


def load(url: str, folder: Path | None) -> Told:
    """Put the files of a folder, or the packaged set, in the place of the tables.

    Returns when no node answers from the old ones any more. Raises VALIDATION_ERROR naming file, row and
    field; then nothing has changed.
    """
    with _plainly(_file_name if folder else _table_name), _store(url) as store:
        tables = packaged_rows() if folder is None else read_folder(folder)
        stamp, changed = store.load(tables, str(folder.absolute()) if folder else PACKAGED)
    if changed:
        time.sleep(FRESH_S + MARGIN_S)
    return _view(stamp, tables) | {"changed": changed}


def check(url: str, folder: Path | None) -> Told:
    """See that a folder, or what was loaded, makes a market. Raises VALIDATION_ERROR as `load` does."""
    if folder is not None:
        with _plainly(_file_name):
            tables = read_folder(folder)
            return {"version": assemble(tables).version, "source": str(folder.absolute())} | _counts(tables)
    with _plainly(_table_name), _there(url) as store:
        stamp, tables = _loaded(None if store is None else store.rows())
        if assemble(tables).version != stamp.version:
            raise EditedByHand
        return _view(stamp, tables)


def show(url: str) -> tuple[Told, dict[str, list[Row]]]:
    """What was loaded, else the packaged set, and its rows."""
    with _plainly(_table_name), _there(url) as store:
        found = None if store is None else store.rows()
    if found is None:
        tables = packaged_rows()
        return {"version": assemble(tables).version, "source": PACKAGED} | _counts(tables), tables
    return _view(*found), found[1]


def export(url: str, folder: Path) -> Told:
    """Write what was loaded, else the packaged set, as files that can be changed and loaded."""
    told, tables = show(url)
    try:
        write_folder(folder, tables)
    except OSError as failed:
        raise PenstockError(ErrorCode.INVALID_REQUEST, f"cannot write to {folder}: {failed}") from None
    return told | {"folder": str(folder.absolute())}


def _view(stamp: Stamp, tables: Mapping[str, list[Row]]) -> Told:
    told = stamp._asdict() | {"loaded_at": iso(stamp.loaded_at)}
    return told | _counts(tables)


def _counts(tables: Mapping[str, list[Row]]) -> Told:
    return {"rows": {name: len(tables[name]) for name in TABLES}}


def _loaded(found: tuple[Stamp, dict[str, list[Row]]] | None) -> tuple[Stamp, dict[str, list[Row]]]:
    if found is None:
        message = "no reference set was loaded; tasks use the packaged one. Load one: penstock reference load"
        raise PenstockError(ErrorCode.NOT_FOUND, message)
    return found


def _file_name(table: str) -> str:
    return f"{table}.csv"


def _table_name(table: str) -> str:
    return table


@contextlib.contextmanager
def _store(url: str) -> Iterator[Store]:
    store = Store(url)
    try:
        yield store
    finally:
        store.close()


@contextlib.contextmanager
def _there(url: str) -> Iterator[Any]:
    """The store, None if it would be a file that is not there: looking makes none."""
    file = file_of(url)
    if file is not None and not file.exists():
        yield None
        return
    with _store(url) as store:
        yield store


@contextlib.contextmanager
def _plainly(name: Any) -> Iterator[None]:
    """What may go wrong, as a refusal; ``name`` says of a table where its rows stand."""
    try:
        yield
    except BadReference as bad:
        told = [each._replace(table=name(each.table)) for each in bad.problems]
        fields = [each._asdict() for each in told]
        raise PenstockError(
            ErrorCode.VALIDATION_ERROR, str(BadReference(told)), {"problems": fields}
        ) from None
    except EditedByHand as edited:
        raise PenstockError(ErrorCode.CONFLICT, str(edited)) from None
    except (SQLAlchemyError, OSError) as failed:
        raise history_unavailable(f"the database cannot be had: {type(failed).__name__}") from failed

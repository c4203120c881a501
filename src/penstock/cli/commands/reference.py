"""``penstock reference``: load, check and show the data that tasks look things up in."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.app.reference import reference_url
from penstock.cli import show as shown
from penstock.cli.run import Json, plain_errors, settings
from penstock.core.errors import ErrorCode, PenstockError

LOADER = "penstock.tasks.habitat.loader"
"""Known by name only, as tasks are."""

Folder = Annotated[Path | None, typer.Argument(help="Folder of CSV files, one per table.")]
Target = Annotated[Path, typer.Argument(help="Folder for the CSV files; is made if it is not there.")]
TableName = Annotated[str | None, typer.Argument(help="Table whose rows are wanted.")]
Database = Annotated[
    str | None, typer.Option("--database", help="Database URL. [PENSTOCK_DATABASE_URL]", show_default=False)
]


def command() -> typer.Typer:
    """Reference data. It lies in the database of history, so these commands go there, not to a node."""
    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        help="Reference data: banks, prices, stock, trading rules.",
    )

    @app.command()
    def load(folder: Folder = None, database: Database = None, as_json: Json = False) -> None:
        """Replace the reference data by a folder's, or by the packaged set, all at once or not at all."""
        told = _asked(lambda loader, url: loader.load(url, folder), database, as_json=as_json)
        word = "loaded" if told["changed"] else "nothing changed, this is loaded already"
        _tell(told, word, as_json=as_json)

    @app.command()
    def check(folder: Folder = None, database: Database = None, as_json: Json = False) -> None:
        """Check a folder, or without one what was loaded; problems name file, row and field."""
        told = _asked(lambda loader, url: loader.check(url, folder), database, as_json=as_json)
        _tell(told, "all is well", as_json=as_json)

    @app.command()
    def show(table: TableName = None, database: Database = None, as_json: Json = False) -> None:
        """Show which data tasks use, or the rows of one table."""
        told, tables = _asked(lambda loader, url: loader.show(url), database, as_json=as_json)
        if table is None:
            _tell(told, "in use", as_json=as_json)
            return
        with plain_errors(as_json=as_json):
            rows = _rows(tables, table)
        if as_json:
            shown.as_json(rows)
        else:
            shown.table(list(rows[0]) if rows else [], [list(row.values()) for row in rows], "it is empty")

    @app.command()
    def export(folder: Target, database: Database = None, as_json: Json = False) -> None:
        """Write the data that tasks use as CSV files, to be changed and loaded."""
        told = _asked(lambda loader, url: loader.export(url, folder), database, as_json=as_json)
        _tell(told, f"written to {told['folder']}", as_json=as_json)

    return app


def _asked(question: Callable[[Any, str], Any], database: str | None, *, as_json: bool) -> Any:
    with plain_errors(as_json=as_json):
        url = reference_url(settings(database_url=database))
        return question(importlib.import_module(LOADER), url)


def _rows(tables: dict[str, list[dict[str, Any]]], name: str) -> list[dict[str, Any]]:
    if name not in tables:
        message = f"there is no table {name!r}; known tables: {', '.join(tables)}"
        raise PenstockError(ErrorCode.NOT_FOUND, message)
    return tables[name]


def _tell(told: dict[str, Any], word: str, *, as_json: bool) -> None:
    if as_json:
        shown.as_json(told)
        return
    when = f", loaded {told['loaded_at']}" if "loaded_at" in told else ""
    shown.console.print(f"{word}: data version {told['version']}{when}", markup=False, soft_wrap=True)
    shown.console.print(f"from {told['source']}", markup=False, soft_wrap=True)
    shown.table(("table", "rows"), told["rows"].items(), "")

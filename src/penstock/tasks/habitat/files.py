"""A reference set as a folder of CSV files, one per table, with the columns of `rows`."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from penstock.tasks.habitat.problems import BadReference, Problem
from penstock.tasks.habitat.rows import TABLES, Row


def read_folder(folder: Path) -> dict[str, list[Row]]:
    """The rows of its files as texts. Raises `BadReference` for files that are missing or no CSV."""
    problems: list[Problem] = []
    tables = {name: _read(folder / f"{name}.csv", name, problems) for name in TABLES}
    if problems:
        raise BadReference(problems)
    return tables


def write_folder(folder: Path, tables: Mapping[str, list[Row]]) -> None:
    """Write files that `read_folder` reads. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in TABLES.items():
        text = io.StringIO()
        writer = csv.DictWriter(text, list(model.model_fields), lineterminator="\n")
        writer.writeheader()
        writer.writerows(tables[name])
        (folder / f"{name}.csv").write_text(text.getvalue(), "utf-8")


def _read(path: Path, name: str, problems: list[Problem]) -> list[Row]:
    try:
        text = path.read_text("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows: list[Row] = list(reader)
    except OSError as failed:
        problems.append(Problem(name, None, "file", failed.strerror or str(failed)))
    except (UnicodeDecodeError, csv.Error) as failed:
        problems.append(Problem(name, None, "file", f"is no CSV in UTF-8: {failed}"))
    else:
        problems += _misshapen(name, rows, reader.fieldnames or ())
        return rows
    return []


def _misshapen(name: str, rows: list[Row], header: object) -> list[Problem]:
    wanted = list(TABLES[name].model_fields)
    if not isinstance(header, list) or sorted(map(str, header)) != sorted(wanted):
        return [Problem(name, None, "header", f"must be {','.join(wanted)}")]
    long = [
        Problem(name, number, "row", "has too many fields")
        for number, row in enumerate(rows, 1)
        if None in row
    ]
    short = [
        Problem(name, number, field, "is missing")
        for number, row in enumerate(rows, 1)
        for field in wanted
        if row[field] is None
    ]
    return long + short

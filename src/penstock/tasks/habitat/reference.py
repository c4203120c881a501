"""The market that demands are met from: banks, habitats, stock, prices, rules and who is whose neighbour.

A `Reference` is a plain value. `packaged` reads the synthetic set that comes with Penstock; another source
only has to hand the same rows to `assemble`, which checks them.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import ValidationError

from penstock.core.problems import in_words
from penstock.tasks.habitat.problems import BadReference, Problem, between_rows
from penstock.tasks.habitat.rows import (
    TABLES,
    Bank,
    Habitat,
    Neighbours,
    Price,
    Row,
    Rule,
    Stock,
    TableRow,
)


@dataclass(frozen=True)
class Reference:
    """All tables, by key. ``version`` follows from the rows and changes with any of them."""

    banks: Mapping[str, Bank]
    habitats: Mapping[str, Habitat]
    stock: Mapping[tuple[str, str], Stock]
    prices: Mapping[tuple[str, str, str], Price]
    ranks: Mapping[str, int]
    srm: Mapping[str, float]
    rules: Mapping[tuple[str, str], Rule]
    neighbours: Mapping[tuple[str, str], frozenset[str]]
    version: str


@cache
def packaged() -> Reference:
    """The synthetic reference set: none of its banks, prices or stocks is real."""
    return assemble(packaged_rows())


def assemble(tables: Mapping[str, list[Row]]) -> Reference:
    """A reference from rows as texts or values. Raises `BadReference`."""
    rows = validated(tables)
    return Reference(
        banks={row.bank: row for row in rows["banks"]},
        habitats={row.habitat: row for row in rows["habitats"]},
        stock={(row.bank, row.habitat): row for row in rows["stock"]},
        prices={(row.bank, row.habitat, row.size): row for row in rows["pricing"]},
        ranks={row.distinctiveness: row.rank for row in rows["levels"]},
        srm={row.tier: row.srm for row in rows["srm"]},
        rules={(row.ledger, row.distinctiveness): row.rule for row in rows["trading_rules"]},
        neighbours=_neighbours(rows["neighbours"]),
        version=version_of(rows),
    )


def packaged_rows() -> dict[str, list[Row]]:
    """The rows of `packaged`, as texts."""
    return {name: _read(name) for name in TABLES}


def _read(name: str) -> list[Row]:
    text = (files(__package__) / "data" / f"{name}.csv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def validated(tables: Mapping[str, list[Row]]) -> dict[str, list[Any]]:
    """The rows as models. Raises `BadReference` that knows every problem."""
    read = {
        name: [_read_row(name, number, row) for number, row in enumerate(tables[name], 1)] for name in TABLES
    }
    problems = [
        each for rows in read.values() for row in rows if not isinstance(row, TableRow) for each in row
    ]
    if not problems:
        problems = list(between_rows(read))
    if problems:
        raise BadReference(problems)
    return read


def _read_row(name: str, number: int, row: Row) -> TableRow | list[Problem]:
    try:
        return TABLES[name].model_validate(row)
    except ValidationError as invalid:
        found = in_words(invalid.errors(), model=TABLES[name])
        return [Problem(name, number, field or "row", said) for field, said in found]


def _neighbours(rows: Iterable[Neighbours]) -> dict[tuple[str, str], frozenset[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        found.setdefault((row.kind, row.one), set()).add(row.other)
        found.setdefault((row.kind, row.other), set()).add(row.one)
    return {key: frozenset(others) for key, others in found.items()}


def version_of(rows: Mapping[str, list[TableRow]]) -> str:
    """16 hex digits that follow from the content, in whatever order it stands."""
    plain = {name: sorted(row.model_dump_json() for row in table) for name, table in rows.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]

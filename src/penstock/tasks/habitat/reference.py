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

from penstock.tasks.habitat.rows import (
    SIZES,
    TABLES,
    TIERS,
    Bank,
    Habitat,
    Neighbours,
    Price,
    Row,
    Rule,
    Stock,
    TableRow,
)


class BadReference(ValueError):
    """Rows that make no market; the message names table and row."""


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
    return assemble({name: _read(name) for name in TABLES})


def assemble(tables: Mapping[str, list[Row]]) -> Reference:
    """A reference from rows as texts or values. Raises `BadReference`."""
    rows = {name: _validated(name, tables[name]) for name in TABLES}
    reference = Reference(
        banks=_keyed("banks", rows["banks"], "bank"),
        habitats=_keyed("habitats", rows["habitats"], "habitat"),
        stock=_keyed("stock", rows["stock"], "bank", "habitat"),
        prices=_keyed("pricing", rows["pricing"], "bank", "habitat", "size"),
        ranks={key: row.rank for key, row in _keyed("levels", rows["levels"], "distinctiveness").items()},
        srm={key: row.srm for key, row in _keyed("srm", rows["srm"], "tier").items()},
        rules={
            key: row.rule
            for key, row in _keyed(
                "trading_rules", rows["trading_rules"], "ledger", "distinctiveness"
            ).items()
        },
        neighbours=_neighbours(rows["neighbours"]),
        version=_version(rows),
    )
    _check(reference)
    return reference


def _read(name: str) -> list[Row]:
    text = (files(__package__) / "data" / f"{name}.csv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def _validated(name: str, rows: list[Row]) -> list[Any]:
    return [_read_row(name, number, row) for number, row in enumerate(rows, 1)]


def _read_row(name: str, number: int, row: Row) -> TableRow:
    try:
        return TABLES[name].model_validate(row)
    except ValidationError as invalid:
        first = invalid.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise BadReference(f"{name}, row {number}, {field}: {first['msg']}") from None


def _keyed(name: str, rows: list[Any], *fields: str) -> dict[Any, Any]:
    keyed: dict[Any, Any] = {}
    for row in rows:
        parts = tuple(getattr(row, field) for field in fields)
        key = parts if len(parts) > 1 else parts[0]
        if key in keyed:
            raise BadReference(f"{name}: {key} occurs more than once")
        keyed[key] = row
    return keyed


def _neighbours(rows: Iterable[Neighbours]) -> dict[tuple[str, str], frozenset[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        found.setdefault((row.kind, row.one), set()).add(row.other)
        found.setdefault((row.kind, row.other), set()).add(row.one)
    return {key: frozenset(others) for key, others in found.items()}


def _version(rows: Mapping[str, list[TableRow]]) -> str:
    plain = {name: sorted(row.model_dump_json() for row in table) for name, table in rows.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _check(reference: Reference) -> None:
    """Rows must name only what there is, and leave nothing open."""
    for problem in (*_unknown(reference), *_missing(reference)):
        raise BadReference(problem)


def _unknown(reference: Reference) -> Iterable[str]:
    for kind in reference.habitats.values():
        if kind.distinctiveness not in reference.ranks:
            yield f"habitats: {kind.habitat} has an unknown distinctiveness {kind.distinctiveness!r}"
    for table, keys in (("stock", [*reference.stock]), ("pricing", [key[:2] for key in reference.prices])):
        for bank, habitat in keys:
            if bank not in reference.banks:
                yield f"{table}: there is no bank {bank!r}"
            if habitat not in reference.habitats:
                yield f"{table}: there is no habitat {habitat!r}"
    for held in reference.stock.values():
        if held.quoted > held.available:
            yield f"stock: {held.bank} has quoted more {held.habitat} than it has"


def _missing(reference: Reference) -> Iterable[str]:
    for tier in TIERS:
        if tier not in reference.srm:
            yield f"srm: tier {tier} is missing"
    for kind in reference.habitats.values():
        if (kind.ledger, kind.distinctiveness) not in reference.rules:
            yield f"trading_rules: {kind.ledger} {kind.distinctiveness} is missing"
    for bank, habitat in reference.stock:
        for size in SIZES:
            if (bank, habitat, size) not in reference.prices:
                yield f"pricing: {bank} has no {size} price for {habitat}"

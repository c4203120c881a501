"""What is wrong with rows that should make a market, each with its table, row and field."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from penstock.tasks.habitat.rows import SIZES, TIERS

MOST_TOLD = 20

Rows = Mapping[str, list[Any]]

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "levels": ("distinctiveness",),
    "srm": ("tier",),
    "banks": ("bank",),
    "habitats": ("habitat",),
    "trading_rules": ("ledger", "distinctiveness"),
    "stock": ("bank", "habitat"),
    "pricing": ("bank", "habitat", "size"),
    "neighbours": ("kind", "one", "other"),
}
"""What names a row of each table; a table comes after those whose rows its own name."""

NAMED: Final[tuple[tuple[str, str, str], ...]] = (
    ("habitats", "distinctiveness", "levels"),
    ("trading_rules", "distinctiveness", "levels"),
    ("stock", "bank", "banks"),
    ("stock", "habitat", "habitats"),
    ("pricing", "bank", "banks"),
    ("pricing", "habitat", "habitats"),
)
"""A table, and the field in which it names a row of another one."""


class Problem(NamedTuple):
    """``row`` counts from 1, without the header; None if a row is missing."""

    table: str
    row: int | None
    field: str
    said: str

    def __str__(self) -> str:
        """As a person reads it."""
        place = f"row {self.row}, {self.field}" if self.row is not None else self.field
        return f"{self.table}, {place}: {self.said}"


class BadReference(ValueError):
    """Rows that make no market; the message tells the first problems, each with table, row and field."""

    def __init__(self, problems: list[Problem]) -> None:
        told = [str(each) for each in problems[:MOST_TOLD]]
        more = [f"and {len(problems) - MOST_TOLD} more"] if len(problems) > MOST_TOLD else []
        super().__init__("; ".join(told + more))
        self.problems = problems


def between_rows(rows: Rows) -> Iterator[Problem]:
    """Rows that are well alone must name only what there is, once, and leave nothing open."""
    yield from _repeated(rows)
    yield from _unknown(rows)
    yield from _overquoted(rows)
    yield from _missing(rows)


def key_of(table: str, row: Any) -> tuple[Any, ...]:
    """What names the row."""
    return tuple(getattr(row, field) for field in KEYS[table])


def _repeated(rows: Rows) -> Iterator[Problem]:
    for table, fields in KEYS.items():
        first: dict[tuple[Any, ...], int] = {}
        for number, row in enumerate(rows[table], 1):
            key = key_of(table, row)
            known = first.setdefault(key, number)
            if known != number:
                said = f"{', '.join(map(str, key))} occurs more than once, first in row {known}"
                yield Problem(table, number, "+".join(fields), said)


def _unknown(rows: Rows) -> Iterator[Problem]:
    for table, field, other in NAMED:
        known = {key_of(other, row)[0] for row in rows[other]}
        for number, row in enumerate(rows[table], 1):
            named = getattr(row, field)
            if named not in known:
                yield Problem(table, number, field, f"there is no {named!r} in {other}")


def _overquoted(rows: Rows) -> Iterator[Problem]:
    for number, held in enumerate(rows["stock"], 1):
        if held.quoted > held.available:
            yield Problem("stock", number, "quoted", f"more than the {held.available:g} that are available")


def _missing(rows: Rows) -> Iterator[Problem]:
    tiers = {row.tier for row in rows["srm"]}
    yield from (Problem("srm", None, "tier", f"{tier} is missing") for tier in TIERS if tier not in tiers)
    rules = {key_of("trading_rules", row) for row in rows["trading_rules"]}
    for number, kind in enumerate(rows["habitats"], 1):
        if (kind.ledger, kind.distinctiveness) not in rules:
            said = f"trading_rules has no row for {kind.ledger}, {kind.distinctiveness}"
            yield Problem("habitats", number, "distinctiveness", said)
    prices = {key_of("pricing", row) for row in rows["pricing"]}
    for number, held in enumerate(rows["stock"], 1):
        for size in SIZES:
            if (held.bank, held.habitat, size) not in prices:
                said = f"pricing has no {size} price of {held.habitat} at {held.bank}"
                yield Problem("stock", number, "habitat", said)

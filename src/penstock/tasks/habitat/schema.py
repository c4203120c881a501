"""The reference tables in SQL, as the newest migration leaves them; ``number`` is a row's place in its file.

A change here needs a migration in ``migrations/versions``; a test compares the two. The database is that
of history, whose tables and migrations these know nothing of.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Integer, MetaData, String, Table, Text

HEAD: Final = "0001"
VERSION_TABLE: Final = "penstock_reference_version"

metadata = MetaData()


def _number() -> Column[int]:
    return Column("number", Integer, nullable=False)


levels = Table(
    "penstock_distinctiveness_levels",
    metadata,
    Column("distinctiveness", String(100), primary_key=True),
    Column("rank", Integer, nullable=False),
    _number(),
)
srm = Table(
    "penstock_srm",
    metadata,
    Column("tier", String(20), primary_key=True),
    Column("srm", Double, nullable=False),
    _number(),
)
banks = Table(
    "penstock_banks",
    metadata,
    Column("bank", String(100), primary_key=True),
    Column("lpa", String(100), nullable=False),
    Column("nca", String(100), nullable=False),
    _number(),
)
habitats = Table(
    "penstock_habitat_catalog",
    metadata,
    Column("habitat", String(100), primary_key=True),
    Column("ledger", String(20), nullable=False),
    Column("broad_type", String(100), nullable=False),
    Column("distinctiveness", String(100), ForeignKey(levels.c.distinctiveness), nullable=False),
    _number(),
)
trading_rules = Table(
    "penstock_trading_rules",
    metadata,
    Column("ledger", String(20), primary_key=True),
    Column("distinctiveness", String(100), ForeignKey(levels.c.distinctiveness), primary_key=True),
    Column("rule", String(40), nullable=False),
    _number(),
)
stock = Table(
    "penstock_stock",
    metadata,
    Column("bank", String(100), ForeignKey(banks.c.bank), primary_key=True),
    Column("habitat", String(100), ForeignKey(habitats.c.habitat), primary_key=True),
    Column("available", Double, nullable=False),
    Column("quoted", Double, nullable=False),
    _number(),
)
pricing = Table(
    "penstock_pricing",
    metadata,
    Column("bank", String(100), ForeignKey(banks.c.bank), primary_key=True),
    Column("habitat", String(100), ForeignKey(habitats.c.habitat), primary_key=True),
    Column("size", String(20), primary_key=True),
    Column("local", Double, nullable=False),
    Column("adjacent", Double, nullable=False),
    Column("far", Double, nullable=False),
    _number(),
)
neighbours = Table(
    "penstock_neighbours",
    metadata,
    Column("kind", String(20), primary_key=True),
    Column("one", String(100), primary_key=True),
    Column("other", String(100), primary_key=True),
    _number(),
)
loads = Table(
    "penstock_reference",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", String(16), nullable=False),
    Column("serial", BigInteger, nullable=False),
    Column("loaded_at", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
)
"""One row: which content the tables have. ``serial`` counts the loads that changed it."""

TABLES: Final[Mapping[str, Table]] = {
    "levels": levels,
    "srm": srm,
    "banks": banks,
    "habitats": habitats,
    "trading_rules": trading_rules,
    "stock": stock,
    "pricing": pricing,
    "neighbours": neighbours,
}
"""By the name of the file; a table comes after those whose rows its own name."""

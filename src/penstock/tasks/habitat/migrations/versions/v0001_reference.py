"""The reference tables, and which content they have."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BANK, _HABITAT = "penstock_banks.bank", "penstock_habitat_catalog.habitat"
_LEVEL = "penstock_distinctiveness_levels.distinctiveness"


def _name(name: str, of: str | None = None, *, key: bool = False) -> sa.Column[str]:
    known = [] if of is None else [sa.ForeignKey(of)]
    return sa.Column(name, sa.String(100), *known, primary_key=key, nullable=False)


def _word(name: str, length: int = 20, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), primary_key=key, nullable=False)


def _amount(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=False)


def _number() -> sa.Column[int]:
    return sa.Column("number", sa.Integer, nullable=False)


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "penstock_distinctiveness_levels",
        _name("distinctiveness", key=True),
        sa.Column("rank", sa.Integer, nullable=False),
        _number(),
    )
    op.create_table("penstock_srm", _word("tier", key=True), _amount("srm"), _number())
    op.create_table("penstock_banks", _name("bank", key=True), _name("lpa"), _name("nca"), _number())
    op.create_table(
        "penstock_habitat_catalog",
        _name("habitat", key=True),
        _word("ledger"),
        _name("broad_type"),
        _name("distinctiveness", _LEVEL),
        _number(),
    )
    op.create_table(
        "penstock_trading_rules",
        _word("ledger", key=True),
        _name("distinctiveness", _LEVEL, key=True),
        _word("rule", 40),
        _number(),
    )
    _market()
    op.create_table(
        "penstock_neighbours",
        _word("kind", key=True),
        _name("one", key=True),
        _name("other", key=True),
        _number(),
    )
    op.create_table(
        "penstock_reference",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        _word("version", 16),
        sa.Column("serial", sa.BigInteger, nullable=False),
        sa.Column("loaded_at", sa.BigInteger, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
    )


def _market() -> None:
    op.create_table(
        "penstock_stock",
        _name("bank", _BANK, key=True),
        _name("habitat", _HABITAT, key=True),
        _amount("available"),
        _amount("quoted"),
        _number(),
    )
    op.create_table(
        "penstock_pricing",
        _name("bank", _BANK, key=True),
        _name("habitat", _HABITAT, key=True),
        _word("size", key=True),
        _amount("local"),
        _amount("adjacent"),
        _amount("far"),
        _number(),
    )

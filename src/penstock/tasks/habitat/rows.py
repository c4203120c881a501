"""The rows of the reference data: what each table holds, in which units and bounds."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Ledger = Literal["area", "hedgerow", "watercourse"]
Tier = Literal["local", "adjacent", "far"]
Size = Literal["fractional", "small", "medium", "large"]
Rule = Literal[
    "bespoke",
    "same_habitat",
    "same_habitat_or_better",
    "same_type",
    "same_type_or_better",
    "same_level_or_better",
    "better",
]
TIERS: Final[tuple[Tier, ...]] = get_args(Tier)
SIZES: Final[tuple[Size, ...]] = get_args(Size)

Name = Annotated[str, Field(min_length=1, max_length=100)]
Amount = Annotated[float, Field(ge=0, le=1e9)]

Row = dict[str, Any]


class TableRow(BaseModel):
    """A row of any table; texts are read as numbers where a number is due."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Bank(TableRow):
    """Where units are made: a planning authority (LPA) and a national character area (NCA)."""

    bank: Name
    lpa: Name
    nca: Name


class Habitat(TableRow):
    """A kind of unit."""

    habitat: Name
    ledger: Ledger
    broad_type: Name
    distinctiveness: Name


class Stock(TableRow):
    """Units of a habitat at a bank: in all, and how many of them are quoted to somebody."""

    bank: Name
    habitat: Name
    available: Amount
    quoted: Amount


class Price(TableRow):
    """Price of one unit in pounds, per contract size and tier; the tier's multiplier is in it already."""

    bank: Name
    habitat: Name
    size: Size
    local: Annotated[float, Field(gt=0, le=1e9)]
    adjacent: Annotated[float, Field(gt=0, le=1e9)]
    far: Annotated[float, Field(gt=0, le=1e9)]


class Level(TableRow):
    """A distinctiveness and its rank; higher is better."""

    distinctiveness: Name
    rank: int


class Multiplier(TableRow):
    """Spatial risk multiplier (SRM) of a tier: a unit from there counts so much."""

    tier: Tier
    srm: Annotated[float, Field(gt=0, le=1)]


class TradingRule(TableRow):
    """What may replace a habitat of this ledger and distinctiveness."""

    ledger: Ledger
    distinctiveness: Name
    rule: Rule


class Neighbours(TableRow):
    """Two areas of one kind that touch; holds in both directions."""

    kind: Literal["lpa", "nca"]
    one: Name
    other: Name


TABLES: Final[Mapping[str, type[TableRow]]] = {
    "banks": Bank,
    "habitats": Habitat,
    "stock": Stock,
    "pricing": Price,
    "levels": Level,
    "srm": Multiplier,
    "trading_rules": TradingRule,
    "neighbours": Neighbours,
}

"""The rules of the market, each a small function: how near, what replaces what, how large, what is left."""

from typing import Final

from penstock.tasks.habitat.reference import Reference
from penstock.tasks.habitat.rows import SIZES, Bank, Habitat, Rule, Size, Stock, Tier

ADMIN_FEE: Final = 500.0
FRACTIONAL_FEE: Final = 300.0

_BELOW: Final[tuple[tuple[float, Size], ...]] = ((0.1, "fractional"), (2.5, "small"), (15.0, "medium"))


def tier_of(
    bank: Bank, lpa: str, nca: str, lpa_neighbours: frozenset[str], nca_neighbours: frozenset[str]
) -> Tier:
    """How near a bank is to the target: the nearer of what its LPA and its NCA say."""
    if bank.lpa == lpa or bank.nca == nca:
        return "local"
    if bank.lpa in lpa_neighbours or bank.nca in nca_neighbours:
        return "adjacent"
    return "far"


def size_of(units: float) -> Size:
    """Contract size by the units of all demands together."""
    return next((size for limit, size in _BELOW if units < limit), "large")


def larger(size: Size) -> Size:
    """The next contract size; a large one stays."""
    return SIZES[min(SIZES.index(size) + 1, len(SIZES) - 1)]


def fee(size: Size) -> float:
    """Admin fee in pounds."""
    return FRACTIONAL_FEE if size == "fractional" else ADMIN_FEE


def most_banks(units: float) -> int:
    """How many banks an allocation of so many units may use."""
    return 5 if units > 5 else 2


def left(stock: Stock, hold_percent: int) -> float:
    """Units that may be taken when so many percent of the quoted ones are held back."""
    return stock.available - stock.quoted * hold_percent / 100


def may_replace(reference: Reference, demand: Habitat, supply: Habitat) -> bool:
    """Whether the trading rule of the demand's ledger and distinctiveness allows the supply."""
    if supply.ledger != demand.ledger:
        return False
    rule: Rule = reference.rules[demand.ledger, demand.distinctiveness]
    gain = reference.ranks[supply.distinctiveness] - reference.ranks[demand.distinctiveness]
    same_habitat, same_type = supply.habitat == demand.habitat, supply.broad_type == demand.broad_type
    return {
        "bespoke": False,
        "same_habitat": same_habitat,
        "same_habitat_or_better": same_habitat or gain > 0,
        "same_type": same_type and gain >= 0,
        "same_type_or_better": (same_type and gain >= 0) or gain > 0,
        "same_level_or_better": gain >= 0,
        "better": gain > 0,
    }[rule]

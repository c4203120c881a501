"""Every legal way to meet a demand in full from one bank, with its price and what it takes from the stock."""

from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple

from penstock.tasks.habitat import rules
from penstock.tasks.habitat.reference import Reference
from penstock.tasks.habitat.rows import Habitat, Size, Tier

SHARE_OF_PRIMARY: Final[Mapping[Tier, float]] = {"adjacent": 0.75, "far": 0.5}
"""The rest of a pair is its companion, which makes up for the distance. Nobody pairs locally."""


class Demand(NamedTuple):
    """So many units of a habitat, in full."""

    number: int
    habitat: str
    units: float


class Terms(NamedTuple):
    """What else decides prices and stock: tier per bank, price list, factor on it, quoted stock held back."""

    tiers: Mapping[str, Tier]
    size: Size
    factor: float
    hold_percent: int


class Option(NamedTuple):
    """One way. ``takes`` is stock per habitat, in units; ``unit_price`` is in pounds per demanded unit."""

    demand: Demand
    bank: str
    supply: str
    companion: str | None
    tier: Tier
    unit_price: float
    takes: Mapping[str, float]

    @property
    def kind(self) -> Literal["normal", "paired"]:
        """Whether a companion makes up for the distance."""
        return "normal" if self.companion is None else "paired"

    @property
    def cost(self) -> float:
        """In pounds."""
        return self.demand.units * self.unit_price


def options(reference: Reference, demand: Demand, terms: Terms) -> Iterator[Option]:
    """All of them. None if no bank sells what may replace the habitat, or too little."""
    wanted = reference.habitats[demand.habitat]
    for bank, supply in reference.stock:
        offered = reference.habitats[supply]
        if rules.may_replace(reference, wanted, offered):
            normal = _normal(reference, demand, terms, bank, supply)
            paired = _paired(reference, demand, terms, bank, offered)
            yield from (each for each in (normal, paired) if each and _in_stock(reference, terms, each))


def _normal(reference: Reference, demand: Demand, terms: Terms, bank: str, supply: str) -> Option:
    tier = terms.tiers[bank]
    takes = {supply: demand.units / reference.srm[tier]}
    return Option(demand, bank, supply, None, tier, _price(reference, terms, bank, supply), takes)


def _paired(reference: Reference, demand: Demand, terms: Terms, bank: str, primary: Habitat) -> Option | None:
    """Primary and cheapest companion at one bank, shared out so that the primary alone meets the demand."""
    tier = terms.tiers[bank]
    share = SHARE_OF_PRIMARY.get(tier)
    if primary.ledger != "area" or share is None:
        return None
    taken = demand.units / reference.srm[tier]
    companion = _cheapest_companion(reference, terms, bank, primary, (1 - share) * taken)
    if companion is None:
        return None
    price = share * _price(reference, terms, bank, primary.habitat)
    price += (1 - share) * _price(reference, terms, bank, companion)
    takes = {primary.habitat: share * taken, companion: (1 - share) * taken}
    return Option(demand, bank, primary.habitat, companion, tier, price, takes)


def _cheapest_companion(
    reference: Reference, terms: Terms, bank: str, primary: Habitat, units: float
) -> str | None:
    """Any other habitat of the ledger of which the bank has so many units left."""
    others = [
        (_price(reference, terms, bank, habitat), habitat)
        for (where, habitat), held in reference.stock.items()
        if where == bank
        and habitat != primary.habitat
        and reference.habitats[habitat].ledger == primary.ledger
        and rules.left(held, terms.hold_percent) >= units
    ]
    return min(others)[1] if others else None


def _price(reference: Reference, terms: Terms, bank: str, habitat: str) -> float:
    row = reference.prices[bank, habitat, terms.size]
    return float(getattr(row, terms.tiers[bank])) * terms.factor


def _in_stock(reference: Reference, terms: Terms, option: Option) -> bool:
    return all(
        units <= rules.left(reference.stock[option.bank, habitat], terms.hold_percent) + 1e-9
        for habitat, units in option.takes.items()
    )

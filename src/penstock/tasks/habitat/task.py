"""The task ``habitat_allocation``: the cheapest legal purchase of biodiversity units for a development."""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from penstock.core.progress import DoNotRetry, Progress
from penstock.core.task import task
from penstock.core.text import did_you_mean
from penstock.tasks.habitat import rules, source
from penstock.tasks.habitat.choice import Unsolved, choose
from penstock.tasks.habitat.options import Demand, Option, Terms, options
from penstock.tasks.habitat.reference import Reference
from penstock.tasks.habitat.rows import Size, Tier

MOST_DEMANDS = 100

Area = Annotated[str, Field(min_length=1, max_length=100)]
Areas = Annotated[list[Area], Field(max_length=200)]
Units = Annotated[float, Field(gt=0, le=10_000)]


class DemandTable(BaseModel):
    """What must be bought: one habitat and its units per place of the two lists."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    habitat_name: list[Area] = Field(min_length=1, max_length=MOST_DEMANDS, description="Habitats lost.")
    units_required: list[Units] = Field(
        min_length=1, max_length=MOST_DEMANDS, description="Biodiversity units of each, a count."
    )

    @field_validator("units_required")
    @classmethod
    def _as_many(cls, units: list[float], info: ValidationInfo) -> list[float]:
        if len(units) != len(info.data.get("habitat_name", units)):
            raise ValueError("must be as many as habitat_name")
        return units


class Promoter(BaseModel):
    """What a promoter has agreed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["percentage", "tier_up"] = Field(
        description="A discount on every price, or the prices of the next larger contract size."
    )
    percent: float = Field(0.0, ge=0, lt=100, description="Discount, in %; for percentage only.")


class Request(BaseModel):
    """A development: what it must buy, where it lies, and on which terms."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    demand_df: DemandTable = Field(description="What must be bought.")
    target_lpa: Area = Field(description="Local planning authority of the development.")
    target_nca: Area = Field(description="National character area of the development.")
    lpa_neighbors: Areas | None = Field(
        None, description="LPAs that touch the target's; none takes those of the reference."
    )
    nca_neighbors: Areas | None = Field(
        None, description="NCAs that touch the target's; none takes those of the reference."
    )
    quotes_hold_policy: Literal[0, 50, 100] = Field(
        100, description="How much of the stock that is quoted to others is held back, in %."
    )
    promoter_info: Promoter | None = Field(None, description="What a promoter has agreed; none: list prices.")


class AllocationRow(BaseModel):
    """How one demand is met."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    demand: str = Field(description="Habitat that was demanded.")
    bank: str = Field(description="Bank that supplies it.")
    supply: str = Field(description="Habitat that is supplied.")
    companion: str | None = Field(description="Second habitat of a paired supply.")
    kind: Literal["normal", "paired"] = Field(description="Whether two habitats are supplied together.")
    tier: Tier = Field(description="How near the bank is.")
    units: float = Field(description="Units of the demand that are met, a count.")
    unit_price: float = Field(description="Price of one demanded unit, in pounds.")
    cost: float = Field(description="Units x unit price, in pounds.")
    stock_taken: dict[str, float] = Field(description="Units taken from the bank's stock, per habitat.")
    price_source: str = Field(description="Price list and discount that the price follows from.")


class Allocation(BaseModel):
    """The purchase."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    allocation: list[AllocationRow] = Field(
        max_length=MOST_DEMANDS, description="One row per demand, in order."
    )
    total_units: float = Field(description="Units of all demands, a count.")
    total_cost: float = Field(description="Cost of all rows, without the fee, in pounds.")
    contract_size: Size = Field(description="Size that the units make.")
    admin_fee: float = Field(description="Fee for the contract, in pounds.")
    total_with_fee: float = Field(description="Cost and fee, in pounds.")
    banks_used: list[str] = Field(max_length=5, description="Banks, in alphabetical order.")
    data_version: str = Field(description="Names the reference data that this follows from.")


_EXAMPLE = {
    "demand_df": {"habitat_name": ["Lowland meadow", "Mixed scrub"], "units_required": [0.8, 1.5]},
    "target_lpa": "Winchester",
    "target_nca": "South Downs",
}


@task(
    timeout="10m",
    retries=8,  # the database of the reference may be away for a while
    example=_EXAMPLE,
    cache="12h",
    data_version=source.data_version,
)
def habitat_allocation(request: Request, progress: Progress) -> Allocation:
    """Cheapest purchase of biodiversity units that the trading rules, stocks and number of banks allow."""
    return allocate(request, source.reference(), progress)


def allocate(request: Request, reference: Reference, progress: Progress | None = None) -> Allocation:
    """The same on any reference. Raises `DoNotRetry` that names every demand without a legal option."""
    demands = _demands(request.demand_df)
    total = math.fsum(demand.units for demand in demands)
    size, terms = rules.size_of(total), _terms(request, reference, total)
    offers = _offers(demands, terms, reference)
    stocks = {place: rules.left(held, terms.hold_percent) for place, held in reference.stock.items()}
    try:
        chosen = choose(offers, stocks, rules.most_banks(total), progress or Progress())
    except Unsolved as why:
        limit = rules.most_banks(total)
        raise DoNotRetry(f"no choice fits the stock with at most {limit} banks: {why}") from why
    return _allocation(chosen, total, size, _source(request, terms), reference)


def _demands(table: DemandTable) -> list[Demand]:
    pairs = zip(table.habitat_name, table.units_required, strict=True)
    return [Demand(number, habitat, units) for number, (habitat, units) in enumerate(pairs)]


def _terms(request: Request, reference: Reference, total: float) -> Terms:
    size, promoter, factor = rules.size_of(total), request.promoter_info, 1.0
    if promoter is not None and promoter.kind == "tier_up":
        size = rules.larger(size)
    elif promoter is not None:
        factor = 1 - promoter.percent / 100
    lpas = _around("lpa", request.target_lpa, request.lpa_neighbors, reference)
    ncas = _around("nca", request.target_nca, request.nca_neighbors, reference)
    tiers = {
        name: rules.tier_of(bank, request.target_lpa, request.target_nca, lpas, ncas)
        for name, bank in reference.banks.items()
    }
    return Terms(tiers, size, factor, request.quotes_hold_policy)


def _around(kind: str, target: str, given: list[str] | None, reference: Reference) -> frozenset[str]:
    return reference.neighbours.get((kind, target), frozenset()) if given is None else frozenset(given)


def _offers(demands: list[Demand], terms: Terms, reference: Reference) -> list[Option]:
    offers: list[Option] = []
    unmet = []
    for demand in demands:
        known = demand.habitat in reference.habitats
        ways = list(options(reference, demand, terms)) if known else []
        offers += ways
        if not ways:
            why = "" if known else f", unknown habitat{did_you_mean(demand.habitat, reference.habitats)}"
            unmet.append(f"{demand.habitat} ({demand.units:g} units{why})")
    if unmet:
        raise DoNotRetry(f"no legal option for: {'; '.join(unmet)}")
    return offers


def _source(request: Request, terms: Terms) -> str:
    promoter = request.promoter_info
    if promoter is None:
        return f"{terms.size} list"
    return f"{terms.size} list, " + (
        "tier up" if promoter.kind == "tier_up" else f"{promoter.percent:g} % off"
    )


def _allocation(
    chosen: list[Option], total: float, size: Size, source: str, reference: Reference
) -> Allocation:
    cost, fee = math.fsum(option.cost for option in chosen), rules.fee(size)
    return Allocation(
        allocation=[_row(option, source) for option in chosen],
        total_units=total,
        total_cost=cost,
        contract_size=size,
        admin_fee=fee,
        total_with_fee=cost + fee,
        banks_used=sorted({option.bank for option in chosen}),
        data_version=reference.version,
    )


def _row(option: Option, source: str) -> AllocationRow:
    return AllocationRow(
        demand=option.demand.habitat,
        bank=option.bank,
        supply=option.supply,
        companion=option.companion,
        kind=option.kind,
        tier=option.tier,
        units=option.demand.units,
        unit_price=option.unit_price,
        cost=option.cost,
        stock_taken=dict(option.takes),
        price_source=source,
    )

"""Small markets for the allocation's tests, and an oracle that tries every combination of options.

The oracle knows nothing of the product's rules or options: it works on rows and states the rules anew.
"""

import itertools
import math

SRM = {"local": 1, "adjacent": 0.75, "far": 0.5}
TIERS = list(SRM)
RANKS = {"Low": 1, "Medium": 2, "High": 3, "Very High": 4}
RULES = {
    "area": ["same_level_or_better", "same_type_or_better", "same_habitat", "same_habitat"],
    "hedgerow": ["same_level_or_better", "same_level_or_better", "same_habitat_or_better", "same_habitat"],
    "watercourse": ["better", "same_type", "same_type", "bespoke"],
}
SIZES = ["fractional", "small", "medium", "large"]
HABITATS = [
    ("meadow", "area", "grass", "High"),
    ("pasture", "area", "grass", "Medium"),
    ("lawn", "area", "grass", "Low"),
    ("scrub", "area", "shrub", "Medium"),
    ("crops", "area", "crop", "Low"),
    ("hedge", "hedgerow", "hedge", "Medium"),
    ("old hedge", "hedgerow", "hedge", "High"),
    ("ditch", "watercourse", "ditch", "Medium"),
    ("brook", "watercourse", "river", "High"),
    ("culvert", "watercourse", "pipe", "Low"),
]
KINDS = {name: (ledger, broad, RANKS[level]) for name, ledger, broad, level in HABITATS}
BANK_PLACES = [("here", "x"), ("y", "chalk"), ("beside", "y"), ("y", "next"), ("y", "z")]


def market(banks, stock, prices):
    """Tables from (bank, lpa, nca), (bank, habitat, available, quoted) and prices by place, size, tier."""
    return {
        "banks": [dict(zip(("bank", "lpa", "nca"), row, strict=True)) for row in banks],
        "habitats": [
            dict(zip(("habitat", "ledger", "broad_type", "distinctiveness"), row, strict=True))
            for row in HABITATS
        ],
        "stock": [dict(zip(("bank", "habitat", "available", "quoted"), row, strict=True)) for row in stock],
        "pricing": [
            {"bank": bank, "habitat": habitat, "size": size}
            | dict(zip(TIERS, prices[bank, habitat][size], strict=True))
            for bank, habitat in prices
            for size in SIZES
        ],
        "levels": [{"distinctiveness": level, "rank": rank} for level, rank in RANKS.items()],
        "srm": [{"tier": tier, "srm": srm} for tier, srm in SRM.items()],
        "trading_rules": [
            {"ledger": ledger, "distinctiveness": level, "rule": rule}
            for ledger, rules in RULES.items()
            for level, rule in zip(RANKS, rules, strict=True)
        ],
        "neighbours": [
            {"kind": "lpa", "one": "here", "other": "beside"},
            {"kind": "nca", "one": "chalk", "other": "next"},
        ],
    }


def random_market(chance):
    """Two to four banks with few habitats each, round prices (so that there are ties), scarce stock."""
    places = chance.sample(BANK_PLACES, chance.randint(2, 4))
    banks = [(f"bank {number}", *place) for number, place in enumerate(places)]
    stock, prices = [], {}
    for bank, *_ in banks:
        for habitat in chance.sample([row[0] for row in HABITATS], chance.randint(3, 5)):
            available = chance.choice([0.5, 1, 2, 4])
            stock.append((bank, habitat, available, available * chance.choice([0, 0, 0.5])))
            prices[bank, habitat] = {}
            for size in SIZES:
                base = 1_000 * chance.randint(20, 24) + chance.choice([0, 0, 1, 3])
                prices[bank, habitat][size] = (base, base + chance.choice([0, 2_000]), base + 4_000)
    return market(banks, stock, prices)


def random_request(chance):
    """One to three demands under random terms."""
    names = chance.sample([row[0] for row in HABITATS], chance.randint(1, 3))
    promoters = [None, None, {"kind": "percentage", "percent": 7}, {"kind": "tier_up"}]
    return {
        "demand_df": {
            "habitat_name": names,
            "units_required": [chance.choice([0.02, 0.25, 0.5, 1, 2]) for _ in names],
        },
        "target_lpa": "here",
        "target_nca": "chalk",
        "quotes_hold_policy": chance.choice([0, 50, 100]),
        "promoter_info": chance.choice(promoters),
    }


def legal(demand, supply):
    """The trading rules, read from the requirements."""
    (ledger, broad, rank), (other, other_broad, other_rank) = KINDS[demand], KINDS[supply]
    if ledger != other:
        return False
    if ledger == "area" and rank >= 3:
        return demand == supply
    if ledger == "area" and rank == 2:
        return other_rank > rank or (other_broad == broad and other_rank == rank)
    if ledger == "hedgerow" and rank == 3:
        return demand == supply or other_rank > rank
    if ledger == "watercourse":
        return other_rank > rank if rank == 1 else rank < 4 and other_broad == broad and other_rank >= rank
    return other_rank >= rank


class Oracle:
    """Every option of every demand, and the best of all combinations."""

    def __init__(self, tables, request):
        table = request["demand_df"]
        self.demands = list(zip(table["habitat_name"], table["units_required"], strict=True))
        self.total = sum(units for _, units in self.demands)
        hold, promoter = request["quotes_hold_policy"] / 100, request["promoter_info"] or {"kind": ""}
        self.left = {
            (row["bank"], row["habitat"]): row["available"] - hold * row["quoted"] for row in tables["stock"]
        }
        size = sum(self.total >= limit for limit in (0.1, 2.5, 15))
        size = SIZES[min(3, size + (promoter["kind"] == "tier_up"))]
        self.factor = 1 - promoter.get("percent", 0) / 100
        self.tiers = {row["bank"]: self.tier(row["lpa"], row["nca"]) for row in tables["banks"]}
        self.prices = {
            (row["bank"], row["habitat"]): row[self.tiers[row["bank"]]] * self.factor
            for row in tables["pricing"]
            if row["size"] == size
        }

    @staticmethod
    def tier(lpa, nca):
        if lpa == "here" or nca == "chalk":
            return "local"
        return "adjacent" if lpa == "beside" or nca == "next" else "far"

    def options(self, demand, units):
        """(bank, tier, cost, stock taken) of every way."""
        for bank, supply in self.left:
            tier = self.tiers[bank]
            need = units / SRM[tier]
            if legal(demand, supply):
                yield bank, tier, units * self.prices[bank, supply], {supply: need}
                share = {"local": None, "adjacent": 0.75, "far": 0.5}[tier]
                companions = [
                    (self.prices[bank, other], other)
                    for where, other in self.left
                    if where == bank and other != supply and KINDS[other][0] == "area"
                    if share and self.left[bank, other] >= (1 - share) * need
                ]
                if KINDS[supply][0] == "area" and companions:
                    price, other = min(companions)
                    paired = share * self.prices[bank, supply] + (1 - share) * price
                    yield bank, tier, units * paired, {supply: share * need, other: (1 - share) * need}

    def combinations(self):
        """(cost, banks, tier steps, places by size) of all that fit."""
        most = 5 if self.total > 5 else 2
        sizes = {bank: sum(u for (b, _), u in self.left.items() if b == bank) for bank in self.tiers}
        for chosen in itertools.product(*(list(self.options(*demand)) for demand in self.demands)):
            banks = {bank for bank, *_ in chosen}
            taken = {}
            for bank, _, _, takes in chosen:
                for habitat, units in takes.items():
                    taken[bank, habitat] = taken.get((bank, habitat), 0) + units
            if len(banks) <= most and all(units <= self.left[place] + 1e-9 for place, units in taken.items()):
                steps = sum(TIERS.index(tier) for _, tier, *_ in chosen)
                held = tuple(sorted((sizes[bank] for bank, *_ in chosen), reverse=True))
                yield sum(cost for _, _, cost, _ in chosen), len(banks), steps, held

    def best(self):
        """(cost, banks, tier steps) in the order of the requirements; None if nothing fits."""
        found = list(self.combinations())
        if not found:
            return None
        least = min(cost for cost, *_ in found)
        near = [each for each in found if each[0] <= least + min(10, 1e-4 * least) + 1e-6]
        fewest = min(banks for _, banks, *_ in near)
        few = [each for each in near if each[1] == fewest]
        cheapest = min(cost for cost, *_ in few)
        steps = min(each[2] for each in few if math.isclose(each[0], cheapest, abs_tol=1e-3))
        return cheapest, fewest, steps

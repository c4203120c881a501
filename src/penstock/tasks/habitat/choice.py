"""Which option each demand takes: a mixed-integer linear program on HiGHS, solved four times.

1. the least cost; 2. the fewest banks among all choices that cost hardly more; 3. the least cost with so few;
4. among the cheapest of these the nearest tiers, then the largest banks.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import highspy
import numpy as np
import numpy.typing as npt

from penstock.core.progress import Progress
from penstock.tasks.habitat.options import Option
from penstock.tasks.habitat.rows import TIERS

MOST_MORE: Final = 10.0
MOST_MORE_SHARE: Final = 1e-4
"""Fewer banks may cost so much more: the lesser of pounds and share of the least cost."""

_PENNY: Final = 0.005

Vector = npt.NDArray[np.float64]
Stocks = Mapping[tuple[str, str], float]


class Unsolved(Exception):
    """No choice fits the stock and the number of banks, or the solver gave up; the message says which."""


class Row(NamedTuple):
    """least <= Σ coefficient x column <= most."""

    coefficients: Mapping[int, float]
    least: float
    most: float


def choose(options: list[Option], stocks: Stocks, most_banks: int, progress: Progress) -> list[Option]:
    """One option per demand, in the order of the demands. Raises `Unsolved`.

    ``stocks`` are the units left per (bank, habitat). Progress goes from 10 to 90 %.
    """
    banks = sorted({option.bank for option in options})
    program = _Program(_rows(options, stocks, banks), len(options) + len(banks))
    costs = np.array([option.cost for option in options] + [0.0] * len(banks))
    used = np.array([0.0] * len(options) + [1.0] * len(banks))
    program.limit(used, most_banks)
    progress.update(0.1, f"the least cost of {len(options)} options")
    least = float(costs @ program.minimise(costs))
    program.limit(costs, least + min(MOST_MORE, MOST_MORE_SHARE * least) + _PENNY)
    progress.update(0.3, f"the fewest banks, for about £{least:,.0f}")
    fewest = round(float(used @ program.minimise(used)))
    program.limit(used, fewest + 0.5)
    progress.update(0.5, f"the least cost with {fewest} of {len(banks)} banks")
    cheapest = float(costs @ program.minimise(costs))
    program.limit(costs, cheapest + _PENNY)
    progress.update(0.7, f"the nearest and largest banks, for £{cheapest:,.2f}")
    taken = program.minimise(_remoteness(options, stocks, banks))
    progress.update(0.9, "writing down the result")
    return sorted((o for o, x in zip(options, taken, strict=False) if x > 0.5), key=lambda o: o.demand.number)


def _rows(options: list[Option], stocks: Stocks, banks: list[str]) -> list[Row]:
    once: dict[int, dict[int, float]] = {}
    takes: dict[tuple[str, str], dict[int, float]] = {}
    opened = []
    for column, option in enumerate(options):
        once.setdefault(option.demand.number, {})[column] = 1.0
        for habitat, units in option.takes.items():
            takes.setdefault((option.bank, habitat), {})[column] = units
        opened.append(Row({column: 1.0, len(options) + banks.index(option.bank): -1.0}, -np.inf, 0.0))
    in_full = [Row(columns, 1.0, 1.0) for columns in once.values()]
    in_stock = [Row(columns, -np.inf, stocks[place]) for place, columns in takes.items()]
    return in_full + in_stock + opened


def _remoteness(options: list[Option], stocks: Stocks, banks: list[str]) -> Vector:
    """Nearer tiers first, whatever the banks' sizes; then larger banks, by all units they have left."""
    held = {bank: sum(units for (where, _), units in stocks.items() if where == bank) for bank in banks}
    place = {bank: number for number, bank in enumerate(sorted(banks, key=lambda b: (-held[b], b)))}
    tier = len(banks) * len({option.demand.number for option in options})
    weights = [float(tier * TIERS.index(option.tier) + place[option.bank]) for option in options]
    return np.array(weights + [0.0] * len(banks))


class _Program:
    """Binary columns under rows; each solution obeys every limit set before it."""

    def __init__(self, rows: list[Row], columns: int) -> None:
        self._columns = np.arange(columns, dtype=np.int32)
        self._solver = highspy.Highs()  # type: ignore[no-untyped-call]
        self._solver.silent()
        for option, value in (
            ("threads", 1),
            ("mip_rel_gap", 0.0),
            ("mip_abs_gap", 1e-6),
            ("random_seed", 0),
        ):
            self._solver.setOptionValue(option, value)
        self._solver.addVars(columns, np.zeros(columns), np.ones(columns))
        kinds = np.full(columns, highspy.HighsVarType.kInteger)
        self._solver.changeColsIntegrality(columns, self._columns, kinds)
        for row in rows:
            self._add(np.array(list(row.coefficients)), np.array(list(row.coefficients.values())), *row[1:])

    def limit(self, coefficients: Vector, most: float) -> None:
        """From now on Σ coefficient x column <= ``most``."""
        named = np.flatnonzero(coefficients)
        self._add(named, coefficients[named], -np.inf, most)

    def minimise(self, objective: Vector) -> Vector:
        """The best column values, 0 or 1."""
        self._solver.changeColsCost(len(objective), self._columns, objective)
        self._solver.run()
        status = self._solver.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            raise Unsolved(self._solver.modelStatusToString(status))
        return np.round(np.array(self._solver.getSolution().col_value))

    def _add(self, columns: npt.NDArray[np.int64], values: Vector, least: float, most: float) -> None:
        self._solver.addRow(least, most, len(columns), columns.astype(np.int32), values)

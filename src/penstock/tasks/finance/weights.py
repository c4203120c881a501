"""The task ``optimal_portfolio``: the mix of assets with the least risk."""

import math
from typing import Annotated, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from penstock.core.progress import DoNotRetry
from penstock.core.task import task
from penstock.tasks.finance.quadratic import Bounds, Equality, Matrix, Unsolved, Vector, least_variance

MOST_ASSETS: Final = 200
MOST_PERIODS: Final = 5_000
MOST_RETURNS: Final = 250_000

_ROUNDING: Final = 1e-9


class History(BaseModel):
    """How the assets did in the past, and what the mix must fulfil."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    assets: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        min_length=1, max_length=MOST_ASSETS, description="Names of the assets, each once."
    )
    returns: list[Annotated[list[Annotated[float, Field(ge=-1, le=100)]], Field(max_length=MOST_ASSETS)]] = (
        Field(
            min_length=2,
            max_length=MOST_PERIODS,
            description="Return of every asset in every period, as fractions: one row per period, one column "
            f"per asset, at most {MOST_RETURNS} numbers in all.",
        )
    )
    periods_per_year: float = Field(
        252, gt=0, le=100_000, description="Periods in a year, a count: 252 trading days, 12 months."
    )
    risk_free_rate: float = Field(
        0.02, ge=-1, le=10, description="Interest rate for the Sharpe ratio, as a fraction per year."
    )
    min_weight: float = Field(
        0.0,
        ge=-10,
        le=1,
        description="Least weight of every asset, as a fraction; negative allows short sales.",
    )
    max_weight: float = Field(1.0, ge=0, le=10, description="Largest weight of every asset, as a fraction.")
    target_return: float | None = Field(
        None,
        ge=-1_000,
        le=10_000_000,
        description="Expected return that the mix must have, as a fraction per year; none: least risk.",
    )

    @field_validator("assets")
    @classmethod
    def _are_told_apart(cls, assets: list[str]) -> list[str]:
        if len(set(assets)) < len(assets):
            raise ValueError("each asset must occur once")
        return assets

    @field_validator("returns")
    @classmethod
    def _are_a_table(cls, returns: list[list[float]], info: ValidationInfo) -> list[list[float]]:
        columns = len(info.data.get("assets", returns[0]))
        wrong = next((number for number, row in enumerate(returns) if len(row) != columns), None)
        if wrong is not None:
            raise ValueError(f"row {wrong} must have {columns} columns, one per asset")
        if len(returns) * columns > MOST_RETURNS:
            raise ValueError(f"must be at most {MOST_RETURNS} numbers in all")
        return returns

    @field_validator("min_weight", "max_weight")
    @classmethod
    def _can_add_up(cls, weight: float, info: ValidationInfo) -> float:
        count, least = len(info.data.get("assets", ())), info.field_name == "min_weight"
        total = count * weight
        if count and (total > 1 + _ROUNDING if least else total < 1 - _ROUNDING):
            word = "exceed" if least else "stay below"
            raise ValueError(f"infeasible: {count} weights of {weight:g} {word} 1 in all")
        if weight < info.data.get("min_weight", weight):
            raise ValueError("infeasible: must not be less than min_weight")
        return weight

    @field_validator("target_return")
    @classmethod
    def _can_be_reached(cls, target: float | None, info: ValidationInfo) -> float | None:
        if target is None or not {"assets", "returns", "min_weight", "max_weight"} <= info.data.keys():
            return target
        means = np.mean(info.data["returns"], axis=0) * info.data["periods_per_year"]
        bounds = (info.data["min_weight"], info.data["max_weight"])
        least, most = -highest_return(-means, *bounds), highest_return(means, *bounds)
        slack = _ROUNDING * max(1.0, abs(least), abs(most))
        if not least - slack <= target <= most + slack:
            raise ValueError(
                f"infeasible: weights within their bounds return from {least:g} to {most:g} per year"
            )
        return target


class Mix(BaseModel):
    """The weights, and what they promise if the future is like the past."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: dict[str, float] = Field(description="Share of every asset, as a fraction; together 1.")
    expected_return: float = Field(description="Arithmetic mean return, as a fraction per year.")
    risk: float = Field(description="Standard deviation of the return, as a fraction per year.")
    sharpe_ratio: float | None = Field(
        description="(Expected return - risk-free rate) / risk, without a unit; null without risk."
    )


_EXAMPLE = {
    "assets": ["AAA", "BBB", "CCC"],
    "returns": [[0.02, 0.01, 0.0], [-0.01, 0.0, 0.01], [0.03, 0.01, -0.01], [0.0, 0.02, 0.01]],
    "periods_per_year": 12,
    "target_return": 0.1,
}


@task(cache=True, example=_EXAMPLE, timeout="1h")
def optimal_portfolio(history: History) -> Mix:
    """Weights with the least variance: min wᵀΣw with Σw = 1, bounds, and on request a given expected return.

    Mean-variance selection (Markowitz 1952). Σ is the sample covariance (T - 1), μ the mean of the returns,
    both times the periods of a year.
    """
    means, covariance = annualised(history.returns, history.periods_per_year)
    weights = _solve(history, means, covariance)
    expected = float(means @ weights)
    risk = math.sqrt(max(0.0, float(weights @ covariance @ weights)))
    return Mix(
        weights=dict(zip(history.assets, weights.tolist(), strict=True)),
        expected_return=expected,
        risk=risk,
        sharpe_ratio=(expected - history.risk_free_rate) / risk if risk else None,
    )


def annualised(returns: list[list[float]], periods_per_year: float) -> tuple[Vector, Matrix]:
    """Mean (n) and sample covariance (n x n) of periodic returns (T x n), per year."""
    table = np.array(returns, dtype=np.float64)
    means = table.mean(axis=0)
    apart = table - means
    return means * periods_per_year, apart.T @ apart * (periods_per_year / (len(table) - 1))


def highest_return(means: Vector, least: float, most: float) -> float:
    """The best return that weights from ``least`` to ``most`` can have: fill up the best assets first."""
    room, left = most - least, 1 - len(means) * least
    fills = np.clip(left - room * np.arange(len(means)), 0, room)
    return least * math.fsum(means) + math.fsum(np.sort(means)[::-1] * fills)


def _solve(history: History, means: Vector, covariance: Matrix) -> Vector:
    equalities = [Equality(np.ones(len(means)), 1.0)]
    if history.target_return is not None:
        equalities.append(Equality(means, history.target_return))
    bounds = Bounds(history.min_weight, history.max_weight)
    try:
        return least_variance(covariance, bounds, equalities)
    except Unsolved as why:
        raise DoNotRetry(f"no weights were found under sum, bounds and target_return: {why}") from why

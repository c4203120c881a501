"""The task ``portfolio_var``: Monte Carlo value at risk of correlated positions, one chunk at a time."""

import math
from functools import partial
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from penstock.core.progress import Progress
from penstock.core.task import task
from penstock.tasks.finance import correlation, tail
from penstock.tasks.finance.correlation import Matrix
from penstock.tasks.finance.draws import Chunk, blocks, stream
from penstock.tasks.finance.holdings import Holdings
from penstock.tasks.finance.normal import normal_risk
from penstock.tasks.finance.simulation import Estimate, Plan, Run, simulate
from penstock.tasks.finance.tail import Tail


class SimulatedHoldings(Holdings):
    """Positions, and how to simulate them."""

    simulations: int = Field(
        100_000,
        ge=1_000,
        le=1_000_000_000,
        description="Simulated outcomes, a count; with a target error the most there may be.",
    )
    seed: int = Field(
        0, ge=0, le=2**53 - 1, description="Whole number that fixes every draw: same seed, same result."
    )
    target_error: float | None = Field(
        None,
        gt=0,
        description="Stop as soon as the standard error of the value at risk is this small, in currency "
        "units; looked at every 65 536 simulations.",
    )

    @field_validator("simulations")
    @classmethod
    def _reach_the_tail(cls, simulations: int, info: ValidationInfo) -> int:
        share = 1 - info.data.get("confidence", 0.0)
        if round(simulations * share) < tail.LEAST_BEYOND:
            least = math.ceil(tail.LEAST_BEYOND / share)
            raise ValueError(f"must be at least {least} for a confidence of {1 - share:g}")
        return simulations


class ValueAtRisk(BaseModel):
    """What the simulation found. Losses are positive."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    portfolio_value: float = Field(description="Sum of quantity x price, in currency units.")
    var_amount: float = Field(
        description="Loss that is exceeded with probability 1 - confidence, in currency units."
    )
    expected_shortfall: float = Field(
        description="Mean of the losses beyond the value at risk, in currency units."
    )
    standard_error: float = Field(description="Standard error of the value at risk, in currency units.")
    shortfall_standard_error: float = Field(
        description="Standard error of the expected shortfall, in currency units."
    )
    closed_form_var: float = Field(
        description="Value at risk of the same normal model without simulation, in currency units."
    )
    closed_form_shortfall: float = Field(
        description="Expected shortfall of the same normal model without simulation, in currency units."
    )
    simulations: int = Field(description="Outcomes that were simulated, a count.")
    stopped_early: bool = Field(description="Whether the target error was reached before all simulations.")


class Factors(BaseModel):
    """All that a chunk needs to know: the portfolio's loss is ``deviation`` x Σ weights_j x z_j."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    seed: int
    deviation: float = Field(description="Standard deviation of the loss, in currency units.")
    weights: Matrix = Field(description="One per position, their squares add up to 1.")

    @classmethod
    def of(cls, held: SimulatedHoldings) -> Self:
        """Σ a_i (L·z)_i = (Lᵀa)·z: the same profit from one product per draw instead of a matrix."""
        loadings = correlation.loadings(correlation.cholesky(held.matrix), held.amounts)
        deviation = math.sqrt(math.fsum(np.square(loadings)))
        return cls(seed=held.seed, deviation=deviation, weights=-loadings / deviation)


_EXAMPLE = {
    "positions": [
        {"symbol": "AAA", "quantity": 100, "price": 150},
        {"symbol": "BBB", "quantity": 50, "price": 80},
    ],
    "volatilities": {"AAA": 0.25},
    "correlations": [[1, 0.4], [0.4, 1]],
}


@task(cache=True, example=_EXAMPLE)
def portfolio_var(held: SimulatedHoldings, progress: Progress) -> ValueAtRisk:
    """Value at risk and expected shortfall of a portfolio by Monte Carlo simulation.

    Profit Σ q_i·p_i·σ_i·√(h/252)·(L·z)_i with L·Lᵀ the correlations and z independent standard normal:
    driftless returns, linear positions. VaR is minus its (1 - c)-quantile, ES minus the mean of what lies
    below.
    """
    factors = Factors.of(held)
    whole, run = simulate(
        Plan(held.simulations, held.target_error),
        partial(draw_tail, factors),
        tail.combine,
        partial(_estimate, factors.deviation, held.confidence),
        progress,
    )
    return _summary(held, factors.deviation, whole, run)


def draw_tail(factors: Factors, chunk: Chunk) -> Tail:
    """The large losses of one chunk. Memory is two blocks and the grid, whatever the number of positions."""
    numbers, counts = stream(factors.seed, chunk), np.zeros(tail.BINS, np.int64)
    for size in blocks(chunk):
        losses, draws = np.zeros(size), np.empty(size)
        for weight in factors.weights:
            numbers.standard_normal(out=draws)
            draws *= weight
            losses += draws
        counts += tail.count(losses)
    return Tail(chunk.draws, counts)


def _estimate(deviation: float, confidence: float, whole: Tail) -> Estimate:
    measured = tail.measure(whole, confidence)
    return Estimate(deviation * measured.risk.var, deviation * measured.var_error)


def _summary(held: SimulatedHoldings, deviation: float, whole: Tail, run: Run) -> ValueAtRisk:
    measured, exact = tail.measure(whole, held.confidence), normal_risk(deviation, held.confidence)
    return ValueAtRisk(
        portfolio_value=held.value,
        var_amount=run.estimate.value,
        expected_shortfall=deviation * measured.risk.shortfall,
        standard_error=run.estimate.error,
        shortfall_standard_error=deviation * measured.shortfall_error,
        closed_form_var=exact.var,
        closed_form_shortfall=exact.shortfall,
        simulations=run.simulations,
        stopped_early=run.stopped_early,
    )

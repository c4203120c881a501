"""The task ``portfolio_var``: Monte Carlo value at risk of correlated positions, one chunk at a time."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from penstock.core.progress import Progress
from penstock.core.task import task
from penstock.tasks.finance import correlation, tail
from penstock.tasks.finance.draws import CHUNK, Chunk, blocks, stream
from penstock.tasks.finance.extending import Manifest, check, origin
from penstock.tasks.finance.fields import Seed, count_of, error_of
from penstock.tasks.finance.holdings import Holdings
from penstock.tasks.finance.normal import normal_risk
from penstock.tasks.finance.shares import Share, drawn, folded, shares
from penstock.tasks.finance.simulation import (
    Estimate,
    Method,
    Plan,
    reached,
    to_their_end,
    told,
)
from penstock.tasks.finance.tail import Tail


class TailManifest(Manifest):
    """The large losses, as counts in the bins of `tail`."""

    counts: str = Field(max_length=500_000, description="Losses in each bin, packed as text.")

    @model_validator(mode="after")
    def _is_a_tail(self) -> Self:
        counts = tail.unpacked(self.counts)
        if counts.min() < 0 or counts.max() > self.draws or counts.sum() > self.draws:
            raise ValueError("counts: there cannot be more losses than simulations, nor fewer than none")
        return self

    @property
    def found(self) -> Tail:
        """What was drawn before."""
        return Tail(self.draws, tail.unpacked(self.counts))


class SimulatedHoldings(Holdings):
    """Positions, and how to simulate them."""

    simulations: int = count_of("outcomes")
    seed: Seed = 0
    target_error: float | None = error_of("value at risk")
    extend: TailManifest | None = Field(
        None, description="Manifest of a finished simulation that is to go on: it is not drawn again."
    )

    @property
    def plan(self) -> Plan:
        """How many simulations, and how exact."""
        return Plan(self.simulations, self.target_error)

    @field_validator("simulations")
    @classmethod
    def _reach_the_tail(cls, simulations: int, info: ValidationInfo) -> int:
        share = 1 - info.data.get("confidence", 0.0)
        if round(simulations * share) < tail.LEAST_BEYOND:
            least = math.ceil(tail.LEAST_BEYOND / share)
            raise ValueError(f"must be at least {least} for a confidence of {1 - share:g}")
        return simulations

    @model_validator(mode="after")
    def _goes_on(self) -> Self:
        if self.extend is not None:
            own = self.model_copy()  # keeps the matrix that it computes, and could not be compared any more
            check(self.extend, self.simulations, Factors.of(own).origin)
        return self


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
    manifest: TailManifest = Field(description="How to extend the simulation.")


class Factors(BaseModel):
    """All that a chunk needs to know: the portfolio's loss is ``deviation`` x Σ weights_j x z_j."""

    model_config = ConfigDict(frozen=True)

    seed: int
    confidence: float
    deviation: float = Field(description="Standard deviation of the loss, in currency units.")
    weights: list[float] = Field(description="One per position, their squares add up to 1.")

    @classmethod
    def of(cls, held: SimulatedHoldings) -> Self:
        """Σ a_i (L·z)_i = (Lᵀa)·z: the same profit from one product per draw instead of a matrix."""
        loadings = correlation.loadings(correlation.cholesky(held.matrix), held.amounts)
        deviation = math.sqrt(math.fsum(np.square(loadings)))
        weights = (-loadings / deviation).tolist()
        return cls(seed=held.seed, confidence=held.confidence, deviation=deviation, weights=weights)

    @property
    def origin(self) -> dict[str, Any]:
        """What another simulation must have in common with this one to extend it.

        Not the confidence, for the losses that are kept answer for any, nor the currency.
        """
        return origin(self.seed, self.weights)


_EXAMPLE = {
    "positions": [
        {"symbol": "AAA", "quantity": 100, "price": 150},
        {"symbol": "BBB", "quantity": 50, "price": 80},
    ],
    "volatilities": {"AAA": 0.25},
    "correlations": [[1, 0.4], [0.4, 1]],
}


@task(cache=True, example=_EXAMPLE, timeout="1h")
def portfolio_var(held: SimulatedHoldings, progress: Progress) -> ValueAtRisk:
    """Value at risk and expected shortfall of a portfolio by Monte Carlo simulation.

    Profit Σ q_i·p_i·σ_i·√(h/252)·(L·z)_i with L·Lᵀ the correlations and z independent standard normal:
    driftless returns, linear positions. VaR is minus its (1 - c)-quantile, ES minus the mean of what lies
    below.
    """
    return portfolio_var.in_order(held, progress)


@portfolio_var.split
def _(held: SimulatedHoldings) -> Iterator["TailShare"]:
    factors, before = Factors.of(held), _before(held.extend)
    if reached(held.plan, before, _method(factors)):
        return
    for share in shares(held.plan, len(factors.weights), before.draws // CHUNK):
        yield TailShare(factors=factors, share=share, before=held.extend if share.whole else None)


class TailShare(BaseModel):
    """Which chunks of the portfolio's simulation to draw."""

    model_config = ConfigDict(frozen=True)

    factors: Factors
    share: Share
    before: TailManifest | None = None


@portfolio_var.part
def _(part: TailShare, progress: Progress) -> list[Tail]:
    return drawn(part.share, _before(part.before), _method(part.factors), progress)


@portfolio_var.merge(block=16)
def _(held: SimulatedHoldings, so_far: list[Tail] | None, results: list[list[Tail]]) -> list[Tail]:
    pieces = [_before(held.extend)] if so_far is None else so_far
    return folded(held.plan, pieces, results, _method(Factors.of(held)))


@portfolio_var.estimate
def _(held: SimulatedHoldings, partial: list[Tail]) -> tuple[str, bool]:
    return told(held.plan, partial, _method(Factors.of(held)))


@portfolio_var.finish
def _(held: SimulatedHoldings, partial: list[Tail]) -> ValueAtRisk:
    return _summary(held, Factors.of(held), partial)


def _method(factors: Factors) -> Method[Tail]:
    return Method(partial(draw_tail, factors), tail.combine, partial(_estimate, factors))


def _before(manifest: TailManifest | None) -> Tail:
    return tail.combine(()) if manifest is None else manifest.found


def _manifest(factors: Factors, pieces: list[Tail]) -> TailManifest:
    kept = tail.combine(to_their_end(pieces))
    return TailManifest(**factors.origin, chunks=kept.draws // CHUNK, counts=tail.packed(kept.counts))


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


def _estimate(factors: Factors, whole: Tail) -> Estimate:
    measured = tail.measure(whole, factors.confidence)
    return Estimate(factors.deviation * measured.risk.var, factors.deviation * measured.var_error)


def _summary(held: SimulatedHoldings, factors: Factors, pieces: list[Tail]) -> ValueAtRisk:
    deviation, whole = factors.deviation, tail.combine(pieces)
    measured, exact = tail.measure(whole, held.confidence), normal_risk(deviation, held.confidence)
    return ValueAtRisk(
        portfolio_value=held.value,
        var_amount=deviation * measured.risk.var,
        expected_shortfall=deviation * measured.risk.shortfall,
        standard_error=deviation * measured.var_error,
        shortfall_standard_error=deviation * measured.shortfall_error,
        closed_form_var=exact.var,
        closed_form_shortfall=exact.shortfall,
        simulations=whole.draws,
        stopped_early=whole.draws < held.simulations,
        manifest=_manifest(factors, pieces),
    )

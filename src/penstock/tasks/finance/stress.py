"""The task ``stress_test``: what scenarios cost a portfolio, and how risky it is once they have happened."""

import math
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from penstock.core.progress import Progress
from penstock.core.task import task
from penstock.tasks.finance.holdings import Holdings
from penstock.tasks.finance.normal import normal_risk

MOST_SCENARIOS = 1_000


class Scenario(BaseModel):
    """Three shocks that happen at once. Each default is neutral: it changes nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Annotated[str, Field(min_length=1, max_length=100)] = Field(
        description="Name of the scenario, unique among them."
    )
    equity_shock: float = Field(
        0.0, ge=-1, le=10, description="Relative change of every price: -0.3 is a fall by 30 %."
    )
    volatility_shock: float = Field(
        0.0, ge=-0.99, le=10, description="Relative change of every volatility: 0.5 is half as much again."
    )
    correlation_shock: float = Field(
        0.0,
        ge=-1,
        le=1,
        description="Share of the way that every correlation moves towards 1, or towards 0 when negative.",
    )


class StressedHoldings(Holdings):
    """Positions, and what may happen to them."""

    expected_return: float = Field(
        0.07,
        ge=-0.99,
        le=10,
        description="Growth at which the portfolio recovers, as a fraction per year: 0.07 is 7 %.",
    )
    scenarios: list[Scenario] = Field(
        min_length=1, max_length=MOST_SCENARIOS, description="What may happen, each on its own."
    )

    @field_validator("scenarios")
    @classmethod
    def _are_told_apart(cls, scenarios: list[Scenario]) -> list[Scenario]:
        if len({scenario.name for scenario in scenarios}) < len(scenarios):
            raise ValueError("each scenario needs a name of its own")
        return scenarios


class ScenarioLoss(BaseModel):
    """What one scenario does. Losses are positive."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Name of the scenario.")
    loss: float = Field(description="Loss when prices change, in currency units; a gain is negative.")
    loss_percent: float = Field(
        description="Loss in % of the gross value, in which short positions count as long."
    )
    stressed_var: float = Field(
        description="Value at risk after the scenario, from shocked prices, volatilities and correlations, "
        "in currency units."
    )
    recovery_months: float | None = Field(
        description="Time to earn the loss back at the expected return, in months; null if it never is."
    )


class StressReport(BaseModel):
    """Every scenario, the worst and the average of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    portfolio_value: float = Field(description="Sum of quantity x price before any shock, in currency units.")
    baseline_var: float = Field(description="Value at risk before any shock, in currency units.")
    scenarios: list[ScenarioLoss] = Field(
        max_length=MOST_SCENARIOS, description="One per scenario, in order."
    )
    worst: ScenarioLoss = Field(
        description="The scenario with the largest loss; among equals the one with the largest stressed VaR."
    )
    average: float = Field(description="Mean loss over the scenarios, in currency units.")


_EXAMPLE = {
    "positions": [
        {"symbol": "AAA", "quantity": 100, "price": 150},
        {"symbol": "BBB", "quantity": 50, "price": 80},
    ],
    "scenarios": [
        {"name": "crash", "equity_shock": -0.3, "volatility_shock": 1.0, "correlation_shock": 0.5},
        {"name": "calm", "volatility_shock": -0.25},
    ],
}


@task(cache=True, example=_EXAMPLE, timeout="1h")
def stress_test(held: StressedHoldings, progress: Progress) -> StressReport:
    """Loss, value at risk afterwards and time to recover of a portfolio under given scenarios.

    Nothing is drawn: positions are linear and returns normal, so every figure has a closed form.
    """
    count = len(held.scenarios)
    losses = [_outcome(held, scenario) for scenario in progress.track(held.scenarios, count, "scenarios")]
    return StressReport(
        portfolio_value=held.value,
        baseline_var=_value_at_risk(held, Scenario(name="none")),
        scenarios=losses,
        worst=max(losses, key=lambda outcome: (outcome.loss, outcome.stressed_var)),
        average=math.fsum(outcome.loss for outcome in losses) / count,
    )


def stressed_deviation(held: Holdings, scenario: Scenario) -> float:
    """Standard deviation √(aᵀC'a) of the profit over the horizon after a scenario, in currency units.

    a = q·p·(1+e)·σ·(1+v)·√(h/252); C' = (1 - |s|)·C + |s|·T, where T is the matrix of perfect correlation for
    s > 0 and of none for s < 0. Both are positive semidefinite, so C' is, too, and never needs mending. The
    quadratic form is linear in C', so no scenario needs a matrix of its own.
    """
    amounts, share = held.amounts, abs(scenario.correlation_shock)
    target = math.fsum(amounts) ** 2 if scenario.correlation_shock > 0 else math.fsum(np.square(amounts))
    variance = (1 - share) * held.variance + share * target
    return (1 + scenario.equity_shock) * (1 + scenario.volatility_shock) * math.sqrt(variance)


def recovery_months(before: float, after: float, expected_return: float) -> float | None:
    """Months that ``after`` needs to grow to ``before``: 12·ln(before/after) / ln(1 + expected return).

    0 without a loss; None where growth never makes up for it.
    """
    if after >= before:
        return 0.0
    if after <= 0 or expected_return <= 0:
        return None
    return 12 * math.log(before / after) / math.log1p(expected_return)


def _value_at_risk(held: Holdings, scenario: Scenario) -> float:
    """By the variance-covariance method (RiskMetrics 1996), in currency units."""
    return normal_risk(stressed_deviation(held, scenario), held.confidence).var


def _outcome(held: StressedHoldings, scenario: Scenario) -> ScenarioLoss:
    loss = 0.0 - held.value * scenario.equity_shock
    return ScenarioLoss(
        name=scenario.name,
        loss=loss,
        loss_percent=100 * loss / held.gross_value,
        stressed_var=_value_at_risk(held, scenario),
        recovery_months=recovery_months(held.value, held.value - loss, held.expected_return),
    )

"""What is held and how it moves: the parameters that value at risk and stress test have in common."""

import math
from functools import cached_property
from typing import Annotated, Final, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from penstock.tasks.finance import correlation
from penstock.tasks.finance.correlation import Matrix

DEFAULT_VOLATILITY: Final = 0.20
TRADING_DAYS: Final = 252
MOST_POSITIONS: Final = 250

LEAST_DEVIATION: Final = 1e-100
"""Of the profit, in currency units; below it squares lose their digits and end as 0."""

Symbol = Annotated[str, Field(min_length=1, max_length=64)]
Volatility = Annotated[float, Field(gt=0, le=10)]


class Position(BaseModel):
    """So many units of one instrument."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    symbol: Symbol = Field(description="Name of the instrument, unique among the positions.")
    quantity: float = Field(ge=-1e12, le=1e12, description="Units held, a count; negative when sold short.")
    price: float = Field(gt=0, le=1e12, description="Price of one unit, in currency units.")

    @property
    def value(self) -> float:
        """In currency units; negative for a short position."""
        return self.quantity * self.price


class Holdings(BaseModel):
    """Positions, their volatilities and correlations, and the measure of risk."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    positions: list[Position] = Field(
        min_length=1, max_length=MOST_POSITIONS, description="What is held; at least one quantity is not 0."
    )
    volatilities: dict[Symbol, Volatility] = Field(
        default={},
        max_length=MOST_POSITIONS,
        description="Volatility of returns per symbol, as a fraction per year: 0.25 is 25 %. "
        f"A symbol that is left out has {DEFAULT_VOLATILITY}.",
    )
    correlations: list[Annotated[list[float], Field(max_length=MOST_POSITIONS)]] | None = Field(
        None,
        max_length=MOST_POSITIONS,
        description="Correlations of returns, -1 to 1, as rows of a positive definite matrix in the order of "
        "the positions; none means uncorrelated.",
    )
    confidence: float = Field(
        0.95,
        ge=0.8,
        le=0.9999,
        description="Probability that the loss stays below the value at risk, 0 to 1.",
    )
    horizon_days: float = Field(
        10, gt=0, le=2520, description=f"Horizon, in trading days; {TRADING_DAYS} are a year."
    )

    @field_validator("positions")
    @classmethod
    def _are_something(cls, positions: list[Position]) -> list[Position]:
        symbols = [position.symbol for position in positions]
        doubled = next((symbol for symbol in symbols if symbols.count(symbol) > 1), None)
        if doubled is not None:
            raise ValueError(f"symbol {doubled!r} occurs more than once")
        if not any(position.quantity for position in positions):
            raise ValueError("at least one quantity must not be 0")
        return positions

    @field_validator("volatilities")
    @classmethod
    def _are_of_positions(cls, volatilities: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        # Positions that were refused are missing here, and their own error says so.
        known = {position.symbol for position in info.data.get("positions", ())}
        unknown = sorted(volatilities.keys() - known)
        if known and unknown:
            raise ValueError(f"unknown symbol {unknown[0]!r}: it is not among the positions")
        return volatilities

    @field_validator("correlations")
    @classmethod
    def _are_correlations(
        cls, rows: list[list[float]] | None, info: ValidationInfo
    ) -> list[list[float]] | None:
        if rows is not None and "positions" in info.data:
            correlation.checked(rows, len(info.data["positions"]))
        return rows

    @model_validator(mode="after")
    def _are_at_risk(self) -> Self:
        amounts = [abs(each.value) * self._volatility(each.symbol) for each in self.positions]
        if max(amounts) * self._root < LEAST_DEVIATION:
            raise ValueError("prices, quantities and volatilities leave a risk too small to be computed")
        return self

    @property
    def value(self) -> float:
        """Of all positions, in currency units."""
        return math.fsum(position.value for position in self.positions)

    @property
    def gross_value(self) -> float:
        """Of all positions, short ones counted as if they were long, in currency units."""
        return math.fsum(abs(position.value) for position in self.positions)

    @cached_property
    def matrix(self) -> Matrix:
        """The correlations."""
        size = len(self.positions)
        return np.eye(size) if self.correlations is None else correlation.checked(self.correlations, size)

    @cached_property
    def amounts(self) -> Matrix:
        """Standard deviation of each position's profit over the horizon, q·p·σ·√(h/252), in currency units.

        Negative for a short position.
        """
        root = self._root
        return np.array([each.value * self._volatility(each.symbol) * root for each in self.positions])

    @property
    def _root(self) -> float:
        return math.sqrt(self.horizon_days / TRADING_DAYS)

    @cached_property
    def variance(self) -> float:
        """Of the profit over the horizon, in squared currency units."""
        return correlation.variance(self.matrix, self.amounts)

    def _volatility(self, symbol: str) -> float:
        return self.volatilities.get(symbol, DEFAULT_VOLATILITY)

"""The task ``european_option``: Monte Carlo price of a European option beside the Black-Scholes price."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from penstock.core.progress import Progress
from penstock.core.task import task
from penstock.tasks.finance import moments
from penstock.tasks.finance.draws import CHUNK, Chunk, blocks, stream
from penstock.tasks.finance.extending import Manifest, check, origin
from penstock.tasks.finance.fields import Seed, count_of, error_of
from penstock.tasks.finance.moments import Moments
from penstock.tasks.finance.normal import cumulative, quantile
from penstock.tasks.finance.shares import Share, drawn, folded, shares
from penstock.tasks.finance.simulation import (
    Estimate,
    Method,
    Plan,
    reached,
    to_their_end,
    told,
)

_WITHIN_95: Final = quantile(0.975)


Exact = Annotated[list[Annotated[float, Field(ge=-1e290, le=1e290)]], Field(max_length=100)]
"""No sum of payoffs is nearly as large, and none of what is added to it becomes infinite."""


class OptionManifest(Manifest):
    """Sums over the payoffs at maturity, as floats whose exact sum they are."""

    total: Exact = Field(description="Sum of the payoffs, in currency units.")
    squares: Exact = Field(description="Sum of their squares, in squared currency units.")

    @model_validator(mode="after")
    def _are_sums(self) -> Self:
        for name, terms in (("total", self.total), ("squares", self.squares)):
            if math.fsum(terms) < 0:
                raise ValueError(f"{name}: no payoff is negative, so neither is their sum")
        return self

    @property
    def found(self) -> Moments:
        """What was drawn before."""
        return Moments(self.draws, tuple(self.total), tuple(self.squares))


class Option(BaseModel):
    """A European option on an asset that pays no dividend, and how to simulate it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    spot_price: float = Field(ge=1e-6, le=1e9, description="Price of the asset now, in currency units.")
    strike_price: float = Field(ge=1e-6, le=1e9, description="Strike price, in currency units.")
    volatility: float = Field(
        gt=0, le=3, description="Volatility of the asset's returns, as a fraction per year: 0.25 is 25 %."
    )
    risk_free_rate: float = Field(
        ge=-0.5, le=1, description="Interest rate, continuously compounded, as a fraction per year."
    )
    time_to_maturity: float = Field(gt=0, le=50, description="Time until the option expires, in years.")
    option_type: Literal["call", "put"] = Field("call", description="Right to buy (call) or to sell (put).")
    simulations: int = count_of("final prices")
    seed: Seed = 0
    target_error: float | None = error_of("price")
    extend: OptionManifest | None = Field(
        None, description="Manifest of a finished simulation that is to go on: it is not drawn again."
    )

    @model_validator(mode="after")
    def _goes_on(self) -> Self:
        if self.extend is not None:
            check(self.extend, self.simulations, self.origin)
        return self

    @property
    def origin(self) -> dict[str, Any]:
        """What another simulation must have in common with this one to extend it."""
        how_much = {"simulations", "target_error", "extend"}
        return origin(self.seed, self.model_dump(mode="json", exclude=how_much))

    @property
    def plan(self) -> Plan:
        """How many simulations, and how exact."""
        return Plan(self.simulations, self.target_error)

    @property
    def discount(self) -> float:
        """Present value of one currency unit due at maturity."""
        return math.exp(-self.risk_free_rate * self.time_to_maturity)

    @property
    def spread(self) -> float:
        """Standard deviation σ√T of the logarithm of the final price."""
        return self.volatility * math.sqrt(self.time_to_maturity)


class OptionPrice(BaseModel):
    """What the simulation found, and what the formula says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    option_price: float = Field(description="Mean discounted payoff, in currency units.")
    standard_error: float = Field(description="Standard error of the price, in currency units.")
    confidence_interval: tuple[float, float] = Field(
        description="Lower and upper end of the 95 % confidence interval, in currency units."
    )
    closed_form: float = Field(description="Black-Scholes price, in currency units.")
    simulations: int = Field(description="Final prices that were simulated, a count.")
    stopped_early: bool = Field(description="Whether the target error was reached before all simulations.")
    manifest: OptionManifest = Field(description="How to extend the simulation.")


_EXAMPLE = {
    "spot_price": 100,
    "strike_price": 105,
    "volatility": 0.25,
    "risk_free_rate": 0.05,
    "time_to_maturity": 1,
    "option_type": "call",
}


@task(cache=True, example=_EXAMPLE, timeout="1h")
def european_option(option: Option, progress: Progress) -> OptionPrice:
    """Price of a European option by Monte Carlo simulation, with the Black-Scholes price beside it.

    Under the risk-neutral measure S_T = S·exp((r - σ²/2)·T + σ√T·z); the price is the mean payoff times
    exp(-r·T) (Glasserman 2003, 1.1.2).
    """
    return european_option.in_order(option, progress)


@european_option.split
def _(option: Option) -> Iterator["OptionShare"]:
    before = _before(option.extend)
    if reached(option.plan, before, _method(option)):
        return
    alone = option.model_copy(update={"extend": None})
    for share in shares(option.plan, skip=before.draws // CHUNK):
        yield OptionShare(option=alone, share=share, before=option.extend if share.whole else None)


class OptionShare(BaseModel):
    """Which chunks of the option's simulation to draw."""

    model_config = ConfigDict(frozen=True)

    option: Option
    share: Share
    before: OptionManifest | None = None


@european_option.part
def _(part: OptionShare, progress: Progress) -> list[Moments]:
    return drawn(part.share, _before(part.before), _method(part.option), progress)


@european_option.merge(block=16)
def _(option: Option, so_far: list[Moments] | None, results: list[list[Moments]]) -> list[Moments]:
    pieces = [_before(option.extend)] if so_far is None else so_far
    return folded(option.plan, pieces, results, _method(option))


@european_option.estimate
def _(option: Option, partial: list[Moments]) -> tuple[str, bool]:
    return told(option.plan, partial, _method(option))


@european_option.finish
def _(option: Option, partial: list[Moments]) -> OptionPrice:
    whole = moments.combine(partial)
    price, error = _estimate(option, whole)
    margin = _WITHIN_95 * error
    return OptionPrice(
        option_price=price,
        standard_error=error,
        confidence_interval=(price - margin, price + margin),
        closed_form=black_scholes(option),
        simulations=whole.draws,
        stopped_early=whole.draws < option.simulations,
        manifest=_manifest(option, partial),
    )


def _method(option: Option) -> Method[Moments]:
    return Method(partial(draw_payoffs, option), moments.combine, partial(_estimate, option))


def _before(manifest: OptionManifest | None) -> Moments:
    return Moments() if manifest is None else manifest.found


def _manifest(option: Option, pieces: list[Moments]) -> OptionManifest:
    kept = moments.combine(to_their_end(pieces))
    total, squares = moments.shortest(kept.total), moments.shortest(kept.squares)
    return OptionManifest(
        **option.origin, chunks=kept.draws // CHUNK, total=list(total), squares=list(squares)
    )


def draw_payoffs(option: Option, chunk: Chunk) -> Moments:
    """Moments of one chunk's payoffs at maturity, in currency units. Memory is one block."""
    numbers = stream(option.seed, chunk)
    totals, squares = [], []
    for size in blocks(chunk):
        payoffs = _payoffs(option, numbers.standard_normal(size))
        totals.append(float(payoffs.sum()))
        squares.append(float(np.square(payoffs, out=payoffs).sum()))
    return Moments(chunk.draws, moments.exact_sum((), totals), moments.exact_sum((), squares))


def black_scholes(option: Option) -> float:
    """Price in closed form (Black and Scholes 1973), in currency units.

    Call S·N(d1) - K·exp(-rT)·N(d2), put K·exp(-rT)·N(-d2) - S·N(-d1), with d1 = (ln(S/K) + rT) / σ√T + σ√T/2
    and d2 = d1 - σ√T.
    """
    sign = _sign(option)
    carry = option.risk_free_rate * option.time_to_maturity
    d1 = (math.log(option.spot_price / option.strike_price) + carry) / option.spread + option.spread / 2
    owned = option.spot_price * cumulative(sign * d1)
    owed = option.strike_price * option.discount * cumulative(sign * (d1 - option.spread))
    return max(0.0, sign * (owned - owed))


def _payoffs(option: Option, draws: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What the option pays for each standard normal draw; overwrites the draws."""
    drift = (option.risk_free_rate - option.volatility**2 / 2) * option.time_to_maturity
    draws *= option.spread
    draws += drift
    np.exp(draws, out=draws)
    draws *= _sign(option) * option.spot_price
    draws -= _sign(option) * option.strike_price
    return np.maximum(draws, 0, out=draws)


def _estimate(option: Option, whole: Moments) -> Estimate:
    return moments.mean(whole, scale=option.discount)


def _sign(option: Option) -> int:
    return 1 if option.option_type == "call" else -1

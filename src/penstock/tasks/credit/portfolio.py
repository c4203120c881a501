"""The task ``credit_loss``: Monte Carlo loss of a uniform loan portfolio, one chunk of loans at a time."""

from collections.abc import Iterator
from time import perf_counter

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from penstock.core.progress import Progress
from penstock.core.task import task
from penstock.tasks.credit.draws import Counted, chunks, count_defaults, merge
from penstock.tasks.credit.hazard import MacroScenario, default_probability, stressed_hazard


class Portfolio(BaseModel):
    """A portfolio of equal, independent loans and how to simulate it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    load: int = Field(ge=1, le=1_000_000_000, description="Size of the portfolio, in loans.")
    hazard_rate: float = Field(
        0.05, ge=0, le=10, description="Default intensity before any stress, per year."
    )
    horizon_years: float = Field(
        1.0, gt=0, le=100, description="Time over which a loan may default, in years."
    )
    exposure: float = Field(
        250_000.0, gt=0, le=1e12, description="Exposure at default of one loan, in currency units."
    )
    lgd: float = Field(0.45, ge=0, le=1, description="Loss given default, as a fraction of the exposure.")
    seed: int = Field(
        0, ge=0, le=2**53 - 1, description="Whole number that fixes every draw: same seed, same result."
    )
    chunk: int = Field(
        1_000_000,
        ge=1_000,
        le=10_000_000,
        description="Loans drawn from one random stream, a count. Like the seed it decides which numbers are "
        "drawn (each stream is keyed by seed, repeat and chunk number), not how they are distributed.",
    )
    repeats: int = Field(1, ge=1, le=10_000, description="How often the whole portfolio is drawn, a count.")
    macro: MacroScenario | None = Field(
        None, description="Economic scenario that multiplies the hazard rate; none leaves it as it is."
    )


class Percentiles(BaseModel):
    """Percentiles of the portfolio loss over the repeats, linearly interpolated, in currency units."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    p5: float = Field(description="5th percentile, in currency units.")
    p25: float = Field(description="25th percentile, in currency units.")
    p50: float = Field(description="Median, in currency units.")
    p75: float = Field(description="75th percentile, in currency units.")
    p95: float = Field(description="95th percentile, in currency units.")


class CreditLosses(BaseModel):
    """What the simulation found. Every figure is of one portfolio of ``loans`` loans, also with repeats."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    loans: int = Field(description="Loans in the portfolio.")
    defaults: int = Field(
        description="Defaulted loans; with several repeats their mean, rounded to the nearest whole loan."
    )
    default_rate: float = Field(
        description="Defaulted share of the loans, 0 to 1; the mean over the repeats."
    )
    pd: float = Field(description="Probability of default over the horizon that was simulated, 0 to 1.")
    hazard_rate: float = Field(description="Default intensity per year after the scenario, if there was one.")
    expected_credit_loss: float = Field(
        description="Defaults x exposure x lgd, in currency units; with repeats from the unrounded mean."
    )
    percentiles: Percentiles = Field(
        description="Percentiles of the distribution; all equal with one repeat."
    )
    distribution: list[float] = Field(
        max_length=10_000, description="Credit loss of each repeat, in order, in currency units."
    )
    elapsed_s: float = Field(description="Wall-clock time of the simulation, in seconds.")


@task(cache=True, example={"load": 100_000, "repeats": 20, "macro": {"unemployment": 6.5}})
def credit_loss(portfolio: Portfolio, progress: Progress) -> CreditLosses:
    """Expected credit loss of a loan portfolio by Monte Carlo simulation.

    A loan defaults when its uniform draw lies below PD = 1 - exp(-h·T), the constant-hazard survival model;
    each default costs exposure x lgd (ECL = PD x EAD x LGD, the usual decomposition under IFRS 9 and Basel).
    Several repeats show how far the loss of a portfolio of this size scatters.
    """
    began = perf_counter()
    hazard = _hazard(portfolio)
    pd = default_probability(hazard, portfolio.horizon_years)
    defaults = merge(_simulate(portfolio, pd, progress), portfolio.load, portfolio.repeats)
    return summarise(portfolio, defaults, hazard, pd, perf_counter() - began)


def summarise(
    portfolio: Portfolio, defaults: list[int], hazard: float, pd: float, elapsed_s: float
) -> CreditLosses:
    """The result from the ``defaults`` of each repeat, as ``merge`` returns them."""
    mean = sum(defaults) / len(defaults)
    losses = [_loss(portfolio, count) for count in defaults]
    p5, p25, p50, p75, p95 = np.percentile(losses, [5, 25, 50, 75, 95]).tolist()
    return CreditLosses(
        loans=portfolio.load,
        defaults=round(mean),
        default_rate=mean / portfolio.load,
        pd=pd,
        hazard_rate=hazard,
        expected_credit_loss=_loss(portfolio, mean),
        percentiles=Percentiles(p5=p5, p25=p25, p50=p50, p75=p75, p95=p95),
        distribution=losses,
        elapsed_s=elapsed_s,
    )


def _hazard(portfolio: Portfolio) -> float:
    if portfolio.macro is None:
        return portfolio.hazard_rate
    return stressed_hazard(portfolio.hazard_rate, portfolio.macro)


def _loss(portfolio: Portfolio, defaults: float) -> float:
    return defaults * portfolio.exposure * portfolio.lgd


def _simulate(portfolio: Portfolio, pd: float, progress: Progress) -> Iterator[Counted]:
    """Count every chunk in turn and say so; a cancelled job ends here, after at most one chunk."""
    load, repeats = portfolio.load, portfolio.repeats
    done = 0
    for chunk in chunks(load, portfolio.chunk, repeats):
        yield count_defaults(portfolio.seed, chunk, pd)
        done += chunk.loans
        drawn = f"{_spaced(done - chunk.repeat * load)} of {_spaced(load)} loans"
        progress.update(done / (load * repeats), f"repeat {chunk.repeat + 1} of {repeats}, {drawn}")


def _spaced(number: int) -> str:
    """Digits in groups of three, as in 12 000 000."""
    return f"{number:,}".replace(",", " ")

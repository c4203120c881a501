"""The task ``credit_loss``: Monte Carlo loss of a uniform loan portfolio, one chunk of loans at a time.

A large portfolio is drawn in parts by all workers; see `shares` for how it is cut and `tally` for how the
counts are added up. Called as a plain function it does the same here, with the same result.
"""

from collections.abc import Iterator
from time import perf_counter
from typing import Self

import numpy as np
import numpy.ma  # np.percentile would import it in each new child, for 10 ms
from pydantic import BaseModel, ConfigDict, Field, model_validator

from penstock.core.progress import Progress
from penstock.core.task import task
from penstock.tasks.credit.draws import Chunk, Counted, count_defaults
from penstock.tasks.credit.hazard import MacroScenario, default_probability, stressed_hazard
from penstock.tasks.credit.shares import Share, Simulation, shares
from penstock.tasks.credit.tally import VERSION, Manifest, Tally, shown

NOT_THE_SAME = "is not that of the simulation to be extended"


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
    target_error: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Standard error of the default rate at which drawing may end early, as a share of the "
        "loans; none draws every loan. Only with one repeat.",
    )
    extend: Manifest | None = Field(
        None,
        description="Manifest of a finished simulation that is to go on: its streams are not drawn again.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.target_error is not None and self.repeats != 1:
            raise ValueError("target_error: only with one repeat")
        if self.extend is not None and (wrong := self._disagrees(self.extend)):
            raise ValueError(f"extend: {wrong} {self._wanted(self.extend).get(wrong, NOT_THE_SAME)}")
        return self

    @staticmethod
    def _wanted(before: Manifest) -> dict[str, str]:
        """Of what may grow, how large it must be."""
        return {
            "load": f"must be at least the {before.whole * before.chunk} loans that were drawn before",
            "repeats": f"must be at least the {len(before.defaults)} that were drawn before",
        }

    def _disagrees(self, before: Manifest) -> str:
        """In what this portfolio is not a larger one of the same draws."""
        same = {
            "version": before.version == VERSION,
            "seed": self.seed == before.seed,
            "chunk": self.chunk == before.chunk,
            "probability of default": probability(self) == before.pd,
            "load": self.load >= before.whole * before.chunk and bool(before.defaults),
            "repeats": self.repeats >= len(before.defaults),
        }
        return next((name for name, holds in same.items() if not holds), "")


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
    simulated: int = Field(description="Loans that were drawn for it, over all repeats, a count.")
    standard_error: float = Field(description="Standard error of the default rate, 0 to 1.")
    stopped_early: bool = Field(
        description="Whether the target error was reached before every loan was drawn; the other figures are "
        "then those of the whole portfolio at the rate that was found."
    )
    manifest: Manifest = Field(description="How to repeat the simulation, or to extend it.")
    elapsed_s: float = Field(
        description="Time spent drawing, in seconds; that of all parts together if it was done in parts."
    )


@task(cache=True, example={"load": 100_000, "repeats": 20, "macro": {"unemployment": 6.5}})
def credit_loss(portfolio: Portfolio, progress: Progress) -> CreditLosses:
    """Expected credit loss of a loan portfolio by Monte Carlo simulation.

    A loan defaults when its uniform draw lies below PD = 1 - exp(-h·T), the constant-hazard survival model;
    each default costs exposure x lgd (ECL = PD x EAD x LGD, the usual decomposition under IFRS 9 and Basel).
    Several repeats show how far the loss of a portfolio of this size scatters.
    """
    return credit_loss.in_order(portfolio, progress)


@credit_loss.split
def _(portfolio: Portfolio) -> Iterator[Share]:
    return shares(_simulation(portfolio), to_target=portfolio.target_error is not None)


class Drawn(BaseModel):
    """What one share found, and the seconds that it took."""

    counted: list[Counted]
    seconds: float


@credit_loss.part
def _(share: Share, progress: Progress) -> Drawn:
    began = perf_counter()
    counted: list[Counted] = []
    for repeat, chunks in share.by_repeat():
        counted += _count(repeat, _watched(share.simulation, chunks, progress), share.simulation)
    return Drawn(counted=counted, seconds=perf_counter() - began)


@credit_loss.merge(block=16)
def _(portfolio: Portfolio, so_far: Tally | None, results: list[Drawn]) -> Tally:
    tally = so_far or Tally.empty(portfolio.repeats, portfolio.chunk, portfolio.extend)
    counted = [count for drawn in results for count in drawn.counted]
    return tally.plus(counted, portfolio.chunk, sum(drawn.seconds for drawn in results))


@credit_loss.estimate
def _(portfolio: Portfolio, partial: Tally) -> tuple[str, bool]:
    error = partial.standard_error
    reached = portfolio.target_error is not None and error <= portfolio.target_error
    return f"default rate {shown(partial.rate, error)}", reached


@credit_loss.finish
def _(portfolio: Portfolio, partial: Tally) -> CreditLosses:
    return summarise(portfolio, partial)


def summarise(portfolio: Portfolio, tally: Tally) -> CreditLosses:
    """The result. Raises ValueError if a loan was drawn twice, or was not and nobody wanted to stop early."""
    drawn = tally.drawn()
    early = portfolio.target_error is not None and drawn[0] < portfolio.load
    if not early and any(loans != portfolio.load for loans in drawn):
        raise ValueError(f"some chunks are missing or doubled: each repeat must cover {portfolio.load} loans")
    defaults = [tally.rate * portfolio.load] if early else tally.defaulted()
    mean = sum(defaults) / len(defaults)
    losses = [_loss(portfolio, count) for count in defaults]
    p5, p25, p50, p75, p95 = np.percentile(losses, [5, 25, 50, 75, 95]).tolist()
    pd = probability(portfolio)
    return CreditLosses(
        loans=portfolio.load,
        defaults=round(mean),
        default_rate=tally.rate if early else mean / portfolio.load,
        pd=pd,
        hazard_rate=_hazard(portfolio),
        expected_credit_loss=_loss(portfolio, mean),
        percentiles=Percentiles(p5=p5, p25=p25, p50=p50, p75=p75, p95=p95),
        distribution=losses,
        simulated=sum(drawn),
        standard_error=tally.standard_error,
        stopped_early=early,
        manifest=tally.manifest(portfolio.seed, portfolio.chunk, pd),
        elapsed_s=tally.seconds,
    )


def probability(portfolio: Portfolio) -> float:
    """Probability that a loan defaults within the horizon, 0 to 1."""
    return default_probability(_hazard(portfolio), portfolio.horizon_years)


def _simulation(portfolio: Portfolio) -> Simulation:
    before = portfolio.extend
    return Simulation(
        seed=portfolio.seed,
        pd=probability(portfolio),
        load=portfolio.load,
        chunk=portfolio.chunk,
        repeats=portfolio.repeats,
        begun=len(before.defaults) if before else 0,
        skip=before.whole if before else 0,
    )


def _hazard(portfolio: Portfolio) -> float:
    if portfolio.macro is None:
        return portfolio.hazard_rate
    return stressed_hazard(portfolio.hazard_rate, portfolio.macro)


def _loss(portfolio: Portfolio, defaults: float) -> float:
    return defaults * portfolio.exposure * portfolio.lgd


def _count(repeat: int, chunks: Iterator[Chunk], simulation: Simulation) -> Iterator[Counted]:
    """The chunks of one repeat together, but for a short one, which an extension would draw again."""
    loans = defaults = 0
    for chunk in chunks:
        counted = count_defaults(simulation.seed, chunk, simulation.pd)
        if chunk.loans < simulation.chunk:
            yield counted
        else:
            loans, defaults = loans + counted.loans, defaults + counted.defaults
    if loans:
        yield Counted(repeat, loans, defaults)


def _watched(simulation: Simulation, chunks: Iterator[Chunk], progress: Progress) -> Iterator[Chunk]:
    """Say of each chunk when it is done; a cancelled job ends here, after at most one chunk."""
    load, repeats = simulation.load, simulation.repeats
    for chunk in chunks:
        yield chunk
        done = chunk.number * simulation.chunk + chunk.loans
        drawn = f"{_spaced(done)} of {_spaced(load)} loans"
        fraction = (chunk.repeat * load + done) / (load * repeats)
        progress.update(fraction, f"repeat {chunk.repeat + 1} of {repeats}, {drawn}")


def _spaced(number: int) -> str:
    """Digits in groups of three, as in 12 000 000."""
    return f"{number:,}".replace(",", " ")

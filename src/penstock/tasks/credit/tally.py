"""Counts of many shares added up, what they say so far, and the manifest that lets a later run go on."""

import math
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from penstock.tasks.credit.draws import Counted

VERSION = "1"
"""Of the way numbers are drawn; another one draws others from the same seed."""


class Manifest(BaseModel):
    """With what a simulation was drawn, to repeat it, and how far, to extend it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    version: str = Field(description="Version of the way in which numbers are drawn.")
    seed: int = Field(ge=0, le=2**53 - 1, description="Seed of every stream.")
    chunk: int = Field(ge=1_000, le=10_000_000, description="Loans drawn from one stream, a count.")
    parts: int = Field(ge=0, description="Streams drawn in all, a count; the last of a repeat may be short.")
    pd: float = Field(ge=0, le=1, description="Probability of default that draws were compared with, 0 to 1.")
    whole: int = Field(ge=0, description="Streams of each repeat that were drawn to their end, a count.")
    defaults: list[int] = Field(
        max_length=10_000, description="Defaulted loans of each repeat in those streams, in order."
    )


class Tally(BaseModel):
    """Loans drawn and defaulted, by repeat; those of a short last chunk apart. ``seconds`` spent drawing."""

    model_config = ConfigDict(frozen=True)

    loans: list[int]
    defaults: list[int]
    rest_loans: list[int]
    rest_defaults: list[int]
    seconds: float = 0.0

    @classmethod
    def empty(cls, repeats: int, chunk: int, manifest: Manifest | None) -> "Tally":
        """Nothing yet, or what the manifest brings."""
        nothing = [0] * repeats
        tally = cls(loans=nothing, defaults=nothing, rest_loans=nothing, rest_defaults=nothing)
        if manifest is None:
            return tally
        begun = len(manifest.defaults)
        return tally.model_copy(
            update={
                "loans": [manifest.whole * chunk] * begun + nothing[begun:],
                "defaults": manifest.defaults + nothing[begun:],
            }
        )

    def plus(self, counted: Iterable[Counted], chunk: int, seconds: float) -> "Tally":
        """With these counts; integers, so that their order does not matter."""
        loans, defaults = self.loans.copy(), self.defaults.copy()
        rest_loans, rest_defaults = self.rest_loans.copy(), self.rest_defaults.copy()
        for count in counted:
            short = count.loans % chunk != 0
            (rest_loans if short else loans)[count.repeat] += count.loans
            (rest_defaults if short else defaults)[count.repeat] += count.defaults
        return Tally(
            loans=loans,
            defaults=defaults,
            rest_loans=rest_loans,
            rest_defaults=rest_defaults,
            seconds=self.seconds + seconds,
        )

    def drawn(self) -> list[int]:
        """Loans drawn in each repeat."""
        return [whole + rest for whole, rest in zip(self.loans, self.rest_loans, strict=True)]

    def defaulted(self) -> list[int]:
        """Loans of each repeat that defaulted."""
        return [whole + rest for whole, rest in zip(self.defaults, self.rest_defaults, strict=True)]

    @property
    def rate(self) -> float:
        """Defaulted share of the loans drawn so far, 0 to 1."""
        return sum(self.defaulted()) / sum(self.drawn())

    @property
    def standard_error(self) -> float:
        """Standard error of `rate`: √(p(1-p)/n), with one default and one survivor added to both.

        Without them a simulation that has seen no default yet would take itself for exact (Agresti and
        Coull 1998 add two of each).
        """
        drawn = sum(self.drawn())
        rate = (sum(self.defaulted()) + 1) / (drawn + 2)
        return math.sqrt(rate * (1 - rate) / drawn)

    def manifest(self, seed: int, chunk: int, pd: float) -> Manifest:
        """What a repetition or an extension needs to know."""
        streams = sum(-(-loans // chunk) for loans in self.drawn())
        return Manifest(
            version=VERSION,
            seed=seed,
            chunk=chunk,
            parts=streams,
            pd=pd,
            whole=min(self.loans) // chunk,
            defaults=self.defaults,
        )


def shown(value: float, error: float) -> str:
    """A value with its error, to the two digits that the error leaves sure."""
    digits = max(4, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"

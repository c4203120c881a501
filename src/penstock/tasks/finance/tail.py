"""The large losses of a simulation, counted in narrow bins of a fixed grid.

Counts are whole numbers, so tails merge to the same bits in any order, and memory is that of the grid however
many simulations there are. Losses are in standard deviations of the simulated distribution.
"""

import base64
import math
import zlib
from collections.abc import Iterable
from typing import Annotated, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import PlainSerializer, PlainValidator

from penstock.tasks.finance.normal import Risk

START: Final = 0.25
"""Smaller losses are not kept. At a confidence of 0.8 the quantile is 0.84."""

PER_DEVIATION: Final = 2_048
BINS: Final = 8 * PER_DEVIATION

LEAST_BEYOND: Final = 50
"""So many simulations must be expected beyond the quantile, or its standard error would be a guess."""

_WIRE: Final = np.dtype("<i8")
_BYTES: Final = BINS * _WIRE.itemsize


def packed(counts: npt.NDArray[np.int64]) -> str:
    """Counts as text. Most are small or 0, so that it is a few KiB long."""
    return base64.b64encode(zlib.compress(counts.astype(_WIRE).tobytes(), 1)).decode()


def unpacked(text: str) -> npt.NDArray[np.int64]:
    """The counts again; raises ValueError for any other text, which cannot take more memory than they do."""
    try:
        data = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), _BYTES + 1)
    except (ValueError, zlib.error) as failed:
        raise ValueError(f"are no packed counts: {failed}") from None
    if len(data) != _BYTES:
        raise ValueError(f"are no packed counts: there must be {BINS} of them")
    return np.frombuffer(data, _WIRE).astype(np.int64)


Counts = Annotated[
    npt.NDArray[np.int64],
    PlainValidator(unpacked, json_schema_input_type=str),
    PlainSerializer(packed, return_type=str),
]
"""As JSON they are text: what one part of a job found goes to another process."""


class Tail(NamedTuple):
    """``draws`` losses, of which ``counts[b]`` lie in bin b: from START + b/PER_DEVIATION to the next."""

    draws: int
    counts: Counts


def combine(tails: Iterable[Tail]) -> Tail:
    """All losses together."""
    draws, counts = 0, np.zeros(BINS, np.int64)
    for tail in tails:
        draws += tail.draws
        counts = counts + tail.counts
    return Tail(draws, counts)


def count(losses: npt.NDArray[np.float64]) -> Counts:
    """How many losses lie in each bin; what exceeds the grid (8.25 deviations) counts in its last bin."""
    bins = ((losses[losses >= START] - START) * PER_DEVIATION).astype(np.int64)
    return np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)


class Ranked:
    """A tail that can be asked what the k-th largest loss is."""

    def __init__(self, tail: Tail) -> None:
        self._draws = tail.draws
        self._counts = tail.counts[::-1]  # largest loss first
        self._at_least = np.cumsum(self._counts)

    def level(self, share: float) -> float:
        """The loss that the ``share`` (0 to 1) largest ones exceed, linearly interpolated within its bin.

        Raises ValueError when so many losses are not kept.
        """
        number, within = self._place(share)
        return float(_top(number)) - within / PER_DEVIATION

    def beyond(self, share: float) -> tuple[float, float]:
        """Mean and variance of the ``share`` largest losses; within a bin they are taken as even."""
        number, within = self._place(share)
        weights = self._counts[: number + 1].astype(np.float64)
        tops, widths = _top(np.arange(number + 1)), np.full(number + 1, 1 / PER_DEVIATION)
        weights[-1] *= within
        widths[-1] *= within
        middles = tops - widths / 2
        mean = float(np.average(middles, weights=weights))
        spread = np.square(middles - mean) + np.square(widths) / 12
        return mean, float(np.average(spread, weights=weights))

    def _place(self, share: float) -> tuple[int, float]:
        """The bin, largest first, with the last of the ``share`` largest, and how much of it they take."""
        rank = share * self._draws
        number = int(np.searchsorted(self._at_least, rank))
        if number == BINS:
            raise ValueError("so many losses are not kept")
        here = int(self._counts[number])
        return number, 1 - (int(self._at_least[number]) - rank) / here if here else 1.0


class Measured(NamedTuple):
    """Risk in standard deviations, and the standard error of each figure."""

    risk: Risk
    var_error: float
    shortfall_error: float


def measure(tail: Tail, confidence: float) -> Measured:
    """Value at risk and expected shortfall at ``confidence``, with standard errors.

    - VaR: the interval between the order statistics at p ± 2·√(p(1-p)/n), p = 1 - c, covers the quantile with
      about 95 % (Woodruff 1952), whatever the distribution; its length is four standard errors.
    - ES: √((v + c·(ES - VaR)²) / (n·p)), v the variance of the losses beyond VaR (Manistre and Hancock 2005).
    """
    share, ranked = 1 - confidence, Ranked(tail)
    var = ranked.level(share)
    shortfall, variance = ranked.beyond(share)
    margin = 2 * math.sqrt(share * confidence / tail.draws)
    var_error = (ranked.level(share - margin) - ranked.level(share + margin)) / 4
    excess = variance + confidence * (shortfall - var) ** 2
    return Measured(Risk(var, shortfall), var_error, math.sqrt(excess / (tail.draws * share)))


def _top(number: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Upper edge of a bin that is counted from the largest losses on."""
    return START + (BINS - np.asarray(number)) / PER_DEVIATION

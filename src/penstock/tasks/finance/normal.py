"""The standard normal distribution and what follows from it in closed form."""

import math
from statistics import NormalDist
from typing import NamedTuple

_STANDARD = NormalDist()


class Risk(NamedTuple):
    """Value at risk and expected shortfall, both as losses, in one unit."""

    var: float
    shortfall: float


def cumulative(x: float) -> float:
    """P(Z <= x). By ``erfc``, which keeps the digits of a small probability."""
    return 0.5 * math.erfc(-x / math.sqrt(2))


def quantile(probability: float) -> float:
    """The x with P(Z <= x) = ``probability`` (0 to 1, exclusive)."""
    return _STANDARD.inv_cdf(probability)


def normal_risk(deviation: float, confidence: float) -> Risk:
    """Risk of a normal profit and loss with mean 0: VaR = z·s, ES = s·φ(z)/(1-c) with z the c-quantile.

    ``deviation`` s in currency units. McNeil, Frey and Embrechts, Quantitative Risk Management (2015),
    examples 2.11 and 2.14.
    """
    z = quantile(confidence)
    return Risk(deviation * z, deviation * _STANDARD.pdf(z) / (1 - confidence))

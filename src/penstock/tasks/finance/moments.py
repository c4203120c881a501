"""Mean and standard error from sums that do not depend on how the work was divided."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from penstock.tasks.finance.simulation import Estimate

Exact = tuple[float, ...]
"""A sum without rounding error: a few floats that do not overlap and whose true sum it is."""


class Moments(NamedTuple):
    """``draws`` values: how many, their sum and the sum of their squares."""

    draws: int = 0
    total: Exact = ()
    squares: Exact = ()


def combine(parts: Iterable[Moments]) -> Moments:
    """All values together; the same bits whatever the order or grouping of the parts."""
    draws, total, squares = 0, (), ()  # type: tuple[int, Exact, Exact]
    for part in parts:
        draws += part.draws
        total, squares = exact_sum(total, part.total), exact_sum(squares, part.squares)
    return Moments(draws, total, squares)


def exact_sum(partials: Exact, terms: Iterable[float]) -> Exact:
    """``partials`` and ``terms`` added up without any error (Shewchuk 1997)."""
    for term in terms:
        partials = _grown(partials, term)
    return partials


def _grown(partials: Exact, term: float) -> Exact:
    kept = []
    for partial in partials:
        large, small = (term, partial) if abs(term) >= abs(partial) else (partial, term)
        term = large + small
        lost = small - (term - large)
        if lost:
            kept.append(lost)
    return (*kept, term)


def shortest(partials: Exact) -> Exact:
    """The same sum in the one form that does not depend on how it came about: each float rounds the rest."""
    terms: tuple[float, ...] = ()
    while rest := math.fsum((*partials, *(-term for term in terms))):
        terms = (*terms, rest)
    return terms


def mean(moments: Moments, scale: float = 1.0) -> Estimate:
    """Mean of the values and its standard error s/√n, s² with n - 1, both times ``scale``."""
    count, total = moments.draws, math.fsum(moments.total)
    average = total / count
    variance = max(0.0, math.fsum(moments.squares) - average * total) / (count - 1)
    return Estimate(scale * average, scale * math.sqrt(variance / count))

"""What a measurement is to the runner and to the report."""

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peers import measurements
from peers.plan import Plan

Figures = dict[str, float]
"""One round's figures by column; a column may be missing where it has no meaning."""


@dataclass(frozen=True)
class Column:
    """A figure; ``digits`` after the point. ``bound`` names the field of the plan at which it was cut off."""

    key: str
    title: str
    digits: int = 0
    bound: str | None = None


@dataclass(frozen=True)
class Measurement:
    """``run`` takes one round of one contestant. The first column ranks, ``best`` tells which way.

    ``contestants`` names who takes part if not everybody, ``target`` is what Penstock must reach.
    """

    name: str
    title: str
    order: int
    columns: Sequence[Column]
    run: Callable[[str, Plan], Figures]
    target: str
    best: Callable[[Sequence[float]], float] = max
    contestants: Sequence[str] | None = None
    chart: bool = True
    log_scale: bool = False


def found() -> list[Measurement]:
    """All there are, in the order of the report."""
    modules = (
        importlib.import_module(f"{measurements.__name__}.{each.name}")
        for each in pkgutil.iter_modules(measurements.__path__)
    )
    return sorted((module.MEASUREMENT for module in modules), key=lambda each: each.order)

"""How a simulation runs: chunk after chunk, with an estimate all along, until it is done or good enough."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from penstock.core.progress import Progress
from penstock.tasks.finance.draws import Chunk, chunks

Part = TypeVar("Part")


class Estimate(NamedTuple):
    """A figure and its standard error, in one unit."""

    value: float
    error: float


class Plan(NamedTuple):
    """At most ``simulations``; fewer if the standard error reaches ``target_error`` before."""

    simulations: int
    target_error: float | None


class Run(NamedTuple):
    """What was drawn, put together, and how many simulations that took."""

    estimate: Estimate
    simulations: int
    stopped_early: bool


def simulate(
    plan: Plan,
    draw: Callable[[Chunk], Part],
    combine: Callable[[Iterable[Part]], Part],
    estimate: Callable[[Part], Estimate],
    progress: Progress,
) -> tuple[Part, Run]:
    """Draw chunks in order and tell how the estimate comes along.

    Looks at ``target_error`` after every chunk. An error of 0 means that nothing has been seen yet, not that
    nothing is left to see, so it stops nothing.
    """
    whole = combine(())
    done, furthest, found = 0, 0.0, Estimate(0, 0)
    for chunk in chunks(plan.simulations):
        whole = combine((whole, draw(chunk)))
        done += chunk.draws
        found = estimate(whole)
        furthest = max(furthest, _fraction(plan, done, found.error))
        progress.update(furthest, report(plan, done, found))
        if good_enough(plan, found.error):
            break
    return whole, Run(found, done, done < plan.simulations)


def good_enough(plan: Plan, error: float) -> bool:
    """Whether no more simulations are wanted. An error of 0 means that nothing has been seen yet."""
    return plan.target_error is not None and 0 < error <= plan.target_error


def _fraction(plan: Plan, done: int, error: float) -> float:
    """Errors shrink with the square root of the work, so work done towards the target is its square."""
    towards = (plan.target_error / error) ** 2 if plan.target_error and error else 0.0
    return min(1.0, max(done / plan.simulations, towards))


def report(plan: Plan, done: int, found: Estimate) -> str:
    """The estimate so far, for people."""
    drawn = f"{_spaced(done)} of {_spaced(plan.simulations)} simulations"
    return f"{found.value:.6g} ± {found.error:.2g} after {drawn}"


def _spaced(number: int) -> str:
    """Digits in groups of three, as in 12 000 000."""
    return f"{number:,}".replace(",", " ")

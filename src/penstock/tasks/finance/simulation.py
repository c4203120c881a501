"""How a simulation runs: chunk after chunk, with an estimate all along, until it is done or good enough."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from penstock.core.progress import Progress
from penstock.tasks.finance.draws import CHUNK, Chunk


class Drawn(Protocol):
    """What some simulations found."""

    @property
    def draws(self) -> int:
        """How many they were."""


Part = TypeVar("Part", bound=Drawn)


class Estimate(NamedTuple):
    """A figure and its standard error, in one unit."""

    value: float
    error: float


@dataclass(frozen=True)
class Method(Generic[Part]):
    """How one chunk is drawn, how what several found is put together, and what that says."""

    draw: Callable[[Chunk], Part]
    combine: Callable[[Iterable[Part]], Part]
    estimate: Callable[[Part], Estimate]


class Plan(NamedTuple):
    """At most ``simulations``; fewer if the standard error reaches ``target_error`` before."""

    simulations: int
    target_error: float | None


def simulate(
    plan: Plan, todo: Iterable[Chunk], before: Part, method: Method[Part], progress: Progress
) -> list[Part]:
    """Draw chunks in order and tell how the estimate comes along; gives what was drawn, `joined`.

    ``before``: what was drawn in earlier chunks. Looks at ``target_error`` after every chunk. An error of 0
    means that nothing has been seen yet, not that nothing is left to see, so it stops nothing.
    """
    pieces: list[Part] = []
    done, furthest = before.draws, 0.0
    for chunk in todo:
        pieces = joined((*pieces, method.draw(chunk)), method)
        done += chunk.draws
        found = method.estimate(method.combine((before, *pieces)))
        furthest = max(furthest, _fraction(plan, done, found.error))
        progress.update(furthest, _report(plan, done, found))
        if _good_enough(plan, found.error):
            break
    return pieces


def to_their_end(parts: Iterable[Part]) -> Iterator[Part]:
    """Those that are made of whole chunks."""
    return (part for part in parts if part.draws % CHUNK == 0)


def joined(parts: Iterable[Part], method: Method[Part]) -> list[Part]:
    """Whole chunks together, and apart from them the short one, which only the last of a simulation is."""
    short: list[Part] = []

    def whole() -> Iterator[Part]:
        for part in parts:
            if part.draws % CHUNK:
                short.append(part)
            else:
                yield part

    together = method.combine(whole())
    return [together, *short] if together.draws else short


def reached(plan: Plan, before: Part, method: Method[Part]) -> bool:
    """Whether what was drawn before is exact enough already."""
    return before.draws > 0 and _good_enough(plan, method.estimate(before).error)


def told(plan: Plan, pieces: list[Part], method: Method[Part]) -> tuple[str, bool]:
    """What these pieces say so far, for people, and whether no more are wanted."""
    whole = method.combine(pieces)
    found = method.estimate(whole)
    return _report(plan, whole.draws, found), _good_enough(plan, found.error)


def _good_enough(plan: Plan, error: float) -> bool:
    """Whether no more simulations are wanted. An error of 0 means that nothing has been seen yet."""
    return plan.target_error is not None and 0 < error <= plan.target_error


def _fraction(plan: Plan, done: int, error: float) -> float:
    """Errors shrink with the square root of the work, so work done towards the target is its square."""
    towards = (plan.target_error / error) ** 2 if plan.target_error and error else 0.0
    return min(1.0, max(done / plan.simulations, towards))


def _report(plan: Plan, done: int, found: Estimate) -> str:
    """The estimate so far, for people."""
    drawn = f"{_spaced(done)} of {_spaced(plan.simulations)} simulations"
    return f"{found.value:.6g} ± {found.error:.2g} after {drawn}"


def _spaced(number: int) -> str:
    """Digits in groups of three, as in 12 000 000."""
    return f"{number:,}".replace(",", " ")

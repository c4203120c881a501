"""The parameters of every simulation; only what is simulated differs in what they say of themselves."""

from typing import Annotated, Any

from pydantic import Field

Seed = Annotated[
    int,
    Field(ge=0, le=2**53 - 1, description="Whole number that fixes every draw: same seed, same result."),
]


def count_of(what: str) -> Any:
    """How many of ``what`` to simulate."""
    said = f"Simulated {what}, a count; with a target error the most there may be."
    return Field(100_000, ge=1_000, le=1_000_000_000, description=said)


def error_of(figure: str) -> Any:
    """Which standard error of the ``figure``, in currency units, is small enough to stop."""
    said = f"Stop as soon as the standard error of the {figure} is this small, in currency units; "
    return Field(None, gt=0, description=said + "looked at every 65 536 simulations.")

"""The task ``add``: two numbers and, on request, a cost in CPU time that stands in for real work."""

from time import thread_time
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from penstock.core.progress import Progress
from penstock.core.task import task

EXACT: Final = 2**53
"""Up to here every whole number is a float64 of its own."""

_Bounds = Field(ge=-EXACT, le=EXACT)
Number = Annotated[int, _Bounds] | Annotated[float, _Bounds]
"""Bounded one by one: schemas do not tell the bounds of a union."""

_STEP_S: Final = 0.02


class Operands(BaseModel):
    """Two numbers, what to do with them, and how long to look busy."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    a: Number = Field(description="First number, without a unit.")
    b: Number = Field(description="Second number, without a unit.")
    operation: Literal["add"] = Field("add", description="What to do with the numbers.")
    cost_s: float = Field(
        0.0, ge=0, le=3_600, description="CPU time to burn before answering, in seconds: stands in for work."
    )


class Sum(BaseModel):
    """The answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sum: int | float = Field(description="a + b, a whole number if both are.")


@task(example={"a": 2, "b": 3})
def add(operands: Operands, progress: Progress) -> Sum:
    """Sum of two numbers, after as many seconds of CPU time as cost_s says."""
    _burn(operands.cost_s, progress)
    return Sum(sum=operands.a + operands.b)


def _burn(cost_s: float, progress: Progress) -> None:
    """CPU time, not wall time: on a busy machine it takes longer, as real work would."""
    began, spent = thread_time(), 0.0
    while spent < cost_s:
        progress.update(spent / cost_s, f"{spent:.1f} of {cost_s:g} s of CPU time")
        _work(until=began + min(cost_s, spent + _STEP_S))
        spent = thread_time() - began


def _work(until: float) -> None:
    while thread_time() < until:
        pass

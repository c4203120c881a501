"""The finance tasks by the names and in the shapes that older callers use, put into our own and back.

Nothing is checked here: what does not fit is refused by the task itself, and the refusal names the caller's
field.
"""

from collections.abc import Mapping
from typing import Any, Final

from penstock.core.errors import ErrorCode, PenstockError, field_error

TASKS: Final = {
    "calculate_var": "portfolio_var",
    "monte_carlo": "european_option",
    "optimize": "optimal_portfolio",
}
"""Names of tasks; ``stress_test`` is called so in both."""

_HOLDINGS: Final = {
    "confidence_level": "confidence",
    "time_horizon": "horizon_days",
    "correlation_matrix": "correlations",
}
_SIMULATION: Final = {"num_simulations": "simulations"}
FIELDS: Final[Mapping[str, Mapping[str, str]]] = {
    "portfolio_var": _HOLDINGS | _SIMULATION,
    "stress_test": _HOLDINGS,
    "european_option": _SIMULATION,
    "optimal_portfolio": {"historical_returns": "returns", "symbols": "assets"},
}
"""Of each task, older names of parameters."""


def task_of(task_type: str) -> str:
    """Our name of a task; one that is not known stays as it is."""
    return TASKS.get(task_type, task_type)


def params_of(task: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Our parameters. Raises VALIDATION_ERROR where something is said twice."""
    names = FIELDS.get(task, {})
    twice = [
        (f"data.{old}", f"is the same as {new}") for old, new in names.items() if {old, new} <= data.keys()
    ]
    if twice:
        raise field_error(twice)
    params = {names.get(name, name): value for name, value in data.items()}
    if isinstance(params.get("volatilities"), list):
        params["volatilities"] = _by_symbol(params["volatilities"], params.get("positions"))
    return params


def _by_symbol(volatilities: list[Any], positions: Any) -> Any:
    """A list in the order of the positions, by symbol; as it is if there are no such positions."""
    held = positions if isinstance(positions, list) else []
    symbols = [each.get("symbol") for each in held if isinstance(each, dict)]
    if len(symbols) < len(held) or not all(isinstance(each, str) for each in symbols):
        return volatilities
    if len(symbols) != len(volatilities):
        problem = f"must have one number per position, {len(symbols)} and not {len(volatilities)}"
        raise field_error([("data.volatilities", problem)])
    return dict(zip(symbols, volatilities, strict=True))


def in_their_words(refused: PenstockError, task: str, data: Mapping[str, Any]) -> PenstockError:
    """A refusal that names the fields as the caller did."""
    if refused.code is not ErrorCode.VALIDATION_ERROR:
        return refused
    theirs = {new: old for old, new in FIELDS.get(task, {}).items() if old in data}
    fields = refused.details["fields"]
    return field_error([(_their_field(each["field"], theirs), each["problem"]) for each in fields])


def _their_field(field: str, theirs: Mapping[str, str]) -> str:
    """``params.confidence`` is ``data.confidence_level`` to whoever calls it so."""
    where, dot, rest = field.partition(".")
    if where != "params":
        return field
    ends = [place for mark in ".[" if (place := rest.find(mark)) >= 0]
    name = rest[: min(ends, default=len(rest))]
    return f"data{dot}{theirs.get(name, name)}{rest[len(name) :]}"

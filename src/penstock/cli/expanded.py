"""A parameter of a command that is made from several options."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any


def expanded(
    function: Callable[..., None],
    name: str,
    options: Sequence[inspect.Parameter],
    make: Callable[..., Any],
) -> Callable[..., None]:
    """``function`` as a command with the ``options`` in place of its parameter ``name``.

    What is ``make(**options)`` becomes the parameter. Typer reads a function's signature, so the options
    are put into that.
    """
    own = inspect.signature(function).parameters.values()
    parameters = [each for one in own for each in (options if one.name == name else (one,))]

    def command(**given: Any) -> None:
        made = make(**{option.name: given.pop(option.name) for option in options})
        function(**{name: made}, **given)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__doc__ = function.__doc__
    return command

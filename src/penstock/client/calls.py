"""A call of a function as a job to be done: which task, what parameters, and what its result is made into."""

import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from penstock.client.messages import Call, _encode, _error
from penstock.client.named import no_task
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.submission import JobView
from penstock.core.task import Task

READY_MADE = "penstock."


@dataclass(frozen=True)
class Wanted:
    """A job that a call stands for. ``module`` is what a node must import to know the task, if any."""

    task: str
    params: msgspec.Raw
    revive: Callable[[Any], Any]
    module: str | None
    queue: str

    @property
    def size(self) -> int:
        """About how many bytes it takes to submit it."""
        return len(memoryview(self.params)) + 200


def wanted(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Wanted:
    """What to submit for ``function(*args, **kwargs)``.

    Raises TypeError for what is no task, and for arguments that do not fit it; VALIDATION_ERROR for
    arguments whose values do not.
    """
    if isinstance(function, functools.partial):
        return wanted(function.func, (*function.args, *args), {**function.keywords, **kwargs})
    if isinstance(function, str):
        return _named(function, args, kwargs)
    if not isinstance(function, Task):
        raise TypeError(no_task(function))
    params = msgspec.Raw(function.bind(*args, **kwargs))
    return Wanted(function.name, params, function.revive, _module(function), function.queue)


def _named(task: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Wanted:
    if args:
        message = f"the parameters of {task!r} must be named; their order is only known of a @task function"
        raise TypeError(message)
    return Wanted(task, msgspec.Raw(_encode(kwargs)), lambda result: result, None, "default")


def _module(task: Task[..., Any]) -> str | None:
    """A name or a file; None of a ready-made task."""
    name = task.function.__module__
    if name == "__main__":
        return _main(task.name)
    if name.startswith(READY_MADE):
        return None
    file = getattr(sys.modules.get(name), "__file__", None)
    return str(Path(file).resolve()) if file and "." not in name and file.endswith(".py") else name


def _main(task: str) -> str | None:
    main = sys.modules["__main__"]
    if main.__spec__ is not None:  # python -m
        return main.__spec__.name
    file = getattr(main, "__file__", None)
    if file is None or not Path(file).is_file():  # that of a program from standard input is "<stdin>"
        return f"<{task} of an interactive session>"
    return str(Path(file).resolve())


def submit_each(submissions: Iterable[Mapping[str, Any]]) -> Call[list[JobView | PenstockError]]:
    """Have many jobs done; for each its job, or why it was refused."""
    return Call("POST", "/batches", _read_each, body=_encode({"jobs": list(submissions)}))


def _read_each(value: Mapping[str, Any]) -> list[JobView | PenstockError]:
    return [
        _error(receipt["error"], None) if "error" in receipt else JobView.model_validate(receipt["job"])
        for receipt in value["receipts"]
    ]


def unservable(module: str) -> PenstockError | None:
    """Why a node of its own could never know what this module defines, if so."""
    if not module.startswith("<"):
        return None
    message = f"{module[1:-1]} cannot be imported by other processes: keep the task in a .py file"
    return PenstockError(ErrorCode.INVALID_REQUEST, message)

"""Which task is meant, and with what: by name or by the `@task` function, a mapping or a model."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from penstock.core.task import Task

TaskOrName = str | Task[..., Any]
Params = Mapping[str, Any] | BaseModel


def name_of(task: TaskOrName) -> str:
    """A task's name; raises TypeError for what is no task, such as a plain function."""
    if isinstance(task, str):
        return task
    if not isinstance(task, Task):
        raise TypeError(no_task(task))
    return task.name


def no_task(function: Any) -> str:
    """Why something cannot be submitted, and what to do about it."""
    if not callable(function):
        return f"{function!r} is neither a @task function nor the name of a task"
    name = getattr(function, "__qualname__", repr(function))
    return (
        f"{name} is a plain function, which other processes cannot be sent. Make it a task: write @task above"
        " it (from penstock import task), annotate its parameters and its result, and keep it in a module"
        " that the node can import"
    )

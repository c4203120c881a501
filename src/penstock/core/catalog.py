"""The tasks of one process, found in modules by looking at what they define; nothing registers itself."""

import importlib
import importlib.util
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.task import Task
from penstock.core.text import did_you_mean

READY_MADE = "penstock.tasks"
"""The package whose modules are always looked through; known by name only."""

AnyTask = Task[..., Any]

_OF_OTHERS = re.compile(
    rf"^<|[/\\](site-packages|python3[^/\\]*|importlib)[/\\]|^{re.escape(str(Path(__file__).parents[1]))}"
)
"""Files of Python, of installed packages, and of ours."""


class Catalog(Mapping[str, AnyTask]):
    """Tasks by name."""

    def __init__(self, tasks: Iterable[AnyTask]) -> None:
        self._tasks: dict[str, AnyTask] = {}
        for task in tasks:
            known = self._tasks.setdefault(task.name, task)
            if known.function is not task.function:
                message = (
                    f"two tasks are named {task.name!r}: in {known.function.__module__}"
                    f" and {task.function.__module__}"
                )
                raise PenstockError(ErrorCode.CONFLICT, message)
            _check(task)

    def __getitem__(self, name: str) -> AnyTask:
        return self._tasks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._tasks))

    def __len__(self) -> int:
        return len(self._tasks)

    def find(self, name: str) -> AnyTask:
        """The task of that name; raises TASK_UNKNOWN with the names there are."""
        found = self._tasks.get(name)
        if found is None:
            raise unknown_task(name, self)
        return found


def unknown_task(name: str, known: Iterable[str]) -> PenstockError:
    """A TASK_UNKNOWN with the names there are, the likeliest first."""
    names = ", ".join(known) or "none"
    message = f"there is no task {name!r}{did_you_mean(name, known)}; known tasks: {names}"
    return PenstockError(ErrorCode.TASK_UNKNOWN, message, {"task": name})


def _check(task: AnyTask) -> None:
    try:
        if task.fanout is not None:
            task.fanout.check()
    except TypeError as wrong:
        raise PenstockError(ErrorCode.INVALID_REQUEST, str(wrong)) from wrong


def load(modules: Iterable[str]) -> Catalog:
    """The ready-made tasks and those of ``modules``: import names or paths of .py files.

    Runs the modules' code. Raises INVALID_REQUEST naming the module that cannot be imported.
    """
    modules = list(modules)
    check_files(modules)
    found = [*_ready_made(), *map(_import, modules)]
    return Catalog(task for module in found for task in _tasks_of(module))


def _tasks_of(module: ModuleType) -> Iterator[AnyTask]:
    return (value for value in vars(module).values() if isinstance(value, Task))


def _ready_made() -> Iterator[ModuleType]:
    package = importlib.import_module(READY_MADE)
    for entry in pkgutil.iter_modules(package.__path__):
        yield importlib.import_module(f"{READY_MADE}.{entry.name}")


def check_files(modules: Iterable[str]) -> None:
    """Raises INVALID_REQUEST for a .py file that is not there; runs nothing."""
    for name in modules:
        if name.endswith(".py") and not Path(name).is_file():
            raise PenstockError(ErrorCode.INVALID_REQUEST, f"there is no file {name!r} with tasks")


def _import(name: str) -> ModuleType:
    try:
        if name.endswith(".py"):
            return _import_file(Path(name))
        # A console script's sys.path lacks the current folder, where people keep their models.
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(name)
    except Exception as failed:
        message = f"cannot import the task module {name!r}: {type(failed).__name__}: {failed}{_where(failed)}"
        raise PenstockError(ErrorCode.INVALID_REQUEST, message) from failed


def _where(failed: Exception) -> str:
    """The last line of the module's own, or of what it imports beside it, that led to the error."""
    frames = traceback.extract_tb(failed.__traceback__)
    own = [each for each in frames if not _OF_OTHERS.search(each.filename)]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""


def _import_file(path: Path) -> ModuleType:
    folder = str(path.parent.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = importlib.import_module(path.stem)
    if module.__file__ is None or not Path(module.__file__).samefile(path):
        raise ImportError(f"its name is taken by {module.__file__}; rename the file")
    return module

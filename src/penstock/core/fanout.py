"""How a task is split into parts and how their results are merged: its functions, and what they are given.

A task declares them with `Task.split`, `Task.part`, `Task.merge`, `Task.finish` and `Task.estimate`.
Results are folded strictly in the order of the parts and in blocks of a fixed size, so what comes out
depends on the parts alone: not on who computed them, when, or how often.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from penstock.core.foreign import plain_or_refused
from penstock.core.problems import refusal
from penstock.core.progress import DoNotRetry, Progress
from penstock.core.shape import Shape

Function = TypeVar("Function", bound=Callable[..., Any])

MOST_IN_BLOCK = 1_000
"""Results that are folded at a time; they are in memory together."""

_GIVEN = {"split": (), "merge": ("so_far", "results"), "finish": ("partial",), "estimate": ("partial",)}
"""What each function may take besides the task's own parameters."""


class Fanout:
    """The functions of one task that is done in parts. ``block`` results are folded at a time.

    ``skip_failed``: a part that fails for good is left out (its result is None) and does not fail the job.
    """

    def __init__(self, task: str, shape: Shape) -> None:
        self.block = 16
        self.skip_failed = False
        self._task = task
        self._shape = shape
        self._parts = shape
        self._part: Callable[..., Any] | None = None
        self._functions: dict[str, Callable[[Mapping[str, Any]], Any]] = {}
        self._partial: Any = None

    # Declaring

    def declare(self, what: str, function: Function) -> Function:
        """Take one of the functions; raises TypeError if it takes or returns what it cannot be given."""
        signature = inspect.signature(function, eval_str=True)
        known = self._shape.names() | set(_GIVEN[what])
        names = tuple(signature.parameters)
        for name in names:
            if name not in known:
                offered = ", ".join(sorted(known))
                raise TypeError(f"task {self._task}: {what} takes no {name!r}, only {offered}")
        if what in self._functions:
            raise TypeError(f"task {self._task}: there are two functions for {what}")
        if what == "merge":
            self._take_partial(signature, names)
        self._functions[what] = lambda given: function(**{name: given[name] for name in names})
        return function

    def _take_partial(self, signature: inspect.Signature, names: Sequence[str]) -> None:
        if not set(_GIVEN["merge"]) <= set(names):
            raise TypeError(f"task {self._task}: merge must take so_far and results")
        if signature.return_annotation is signature.empty:
            raise TypeError(f"task {self._task}: what merge returns needs a type annotation (-> type)")
        self._partial = signature.return_annotation

    def declare_part(self, function: Function) -> Function:
        """Take the function that computes one part; raises TypeError as for a task's own."""
        self._parts = Shape.of(function, f"{self._task}_part")
        self._part = function
        return function

    def fold_by(self, block: int, failed: str) -> None:
        """How many results are folded at a time, and what a failed part means: ``fail`` or ``skip``."""
        if not 1 <= block <= MOST_IN_BLOCK:
            raise ValueError(f"task {self._task}: block must be from 1 to {MOST_IN_BLOCK} parts, not {block}")
        if failed not in {"fail", "skip"}:
            raise ValueError(f"task {self._task}: failed must be fail or skip, not {failed!r}")
        self.block, self.skip_failed = block, failed == "skip"

    def check(self) -> None:
        """Raises TypeError if a function is missing; called when the declaration is over."""
        missing = [what for what in ("split", "merge") if what not in self._functions]
        if "finish" not in self._functions and "merge" in self._functions:
            missing += ["finish"] if self._partial != self._shape.returns else []
        if missing:
            raise TypeError(f"task {self._task}: done in parts, it needs a function for {', '.join(missing)}")

    # Splitting and computing

    def parts(self, params: BaseModel) -> Iterator[BaseModel]:
        """The parameters of each part. Raises VALIDATION_ERROR for some that are none."""
        for given in self._functions["split"](self._shape.arguments(params)):
            yield given if isinstance(given, self._parts.model) else self._valid(given)

    def _valid(self, given: Any) -> BaseModel:
        try:
            return self._parts.model.model_validate(given)
        except ValidationError as invalid:
            raise refusal(invalid.errors(), model=self._parts.model) from None

    def write_part(self, part: BaseModel) -> bytes:
        """A part's parameters as JSON."""
        return self._write_part(part)

    def compute(self, whole: Callable[..., Any], part: BaseModel, progress: Progress | None) -> Any:
        """One part's result; ``whole`` is the task's own function, which may be the one for parts too."""
        return self._parts.call(self._part or whole, part, progress)

    def run_part(self, whole: Callable[..., Any], params: bytes, progress: Progress | None) -> bytes:
        """One part's result as JSON. Raises `DoNotRetry` if the parameters fit another version."""
        try:
            part = self._read_part(params)
        except ValidationError as invalid:
            message = f"the part does not fit this worker's version of {self._task}"
            raise DoNotRetry(f"{message}: {refusal(invalid.errors()).message}") from None
        return self._write_result(self.compute(whole, part, progress))

    # Merging

    def folding(self, params: BaseModel, partial: bytes | None = None, merged: int = 0) -> "Folding":
        """Go on merging after ``merged`` parts that were folded into ``partial``."""
        return Folding(self, params, None if partial is None else self._read_partial(partial), merged)

    def call(self, what: str, params: BaseModel, **given: Any) -> Any:
        """What the function returns; None if there is no such function."""
        function = self._functions.get(what)
        return None if function is None else function({**self._shape.arguments(params), **given})

    @property
    def finishes(self) -> bool:
        """Whether the last partial result is not yet the result."""
        return "finish" in self._functions

    # Built once and late: models may name types that are defined further down.

    @cached_property
    def _read_part(self) -> Callable[[bytes], BaseModel]:
        return TypeAdapter(self._parts.model).validator.validate_json

    @cached_property
    def _write_part(self) -> Callable[[BaseModel], bytes]:
        return TypeAdapter(self._parts.model).serializer.to_json

    @cached_property
    def _results(self) -> TypeAdapter[Any]:
        return TypeAdapter(self._parts.returns)

    @cached_property
    def _write_result(self) -> Callable[[Any], bytes]:
        return partial(self._results.serializer.to_json, fallback=plain_or_refused, warnings=False)

    @cached_property
    def read_result(self) -> Callable[[bytes], Any]:
        """A part's result from its JSON."""
        return self._results.validator.validate_json

    @cached_property
    def _partials(self) -> TypeAdapter[Any]:
        return TypeAdapter(self._partial)

    @cached_property
    def write_partial(self) -> Callable[[Any], bytes]:
        """A partial result as JSON."""
        return self._partials.serializer.to_json

    @cached_property
    def _read_partial(self) -> Callable[[bytes], Any]:
        return self._partials.validator.validate_json


class Folding:
    """Folds blocks of results, in order. ``merged`` parts are in ``partial``, ``said`` is its estimate.

    ``reached``: the task wants no more parts, whether or not there are any.
    """

    def __init__(self, fanout: Fanout, params: BaseModel, partial: Any, merged: int) -> None:
        self.partial = partial
        self.merged = merged
        self.said = ""
        self.reached = False
        self._fanout = fanout
        self._params = params

    def add(self, results: list[Any]) -> None:
        """Fold one block, in which None stands for a part that was left out."""
        self.partial = self._fanout.call("merge", self._params, so_far=self.partial, results=results)
        self.merged += len(results)
        match self._fanout.call("estimate", self._params, partial=self.partial):
            case (said, reached):
                self.said, self.reached = str(said), bool(reached)
            case None:
                pass
            case said:
                self.said = str(said)

    def result(self) -> Any:
        """The task's result, from what has been folded; of no parts, from a block without results."""
        if self.partial is None:
            self.add([])
        if not self._fanout.finishes:
            return self.partial
        return self._fanout.call("finish", self._params, partial=self.partial)


def in_order(fanout: Fanout, whole: Callable[..., Any], params: BaseModel, progress: Progress | None) -> Any:
    """The result as the parts give it, one after the other in this process."""
    folding = fanout.folding(params)
    for block in _blocks(fanout.parts(params), fanout.block):
        folding.add([fanout.compute(whole, part, progress) for part in block])
        if folding.reached:
            break
    return folding.result()


def _blocks(parts: Iterable[BaseModel], size: int) -> Iterator[list[BaseModel]]:
    block: list[BaseModel] = []
    for part in parts:
        block.append(part)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block

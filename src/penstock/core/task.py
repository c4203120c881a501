"""A typed function made known with ``@task``: its name, models, schemas and limits in one value."""

import inspect
import re
from collections.abc import Callable, Mapping
from functools import cached_property, update_wrapper
from types import MappingProxyType
from typing import Any, Generic, ParamSpec, TypeVar, overload

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model
from pydantic_core import to_jsonable_python

from penstock.core.errors import PenstockError, field_error
from penstock.core.fingerprint import canonical, encode_sorted, non_finite
from penstock.core.job import Limits, Priority
from penstock.core.plain import LONGEST_SURE, plain_validator
from penstock.core.progress import DoNotRetry, Progress
from penstock.core.units import milliseconds, size

Params = ParamSpec("Params")
Result = TypeVar("Result")

MOST_CRASHES = 100
"""Brokers keep the count in one byte."""

MOST_RUNNING = 65_535
"""Brokers keep the limit in two bytes."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")


class Task(Generic[Params, Result]):
    """Calling it calls the function; everything else is what Penstock knows about it."""

    def __init__(
        self,
        function: Callable[Params, Result],
        *,
        name: str,
        version: str,
        limits: Limits,
        queue: str,
        priority: Priority,
        max_running: int | None = None,
        example: Mapping[str, Any] | None,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"task name {name!r} must be a letter, then letters, digits and _, in lower case"
            )
        update_wrapper(self, function)
        self.function = function
        self.name = name
        self.version = version
        self.limits = limits
        self.queue = queue
        self.priority = priority
        self.max_running = max_running
        self.description = inspect.cleandoc(function.__doc__ or "")
        self.example = MappingProxyType(dict(example or {}))
        self._shape = _Shape.of(function, name)
        self.params_model = self._shape.model
        self._validate_plain = plain_validator(self.params_model)
        self._result = TypeAdapter[Any](self._shape.returns)

    def __call__(self, *args: Params.args, **kwargs: Params.kwargs) -> Result:
        """The plain function."""
        return self.function(*args, **kwargs)

    @property
    def params_schema(self) -> dict[str, Any]:
        """JSON Schema of the parameters."""
        return self.params_model.model_json_schema()

    @property
    def result_schema(self) -> dict[str, Any]:
        """JSON Schema of the result."""
        return self._result.json_schema(mode="serialization")

    def parse(self, params: Any) -> bytes:
        """Canonical JSON of validated parameters with every default filled in.

        Raises VALIDATION_ERROR that names each field, as ``params.field``.
        """
        try:
            # Of any other input, such as an instance of the model, nothing is known beforehand.
            if self._validate_plain is not None and type(params) is dict:
                kept = encode_sorted(vars(self._validate_plain(params)))
                if len(kept) <= LONGEST_SURE:
                    return kept
            model = self.params_model.model_validate(params)
        except ValidationError as invalid:
            raise _refusal(invalid) from None
        kept = canonical(to_jsonable_python(model, by_alias=True, round_trip=True, inf_nan_mode="constants"))
        self._check_kept(params, model, kept)
        return kept

    def _check_kept(self, params: Any, model: BaseModel, kept: bytes) -> None:
        """What is accepted must run on what was given: refuse parameters that JSON would change."""
        lost = [(path, "must be a finite number") for path in non_finite(params, "params")]
        if lost:
            raise field_error(lost)
        try:
            same = self.params_model.model_validate_json(kept) == model
        except ValidationError:
            same = False
        if not same:
            raise field_error([("params", "cannot be kept as JSON and read again unchanged")])

    @property
    def reports(self) -> bool:
        """Whether the function takes a `Progress`."""
        return self._shape.progress is not None

    def run(self, params: bytes, progress: Progress | None) -> bytes:
        """Run the function on stored parameters and return its result as JSON.

        Only a task that `reports` needs a ``progress``. Raises `DoNotRetry` when the parameters no
        longer fit this version's model.
        """
        try:
            model = self._read(params)
        except ValidationError as invalid:
            message = f"the parameters do not fit this worker's version of {self.name}"
            raise DoNotRetry(f"{message}: {_refusal(invalid).message}") from None
        return self._write(self._shape.call(self.function, model, progress))

    # A tiny task costs less than looking these two up, so that is done once: not when the task is
    # declared, for its models may name types that are defined further down.

    @cached_property
    def _read(self) -> Callable[[bytes], BaseModel]:
        return TypeAdapter(self.params_model).validator.validate_json

    @cached_property
    def _write(self) -> Callable[[Any], bytes]:
        return self._result.serializer.to_json


@overload
def task(function: Callable[Params, Result], /) -> Task[Params, Result]: ...


@overload
def task(
    *,
    name: str | None = None,
    version: str = "1",
    timeout: str | float | None = None,
    cpu: str | float | None = None,
    grace: str | float = "2s",
    memory: str | int | None = None,
    threads: int = 1,
    retries: int = 3,
    crashes: int | None = None,
    backoff: str | float = "1s",
    backoff_cap: str | float = "10m",
    queue: str = "default",
    priority: str = "medium",
    max_running: int | None = None,
    example: Mapping[str, Any] | None = None,
) -> Callable[[Callable[Params, Result]], Task[Params, Result]]: ...


def task(
    function: Callable[Params, Result] | None = None,
    /,
    *,
    name: str | None = None,
    version: str = "1",
    timeout: str | float | None = None,
    cpu: str | float | None = None,
    grace: str | float = "2s",
    memory: str | int | None = None,
    threads: int = 1,
    retries: int = 3,
    crashes: int | None = None,
    backoff: str | float = "1s",
    backoff_cap: str | float = "10m",
    queue: str = "default",
    priority: str = "medium",
    max_running: int | None = None,
    example: Mapping[str, Any] | None = None,
) -> Task[Params, Result] | Callable[[Callable[Params, Result]], Task[Params, Result]]:
    """Make a typed function known to Penstock.

    The function takes either one pydantic model, or plain annotated parameters; besides that it may
    take a `Progress`. Its return annotation becomes the result's schema.

    - ``timeout``: after this long `SoftTimeout` is raised in the task, ``grace`` later its process is
      killed. None means no limit.
    - ``cpu``: the same for the CPU time of one attempt, all its threads together.
    - ``memory``: resident memory (``"2GB"``) at which the attempt is killed; None takes the worker's.
    - ``threads``: BLAS/OpenMP threads of one attempt.
    - ``retries``: further attempts after a failed one, after ``backoff`` doubled each time up to
      ``backoff_cap``, with full jitter.
    - ``crashes``: attempts that may end their process (segfault, out of memory, killed at a limit) before
      the job is quarantined, whatever retries are left; at most all attempts, 3 by default.
    - ``max_running``: how many jobs of this task may run at a time, on all workers together; the others wait.
    - ``version``: change it when the same parameters should no longer give the same answer.

    Durations are seconds or ``"10m"``. Raises ValueError or TypeError for a declaration that cannot work.
    """
    if retries < 0 or threads < 1:
        raise ValueError("retries must be at least 0 and threads at least 1")
    if crashes is not None and not 1 <= crashes <= min(retries + 1, MOST_CRASHES):
        raise ValueError(f"crashes must be from 1 to the attempts, which are {retries + 1}, not {crashes}")
    if max_running is not None and not 1 <= max_running <= MOST_RUNNING:
        raise ValueError(f"max_running must be from 1 to {MOST_RUNNING}, not {max_running}")
    limits = Limits(
        max_attempts=retries + 1,
        max_crashes=crashes or Limits().max_crashes,
        timeout_ms=None if timeout is None else milliseconds(timeout),
        cpu_ms=None if cpu is None else milliseconds(cpu),
        grace_ms=milliseconds(grace),
        memory_bytes=None if memory is None else size(memory),
        threads=threads,
        backoff_ms=milliseconds(backoff),
        backoff_cap_ms=milliseconds(backoff_cap),
    )

    def declare(declared: Callable[Params, Result]) -> Task[Params, Result]:
        return Task(
            declared,
            name=name or declared.__name__,
            version=version,
            limits=limits,
            queue=queue,
            priority=Priority(priority),
            max_running=max_running,
            example=example,
        )

    return declare if function is None else declare(function)


class _Shape:
    """How a function wants to be called, read once from its signature."""

    def __init__(self, model: type[BaseModel], returns: Any, whole: str | None, progress: str | None) -> None:
        self.model = model
        self.returns = returns
        self.progress = progress
        self._whole = whole

    @classmethod
    def of(cls, function: Callable[..., Any], name: str) -> "_Shape":
        signature = inspect.signature(function, eval_str=True)
        progress = None
        fields: dict[str, Any] = {}
        for parameter in signature.parameters.values():
            if parameter.annotation is parameter.empty:
                raise TypeError(f"task {name}: parameter {parameter.name!r} needs a type annotation")
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise TypeError(f"task {name}: parameter {parameter.name!r} must be a named parameter")
            if parameter.annotation is Progress:
                progress = parameter.name
            else:
                default = ... if parameter.default is parameter.empty else parameter.default
                fields[parameter.name] = (parameter.annotation, default)
        if signature.return_annotation is signature.empty:
            raise TypeError(f"task {name}: the result needs a type annotation (-> type)")
        if len(fields) == 1:
            ((only, (annotation, default)),) = fields.items()
            if default is ... and inspect.isclass(annotation) and issubclass(annotation, BaseModel):
                return cls(annotation, signature.return_annotation, only, progress)
        title = "".join(word.capitalize() for word in name.split("_"))
        model = create_model(f"{title}Params", __config__=ConfigDict(extra="forbid"), **fields)
        return cls(model, signature.return_annotation, None, progress)

    def call(self, function: Callable[..., Any], model: BaseModel, progress: Progress | None) -> Any:
        # The fields of a model made from a signature are the arguments, under the same names.
        arguments = vars(model) if self._whole is None else {self._whole: model}
        if self.progress is None:
            return function(**arguments)
        return function(**arguments, **{self.progress: progress})


def _refusal(invalid: ValidationError) -> PenstockError:
    return field_error([(_path("params", error["loc"]), error["msg"]) for error in invalid.errors()])


def _path(root: str, loc: tuple[int | str, ...]) -> str:
    return root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)

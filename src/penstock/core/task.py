"""A typed function made known with ``@task``: its name, models, schemas and limits in one value."""

import inspect
import re
from collections.abc import Callable, Mapping
from functools import cached_property, partial, update_wrapper
from types import MappingProxyType
from typing import Any, Generic, ParamSpec, TypeVar, overload

import msgspec
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from penstock.core.composed import composed
from penstock.core.errors import ErrorCode, PenstockError, field_error
from penstock.core.fanout import Fanout, Function, in_order
from penstock.core.fingerprint import canonical, encode_sorted, non_finite
from penstock.core.foreign import plain_or_refused
from penstock.core.job import Limits, Priority
from penstock.core.plain import LONGEST_SURE, plain_validator
from penstock.core.problems import refusal
from penstock.core.progress import DoNotRetry, Progress
from penstock.core.shape import Shape
from penstock.core.sharing import DEFAULT_MS
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
        cache_ms: int = 0,
        data_version: str | Callable[[], str] = "",
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
        self.cache_ms = cache_ms
        self._data_version = data_version
        self.max_running = max_running
        self.description = inspect.cleandoc(function.__doc__ or "")
        self.example = MappingProxyType(dict(example or {}))
        self._shape = Shape.of(function, name)
        self.params_model = self._shape.model
        self.fanout: Fanout | None = None
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

    def data_version(self) -> str:
        """Which data the answer depends on besides the parameters, as they are now.

        Raises INTERNAL_ERROR if the task's own function does not tell, or what that refuses with.
        """
        if isinstance(self._data_version, str):
            return self._data_version
        try:
            return str(self._data_version())
        except PenstockError:
            raise
        except Exception as failed:
            message = f"the data version of task {self.name} cannot be told: {type(failed).__name__}"
            raise PenstockError(ErrorCode.INTERNAL_ERROR, message) from failed

    def parse(self, params: Any) -> bytes:
        """Canonical JSON of validated parameters with every default filled in.

        Of a task whose answers are kept, text is in composed Unicode form, see `core.composed`.
        Raises VALIDATION_ERROR that names each field, as ``params.field``.
        """
        if self.cache_ms:
            params = composed(params)
        try:
            # Of any other input, such as an instance of the model, nothing is known beforehand.
            if self._validate_plain is not None and type(params) is dict:
                kept = encode_sorted(vars(self._validate_plain(params)))
                if len(kept) <= LONGEST_SURE:
                    return kept
            model = self.params_model.model_validate(params)
        except ValidationError as invalid:
            raise refusal(invalid.errors(), model=self.params_model) from None
        kept = canonical(to_jsonable_python(model, by_alias=True, round_trip=True, inf_nan_mode="constants"))
        self._check_kept(params, model, kept)
        return kept

    def bind(self, *args: Any, **kwargs: Any) -> bytes:
        """The parameters of a call of the function, as `parse` gives them; a `Progress` is no parameter.

        Raises TypeError as the call would, or VALIDATION_ERROR that names each field.
        """
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as wrong:
            raise TypeError(f"task {self.name}: {wrong}") from None
        return self.parse(self._shape.given(bound.arguments))

    def revive(self, result: Any) -> Any:
        """A result that came as JSON, as the type that the function says it returns.

        Raises VALIDATION_ERROR if it is none, such as the null that NaN becomes in JSON.
        """
        try:
            return self._result.validate_json(msgspec.json.encode(result))
        except ValidationError as invalid:
            message = f"the result of task {self.name} is not what its annotation says: {invalid}"
            raise PenstockError(ErrorCode.VALIDATION_ERROR, message) from None

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
        return self.write(self._shape.call(self.function, self.read(params), progress))

    def read(self, params: bytes) -> BaseModel:
        """Stored parameters; raises `DoNotRetry` when they no longer fit."""
        try:
            return self._read(params)
        except ValidationError as invalid:
            message = f"the parameters do not fit this worker's version of {self.name}"
            raise DoNotRetry(f"{message}: {refusal(invalid.errors()).message}") from None

    def write(self, result: Any) -> bytes:
        """A result as JSON."""
        return self._write(result)

    def run_part(self, params: bytes, progress: Progress | None) -> bytes:
        """Compute one part and return its result as JSON; as `run` does it."""
        if self.fanout is None:
            raise DoNotRetry(f"this worker's version of {self.name} is not done in parts")
        return self.fanout.run_part(self.function, params, progress)

    def in_order(self, *args: Params.args, **kwargs: Params.kwargs) -> Result:
        """The result of a task that is done in parts, computed here, one part after the other."""
        bound = inspect.signature(self.function).bind(*args, **kwargs)
        bound.apply_defaults()
        progress = bound.arguments.get(self._shape.progress) if self._shape.progress else None
        params = self._shape.of_call(bound.arguments)
        result: Result = in_order(self._parted, self.function, params, progress)
        return result

    # How a task is done in parts, see `core.fanout`. Each takes a function and returns it as it is.

    def split(self, function: Function) -> Function:
        """Yields the parameters of each part, always the same ones; may take the task's own parameters."""
        return self._parted.declare("split", function)

    def part(self, function: Function) -> Function:
        """Computes one part; without it the task's own function does."""
        return self._parted.declare_part(function)

    @overload
    def merge(self, function: Function, /) -> Function: ...

    @overload
    def merge(self, *, block: int = 16, failed: str = "fail") -> Callable[[Function], Function]: ...

    def merge(
        self, function: Callable[..., Any] | None = None, *, block: int = 16, failed: str = "fail"
    ) -> Any:
        """Folds ``block`` parts' ``results``, in order, into ``so_far``, which is None at first.

        ``failed``: ``"fail"``: a part that fails for good fails the job; ``"skip"``: its result is None.
        """
        self._parted.fold_by(block, failed)

        declare = partial(self._parted.declare, "merge")
        return declare if function is None else declare(function)

    def finish(self, function: Function) -> Function:
        """Makes the result of the last ``partial`` result; without it that is the result."""
        return self._parted.declare("finish", function)

    def estimate(self, function: Function) -> Function:
        """Says of a ``partial`` result what it tells already: a text, or a text and whether that will do."""
        return self._parted.declare("estimate", function)

    @property
    def _parted(self) -> Fanout:
        if self.fanout is None:
            self.fanout = Fanout(self.name, self._shape)
        return self.fanout

    # A tiny task costs less than looking these two up, so that is done once: not when the task is
    # declared, for its models may name types that are defined further down.

    @cached_property
    def _signature(self) -> inspect.Signature:
        return self._shape.signature(self.function)

    @cached_property
    def _read(self) -> Callable[[bytes], BaseModel]:
        return TypeAdapter(self.params_model).validator.validate_json

    @cached_property
    def _write(self) -> Callable[[Any], bytes]:
        return partial(self._result.serializer.to_json, fallback=plain_or_refused, warnings=False)


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
    cache: str | float | bool | None = None,
    data_version: str | Callable[[], str] = "",
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
    cache: str | float | bool | None = None,
    data_version: str | Callable[[], str] = "",
) -> Task[Params, Result] | Callable[[Callable[Params, Result]], Task[Params, Result]]:
    """Make a typed function known to Penstock.

    The function takes either one pydantic model, or plain annotated parameters; besides that it may
    take a `Progress`. Its return annotation becomes the result's schema.

    - ``timeout``: after this long `SoftTimeout` is raised in the task, ``grace`` later its process is
      killed. A job that is done in parts fails when it has taken this long in all. None means no limit.
    - ``cpu``: the same for the CPU time of one attempt, all its threads together.
    - ``memory``: resident memory (``"2GB"``) at which the attempt is killed; None takes the worker's.
    - ``threads``: BLAS/OpenMP threads of one attempt.
    - ``retries``: further attempts after a failed one, after ``backoff`` doubled each time up to
      ``backoff_cap``, with full jitter.
    - ``crashes``: attempts that may end their process (segfault, out of memory, killed at a limit) before
      the job is quarantined, whatever retries are left; at most all attempts, 3 by default.
    - ``max_running``: how many jobs of this task may run at a time, on all workers together; the others wait.
    - ``version``: change it when the same parameters should no longer give the same answer.
    - ``cache``: how long an answer is given to others that ask the same, True for twelve hours; see the guide
      on caching. Leave it out for a function that does more than answer. ``data_version``: what besides
      the parameters the answer depends on, as a text or as a function that is quick to tell it.

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

    cache_ms = _cache_ms(cache)

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
            cache_ms=cache_ms,
            data_version=data_version,
        )

    return declare if function is None else declare(function)


def _cache_ms(cache: str | float | bool | None) -> int:
    if isinstance(cache, bool) or cache is None:
        return DEFAULT_MS if cache else 0
    kept = milliseconds(cache)
    if kept < 1:
        raise ValueError(f"cache must be longer than nothing, not {cache!r}; leave it out to keep no answers")
    return kept

"""What the decorator reads from a function, and what it refuses."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from penstock import DoNotRetry, Progress, Task, task
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import JobProgress, Limits, Priority


class Loan(BaseModel):
    amount: float = Field(gt=0)
    rate: float = 0.05


class Book(BaseModel):
    loans: list[Loan]
    name: str = "mine"


@dataclass
class Losses:
    mean: float
    worst: list[float]


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@task
def add(x: int, y: int = 2) -> int:
    """Add two numbers.

    The second has a default.
    """
    return x + y


@task
def value(book: Book, progress: Progress) -> float:
    progress.update(0.5, "half")
    return sum(loan.amount for loan in book.loans)


@task
def mixed(
    day: date, colour: Colour, *, note: str | None = None, share: Annotated[float, Field(le=1)] = 1.0
) -> dict[str, Any]:
    return {"day": day, "colour": colour, "note": note, "share": share}


@task
def nothing() -> None:
    pass


@task
def postponed(x: "int", progress: "Progress", loan: "Loan | None" = None) -> "Losses":
    progress.update(1)
    return Losses(mean=x, worst=[x, x])


def run(declared: Task[..., Any], params: Any, progress: Progress | None = None) -> Any:
    """What a child process does with a submitted job."""
    return json.loads(declared.run(declared.parse(params), progress or Progress()))


def refusal(declared: Task[..., Any], params: Any) -> PenstockError:
    with pytest.raises(PenstockError) as refused:
        declared.parse(params)
    assert refused.value.code is ErrorCode.VALIDATION_ERROR
    return refused.value


def fields(error: PenstockError) -> list[str]:
    return [field["field"] for field in error.details["fields"]]


def test_a_task_is_still_the_plain_function() -> None:
    assert add(1) == 3
    assert add(1, y=5) == 6
    assert value(Book(loans=[Loan(amount=2)]), Progress()) == 2
    assert (add.__name__, add.__wrapped__, add.function) == ("add", add.function, add.function)


def test_a_task_knows_its_name_and_description() -> None:
    assert (add.name, add.version, add.queue, add.priority) == ("add", "1", "default", Priority.MEDIUM)
    assert add.description == "Add two numbers.\n\nThe second has a default."
    assert nothing.description == ""


def test_limits_are_read_from_the_way_people_write_them() -> None:
    @task(
        name="heavy",
        version="3",
        timeout="10m",
        cpu="5m",
        grace=1,
        memory="2GB",
        threads=4,
        retries=0,
        backoff="2s",
        backoff_cap="1h",
        queue="big",
        priority="low",
        example={"n": 1},
    )
    def anything(n: int) -> int:
        return n

    assert anything.limits == Limits(
        max_attempts=1,
        timeout_ms=600_000,
        cpu_ms=300_000,
        grace_ms=1_000,
        memory_bytes=2 * 10**9,
        threads=4,
        backoff_ms=2_000,
        backoff_cap_ms=3_600_000,
    )
    assert (anything.name, anything.version, anything.queue) == ("heavy", "3", "big")
    assert (anything.priority, dict(anything.example)) == (Priority.LOW, {"n": 1})


def test_crashes_may_be_as_many_as_attempts() -> None:
    assert task(crashes=4)(add.function).limits == Limits(max_attempts=4, max_crashes=4)
    assert task(crashes=1)(add.function).limits.max_crashes == 1


def test_limits_have_defaults() -> None:
    assert add.limits == Limits()
    assert dict(add.example) == {}


def test_parameters_are_stored_with_every_default_filled_in() -> None:
    assert add.parse({"x": 1}) == b'{"x":1,"y":2}'
    assert value.parse({"loans": [{"amount": 3}]}) == b'{"loans":[{"amount":3,"rate":0.05}],"name":"mine"}'
    assert nothing.parse({}) == b"{}"


@pytest.mark.parametrize(
    "params",
    [{"x": 1, "y": 2}, {"y": 2, "x": 1}, {"x": 1.0}, {"x": "1"}, {"x": True, "y": 2e0}],
)
def test_equal_questions_are_stored_alike(params: dict[str, Any]) -> None:
    assert add.parse(params) == b'{"x":1,"y":2}'


@given(st.integers(-(10**40), 10**40))
def test_an_integer_survives_storing(number: int) -> None:
    assert run(add, {"x": number, "y": 0}) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_survives_storing(number: float) -> None:
    @task
    def same(x: float) -> float:
        return x

    assert run(same, {"x": number}) == number


def test_a_model_as_the_only_parameter_is_the_whole_input() -> None:
    assert value.params_model is Book
    assert run(value, {"loans": [{"amount": 3}, {"amount": 4}]}) == 7


def test_a_model_with_a_default_or_beside_others_is_one_field_of_many() -> None:
    @task
    def optional(loan: Loan = Loan(amount=1)) -> float:  # noqa: B008 - shown to work
        return loan.amount

    @task
    def two(one: Loan, other: Loan) -> float:
        return one.amount + other.amount

    assert run(optional, {}) == 1
    assert run(optional, {"loan": {"amount": 5}}) == 5
    assert run(two, {"one": {"amount": 1}, "other": {"amount": 2}}) == 3


def test_keyword_only_and_annotated_parameters_are_fields() -> None:
    expected = {"day": "2026-01-31", "colour": "red", "note": None, "share": 1}
    assert run(mixed, {"day": "2026-01-31", "colour": "red"}) == expected
    assert fields(refusal(mixed, {"day": "31.1.", "colour": "green", "share": 2})) == [
        "params.day",
        "params.colour",
        "params.share",
    ]


def test_a_task_without_parameters_takes_an_empty_object() -> None:
    assert run(nothing, {}) is None
    assert fields(refusal(nothing, {"x": 1})) == ["params.x"]


def test_postponed_annotations_are_read() -> None:
    assert run(postponed, {"x": 3, "loan": {"amount": 1}}) == {"mean": 3, "worst": [3, 3]}
    assert "progress" not in postponed.params_schema["properties"]


def test_the_progress_is_handed_to_whoever_asks() -> None:
    said: list[JobProgress] = []
    assert run(value, {"loans": []}, Progress(said.append)) == 0
    assert said == [JobProgress(0.5, "half")]
    assert "progress" not in value.params_schema["properties"]
    assert fields(refusal(value, {"loans": [], "name": 1})) == ["params.name"]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["params.x"]),
        ({"x": "one"}, ["params.x"]),
        ({"x": None, "y": []}, ["params.x", "params.y"]),
        ({"x": 1.5}, ["params.x"]),
        ({"x": 1, "z": 1}, ["params.z"]),
        ([1], ["params"]),
        (None, ["params"]),
        ("x", ["params"]),
    ],
)
def test_bad_parameters_are_refused_by_the_name_of_each_field(params: Any, expected: list[str]) -> None:
    error = refusal(add, params)
    assert fields(error) == expected
    assert all(field in error.message for field in expected)


def test_a_bad_field_is_named_with_its_whole_path() -> None:
    error = refusal(value, {"loans": [{"amount": 1}, {"amount": -1}, {"rate": "x"}]})
    expected = ["params.loans[1].amount", "params.loans[2].amount", "params.loans[2].rate"]
    assert fields(error) == expected


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "NaN", "-Infinity"])
def test_a_number_that_json_does_not_have_is_refused(bad: Any) -> None:
    assert fields(refusal(value, {"loans": [{"amount": 1, "rate": bad}]})) == ["params.loans[0].rate"]


def test_parameters_that_no_longer_fit_are_refused_when_run() -> None:
    with pytest.raises(DoNotRetry, match=r"params\.x: "):
        add.run(b'{"x":"one"}', Progress())


def test_the_result_is_json_of_its_annotation() -> None:
    assert postponed.run(b'{"x":1}', Progress()) == b'{"mean":1.0,"worst":[1.0,1.0]}'
    assert nothing.run(b"{}", Progress()) == b"null"


@pytest.mark.parametrize(
    ("result", "written"),
    [
        (np.int64(3), b"3"),
        (np.arange(3.0), b"[0.0,1.0,2.0]"),
        ({"paths": [np.array([1, np.nan])]}, b'{"paths":[[1.0,null]]}'),
        (pd.DataFrame({"strike": [95, 105]}), b'{"strike":[95,105]}'),
    ],
)
@pytest.mark.parametrize("annotation", [list[float], Any])
def test_arrays_and_tables_are_written_as_lists(result: Any, written: bytes, annotation: Any) -> None:
    def found() -> Any:
        return result

    found.__annotations__["return"] = annotation
    assert task(found).run(b"{}", None) == written


def test_a_result_that_json_does_not_have_fails_by_its_type() -> None:
    def found() -> Any:
        return object()

    with pytest.raises(ValueError, match="a result of type object cannot be written as JSON"):
        task(found).run(b"{}", None)


def test_schemas_describe_parameters_and_result() -> None:
    properties = add.params_schema["properties"]
    assert properties["x"]["type"] == "integer"
    assert properties["y"]["default"] == 2
    assert add.params_schema["required"] == ["x"]
    assert add.params_schema["additionalProperties"] is False
    assert add.params_schema["title"] == "AddParams"
    assert add.result_schema == {"type": "integer"}
    assert postponed.result_schema["properties"].keys() == {"mean", "worst"}
    assert mixed.params_schema["properties"]["share"]["maximum"] == 1


def no_annotation(x) -> int: ...
def no_result(x: int): ...
def positional(x: int, /) -> int: ...
def array(x: np.ndarray) -> int: ...
def arrays(x: int) -> dict[str, np.ndarray]: ...
def many(*xs: int) -> int: ...
def named(**xs: int) -> int: ...


@pytest.mark.parametrize(
    ("function", "named_in_message"),
    [
        (no_annotation, "'x' needs a type annotation"),
        (no_result, "result needs a type annotation"),
        (positional, "'x' must be a named parameter"),
        (array, "'x' cannot be a ndarray, which JSON does not have; annotate what it holds"),
        (arrays, "the result cannot be a"),
        (many, "'xs' must be a named parameter"),
        (named, "'xs' must be a named parameter"),
    ],
)
def test_a_signature_that_cannot_work_is_refused(function: Callable[..., Any], named_in_message: str) -> None:
    with pytest.raises(TypeError, match=f"task {function.__name__}: .*{named_in_message}"):
        task(function)


@pytest.mark.parametrize("name", ["Add", "1st", "_hidden", "a-b", "a b", "a.b", "ä", "a" * 101, "a\n"])
def test_a_name_that_does_not_fit_everywhere_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="task name"):
        task(name=name)(add.function)


@pytest.mark.parametrize(
    "options",
    [
        {"retries": -1},
        {"threads": 0},
        {"timeout": "soon"},
        {"cpu": 0},
        {"crashes": 0},
        {"crashes": 5},
        {"crashes": 2, "retries": 0},
        {"crashes": 101, "retries": 200},
        {"timeout": 0},
        {"grace": -1},
        {"backoff": "x"},
        {"backoff_cap": "0s"},
        {"memory": "much"},
        {"memory": 0},
        {"priority": "urgent"},
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        task(**options)(add.function)


def test_a_literal_is_a_choice() -> None:
    @task
    def pick(kind: Literal["fast", "exact"] = "fast") -> str:
        return kind

    assert pick.params_schema["properties"]["kind"]["enum"] == ["fast", "exact"]
    assert fields(refusal(pick, {"kind": "slow"})) == ["params.kind"]


def test_two_uses_of_one_mutable_default_do_not_share_it() -> None:
    @task
    def collect(items: list[int] = []) -> list[int]:  # noqa: B006 - shown to be harmless
        items.append(1)
        return items

    assert run(collect, {}) == [1]
    assert run(collect, {}) == [1]

"""What is wrong with an input is told in words that help: where, what, and what may have been meant."""

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator

from penstock.core.catalog import unknown_task
from penstock.core.problems import MOST, in_words

Number = Annotated[int, Field(le=10)] | Annotated[float, Field(le=10)]


class Leg(BaseModel, extra="forbid"):
    symbol: str
    price: float = 1.0


class Book(BaseModel, extra="forbid"):
    legs: list[Leg] = Field(min_length=1)
    size: Number = 1
    main: Leg | None = None
    scenario: int = 0

    @field_validator("scenario")
    @classmethod
    def known(cls, scenario: int) -> int:
        if scenario > 9:
            raise ValueError("must be one of ours")
        return scenario


LEG = {"symbol": "A"}


@pytest.mark.parametrize(
    ("given", "field", "problem"),
    [
        ({"legs": [LEG], "senario": 1}, "senario", "there is no such field (did you mean 'scenario'?)"),
        ({"legs": [LEG], "zzz": 1}, "zzz", "there is no such field"),
        ({"legs": [LEG | {"prise": 1}]}, "legs[0].prise", "there is no such field (did you mean 'price'?)"),
        (
            {"legs": [LEG], "main": LEG | {"prise": 1}},
            "main.prise",
            "there is no such field (did you mean 'price'?)",
        ),
        ({"legs": []}, "legs", "List should have at least 1 item, not 0"),
        ({"legs": [LEG], "scenario": 10}, "scenario", "must be one of ours"),
        ({"legs": [LEG], "scenario": "many"}, "scenario", "Input should be a valid integer"),
        ({"legs": [LEG], "size": "x"}, "size", "Input should be a valid integer or a valid number"),
        ({"legs": [LEG], "size": 11}, "size", "Input should be less than or equal to 10"),
    ],
)
def test_a_problem_has_one_place_and_plain_words(given: Any, field: str, problem: str) -> None:
    with pytest.raises(ValidationError) as invalid:
        Book.model_validate(given)
    assert in_words(invalid.value.errors(), model=Book) == [(field, problem)]


def test_a_field_that_is_named_like_a_type_keeps_its_place() -> None:
    found = [{"loc": ("rates", "int"), "type": "float_parsing", "msg": "Input should be a valid number"}]
    assert in_words(found, "params") == [("params.rates.int", "Input should be a valid number")]


def test_fields_that_are_named_like_types_are_each_told() -> None:
    found = [{"loc": (name,), "type": "extra_forbidden", "msg": "Extra inputs"} for name in ("int", "str")]
    assert [field for field, _ in in_words(found, "params")] == ["params.int", "params.str"]


def test_of_many_problems_the_first_are_told() -> None:
    found = [{"loc": (f"a{n}",), "type": "extra_forbidden", "msg": "Extra inputs"} for n in range(10 * MOST)]
    assert [field for field, _ in in_words(found, "params", Book)] == [f"params.a{n}" for n in range(MOST)]


def test_a_misspelt_task_is_answered_with_the_likeliest() -> None:
    told = unknown_task("asian_cal", ["add", "asian_call"]).message
    assert told == "there is no task 'asian_cal' (did you mean 'asian_call'?); known tasks: add, asian_call"
    assert "did you mean" not in unknown_task("zzz", ["add"]).message

"""What is accepted must run on what was given: parameters that JSON would change are refused."""

import math
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, computed_field

from penstock import PenstockError, Progress, task


class Aliased(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rate: float = Field(alias="r")

    @computed_field
    @property
    def percent(self) -> float:
        return self.rate * 100


class Secret(BaseModel):
    word: SecretStr


@task
def aliased(params: Aliased) -> float:
    return params.rate


@task
def secret(params: Secret) -> int:
    return len(params.word.get_secret_value())


@task
def anything(value: Any) -> str:
    return repr(value)


def test_aliases_and_computed_fields_are_kept_as_they_were_given():
    kept = aliased.parse({"r": 0.25})
    assert kept == b'{"r":0.25}'
    assert aliased.run(kept, Progress()) == b"0.25"


def test_a_secret_would_be_stored_as_asterisks():
    with pytest.raises(PenstockError, match="cannot be kept"):
        secret.parse({"word": "open sesame"})


@pytest.mark.parametrize("value", [math.nan, {"deep": [1, math.inf]}])
def test_what_is_not_finite_is_named_wherever_it_stands(value):
    with pytest.raises(PenstockError, match=r"params\.value.*finite"):
        anything.parse({"value": value})


def test_what_is_nested_too_deeply_to_be_read_again_is_refused():
    value: Any = 1
    for _ in range(230):
        value = [value]
    with pytest.raises(PenstockError, match="cannot be kept"):
        anything.parse({"value": value})

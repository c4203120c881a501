"""Plain parameters are kept without reading them again: the same bytes and refusals, and only theirs."""

import copy
import sys
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    StrictInt,
    computed_field,
    create_model,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from penstock import PenstockError, Task, task
from penstock.core.plain import LONGEST_SURE, plain_validator


class Text(str):
    """A string that is not exactly one."""

    __slots__ = ()


class Level(IntEnum):
    LOW = 1


class Colour(StrEnum):
    RED = "red"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Whole(Strict):
    n: int
    s: str
    b: bool


@task
def whole(params: Whole) -> None: ...


@task
def fields(n: int, s: str = "é", *, b: bool = False) -> None: ...


@task
def nothing() -> None: ...


PLAIN = [whole, fields, nothing]


def the_long_way(declared: Task[..., Any]) -> Task[..., Any]:
    """The same task, as if its parameters were not plain."""
    other = copy.copy(declared)
    other._validate_plain = None
    return other


def outcome(declared: Task[..., Any], params: Any) -> Any:
    """What is kept, or why it is not."""
    try:
        return declared.parse(params)
    except PenstockError as refused:
        return refused.code, refused.message, refused.details
    except ValueError as failed:  # the desk makes a refusal of it
        return type(failed)


integers = st.integers() | st.integers(-(10**60), 10**60) | st.sampled_from([2**63, -(2**63) - 1, 2**64])
texts = st.text() | st.sampled_from(["", "\x00\x1f\x7f", "\u2028\u2029", "\U0001f986", "\ud800", '"\\/'])
good = st.fixed_dictionaries({"n": integers, "s": texts, "b": st.booleans()})
odd = st.one_of(
    integers,
    texts,
    st.booleans(),
    st.none(),
    st.floats(),
    st.binary(max_size=5),
    st.lists(integers, max_size=2),
    st.sampled_from(
        ["1", " 7 ", "1e3", "yes", "off", 1.0, 1e300, Level.LOW, Colour.RED, Text("x"), 10**4_299, 10**5_000]
    ),
)
anything = st.dictionaries(st.sampled_from(["n", "s", "b", "other", Text("n")]), odd, max_size=4) | odd


@pytest.mark.parametrize("declared", PLAIN)
@given(params=good | anything)
def test_what_is_kept_and_what_is_refused_is_the_same_as_the_long_way(
    declared: Task[..., Any], params: Any
) -> None:
    assert outcome(declared, params) == outcome(the_long_way(declared), params)


@given(params=good)
def test_what_is_kept_is_read_again_unchanged(params: Any) -> None:
    kept = outcome(whole, params)
    if isinstance(kept, bytes):
        assert Whole.model_validate_json(kept) == Whole(**params)


@pytest.mark.parametrize("declared", PLAIN)
def test_plain_models_are_known_as_such(declared: Task[..., Any]) -> None:
    """Else each of their jobs costs twice as much; a new pydantic may describe them in other words."""
    assert plain_validator(declared.params_model) is not None


def field(annotation: Any, default: Any = ...) -> type[BaseModel]:
    """A model with this one field."""
    return create_model("One", __base__=Strict, x=(annotation, default))


def configured(**config: Any) -> type[BaseModel]:
    """A model of one int and one str with these settings."""
    return create_model(
        "Set", __config__=ConfigDict(**{"extra": "forbid", **config}), x=(int, 1), s=(str, "")
    )


class Dropping(BaseModel):
    x: int


class Collecting(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int


class Inner(Strict):
    inner: Whole


class Private(Strict):
    x: int
    _seen: int = PrivateAttr(default=0)


class Computed(Strict):
    x: int

    @computed_field
    @property
    def twice(self) -> int:
        return 2 * self.x


class Checked(Strict):
    x: int

    @field_validator("x")
    @classmethod
    def _more(cls, value: int) -> int:
        return value + 1


class CheckedWhole(Strict):
    x: int

    @model_validator(mode="after")
    def _more(self) -> "CheckedWhole":
        self.x += 1
        return self


class Written(Strict):
    x: int

    @field_serializer("x")
    def _other(self, value: int) -> str:
        return f"<{value}>"


class WrittenWhole(Strict):
    x: int

    @model_serializer
    def _other(self) -> str:
        return "other"


class Made(Strict):
    x: int

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.x += 1


class Finished(Strict):
    x: int

    def model_post_init(self, _: Any, /) -> None:
        self.x += 1


class Root(RootModel[int]):
    pass


class Described(Strict):
    """Its schema says more than pydantic would."""

    x: int

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        schema = handler(source)
        schema["schema"]["from_attributes"] = True
        return schema


class Later(Strict):
    x: "Unknown"  # noqa: F821 - on purpose: it is never resolved


NOT_PLAIN = [
    Dropping,
    Collecting,
    Inner,
    Private,
    Computed,
    Checked,
    CheckedWhole,
    Written,
    WrittenWhole,
    Made,
    Finished,
    Root,
    Described,
    Later,
    field(float),
    field(int | None),
    field(int | str),
    field(list[int]),
    field(dict[str, int]),
    field(bytes),
    field(Any),
    field(Level),
    field(Colour),
    field(Literal["a", "b"]),
    field(StrictInt),
    field(Annotated[int, Field(gt=0)]),
    field(Annotated[int, Field(alias="y")]),
    field(Annotated[int, Field(validation_alias="y")]),
    field(Annotated[int, Field(serialization_alias="y")]),
    field(Annotated[int, Field(exclude=True)]),
    field(Annotated[int, Field(frozen=True)]),
    field(Annotated[int, AfterValidator(abs)]),
    field(Annotated[int, PlainSerializer(str)]),
    field(Annotated[str, Field(max_length=3)]),
    field(Annotated[str, Field(pattern="a")]),
    field(int, "not validated"),
    field(int, 1.0),
    field(int, True),
    field(str, None),
    field(str, Text("x")),
    field(int, Level.LOW),
    field(int, Field(default_factory=int)),
    field(int, Field(default=1, validate_default=True)),
    configured(str_to_lower=True),
    configured(str_strip_whitespace=True),
    configured(str_max_length=3),
    configured(strict=True),
    configured(coerce_numbers_to_str=True),
    configured(alias_generator=str.upper),
    configured(extra="ignore"),
    configured(extra="allow"),
    configured(defer_build=True),
]


@pytest.mark.parametrize("model", NOT_PLAIN)
def test_every_other_model_goes_the_long_way(model: type[BaseModel]) -> None:
    assert plain_validator(model) is None


@pytest.mark.parametrize(
    ("annotation", "default", "kept"),
    [(int, "x", None), (bool, None, None), (int, 2.0, b'{"x":2}'), (str, Text("x"), b'{"x":"x"}')],
)
def test_a_default_of_another_type_is_kept_only_if_it_can_be_read(
    annotation: Any, default: Any, kept: bytes | None
) -> None:
    def function(x: Any = default) -> None: ...

    function.__annotations__["x"] = annotation
    declared = task(function)
    if kept is None:
        with pytest.raises(PenstockError, match="cannot be kept"):
            declared.parse({})
    else:
        assert declared.parse({}) == kept


def test_a_model_that_was_filled_unseen_is_looked_at() -> None:
    with pytest.raises(PenstockError, match="cannot be kept"):
        whole.parse(Whole.model_construct(n="x", s="", b=False))


@pytest.fixture
def _numbers_of_any_length() -> Any:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    yield
    sys.set_int_max_str_digits(before)


@pytest.mark.usefixtures("_numbers_of_any_length")
def test_an_integer_with_more_digits_than_can_be_read_is_refused() -> None:
    assert fields.parse({"n": 10**4_299}).startswith(b'{"b":false,"n":1000')
    with pytest.raises(PenstockError, match="cannot be kept"):
        fields.parse({"n": 10**4_300})


@pytest.mark.parametrize("length", [LONGEST_SURE - 12, LONGEST_SURE, 10 * LONGEST_SURE])
def test_a_long_text_is_kept(length: int) -> None:
    assert fields.parse({"n": 1, "s": "x" * length}) == b'{"b":false,"n":1,"s":"%s"}' % (b"x" * length)

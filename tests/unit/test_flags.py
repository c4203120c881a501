"""Flags made from a task's schema: types, names, nesting, and the parameters made from them again."""

from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
import typer
from pydantic import BaseModel, Field
from typer.testing import CliRunner

from penstock.cli.flags import Flag, flags_of, nested, with_flags
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.task import task
from penstock.tasks.credit import credit_loss

Wait = Annotated[bool, typer.Option("--wait")]


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Macro(BaseModel):
    unemployment: float = Field(4.0, description="in percent")
    interest_rate: float | None = None


class Node(BaseModel):
    value: int
    next_one: "Node | None" = None


class Needy(BaseModel):
    must: int


class Model(BaseModel):
    inner: Needy
    outer: Needy | None = None
    load: int = Field(description="how many")
    rate: float = Field(0.05, description="per year")
    name: str = "x"
    dry_run: bool = False
    colour: Colour = Colour.RED
    kind: Literal["call", "put"] = "call"
    weights: list[float] = []
    table: dict[str, int] = {}
    anything: Any = None
    either: int | str = 1
    limit: int | None = None
    macro: Macro | None = None
    tree: Node | None = None


@pytest.fixture
def flags():
    return {".".join(flag.path): flag for flag in flags_of(Model.model_json_schema())}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("load", int),
        ("rate", float),
        ("name", str),
        ("dry_run", bool),
        ("colour", str),
        ("kind", str),
        ("limit", int),
        ("weights", None),
        ("table", None),
        ("anything", None),
        ("either", None),
        ("macro.unemployment", float),
        ("macro.interest_rate", float),
    ],
)
def test_types(flags, name, kind):
    assert flags[name].type is kind


def test_help_tells_what_the_schema_says(flags):
    assert flags["load"].help == "how many [required]"
    assert flags["rate"].help == "per year [default: 0.05]"
    assert flags["macro.unemployment"].help == "in percent [default: 4.0]"
    assert "One of red, blue." in flags["colour"].help
    assert flags["inner.must"].help == "[required]"
    assert "[required]" not in flags["outer.must"].help, "it is only if anything of the object is given"
    assert "One of call, put." in flags["kind"].help


def test_every_property_has_a_flag_or_flags_below_it(flags):
    assert {name.partition(".")[0] for name in flags} == set(Model.model_fields)


def test_recursive_models_end_somewhere(flags):
    assert "tree.value" in flags
    assert all(name.count(".") <= 3 for name in flags)


def test_a_whole_model_as_task_parameter():
    names = {".".join(flag.path) for flag in flags_of(credit_loss.params_schema)}
    assert {"load", "hazard_rate", "macro.unemployment", "macro.house_price_index"} <= names


def test_both_spellings():
    assert Flag(("macro", "interest_rate"), float, "").names(frozenset()) == [
        "--macro.interest-rate",
        "--macro.interest_rate",
    ]
    assert Flag(("load",), int, "").names(frozenset()) == ["--load"]


def test_truth_values_can_be_denied():
    assert Flag(("dry_run",), bool, "").names(frozenset()) == [
        "--dry-run/--no-dry-run",
        "--dry_run/--no-dry_run",
    ]


def test_reserved_names_move_aside():
    reserved = frozenset({"--max-attempts", "--wait"})
    assert Flag(("wait",), str, "").names(reserved) == ["--params.wait"]
    assert Flag(("max_attempts",), int, "").names(reserved) == [
        "--params.max-attempts",
        "--params.max_attempts",
    ]


def test_only_given_values_become_parameters():
    flags = [
        Flag(("a",), int, ""),
        Flag(("b", "c"), str, ""),
        Flag(("b", "d"), str, ""),
        Flag(("e",), None, ""),
    ]
    assert nested(flags, [None, None, None, None], {}) == {}
    assert nested(flags, [0, "x", None, "[1, null]"], {}) == {"a": 0, "b": {"c": "x"}, "e": [1, None]}


def test_values_are_put_into_the_whole():
    whole = {"a": 1, "b": {"c": "kept", "d": "replaced"}, "z": 9}
    flags = [Flag(("b", "d"), str, ""), Flag(("a",), int, "")]
    assert nested(flags, ["new", 2], whole) == {"a": 2, "b": {"c": "kept", "d": "new"}, "z": 9}
    assert whole == {"a": 1, "b": {"c": "kept", "d": "replaced"}, "z": 9}


def test_value_in_the_place_of_an_object_is_replaced():
    assert nested([Flag(("b", "c"), str, "")], ["x"], {"b": None}) == {"b": {"c": "x"}}


def test_what_is_no_json_is_refused_by_name():
    with pytest.raises(PenstockError) as refused:
        nested([Flag(("weights",), None, "")], ["1, 2"], {})
    assert refused.value.code is ErrorCode.INVALID_REQUEST
    assert refused.value.message.startswith("--weights: write a JSON value")


def test_what_is_no_number_is_refused_as_that():
    (flag,) = flags_of({"properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "number"}]}}})
    assert [flag.value("2"), flag.value("2.5")] == [2, 2.5]
    with pytest.raises(PenstockError, match=r"^--a: write a number$"):
        flag.value("x")


def run(schema, *arguments, whole=None):
    """The parameters that a command with these flags makes, or its exit code."""
    made = {}

    def command(params, *, wait: Wait = False) -> None:
        made.update(params(whole or {}))

    app = typer.Typer(add_completion=False)
    app.command()(with_flags(command, flags_of(schema)))
    result = CliRunner().invoke(app, list(arguments))
    return made if result.exit_code == 0 else result.exit_code


def test_flags_of_a_command():
    line = "--load 5 --rate 1e-3 --dry-run --weights [1,2] --macro.unemployment 6.5 --name -x"
    arguments = line.split(" ")
    assert run(Model.model_json_schema(), *arguments) == {
        "load": 5,
        "rate": 0.001,
        "dry_run": True,
        "weights": [1, 2],
        "macro": {"unemployment": 6.5},
        "name": "-x",
    }


@pytest.mark.parametrize(
    ("arguments", "params"),
    [
        ("--no-dry-run", {"dry_run": False}),
        ("--no-dry_run", {"dry_run": False}),
        ("--dry_run", {"dry_run": True}),
        ("--macro.interest_rate -2", {"macro": {"interest_rate": -2.0}}),
        ("--either 7", {"either": 7}),
        ("--anything null", {"anything": None}),
        ("--wait", {}),
    ],
)
def test_flags_one_by_one(arguments, params):
    assert run(Model.model_json_schema(), *arguments.split()) == params


@pytest.mark.parametrize("arguments", ["--load many", "--rate", "--surprise 1", "stray", "--dry-run yes"])
def test_wrong_flags_are_wrong_usage(arguments):
    assert run(Model.model_json_schema(), *arguments.split()) == 2


def test_parameters_named_like_the_commands_own_options():
    @task
    def collides(wait: int, help: int = 0, url: str = "", count: int = 1) -> int:  # noqa: A002
        return 0

    arguments = ["--params.wait", "3", "--params.help", "4", "--params.url", "u", "--count", "5"]
    assert run(collides.params_schema, *arguments) == {"wait": 3, "help": 4, "url": "u", "count": 5}

"""Which parameter models are so plain that JSON keeps whatever they accept, whatever the values are.

`Task.parse` proves for every job that the kept JSON is read again unchanged, by reading it. For a
small job that costs more than all the rest of a submission, and for a model whose every field is a
bare int, str or bool the proof holds for all values at once: validation yields exactly these types,
JSON has each of them, and reading gives the same value back.
"""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

_TYPES = {"int": int, "str": str, "bool": bool}

LONGEST_SURE = 4_300
"""Above so many bytes nothing is taken for granted: pydantic reads no integer of more digits."""


def plain_validator(model: type[BaseModel]) -> Callable[[dict[str, Any]], BaseModel] | None:
    """What validates a plain model; None for any other.

    Decided on the core schema, which both the validator and the serialiser are built from. It must
    hold nothing but what is listed here, so that a constraint, an alias, a validator, a serialiser,
    a setting, a private attribute, a nested model or what pydantic will add some day all mean None.
    """
    schema = model.__pydantic_core_schema__
    # A model whose annotations cannot be resolved yet has a stand-in for its schema.
    if isinstance(schema, dict) and _is_plain(schema):
        return model.__pydantic_validator__.validate_python
    return None


def _is_plain(schema: dict[str, Any]) -> bool:
    match schema:
        case {
            "type": "model",
            "cls": _,
            "config": config,
            "custom_init": False,
            "root_model": False,
            "schema": {
                "type": "model-fields",
                "fields": fields,
                "model_name": _,
                "computed_fields": [],
                **inside,
            },
            **beside,
        }:
            return (
                not inside
                and beside.keys() <= {"metadata", "ref"}
                and config.keys() <= {"title", "extra_fields_behavior"}
                # Elsewhere an unknown field is dropped, and a NaN in it would go unnoticed.
                and config.get("extra_fields_behavior") == "forbid"
                and all(map(_is_plain_field, fields.values()))
            )
    return False


def _is_plain_field(field: dict[str, Any]) -> bool:
    match field:
        case {
            "type": "model-field",
            "metadata": _,
            "schema": {"type": "default", "schema": inner, "default": default, **inside},
            **beside,
        }:
            # Pydantic takes a default as it is: `def f(n: int = "x")` would keep the "x".
            return not inside and not beside and _is_bare(inner) and type(default) is _TYPES[inner["type"]]
        case {"type": "model-field", "metadata": _, "schema": inner, **beside}:
            return not beside and _is_bare(inner)
    return False


def _is_bare(schema: dict[str, Any]) -> bool:
    return schema.keys() == {"type"} and schema["type"] in _TYPES

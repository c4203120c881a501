"""What is wrong with an input: field and problem, in words for whoever sent it.

Every edge tells pydantic's findings through this: parameters, submissions, queries, settings, reference data.
"""

import inspect
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, get_args

from pydantic import BaseModel

from penstock.core.errors import PenstockError, field_error
from penstock.core.text import did_you_mean

Place = tuple[int | str, ...]
Found = Iterable[Mapping[str, Any]]

_ALTERNATIVE = re.compile(r"(constrained-)?(int|float|str|bool)|[a-z-]+\[.*\]")
"""What pydantic adds to a place for each alternative of a union; people do not know of it."""

_NOISE = re.compile(r"^(Value|Assertion) \w+, | after validation|, unable to parse string as an? \w+")


_NEVER_TRIED = frozenset({"extra_forbidden", "missing"})
"""Findings whose place ends with a name that somebody chose, not with an alternative."""

MOST = 100
"""Findings that are told; looking for what each misspelt name may have meant takes a while."""


def in_words(found: Found, root: str = "", model: Any = None) -> list[tuple[str, str]]:
    """A (field, problem) pair per place, such as ``params.macro.unemployment`` or ``items[2].task``.

    ``root`` is put in front; ``model`` is what was filled, for what a misspelt name may have meant.
    """
    said: defaultdict[str, list[str]] = defaultdict(list)
    found = list(islice(found, MOST))
    unions = _unions(each["loc"] for each in found if each["type"] not in _NEVER_TRIED)
    for each in found:
        place = tuple(part for at, part in enumerate(each["loc"]) if each["loc"][:at] not in unions)
        problem = _problem(each, model)
        if problem not in said[_path(root, place)]:
            said[_path(root, place)].append(problem)
    return [(field, _either(several)) for field, several in said.items()]


def refusal(found: Found, root: str = "params", model: Any = None) -> PenstockError:
    """A VALIDATION_ERROR that names each field."""
    return field_error(in_words(found, root, model))


def _unions(places: Iterable[Place]) -> set[Place]:
    """Where alternatives were tried: each of them has a finding of its own."""
    tried: defaultdict[Place, set[str]] = defaultdict(set)
    for place in places:
        for at, part in enumerate(place):
            if isinstance(part, str) and _ALTERNATIVE.fullmatch(part):
                tried[place[:at]].add(part)
    return {place for place, alternatives in tried.items() if len(alternatives) > 1}


def _path(root: str, place: Place) -> str:
    return (root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)).lstrip(
        "."
    )


def _problem(found: Mapping[str, Any], model: Any) -> str:
    if found["type"] == "extra_forbidden":
        *outer, name = found["loc"]
        return f"there is no such field{did_you_mean(str(name), _names(model, outer))}"
    return _NOISE.sub("", found["msg"])


def _either(several: list[str]) -> str:
    first, *others = several
    return " or ".join([first, *(other.removeprefix("Input should be ") for other in others)])


def _names(model: Any, place: Iterable[int | str]) -> list[str]:
    """The fields of the model at this place within another."""
    inner = _model_in(model)
    for name in (part for part in place if isinstance(part, str)):
        field = inner.model_fields.get(name) if inner else None
        inner = _model_in(field.annotation) if field else None
    return list(inner.model_fields) if inner else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """``Model`` itself, or what ``list[Model]`` and ``Model | None`` are about."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)

"""Command-line flags made from a task's JSON Schema, and the parameters made from the flags again."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import msgspec
import typer

from penstock.cli.expanded import expanded
from penstock.core.errors import ErrorCode, PenstockError

_PYTHON_TYPES = {"integer": int, "number": float, "boolean": bool, "string": str}


@dataclass(frozen=True)
class Flag:
    """One parameter; ``path`` leads to it, as ("macro", "unemployment"). JSON text if ``type`` is None.

    ``numeric``: a whole number or any other, which JSON tells apart.
    """

    path: tuple[str, ...]
    type: type | None
    help: str
    numeric: bool = False

    def names(self, reserved: frozenset[str]) -> list[str]:
        """``--hazard-rate`` and ``--hazard_rate``; under ``--params.`` if the command has such a flag.

        Of a truth value also ``--no-…``.
        """
        written = ".".join(self.path)
        spellings = dict.fromkeys((written.replace("_", "-"), written))
        prefix = "--params." if f"--{written.replace('_', '-')}" in reserved else "--"
        if self.type is bool:
            return [f"{prefix}{name}/{prefix}no-{name}" for name in spellings]
        return [prefix + name for name in spellings]

    def value(self, given: Any) -> Any:
        """The parameter's value; raises INVALID_REQUEST for JSON that is none."""
        if self.type is not None:
            return given
        try:
            return msgspec.json.decode(given)
        except msgspec.DecodeError as failed:
            wanted = "a number" if self.numeric else f"a JSON value, such as '[1, 2]' ({failed})"
            message = f"--{'.'.join(self.path)}: write {wanted}"
            raise PenstockError(ErrorCode.INVALID_REQUEST, message) from None


def flags_of(schema: Mapping[str, Any]) -> list[Flag]:
    """The flags of an object schema; objects inside it become dotted flags, anything else JSON."""
    return list(_walk(schema, schema.get("$defs", {}), (), set(schema.get("required", ()))))


def _walk(
    schema: Mapping[str, Any], defs: Mapping[str, Any], path: tuple[str, ...], required: set[str]
) -> Iterator[Flag]:
    for name, described in schema.get("properties", {}).items():
        here = (*path, name)
        resolved = _resolve(described, defs)
        if resolved.get("type") == "object" and resolved.get("properties") and len(path) < 3:
            inner = set(resolved.get("required", ())) if name in required else set()
            yield from _walk(resolved, defs, here, inner)
        else:
            kind = _PYTHON_TYPES.get(resolved.get("type", ""))
            yield Flag(here, kind, _help(resolved, name in required), _is_numeric(described))


def _resolve(described: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """Follow a reference, and look through ``X | None``; what was said beside it stays said."""
    found = dict(described)
    options = [each for each in found.pop("anyOf", []) if each.get("type") != "null"]
    if len(options) == 1:
        found = dict(options[0]) | found
    if "$ref" in found:
        found = dict(defs[found.pop("$ref").rpartition("/")[2]]) | found
    return found


def _is_numeric(described: Mapping[str, Any]) -> bool:
    return {each.get("type") for each in described.get("anyOf", ())} - {"null"} == {"integer", "number"}


def _help(described: Mapping[str, Any], required: bool) -> str:
    parts = [described.get("description", "")]
    if "enum" in described:
        parts.append(f"One of {', '.join(map(str, described['enum']))}.")
    if required:
        parts.append("[required]")
    elif described.get("default") is not None:
        parts.append(f"[default: {described['default']}]")
    return " ".join(part for part in parts if part)


def nested(flags: list[Flag], values: list[Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """``whole`` with the values that were given put into their places, None where a flag was not."""
    params = dict(whole)
    for flag, given in zip(flags, values, strict=True):
        if given is None:
            continue
        place = params
        for name in flag.path[:-1]:
            inner = place.get(name)
            place[name] = dict(inner) if isinstance(inner, dict) else {}
            place = place[name]
        place[flag.path[-1]] = flag.value(given)
    return params


def with_flags(function: Callable[..., None], flags: list[Flag]) -> Callable[..., None]:
    """``function(params, **options)`` as a command with these flags, of which ``params`` makes parameters."""
    own = [each for each in inspect.signature(function).parameters.values() if each.name != "params"]
    reserved = frozenset(_declared(own)) | {"--help", "--url"}
    parameters = [
        inspect.Parameter(
            f"flag_{number}",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                (flag.type or str) | None,
                typer.Option(
                    *flag.names(reserved),
                    help=flag.help,
                    show_default=False,
                    rich_help_panel="Parameters",
                    metavar="<number>" if flag.numeric else None if flag.type else "JSON",
                ),
            ],
        )
        for number, flag in enumerate(flags)
    ]

    def params(**given: Any) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        return partial(nested, flags, list(given.values()))

    return expanded(function, "params", parameters, params)


def _declared(parameters: list[inspect.Parameter]) -> Iterator[str]:
    for parameter in parameters:
        for option in parameter.annotation.__metadata__:
            # Typer itself only later finds out that the first name is no default.
            yield from (name for name in (option.default, *option.param_decls) if isinstance(name, str))

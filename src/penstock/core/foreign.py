"""What people compute with, as what JSON has a word for: parameters and results may be arrays and tables."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def plain(value: Any) -> Any:
    """NumPy's numbers and arrays, pandas' columns and tables (as lists by column), pydantic models.

    By what they can do, as none of these libraries need be there. Anything else stays as it is.
    """
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return plain(value.to_dict("list")) if hasattr(value, "to_dict") else value


def plain_or_refused(value: Any) -> Any:
    """The same of what pydantic does not know; raises TypeError if it stays unknown."""
    found = plain(value)
    if found is value:
        kind = type(value).__name__
        raise TypeError(
            f"a result of type {kind} cannot be written as JSON; return numbers, texts, lists, dicts"
        )
    return found

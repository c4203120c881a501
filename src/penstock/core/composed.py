"""One Unicode form for text that may be written in several, such as é as one character or as e and an accent.

A task whose answers are kept is given its parameters in composed form (NFC), so that equal looking questions
are the same question, and no task is ever answered with what was found for other parameters than its own.
"""

from typing import Any
from unicodedata import normalize

from penstock.core.errors import field_error


def composed(value: Any, at: str = "params") -> Any:
    """A JSON-like value with all its text in composed form; any other is left as it is.

    Raises VALIDATION_ERROR naming an object in which two names become one.
    """
    if isinstance(value, str):
        return value if value.isascii() else normalize("NFC", value)
    if type(value) is dict:
        return _composed_object(value, at)
    if type(value) in (list, tuple):
        return [composed(item, f"{at}[{n}]") for n, item in enumerate(value)]
    return value


def _composed_object(value: dict[Any, Any], at: str) -> dict[Any, Any]:
    found = {composed(name, at): composed(item, f"{at}.{name}") for name, item in value.items()}
    if len(found) < len(value):
        raise field_error([(at, "has names that differ only in how Unicode writes them")])
    return found

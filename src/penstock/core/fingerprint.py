"""One canonical form per input, so that equal questions can share an answer.

Canonical JSON here: keys sorted, no white space, whole floats written as integers with all their
digits (1, 1.0 and 1e0 are one number, as are 10**20 and 1e20; a parameter declared as int could not
read 1e20), -0 is 0, and no NaN or infinity, which JSON does not have.
"""

import hashlib
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

from penstock.core.errors import field_error

encode_sorted = msgspec.json.Encoder(order="deterministic").encode
"""Canonical JSON of what is `_normal` already."""


def canonical(value: Any, at: str = "params") -> bytes:
    """Canonical JSON of a JSON-like value; raises VALIDATION_ERROR naming every non-finite number."""
    try:
        return encode_sorted(_normal(value))
    except _NotFiniteError:
        raise field_error([(path, "must be a finite number") for path in non_finite(value, at)]) from None


def fingerprint(task: str, version: str, params: bytes, data_version: str = "") -> str:
    """SHA-256 (64 hex digits) of task, version, canonical params and data version."""
    return hashlib.sha256(_opening(task, version, data_version) + _measured(params)).hexdigest()


@lru_cache(maxsize=1024)  # the same for all jobs of a task, and three quarters of the work
def _opening(task: str, version: str, data_version: str) -> bytes:
    return b"".join(_measured(part.encode()) for part in (task, version, data_version))


def _measured(part: bytes) -> bytes:
    """With its length in front, so that no two lists of parts run together into the same bytes."""
    return len(part).to_bytes(8) + part


def non_finite(value: Any, at: str) -> Iterator[str]:
    """Paths such as ``params.weights[2]`` of every NaN or infinity in a JSON-like value."""
    if isinstance(value, float) and not math.isfinite(value):
        yield at
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from non_finite(item, f"{at}.{key}" if at else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from non_finite(item, f"{at}[{index}]")


class _NotFiniteError(ValueError):
    """Found while normalising; the slow search for its path comes only then."""


def _normal(value: Any) -> Any:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _NotFiniteError
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {key: _normal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_normal(item) for item in value]
    return value

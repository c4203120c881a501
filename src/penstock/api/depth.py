"""How deep a body may be nested, seen before it is parsed: what parses it may go as deep as the body says."""

import re
from itertools import accumulate

from penstock.core.errors import ErrorCode, PenstockError

MAX_DEPTH = 64

_ESCAPES = re.compile(rb"\\.", re.DOTALL)
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""One level up or, as a signed byte, one level down."""

_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_PIECE = 65_536


def check_depth(body: bytes) -> None:
    """Raises INVALID_REQUEST for JSON with more than `MAX_DEPTH` objects and lists inside one another.

    Most bodies have fewer brackets than that in all. Of the others the strings are cut out, and then the
    levels are summed up, until one is too high.
    """
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deeper(body):
        raise PenstockError(
            ErrorCode.INVALID_REQUEST,
            f"the body is nested deeper than {MAX_DEPTH} levels",
            {"max_depth": MAX_DEPTH},
        )


def _is_deeper(body: bytes) -> bool:
    if b"\\" in body:
        body = _ESCAPES.sub(b"", body)
    steps = memoryview(b"".join(body.split(b'"')[::2]).translate(_STEPS, _NO_BRACKETS)).cast("b")
    level = 0
    for at in range(0, len(steps), _PIECE):
        levels = list(accumulate(steps[at : at + _PIECE], initial=level))
        if max(levels) > MAX_DEPTH:
            return True
        level = levels[-1]
    return False

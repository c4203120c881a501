"""How deep a body may be nested, seen before it is parsed: what parses it may go as deep as the body says."""

import re

from penstock.core.errors import ErrorCode, PenstockError

MAX_DEPTH = 64

_ESCAPES = re.compile(rb"\\.", re.DOTALL)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def check_depth(body: bytes) -> None:
    """Raises INVALID_REQUEST for JSON with more than `MAX_DEPTH` objects and lists inside one another.

    Most bodies have fewer brackets than that in all. Of the others the strings are cut out, and then pairs
    of brackets with nothing inside are, as often as there may be levels: all of it at the speed of C.
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
    brackets = b"".join(body.split(b'"')[::2]).translate(None, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        before = len(brackets)
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(brackets) == before:
            break  # nothing is left, or what is left does not match: the parser says so, if it is not deep
    return len(brackets) > MAX_DEPTH or bool(brackets and _balanced(brackets))


def _balanced(brackets: bytes) -> bool:
    return brackets.count(b"[") == brackets.count(b"]") and brackets.count(b"{") == brackets.count(b"}")

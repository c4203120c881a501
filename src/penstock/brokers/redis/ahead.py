"""What jobs have in front of them, from the answer of ``lua/ahead.lua``."""

from typing import Any

from penstock.core.forecast import Ahead, LineAhead, ahead

_FIELDS = 5


def read_ahead(found: list[Any] | None) -> Ahead | None:
    """One job's entry; None for a job that does not wait."""
    if found is None:
        return None
    client, stride, *rest = found
    lines = [_line(*rest[at : at + _FIELDS]) for at in range(0, len(rest), _FIELDS)]
    return ahead(client, stride, lines)


def _line(client: bytes, stride: int, before: int, beside: int, tasks: list[bytes]) -> LineAhead:
    return LineAhead(
        client=client,
        stride=stride,
        before=before,
        beside=beside,
        tasks=[task.decode("utf-8", "replace") for task in tasks],
    )

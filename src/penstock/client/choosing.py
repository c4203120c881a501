"""Many jobs are dealt with in as many requests as it takes. Sans I/O: the shells send what it asks."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from penstock.client.messages import Call
from penstock.core.choice import Report

Told = TypeVar("Told", bound=Report)

PIECE = 100
"""Ids that one request names, as they may stand in its address."""


def steps(
    verb: Callable[..., Call[Told]], ids: Iterable[str] | None, choice: Mapping[str, Any]
) -> Generator[Call[Told], Told, None]:
    """Apply a verb to these jobs or, with None, to those that are chosen, until none of them is left."""
    if ids is None:
        yield from _pages(verb, choice)
        return
    rest = iter(ids)
    while piece := list(islice(rest, PIECE)):
        yield from _pages(verb, {**choice, "ids": piece})


def _pages(verb: Callable[..., Call[Told]], choice: Mapping[str, Any]) -> Generator[Call[Told], Told, None]:
    report = yield verb(**choice)
    while report.next is not None:
        report = yield verb(**{**choice, "before": report.next})


def total(kind: type[Told], reports: Sequence[Told]) -> Told:
    """What several requests did, as if it had been one."""
    ids = [each for report in reports for each in report.ids]
    skipped = [each for report in reports for each in report.skipped]
    return kind(count=len(ids), ids=ids, skipped=skipped, next=None)

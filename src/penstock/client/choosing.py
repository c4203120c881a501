"""Many jobs are stopped with as many requests as it takes. Sans I/O: the shells send what it asks."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from penstock.client import messages
from penstock.client.handles import HasId, id_of
from penstock.client.messages import Call
from penstock.core.cancelling import CancelReport

PIECE = 100
"""Ids that one request names, as they stand in its address."""


def steps(
    jobs: Iterable[str | HasId] | None, choice: Mapping[str, Any]
) -> Generator[Call[CancelReport], CancelReport, None]:
    """Stop these jobs or, with None, those that are chosen, until nothing that was meant is left."""
    if jobs is None:
        yield from _pages(choice)
        return
    ids = map(id_of, jobs)
    while piece := list(islice(ids, PIECE)):
        yield from _pages({**choice, "ids": piece})


def _pages(choice: Mapping[str, Any]) -> Generator[Call[CancelReport], CancelReport, None]:
    report = yield messages.cancel_many(**choice)
    while report.next is not None:
        report = yield messages.cancel_many(**{**choice, "before": report.next})


def total(reports: Sequence[CancelReport]) -> CancelReport:
    """What several requests did, as if it had been one."""
    ids = [each for report in reports for each in report.ids]
    skipped = [each for report in reports for each in report.skipped]
    return CancelReport(count=len(ids), ids=ids, skipped=skipped, next=None)

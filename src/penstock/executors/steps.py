"""What a child does for a job that has parts: splits it, and merges what came of them.

Neither holds more than two pages: the next one is made or fetched while the supervisor, or this process,
is busy with the one before.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Protocol

from pydantic import BaseModel

from penstock.core.attempt import (
    MergeDone,
    MergeStep,
    PartsPage,
    Reply,
    Request,
    ResultsWanted,
    Run,
    SplitDone,
)
from penstock.core.catalog import AnyTask
from penstock.core.fanout import Fanout, Folding
from penstock.core.job import JobProgress
from penstock.core.progress import DoNotRetry

PAGE_PARTS = 500
PAGE_RESULTS = 1_000
PAGE_BYTES = 2**20
FIRST_RESULTS = 16
"""How large results are is seen on the first page, which is small."""


class Exchange(Protocol):
    """The supervisor, as an attempt asks it: every request is replied to, in order."""

    def ask(self, request: Request) -> None:
        """Send a request."""

    def reply(self) -> Reply:
        """Wait for what came of the oldest request; raises if nothing can come of it."""


def split(task: AnyTask, run: Run, exchange: Exchange, whole: Callable[[], bytes]) -> bytes | SplitDone:
    """Hand out the parts, or the result of the ``whole`` if there are fewer than two."""
    if task.fanout is None:
        return whole()
    parts = task.fanout.parts(task.read(run.params))
    head = list(islice(parts, 2))
    if len(head) < 2:
        return whole()
    total = 0
    for page in _pages(task.fanout, chain(head, parts)):
        if total:
            exchange.reply()
        exchange.ask(PartsPage(run.token, total, page))
        total += len(page)
    exchange.reply()
    return SplitDone(run.token, total)


def _pages(fanout: Fanout, parts: Iterable[BaseModel]) -> Iterator[tuple[bytes, ...]]:
    page: list[bytes] = []
    size = 0
    for part in parts:
        page.append(fanout.write_part(part))
        size += len(page[-1])
        if len(page) == PAGE_PARTS or size >= PAGE_BYTES:
            yield tuple(page)
            page, size = [], 0
    if page:
        yield tuple(page)


def merge(
    task: AnyTask, run: Run, step: MergeStep, exchange: Exchange, note: Callable[[JobProgress], None]
) -> bytes | MergeDone:
    """Fold every block whose parts have all ended; the result, when nothing is left or wanted."""
    fanout = task.fanout
    if fanout is None:
        raise DoNotRetry(f"this worker's version of {task.name} is not done in parts")
    folding = fanout.folding(task.read(run.params), step.partial, step.merged)
    results = _results(run.token, step, exchange)
    while size := _next_block(step, folding.merged):
        block = islice(results, size)
        folding.add([None if each is None else fanout.read_result(each) for each in block])
        if folding.reached or folding.merged == step.total:
            return task.write(folding.result())
        note(_progress(folding, step))
    return MergeDone(
        run.token, fanout.write_partial(folding.partial), folding.merged, _progress(folding, step)
    )


def _next_block(step: MergeStep, at: int) -> int:
    """How many parts the block has that begins here; 0 if not all of them have ended."""
    size = min(step.block, step.total - at)
    return size if at + size <= step.ready else 0


def _progress(folding: Folding, step: MergeStep) -> JobProgress:
    done = f"{folding.merged} of {step.total} parts"
    said = f"{folding.said} after {done}" if folding.said else done
    return JobProgress(folding.merged / step.total, said)


def _results(token: int, step: MergeStep, exchange: Exchange) -> Iterator[bytes | None]:
    """Results in order, fetched a page ahead."""
    at, count = step.merged, FIRST_RESULTS
    if at < step.ready:
        exchange.ask(ResultsWanted(token, at, min(count, step.ready - at)))
    while at < step.ready:
        page = exchange.reply().results
        at += len(page)
        count = _fitting(page)
        if at < step.ready:
            exchange.ask(ResultsWanted(token, at, min(count, step.ready - at)))
        yield from page


def _fitting(page: tuple[bytes | None, ...]) -> int:
    """How many results like these make a page."""
    size = sum(len(each) for each in page if each is not None)
    return max(1, min(PAGE_RESULTS, PAGE_BYTES * len(page) // max(1, size)))

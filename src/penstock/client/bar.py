"""One progress bar for many jobs, on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from penstock.client.gathering import Counts


@contextmanager
def progress_bar(label: str, counts: Counts, *, wanted: bool) -> Iterator[Callable[[], None]]:
    """What is to be called whenever ``counts`` have changed; it draws only if wanted and on a terminal."""
    if not wanted or not sys.stderr.isatty():
        yield lambda: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}", style="red"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        row = bars.add_task(label, total=None, failed="")

        def draw() -> None:
            failed = f"{counts.failed} failed" if counts.failed else ""
            bars.update(row, total=counts.total, completed=counts.ended, failed=failed)

        yield draw
        draw()

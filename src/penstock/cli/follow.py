"""Watching jobs until they end, with a progress bar on a terminal."""

import asyncio
from datetime import timedelta

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from penstock.cli import show
from penstock.cli.unserved import tell_unserved
from penstock.client import AsyncClient
from penstock.core.submission import JobView

LOOK_S = 0.3


async def follow(client: AsyncClient, jobs: list[JobView], *, quiet: bool) -> list[JobView]:
    """The jobs as they ended, one bar each (of the first 20); ``quiet`` shows nothing."""
    if not quiet:
        await tell_unserved(client, jobs)
    if quiet or not show.errors.is_terminal:
        return [await client.wait(job.id) for job in jobs]
    columns = (
        *([TextColumn("{task.fields[label]}")] if len(jobs) > 1 else []),
        BarColumn(16),
        TextColumn("{task.percentage:>3.0f} %"),
        _Times(),
        # Takes what is left of the line; the others keep their widths.
        TextColumn("{task.fields[said]}", style="dim", table_column=Column(ratio=1, no_wrap=True)),
    )
    with Progress(*columns, console=show.errors, expand=True) as bars:
        shown = [
            bars.add_task("", total=1.0, label=f"{show.escape(job.task)} {job.id[-6:]}", said="")
            for job in jobs[:20]
        ]
        rows: list[TaskID | None] = [*shown, *([None] * (len(jobs) - len(shown)))]
        try:
            return [await _one(client, job, bars, row) for job, row in zip(jobs, rows, strict=True)]
        except asyncio.CancelledError:
            bars.console.print(f"not waited for any longer; stop it: penstock cancel {_ids(jobs)}")
            raise


class _Times(ProgressColumn):
    """How long it has taken, and what is left at the speed of late."""

    def render(self, task: Task) -> Text:
        """Part of `ProgressColumn`."""
        spent = _clock(task.finished_time if task.finished else task.elapsed)
        left = None if task.finished else task.time_remaining
        return Text(f"{spent}, {_clock(left)} left" if left else spent, style="yellow")


def _clock(seconds: float | None) -> str:
    """``00:05`` or ``1:00:05``: the estimate beside it needs the room."""
    return str(timedelta(seconds=int(seconds or 0))).removeprefix("0:")


def _ids(jobs: list[JobView]) -> str:
    return " ".join([*(job.id for job in jobs[:3]), *(["…"] if len(jobs) > 3 else [])])


async def _one(client: AsyncClient, job: JobView, bars: Progress, row: TaskID | None) -> JobView:
    while True:
        job = await client.get(job.id, LOOK_S)
        if row is not None:
            _draw(bars, row, job)
        if job.final:
            return job


def _draw(bars: Progress, row: TaskID, job: JobView) -> None:
    fraction = 1.0 if job.state == "succeeded" else (job.progress.fraction if job.progress else 0.0)
    said = job.progress.message if job.progress and not job.final else show.place(job) or str(job.state)
    bars.update(row, completed=fraction, said=show.escape(said))
    if job.final:
        bars.stop_task(row)

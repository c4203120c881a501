"""What commands print: tables for people, JSON for programs, one line for errors."""

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape as escape_markup
from rich.table import Table
from rich.text import Text

from penstock.core.errors import PenstockError
from penstock.core.submission import AttemptView, JobView, PartsView
from penstock.core.text import printable

# Without a terminal nothing is cut off to fit one: the reader is a file or another program.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 240)
errors = Console(stderr=True, highlight=False)

_COLOURS = {
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
    "running": "cyan",
    "queued": "default",
    "scheduled": "blue",
}


def escape(text: str) -> str:
    """Text from elsewhere as it is: neither markup nor a terminal's control characters."""
    return escape_markup(printable(text))


def as_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def error_json(error: PenstockError) -> None:
    """An error as the API gives it, without a request's id."""
    as_json({"error": {"code": error.code, "message": error.message, "details": error.details}})


def job_json(job: JobView, attempts: Sequence[AttemptView] | None = None) -> dict[str, Any]:
    """A job as the API gives it, with ``attempts`` if there are any to show."""
    shown = job.model_dump(mode="json")
    if attempts is not None:
        shown["attempts"] = [each.model_dump(mode="json") for each in attempts]
    return shown


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> None:
    """A table, or a sentence when there is nothing to show."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        grid.add_column(column, no_wrap=number == 0)
    count = 0
    for row in rows:
        grid.add_row(*map(_cell, row))
        count += 1
    console.print(grid if count else f"[dim]{empty}[/dim]")


def _cell(value: Any) -> Text | str:
    if isinstance(value, Text):
        return value
    return "" if value is None else escape(str(value))


def state(job: JobView) -> str:
    """The state in its colour."""
    colour = _COLOURS[job.state]
    stopping = ", stopping" if job.cancel_requested and not job.final else ""
    return f"[{colour}]{job.state}{stopping}[/{colour}]"


def styled(markup: str) -> Text:
    """A cell of a table that has colours."""
    return Text.from_markup(markup)


def duration(job: JobView) -> str:
    """How long the last attempt took."""
    return _span(job.started_at, job.finished_at)


def _span(began: str | None, ended: str | None) -> str:
    if began is None or ended is None:
        return ""
    took = datetime.fromisoformat(ended) - datetime.fromisoformat(began)
    return f"{took.total_seconds():.2f} s"


def shared(job: JobView) -> str:
    """A word for a job whose answer was known, or that was there before."""
    return "cached" if job.cached else "joined" if job.joined else ""


def place(job: JobView) -> str:
    """Where a waiting job stands, and when it is likely to begin."""
    if job.position is None:
        return ""
    number = job.position + 1
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending} in line" + ("" if job.eta_s is None else f", about {_about(job.eta_s)}")


def _about(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def job_line(job: JobView) -> None:
    """A job in one line."""
    word = f"  [dim]{shared(job)}[/dim]" if shared(job) else ""
    error = f"  [red]{escape(job.error.code)}: {escape(job.error.message)}[/red]" if job.error else ""
    console.print(f"{job.id}  {escape(job.task)}  {state(job)}  {duration(job)}{word}{error}", soft_wrap=True)


def job_details(job: JobView, attempts: Sequence[AttemptView] | None = None) -> None:
    """Everything about a job, the result and its attempts last."""
    facts = {
        "task": escape(job.task),
        "state": state(job),
        "queue": f"{escape(job.queue)}, {job.priority} priority",
        "attempt": None if job.cached else f"{job.attempt} of {job.max_attempts}",
        "shared": shared(job) or (job.waiters > 1 and f"by {job.waiters} that wait for it"),
        "cache key": job.cache_key,
        "lost": job.losses and f"{_times(job.losses)} by a worker that vanished",
        "crashed": job.crashes and _times(job.crashes),
        "created": job.created_at,
        "place": place(job),
        "due": job.due_at if job.state == "scheduled" else None,
        "started": job.started_at,
        "finished": job.finished_at and f"{job.finished_at}  ({duration(job)})",
        "initiated by": escape(job.initiated_by),
        "handled by": job.handled_by and escape(job.handled_by),
        "progress": job.progress
        and not job.final
        and f"{job.progress.fraction:.0%}  {escape(job.progress.message)}",
        "parts": job.parts and _parts(job.parts, merging=not job.final),
        "part": job.part is not None and f"{job.part} of {job.parent_id}",
        "error": job.error and f"[red]{escape(job.error.code)}: {escape(job.error.message)}[/red]",
        "params": escape(_compact(job.params)),
        "result": escape(_compact(job.result)) if job.state == "succeeded" else None,
    }
    console.print(f"[bold]{job.id}[/bold]")
    for name, fact in facts.items():
        if fact:
            console.print(f"  {name:<13} {fact}", soft_wrap=True)
    if job.error and job.error.detail:
        console.print(escape(job.error.detail.rstrip()), style="dim", soft_wrap=True)
    if attempts is not None:
        _attempts(attempts)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _parts(parts: PartsView, *, merging: bool) -> str:
    failed = f", {parts.failed} failed" if parts.failed else ""
    merged = f", {parts.merged} merged" if merging else ""
    return f"{parts.done} of {parts.total} done{failed}{merged}"


def _attempts(attempts: Sequence[AttemptView]) -> None:
    columns = ("attempt", "ended", "took", "worker", "outcome", "")
    rows = (
        (each.attempt, each.ended_at, _span(each.started_at, each.ended_at), each.worker, *_ending(each))
        for each in attempts
    )
    table(columns, rows, "no attempt has ended yet")


def _ending(attempt: AttemptView) -> tuple[str, str]:
    return attempt.code or attempt.outcome, attempt.message


def _compact(value: Any, limit: int = 2_000) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters, whole with --json)"

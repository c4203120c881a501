"""``penstock dead list|show|retry|purge``: failed jobs that wait for a person."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from penstock.cli import show
from penstock.cli.expanded import expanded
from penstock.cli.moments import moment
from penstock.cli.options import OfQueue, OfTask, SomeIds
from penstock.cli.run import Json, Url, params_from, with_client
from penstock.client import AsyncClient, choosing, messages
from penstock.client.messages import Call
from penstock.core.dead import DeadReport, DeadView
from penstock.core.errors import ErrorCode, FailureCode, PenstockError

JobId = Annotated[str, typer.Argument(help="The job's id.")]
Code = Annotated[FailureCode | None, typer.Option(help="Only with this error.")]
After = Annotated[str | None, typer.Option(help="Only those that ended then or later: a time, or 2h ago.")]
Before = Annotated[str | None, typer.Option(help="Only those that ended earlier: a time, or 7d ago.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many.")]
All = Annotated[bool, typer.Option("--all", help="All of them, whatever the task and error.")]
Params = Annotated[str | None, typer.Option(help="Retry one job with these parameters, as a new job.")]

Wanted = dict[str, Any]
"""Which dead letters, as a node is told; `_filtered` makes it from options."""


def _filter(
    *,
    task: OfTask = None,
    queue: OfQueue = None,
    code: Code = None,
    ended_after: After = None,
    ended_before: Before = None,
) -> Wanted:
    given = {
        "task": task,
        "queue": queue,
        "code": code and code.value,
        "ended_after": ended_after and moment(ended_after),
        "ended_before": ended_before and moment(ended_before),
    }
    return {name: value for name, value in given.items() if value is not None}


def _filtered(function: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of `_filter`, which make its parameter ``wanted``."""
    return expanded(function, "wanted", list(inspect.signature(_filter).parameters.values()), _filter)


def command() -> typer.Typer:
    """Dead letters: list, show, retry, purge."""
    app = typer.Typer(
        add_completion=False, no_args_is_help=True, help="Failed jobs: list, show, retry, purge."
    )
    app.command("list")(_filtered(_list))
    app.command("show")(_show)
    app.command("retry")(_filtered(_retry))
    app.command("purge")(_filtered(_purge))
    return app


def _list(*, wanted: Wanted, limit: Limit = 20, url: Url = None, as_json: Json = False) -> None:
    """List dead letters, newest first."""

    async def action(client: AsyncClient) -> None:
        found = (await client.send(messages.dead(limit=limit, **wanted))).dead
        if as_json:
            show.as_json([show.job_json(job) for job in found])
        else:
            show.table(("id", "task", "ended", "attempts", "reason"), map(_row, found), "no dead letters")

    with_client(url, action, as_json=as_json)


def _row(job: DeadView) -> tuple[object, ...]:
    reason = f"{job.error.code}: {job.error.message}" if job.error else ""
    return job.id, job.task, job.finished_at, f"{job.attempt}/{job.max_attempts}", reason


def _show(job_id: JobId, url: Url = None, as_json: Json = False) -> None:
    """Show a dead letter with its traceback and attempts."""

    async def action(client: AsyncClient) -> None:
        job, attempts = await client.get(job_id), await client.send(messages.attempts(job_id))
        show.as_json(show.job_json(job, attempts)) if as_json else show.job_details(job, attempts)

    with_client(url, action, as_json=as_json)


def _retry(
    *,
    job_ids: SomeIds = None,
    params: Params = None,
    wanted: Wanted,
    everything: All = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Queue dead letters anew: by ids, by filter, or --all of them."""

    async def action(client: AsyncClient) -> None:
        if params is None:
            await _apply(client, messages.retry_dead, job_ids, wanted, everything, "queued anew", as_json)
            return
        if not job_ids or len(job_ids) != 1 or wanted or everything:
            raise PenstockError(ErrorCode.INVALID_REQUEST, "--params: needs the id of one job, and no filter")
        job = await client.retry(job_ids[0], params_from(params))
        show.as_json(show.job_json(job)) if as_json else show.job_line(job)

    with_client(url, action, as_json=as_json)


def _purge(
    *,
    job_ids: SomeIds = None,
    wanted: Wanted,
    everything: All = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Forget dead letters for good: by ids, by filter, or --all of them."""

    async def action(client: AsyncClient) -> None:
        await _apply(client, messages.purge_dead, job_ids, wanted, everything, "purged", as_json)

    with_client(url, action, as_json=as_json)


async def _apply(  # noqa: PLR0917 - what a command was given
    client: AsyncClient,
    verb: Callable[..., Call[DeadReport]],
    job_ids: list[str] | None,
    wanted: Wanted,
    everything: bool,
    done: str,
    as_json: bool,
) -> None:
    """Request after request until nothing that was meant is left, and say how many it were."""
    choice = wanted | ({"all": True} if everything else {})
    steps = choosing.steps(verb, job_ids or None, choice)
    report = choosing.total(DeadReport, await client.send_all(steps))
    if as_json:
        show.as_json(report.model_dump(exclude={"next"}))
        return
    show.console.print(f"{report.count:,} dead letter{'' if report.count == 1 else 's'} {done}")
    for each in report.skipped:
        show.console.print(f"[yellow]no dead letter:[/yellow] {show.escape(each)}", soft_wrap=True)

"""``penstock submit TASK --name value …``: the flags come from the task's own schema."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from penstock.cli import show
from penstock.cli.flags import flags_of, with_flags
from penstock.cli.follow import follow
from penstock.cli.run import AS_JSON, ExitCode, Json, Url, client, params_from, plain_errors, with_client
from penstock.client import AsyncClient
from penstock.core.catalog import unknown_task
from penstock.core.job import AfterFailure
from penstock.core.submission import JobView, TaskView

BATCH = 1_000

Params = Callable[[dict[str, Any]], dict[str, Any]]

Whole = Annotated[str | None, typer.Option("--params", help="Parameters as JSON or @file.json; flags win.")]
Count = Annotated[int, typer.Option("--count", min=1, max=1_000_000, help="Submit it this many times.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end and show progress.")]
Priority = Annotated[str | None, typer.Option("--priority", help="high, medium or low.")]
Queue = Annotated[str | None, typer.Option("--queue", help="Queue to stand in.")]
Delay = Annotated[float | None, typer.Option("--delay", help="Seconds before it is due.")]
RunAt = Annotated[str | None, typer.Option("--run-at", help="When it is due: a time with its zone.")]
After = Annotated[list[str] | None, typer.Option("--after", help="A job that must have ended. Repeatable.")]
AfterBad = Annotated[
    AfterFailure | None, typer.Option("--after-failure", help="If one of those does not succeed.")
]
Timeout = Annotated[
    float | None, typer.Option("--timeout", help="Seconds one attempt may take, and a job in parts in all.")
]
MaxAttempts = Annotated[int | None, typer.Option("--max-attempts", help="Attempts before it fails.")]
Cache = Annotated[
    str | None,
    typer.Option("--cache", help="use, refresh or bypass; use by default, bypass with --count above 1."),
]
Key = Annotated[str | None, typer.Option("--key", help="Idempotency key: the same key gives the same job.")]


class TaskCommands(TyperGroup):
    """One command per task of the node."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tasks: dict[str, TaskView] | None = None

    def _known(self, ctx: Any) -> dict[str, TaskView]:
        if self._tasks is None:
            found = asyncio.run(_fetch(ctx.params.get("url")))
            self._tasks = {task.name: task for task in found}
        return self._tasks

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """``--url`` may stand anywhere, as in every other command."""
        return super().parse_args(ctx, url_first(args))

    def list_commands(self, ctx: Any) -> list[str]:
        """The tasks' names."""
        with plain_errors():
            return sorted(self._known(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command that submits this task."""
        with plain_errors(as_json=ctx.meta.get(AS_JSON, False)):
            known = self._known(ctx)
            if cmd_name not in known:
                raise unknown_task(cmd_name, known)
        return _task_command(known[cmd_name], ctx.params.get("url"))


def command() -> typer.Typer:
    """Submit jobs."""
    app = typer.Typer(
        cls=TaskCommands,
        add_completion=False,
        no_args_is_help=True,
        subcommand_metavar="TASK [--NAME VALUE]…",
    )

    @app.callback(help="Submit a job. Each task has its own flags: penstock submit TASK --help")
    def submit(url: Url = None) -> None:
        """The node is needed to know the tasks."""

    return app


def url_first(args: list[str]) -> list[str]:
    """With ``--url``, which is the group's option, in front."""
    for at, word in enumerate(args):
        if word == "--url" or word.startswith("--url="):
            end = at + (2 if word == "--url" else 1)
            return [*args[at:end], *args[:at], *args[end:]]
    return args


async def _fetch(url: str | None) -> list[TaskView]:
    async with client(url) as connected:
        return await connected.tasks()


def _task_command(task: TaskView, url: str | None) -> Any:
    def submit(
        params: Params,
        *,
        whole: Whole = None,
        count: Count = 1,
        wait: Wait = False,
        priority: Priority = None,
        queue: Queue = None,
        delay_s: Delay = None,
        run_at: RunAt = None,
        after: After = None,
        after_failure: AfterBad = None,
        timeout_s: Timeout = None,
        max_attempts: MaxAttempts = None,
        idempotency_key: Key = None,
        cache: Cache = None,
        as_json: Json = False,
    ) -> None:
        options = {
            "priority": priority,
            "queue": queue,
            "delay_s": delay_s,
            "run_at": run_at,
            "after": after or None,
            "after_failure": after_failure,
            "timeout_s": timeout_s,
            "max_attempts": max_attempts,
            "idempotency_key": idempotency_key,
            # Whoever asks for several runs of the same does not want one answer several times.
            "cache": cache or ("bypass" if count > 1 else None),
        }
        given = {name: value for name, value in options.items() if value is not None}

        async def action(connected: AsyncClient) -> None:
            submission = {"task": task.name, "params": params(params_from(whole)), **given}
            jobs = await _push(connected, submission, count, as_json=as_json, quiet=wait)
            if wait:
                jobs = await follow(connected, jobs, quiet=as_json)
            report(jobs, as_json=as_json, ended=wait)

        with_client(url, action, as_json=as_json)

    submit.__doc__ = task.description or f"Submit {task.name}."
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command()(with_flags(submit, flags_of(task.params_schema)))
    found = typer.main.get_command(app)
    found.name = task.name
    return found


async def _push(
    connected: AsyncClient, submission: dict[str, Any], count: int, *, as_json: bool, quiet: bool
) -> list[JobView]:
    jobs: list[JobView] = []
    while len(jobs) < count:
        # One by itself, so that a refusal does not speak of a list.
        batch = (
            [await connected.submit(**submission)]
            if count == 1
            else await connected.submit_many([submission] * min(BATCH, count - len(jobs)))
        )
        jobs.extend(batch)
        if not as_json and not quiet:
            for job in batch:
                show.job_line(job)
    return jobs


def report(jobs: list[JobView], *, as_json: bool, ended: bool) -> None:
    """Show what was submitted; exits with FAILED if it has ``ended`` without success."""
    if as_json:
        views = [show.job_json(job) for job in jobs]
        show.as_json(views[0] if len(views) == 1 else views)
    elif ended:
        for job in jobs:
            show.job_details(job) if len(jobs) == 1 else show.job_line(job)
    if ended and any(job.state != "succeeded" for job in jobs):
        raise typer.Exit(ExitCode.FAILED)

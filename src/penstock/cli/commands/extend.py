"""``penstock extend ID --name value …``: the flags are those of the job's task."""

import asyncio
from typing import Any

import typer
from typer.core import TyperGroup

from penstock.cli import show
from penstock.cli.commands.submit import Params, Wait, Whole, report, url_first
from penstock.cli.flags import Flag, flags_of, with_flags
from penstock.cli.follow import follow
from penstock.cli.run import AS_JSON, Json, Url, client, params_from, plain_errors, with_client
from penstock.client import AsyncClient

MANIFEST = "extend"
"""The parameter that the node fills in."""


class JobCommands(TyperGroup):
    """One command per job that there is."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """``--url`` may stand anywhere, as in every other command."""
        return super().parse_args(ctx, url_first(args))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command that extends this job."""
        url = ctx.params.get("url")
        with plain_errors(as_json=ctx.meta.get(AS_JSON, False)):
            return _job_command(cmd_name, asyncio.run(_flags(url, cmd_name)), url)


def command() -> typer.Typer:
    """Extend simulations."""
    app = typer.Typer(
        cls=JobCommands, add_completion=False, no_args_is_help=True, subcommand_metavar="ID [--NAME VALUE]…"
    )

    @app.callback(help="Go on with a finished simulation, as a new and larger job: penstock extend ID --help")
    def extend(url: Url = None) -> None:
        """The node is needed to know the job's task."""

    return app


async def _flags(url: str | None, job_id: str) -> list[Flag]:
    async with client(url) as connected:
        job = await connected.get(job_id)
        schemas = {task.name: task.params_schema for task in await connected.tasks()}
    return [flag for flag in flags_of(schemas.get(job.task, {})) if flag.path[0] != MANIFEST]


def _job_command(job_id: str, flags: list[Flag], url: str | None) -> Any:
    def extend(params: Params, *, whole: Whole = None, wait: Wait = False, as_json: Json = False) -> None:
        """Go on with this simulation: a new job like it with these parameters, that keeps what was drawn."""

        async def action(connected: AsyncClient) -> None:
            job = await connected.extend(job_id, params(params_from(whole)))
            if wait:
                (job,) = await follow(connected, [job], quiet=as_json)
            elif not as_json:
                show.job_line(job)
            report([job], as_json=as_json, ended=wait)

        with_client(url, action, as_json=as_json)

    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command()(with_flags(extend, flags))
    found = typer.main.get_command(app)
    found.name = job_id
    return found

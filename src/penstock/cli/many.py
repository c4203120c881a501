"""Commands that do one thing to several jobs."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from penstock.cli import show
from penstock.cli.run import Json, Url, with_client
from penstock.client import AsyncClient
from penstock.core.submission import JobView

JobIds = Annotated[list[str], typer.Argument(help="The jobs' ids.")]


Verb = Callable[[AsyncClient, str], Awaitable[JobView]]


def for_each(help_text: str, verb: Verb) -> typer.Typer:
    """A command that applies a verb to each id and shows the jobs as they then stand."""
    app = typer.Typer(add_completion=False)

    @app.command(help=help_text)
    def apply(job_ids: JobIds, url: Url = None, as_json: Json = False) -> None:
        each_of(job_ids, verb, url, as_json=as_json)

    return app


def each_of(job_ids: list[str], verb: Verb, url: str | None, *, as_json: bool) -> None:
    """Apply a verb to each id and show the jobs as they then stand."""

    async def action(client: AsyncClient) -> None:
        jobs = [await verb(client, job_id) for job_id in job_ids]
        if as_json:
            show.as_json([show.job_json(job) for job in jobs])
            return
        for job in jobs:
            show.job_line(job)

    with_client(url, action, as_json=as_json)

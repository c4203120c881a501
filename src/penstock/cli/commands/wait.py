"""``penstock wait ID…``: until they have ended."""

from typing import Annotated

import typer

from penstock.cli import show
from penstock.cli.follow import follow
from penstock.cli.run import ExitCode, Json, Url, with_client
from penstock.client import AsyncClient


def command() -> typer.Typer:
    """Wait for jobs."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def wait(
        job_ids: Annotated[list[str], typer.Argument(help="The jobs' ids.")],
        url: Url = None,
        as_json: Json = False,
    ) -> None:
        """Wait until jobs have ended, with their progress; exit code 1 unless all succeeded."""

        async def action(client: AsyncClient) -> None:
            jobs = [await client.get(job_id) for job_id in job_ids]
            jobs = await follow(client, jobs, quiet=as_json)
            if as_json:
                show.as_json([show.job_json(job) for job in jobs])
            elif len(jobs) == 1:
                show.job_details(jobs[0])
            else:
                for job in jobs:
                    show.job_line(job)
            if any(job.state != "succeeded" for job in jobs):
                raise typer.Exit(ExitCode.FAILED)

        with_client(url, action, as_json=as_json)

    return app

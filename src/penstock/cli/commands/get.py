"""``penstock get ID``: a job as it stands."""

from typing import Annotated

import typer

from penstock.cli import show
from penstock.cli.run import Json, Url, with_client
from penstock.client import AsyncClient, messages
from penstock.core.submission import AttemptView

Attempts = Annotated[bool, typer.Option("--attempts", help="Show each attempt that is over, too.")]
JobId = Annotated[str, typer.Argument(help="The job's id.")]


def command() -> typer.Typer:
    """Look at a job."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def get(job_id: JobId, attempts: Attempts = False, url: Url = None, as_json: Json = False) -> None:
        """Show a job: its state, progress, error and result."""

        async def action(client: AsyncClient) -> None:
            job = await client.get(job_id)
            past: list[AttemptView] | None = None
            if attempts:
                past = await client.send(messages.attempts(job_id))
            show.as_json(show.job_json(job, past)) if as_json else show.job_details(job, past)

        with_client(url, action, as_json=as_json)

    return app

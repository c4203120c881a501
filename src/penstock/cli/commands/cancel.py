"""``penstock cancel ID…``."""

from typing import Annotated

import typer

from penstock.cli.many import JobIds, each_of
from penstock.cli.run import Json, Url

Force = Annotated[bool, typer.Option("--force", help="Stop them even if others wait for them.")]


def command() -> typer.Typer:
    """Cancel jobs."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def cancel(job_ids: JobIds, force: Force = False, url: Url = None, as_json: Json = False) -> None:
        """Cancel jobs: waiting ones end at once, running ones are stopped within seconds.

        A job that several wait for goes on for the others.
        """
        each_of(job_ids, lambda client, job_id: client.cancel(job_id, force=force), url, as_json=as_json)

    return app

"""``penstock cancel``: stop jobs, by their ids or by what they have in common."""

from typing import Annotated, Any

import typer

from penstock.cli import show
from penstock.cli.many import each_of
from penstock.cli.options import OfQueue, OfTask, SomeIds
from penstock.cli.run import Json, Url, with_client
from penstock.client import AsyncClient
from penstock.core.cancelling import OpenState
from penstock.core.errors import ErrorCode, PenstockError

Force = Annotated[bool, typer.Option("--force", help="Stop them even if others wait for them.")]
InState = Annotated[OpenState | None, typer.Option(help="Only in this state.")]
OfClient = Annotated[str | None, typer.Option("--client", help="Only of this client.")]
All = Annotated[bool, typer.Option("--all", help="Whatever has not ended.")]


def command() -> typer.Typer:
    """Cancel jobs."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def cancel(  # noqa: PLR0917 - the options of a command
        job_ids: SomeIds = None,
        state: InState = None,
        task: OfTask = None,
        queue: OfQueue = None,
        client: OfClient = None,
        everything: All = False,
        force: Force = False,
        url: Url = None,
        as_json: Json = False,
    ) -> None:
        """Cancel jobs, by ids, by filter, or --all: waiting ones end at once, running ones within seconds.

        A job that several wait for goes on for the others.
        """
        given = {"state": state, "task": task, "queue": queue, "client": client, "all": everything or None}
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if job_ids and not chosen:
            each_of(job_ids, lambda node, job_id: node.cancel(job_id, force=force), url, as_json=as_json)
            return

        async def action(node: AsyncClient) -> None:
            if job_ids:
                raise PenstockError(ErrorCode.INVALID_REQUEST, "name either ids or a filter")
            report = await node.cancel_many(**chosen, force=force)
            if as_json:
                show.as_json(report.model_dump(exclude={"next"}))
                return
            rest = f"; {len(report.skipped):,} go on for others" if report.skipped else ""
            show.console.print(f"{report.count:,} job{'' if report.count == 1 else 's'} cancelled{rest}")

        with_client(url, action, as_json=as_json)

    return app

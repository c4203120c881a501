"""``penstock clients``: what each client is allowed."""

from typing import Annotated

import typer

from penstock.cli import show
from penstock.cli.run import Json, Url, with_client
from penstock.client import AsyncClient, messages
from penstock.core.fairness import MOST_WEIGHT


def command() -> typer.Typer:
    """Clients."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def clients(
        *,
        limit: Annotated[str | None, typer.Option(help="Set what this client is allowed.")] = None,
        max_running: Annotated[int | None, typer.Option(min=1, help="With --limit: jobs at a time.")] = None,
        weight: Annotated[
            int | None, typer.Option(min=1, max=MOST_WEIGHT, help="With --limit: share, against others' 1.")
        ] = None,
        free: Annotated[str | None, typer.Option(help="Forget what was set for this client.")] = None,
        url: Url = None,
        as_json: Json = False,
    ) -> None:
        """List what clients are allowed; set or forget it for one."""

        async def action(client: AsyncClient) -> None:
            if free is not None:
                await client.send(messages.free_client(free))
            if limit is not None:
                await client.send(messages.limit_client(limit, max_running, weight))
            found = (await client.send(messages.report("/clients")))["clients"]
            if as_json:
                show.as_json(found)
                return
            rows = ((each["client"], each["max_running"], each["weight"]) for each in found)
            show.table(("client", "at a time", "weight"), rows, "no client was limited or given a weight")

        with_client(url, action, as_json=as_json)

    return app

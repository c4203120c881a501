"""``penstock queues``: depths, and the switch."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.text import Text

from penstock.cli import show
from penstock.cli.run import Json, Url, with_client
from penstock.client import AsyncClient, messages


def command() -> typer.Typer:
    """Queues."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def queues(
        *,
        pause: Annotated[str | None, typer.Option(help="Give out no more jobs of this queue.")] = None,
        resume: Annotated[str | None, typer.Option(help="Give out jobs of this queue again.")] = None,
        clients: Annotated[bool, typer.Option("--clients", help="Show whose jobs wait, too.")] = False,
        url: Url = None,
        as_json: Json = False,
    ) -> None:
        """List queues with their depths; pause or resume one."""

        async def action(client: AsyncClient) -> None:
            for name, paused in ((pause, True), (resume, False)):
                if name is not None:
                    await client.send(messages.switch_queue(name, paused=paused))
            found = (await client.send(messages.report("/queues", clients=clients or None)))["queues"]
            if as_json:
                show.as_json(found)
                return
            columns = ("queue", "queued", "running", "scheduled", "head waits", "")
            rows = (
                (
                    q["name"],
                    q["queued"],
                    q["running"],
                    q["scheduled"],
                    f"{q['oldest_age_s']:.1f} s",
                    _paused(q),
                )
                for q in found
            )
            show.table(columns, rows, "no queue was used yet")
            if clients:
                show.table(("queue", "client", "queued"), _waits(found), "no client's jobs wait")

        with_client(url, action, as_json=as_json)

    return app


def _waits(queues: list[dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    for queue in queues:
        for each in queue["clients"]:
            yield queue["name"], each["client"], each["queued"]


def _paused(queue: dict[str, object]) -> Text:
    return show.styled("[yellow]paused[/yellow]" if queue["paused"] else "")

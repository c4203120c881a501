"""``penstock workers``."""

import typer
from rich.text import Text

from penstock.cli import show
from penstock.cli.run import Json, Url, with_client
from penstock.client import AsyncClient, messages


def command() -> typer.Typer:
    """Workers."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def workers(url: Url = None, as_json: Json = False) -> None:
        """List workers with their slots and leases."""

        async def action(client: AsyncClient) -> None:
            found = (await client.send(messages.report("/workers")))["workers"]
            if as_json:
                show.as_json(found)
                return
            columns = ("worker", "host", "pid", "busy", "queues", "seen", "")
            rows = (
                (
                    w["id"],
                    w["host"],
                    w["pid"],
                    f"{w['busy']}/{w['slots']}",
                    ",".join(w["queues"]),
                    w["seen_at"],
                    _condition(w),
                )
                for w in found
            )
            show.table(columns, rows, "no worker is known; start one with: penstock worker")

        with_client(url, action, as_json=as_json)

    return app


def _condition(worker: dict[str, object]) -> Text:
    if not worker["live"]:
        return show.styled("[red]lost[/red]")
    return show.styled("[yellow]draining[/yellow]" if worker["draining"] else "[green]live[/green]")

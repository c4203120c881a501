"""``penstock cache``: what it spared, and how to make it forget."""

from typing import Annotated, Any

import typer

from penstock.cli import show
from penstock.cli.run import Json, Url, with_client
from penstock.client import AsyncClient, messages
from penstock.client.messages import Call

Key = Annotated[str, typer.Argument(help="A job's cache_key.")]


def command() -> typer.Typer:
    """Answers that are kept."""
    about = "Answers that are kept: what they spared, and how to forget them."
    app = typer.Typer(help=about, add_completion=False, no_args_is_help=True)

    @app.command()
    def stats(url: Url = None, as_json: Json = False) -> None:
        """Show how often an answer was known, and how much that spared."""

        async def action(client: AsyncClient) -> None:
            found = await client.send(messages.report("/cache"))
            if as_json:
                show.as_json(found)
            else:
                columns = ("answers", "hits", "joined", "misses", "hit rate", "spared")
                spared = f"{found['cpu_seconds_saved']:.1f} s"
                counts = (found["entries"], found["hits"], found["joined"], found["misses"])
                show.table(columns, [(*counts, f"{found['hit_rate']:.1%}", spared)], "")

        with_client(url, action, as_json=as_json)

    @app.command()
    def remove(key: Key, url: Url = None, as_json: Json = False) -> None:
        """Forget one answer."""
        _forget(messages.forget_answer(key), url, as_json=as_json)

    @app.command()
    def clear(url: Url = None, as_json: Json = False) -> None:
        """Forget every answer."""
        _forget(messages.forget_all_answers(), url, as_json=as_json)

    return app


def _forget(call: Call[dict[str, Any]], url: str | None, *, as_json: bool) -> None:
    async def action(client: AsyncClient) -> None:
        found = await client.send(call)
        show.as_json(found) if as_json else show.console.print(f"answers forgotten: {found['removed']}")

    with_client(url, action, as_json=as_json)

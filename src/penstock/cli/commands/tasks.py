"""``penstock tasks``: what can be asked for."""

from typing import Annotated

import typer

from penstock.cli import show
from penstock.cli.run import Json, Url, with_client
from penstock.client import AsyncClient, messages
from penstock.core.submission import TaskView


def command() -> typer.Typer:
    """List tasks."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def tasks(
        name: Annotated[str | None, typer.Argument(help="One task, with its schemas.")] = None,
        url: Url = None,
        as_json: Json = False,
    ) -> None:
        """List the tasks of the node, or show one with its schemas."""

        async def action(client: AsyncClient) -> None:
            if name is not None:
                show.as_json((await client.send(messages.task(name))).model_dump(mode="json"))
                return
            found = await client.tasks()
            if as_json:
                show.as_json([task.model_dump(mode="json") for task in found])
            else:
                show.table(("task", "version", "parameters", "about"), map(_row, found), "no tasks")

        with_client(url, action, as_json=as_json)

    return app


def _row(task: TaskView) -> tuple[str, ...]:
    parameters = ", ".join(task.params_schema.get("properties", {}))
    return (task.name, task.version, parameters, task.description.partition("\n")[0])

"""``penstock queues``: depths, limits, and the switch."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.text import Text

from penstock.cli import show
from penstock.cli.run import Json, Url, with_client
from penstock.cli.unserved import unserved
from penstock.client import AsyncClient, messages
from penstock.core.errors import ErrorCode, PenstockError

Name = Annotated[str, typer.Argument(help="The queue's name.")]
Jobs = Annotated[str, typer.Argument(help='How many jobs, or "default".')]


def command() -> typer.Typer:
    """Queues."""
    app = typer.Typer(add_completion=False)

    @app.callback(invoke_without_command=True)
    def queues(
        context: typer.Context,
        *,
        pause: Annotated[str | None, typer.Option(help="Give out no more jobs of this queue.")] = None,
        resume: Annotated[str | None, typer.Option(help="Give out jobs of this queue again.")] = None,
        clients: Annotated[bool, typer.Option("--clients", help="Show whose jobs wait, too.")] = False,
        url: Url = None,
        as_json: Json = False,
    ) -> None:
        """List queues with their depths; pause or resume one."""
        if context.invoked_subcommand is not None:
            return

        async def action(client: AsyncClient) -> None:
            for name, paused in ((pause, True), (resume, False)):
                if name is not None:
                    _note(await client.send(messages.switch_queue(name, paused=paused)))
            found = (await client.send(messages.report("/queues", clients=clients or None)))["queues"]
            if as_json:
                show.as_json(found)
            else:
                _show(found, clients=clients)

        with_client(url, action, as_json=as_json)

    @app.command()
    def limit(name: Name, jobs: Jobs, url: Url = None, as_json: Json = False) -> None:
        """Let at most so many jobs wait in a queue; more are refused. "default": as in any other queue."""

        async def action(client: AsyncClient) -> None:
            answer = await client.send(messages.limit_queue(name, _limit(jobs)))
            if as_json:
                show.as_json(answer)

        with_client(url, action, as_json=as_json)

    return app


def _note(answer: dict[str, Any]) -> None:
    if not answer.get("known", True):
        said = (
            f"no job is in the queue {answer['name']} and no worker takes jobs from it; it is paused anyway"
        )
        show.errors.print(f"[yellow]note:[/yellow] {show.escape(said)}", soft_wrap=True)


def _limit(jobs: str) -> int | None:
    if jobs == "default":
        return None
    if not jobs.isdecimal():
        message = f'write a number of jobs, or "default", not {jobs!r}'
        raise PenstockError(ErrorCode.INVALID_REQUEST, message)
    return int(jobs)


def _show(queues: list[dict[str, Any]], *, clients: bool) -> None:
    columns = ("queue", "queued", "running", "scheduled", "limit", "ended/s", "head waits", "")
    show.table(columns, map(_row, queues), "no queue has any job")
    if clients:
        show.table(("queue", "client", "queued"), _waits(queues), "no client's jobs wait")


def _row(queue: dict[str, Any]) -> tuple[object, ...]:
    return (
        queue["name"],
        queue["queued"],
        queue["running"],
        queue["scheduled"],
        queue["max_depth"],
        f"{queue['drain_per_s']:.1f}",
        f"{queue['oldest_age_s']:.1f} s",
        _look(queue),
    )


def _waits(queues: list[dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    for queue in queues:
        for each in queue["clients"]:
            yield queue["name"], each["client"], each["queued"]


def _look(queue: dict[str, Any]) -> Text:
    """What keeps its jobs waiting, if it is more than others before them."""
    if queue["paused"]:
        return show.styled("[yellow]paused[/yellow]")
    return show.styled("[red]no worker takes its jobs[/red]" if unserved(queue) else "")

"""``penstock history``: what was submitted and what became of it, longer than the broker remembers."""

import sys
from typing import Annotated, Any, Literal

import typer

from penstock.cli import show
from penstock.cli.moments import moment
from penstock.cli.run import Json, Url, with_client
from penstock.client import AsyncClient, messages
from penstock.core.job import State
from penstock.core.record_query import RecordView, Sort

Format = Literal["table", "csv", "jsonl"]
When = Annotated[str | None, typer.Option(help="Only what was submitted since: a time, or 2h ago.")]
Until = Annotated[str | None, typer.Option(help="Only what was submitted earlier: a time, or 7d ago.")]


def command() -> typer.Typer:
    """Look at history."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def history(
        *,
        state: Annotated[State | None, typer.Option(help="Only jobs in this state.")] = None,
        task: Annotated[str | None, typer.Option(help="Only jobs of this task.")] = None,
        queue: Annotated[str | None, typer.Option(help="Only jobs of this queue.")] = None,
        client: Annotated[str | None, typer.Option(help="Only what this client asked for.")] = None,
        since: When = None,
        until: Until = None,
        text: Annotated[str | None, typer.Option(help="Only with this in the parameters.")] = None,
        sort: Annotated[Sort | None, typer.Option(help="What comes first.")] = None,
        form: Annotated[Format, typer.Option("--format", help="csv and jsonl: all that match.")] = "table",
        limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, in a table.")] = 20,
        url: Url = None,
        as_json: Json = False,
    ) -> None:
        """List recorded jobs, or write all that match to standard output."""
        wanted = {
            "state": state,
            "task": task,
            "queue": queue,
            "client": client,
            "created_after": since and moment(since),
            "created_before": until and moment(until),
            "text": text,
            "sort": sort,
        }
        given = {name: value for name, value in wanted.items() if value is not None}

        async def action(node: AsyncClient) -> None:
            if form != "table":
                await _export(node, given | {"format": form})
                return
            found = await node.send(messages.history(limit=limit, **given))
            if as_json:
                show.as_json([show.job_json(job) for job in found])
            else:
                columns = ("id", "task", "state", "client", "took", "created", "")
                show.table(columns, map(_row, found), "nothing was recorded that matches")

        with_client(url, action, as_json=as_json)

    return app


async def _export(node: AsyncClient, query: dict[str, Any]) -> None:
    async for piece in node.download("/jobs/export", query):
        sys.stdout.buffer.write(piece)
    sys.stdout.flush()


def _row(job: RecordView) -> tuple[object, ...]:
    state, code = show.styled(show.state(job)), job.error.code if job.error else ""
    return job.id, job.task, state, job.client, show.duration(job), job.created_at, code

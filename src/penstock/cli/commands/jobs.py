"""``penstock jobs``: the newest, filtered."""

from typing import Annotated

import typer

from penstock.cli import show
from penstock.cli.run import Json, Url, with_client
from penstock.client import AsyncClient
from penstock.core.job import State
from penstock.core.submission import JobView


def command() -> typer.Typer:
    """List jobs."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def jobs(
        *,
        state: Annotated[State | None, typer.Option(help="Only jobs in this state.")] = None,
        task: Annotated[str | None, typer.Option(help="Only jobs of this task.")] = None,
        queue: Annotated[str | None, typer.Option(help="Only jobs of this queue.")] = None,
        before: Annotated[str | None, typer.Option(help="Only jobs older than this id.")] = None,
        limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
        parts_of: Annotated[str | None, typer.Option(help="Only parts of the job with this id.")] = None,
        url: Url = None,
        as_json: Json = False,
    ) -> None:
        """List jobs, newest first."""

        async def action(client: AsyncClient) -> None:
            found = await client.jobs(
                state=state, task=task, queue=queue, before=before, limit=limit, parent_id=parts_of
            )
            if as_json:
                show.as_json([show.job_json(job) for job in found])
            else:
                columns = ("id", "task", "state", "attempt", "took", "created", "")
                show.table(columns, map(_row, found), "no such jobs")

        with_client(url, action, as_json=as_json)

    return app


def _row(job: JobView) -> tuple[object, ...]:
    remark = (
        job.error.code
        if job.error
        else f"{job.progress.fraction:.0%}"
        if job.progress and not job.final
        else show.shared(job) or show.place(job)
    )
    attempt = f"{job.attempt}/{job.max_attempts}"
    return (
        job.id,
        job.task,
        show.styled(show.state(job)),
        attempt,
        show.duration(job),
        job.created_at,
        remark,
    )

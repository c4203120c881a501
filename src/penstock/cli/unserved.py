"""Jobs that nobody will do as things stand: they wait in a queue that no live worker takes any from."""

from collections.abc import Iterable
from typing import Any

from penstock.cli import show
from penstock.client import AsyncClient, messages
from penstock.core.submission import JobView


def unserved(queue: dict[str, Any]) -> bool:
    """Whether jobs wait in a queue that no live worker takes any from, as far as the node tells."""
    return queue["queued"] + queue["scheduled"] > 0 and queue.get("workers") == 0


async def tell_unserved(client: AsyncClient, jobs: Iterable[JobView]) -> None:
    """Say on standard error which of the jobs' queues have no worker; whoever waits for them should know."""
    wanted = {job.queue for job in jobs if not job.final}
    if not wanted:
        return
    for queue in (await client.send(messages.report("/queues")))["queues"]:
        if queue["name"] in wanted and unserved(queue):
            name = show.escape(queue["name"])
            told, remedy = f"no worker takes jobs from queue {name} now:", f"penstock worker --queues {name}"
            show.errors.print(f"[yellow]{told}[/yellow] {remedy}", soft_wrap=True)

"""Queues and workers: depths, ages, leases; pause and resume."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from penstock.api.office import Office
from penstock.api.routing import make_router
from penstock.api.wire import answer, queue_view, worker_view

QueueName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.\-]{1,100}$", description="the queue's name")]

Clients = Annotated[bool, Query(description="tell the 20 clients with the most waiting jobs, too")]


def router(office: Office) -> APIRouter:
    """``/queues``, ``/workers`` and ``/stats``."""
    routes = make_router("operation")
    desk = office.desk

    @routes.get("/queues")
    async def queues(clients: Clients = False) -> Response:
        """Every queue that was ever used, with its depths."""
        views = [queue_view(queue) for queue in (await desk.stats()).queues]
        if clients:
            waits = await desk.clients.waits()
            for view in views:
                found = waits.get(view["name"], [])
                view["clients"] = [{"client": each.client, "queued": each.jobs} for each in found]
        return answer({"queues": views})

    @routes.post("/queues/{name}/pause")
    async def pause(name: QueueName) -> dict[str, Any]:
        """Give out no more jobs of this queue; running ones go on, submissions are kept."""
        await desk.pause(name)
        return {"name": name, "paused": True}

    @routes.post("/queues/{name}/resume")
    async def resume(name: QueueName) -> dict[str, Any]:
        """Give out jobs of this queue again."""
        await desk.resume(name)
        return {"name": name, "paused": False}

    @routes.get("/workers")
    async def workers() -> Response:
        """Every worker with a lease, or with jobs that nobody has taken over yet."""
        return answer({"workers": [worker_view(worker) for worker in (await desk.stats()).workers]})

    @routes.get("/stats")
    async def stats() -> Response:
        """Jobs by state, queues and workers in one answer."""
        found = await desk.stats()
        return answer(
            {
                "states": found.states,
                "queues": [queue_view(queue) for queue in found.queues],
                "workers": [worker_view(worker) for worker in found.workers],
            }
        )

    return routes

"""Queues and workers: depths, ages, leases; pause and resume."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from penstock.api.doors import confined_to, key_of
from penstock.api.office import Office
from penstock.api.routing import make_router
from penstock.api.wire import answer, cache_view, queue_views, worker_view

QueueName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.\-]{1,100}$", description="the queue's name")]

Clients = Annotated[bool, Query(description="tell the 20 clients with the most waiting jobs, too")]


class QueueSettings(BaseModel):
    """What is set for a queue."""

    model_config = ConfigDict(extra="forbid")

    max_depth: int | None = Field(
        ge=0, le=2**53 - 1, description="jobs that may wait in it; null for as many as in any other queue"
    )


def router(office: Office) -> APIRouter:
    """``/queues``, ``/workers`` and ``/stats``."""
    routes = make_router("operation")
    desk = office.desk

    @routes.get("/queues")
    async def queues(request: Request, clients: Clients = False) -> Response:
        """Every queue that has jobs, is paused, or has a limit, with its depths and live workers."""
        views = queue_views(await desk.stats())
        if clients:
            waits = await desk.clients.waits(confined_to(key_of(request)))
            for view in views:
                found = waits.get(view["name"], [])
                view["clients"] = [{"client": each.client, "queued": each.jobs} for each in found]
        return answer({"queues": views})

    @routes.post("/queues/{name}/pause")
    async def pause(name: QueueName) -> dict[str, Any]:
        """Give out no more jobs of this queue; running ones go on, submissions are kept.

        ``known`` is false if it has no job and no worker takes jobs from it: the name may be misspelt.
        """
        return {"name": name, "paused": True, "known": await desk.pause(name)}

    @routes.post("/queues/{name}/resume")
    async def resume(name: QueueName) -> dict[str, Any]:
        """Give out jobs of this queue again."""
        await desk.resume(name)
        return {"name": name, "paused": False}

    @routes.put("/queues/{name}")
    async def limit(name: QueueName, settings: Annotated[QueueSettings, Body()]) -> dict[str, Any]:
        """Set how many jobs may be queued or scheduled in this queue before it counts as full."""
        await desk.limit_depth(name, settings.max_depth)
        return {"name": name, "max_depth": settings.max_depth}

    @routes.get("/workers")
    async def workers() -> Response:
        """Every worker with a lease, or with jobs that nobody has taken over yet."""
        return answer({"workers": [worker_view(worker) for worker in (await desk.stats()).workers]})

    @routes.get("/stats")
    async def stats() -> Response:
        """Jobs by state, queues, workers, what the cache spared, and how history stands, in one answer."""
        found = await desk.stats()
        archive = office.archive
        return answer(
            {
                "states": found.states,
                "queues": queue_views(found),
                "workers": [worker_view(worker) for worker in found.workers],
                "cache": cache_view(found.cache),
                "history": archive and await archive.status(),
            }
        )

    return routes

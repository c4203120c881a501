"""The cache: what it spared, and how to make it forget."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from penstock.api.office import Office
from penstock.api.routing import make_router
from penstock.api.wire import answer, cache_view

Key = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="a job's cache_key")]


def router(office: Office) -> APIRouter:
    """The routes under ``/cache``."""
    routes = make_router("cache")
    desk = office.desk

    @routes.get("/cache")
    async def cache() -> Response:
        """How often an answer was known, and how much that spared."""
        return answer(cache_view((await desk.stats()).cache))

    @routes.delete("/cache/{hash}")
    async def remove(hash: Key) -> dict[str, Any]:  # noqa: A002 - its name in the address
        """Forget one answer; a job in flight that looks for it goes on, and its answer is not kept."""
        return {"removed": await desk.forget_answers([hash])}

    @routes.post("/cache/clear-all")
    async def clear() -> dict[str, Any]:
        """Forget every answer, in the same way."""
        return {"removed": await desk.forget_answers()}

    return routes

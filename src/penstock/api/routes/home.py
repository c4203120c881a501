"""The page for people at ``/``: a form, and what the node is doing, live."""

from fastapi import APIRouter, Response

from penstock.api.files import asset, page_file
from penstock.api.office import Office
from penstock.api.routing import make_router


def router(office: Office) -> APIRouter:  # noqa: ARG001 - every module of routes is called alike
    """``/`` and what it is made of."""
    routes = make_router("home")

    @routes.get("/", include_in_schema=False)
    async def page() -> Response:
        return page_file("home.html")

    @routes.get("/assets/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        return asset(name)

    return routes

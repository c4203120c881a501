"""The page that shows the API to people, made of nothing but what this node itself serves."""

from fastapi import APIRouter, Response

from penstock.api.files import page_file
from penstock.api.office import Office
from penstock.api.routing import make_router


def router(office: Office) -> APIRouter:  # noqa: ARG001 - every module of routes is called alike
    """``/docs`` and what it is made of."""
    routes = make_router("docs")

    @routes.get("/docs", include_in_schema=False)
    async def page() -> Response:
        return page_file("docs.html")

    @routes.get("/docs/page.js", include_in_schema=False)
    async def script() -> Response:
        return page_file("docs.js")

    @routes.get("/docs/page.css", include_in_schema=False)
    async def style() -> Response:
        return page_file("docs.css")

    return routes

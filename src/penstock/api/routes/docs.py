"""The page that shows the API to people, made of nothing but what this node itself serves."""

from importlib.resources import files

from fastapi import APIRouter, Response

from penstock.api.office import Office
from penstock.api.routing import make_router

_POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}
_KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css"}


def router(office: Office) -> APIRouter:  # noqa: ARG001 - every module of routes is called alike
    """``/docs`` and what it is made of."""
    routes = make_router("docs")

    @routes.get("/docs", include_in_schema=False)
    async def page() -> Response:
        return _file("docs.html")

    @routes.get("/docs/page.js", include_in_schema=False)
    async def script() -> Response:
        return _file("docs.js")

    @routes.get("/docs/page.css", include_in_schema=False)
    async def style() -> Response:
        return _file("docs.css")

    return routes


def _file(name: str) -> Response:
    content = files("penstock.api").joinpath("pages", name).read_bytes()
    return Response(content, media_type=_KINDS[name.rpartition(".")[2]], headers=_POLICY)

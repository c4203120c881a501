"""Files of the pages that a node serves, with a policy under which they load nothing from elsewhere."""

from importlib.resources import files

from fastapi import Response

from penstock.core.errors import ErrorCode, PenstockError

_POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",  # a page and its script are to be of one release
}
_KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_PAGES = files("penstock.api").joinpath("pages")
_ASSETS = frozenset(each.name for each in _PAGES.joinpath("assets").iterdir())


def page_file(*path: str) -> Response:
    """One of the files in ``pages``."""
    content = _PAGES.joinpath(*path).read_bytes()
    return Response(content, media_type=_KINDS[path[-1].rpartition(".")[2]], headers=_POLICY)


def asset(name: str) -> Response:
    """One of those in ``pages/assets``; raises NOT_FOUND for any other."""
    if name not in _ASSETS:
        raise PenstockError(ErrorCode.NOT_FOUND, "there is no such file")
    return page_file("assets", name)

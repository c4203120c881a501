"""What answers a path that no route has: the way to the path without its last slash, if that has one.

Starlette would send the browser to an address made from the Host header, which is whatever the asker wrote;
a way that begins with the path stays on the node that was asked.
"""

from urllib.parse import quote

from starlette.responses import RedirectResponse
from starlette.routing import Match, Router
from starlette.types import Receive, Scope, Send


class Slashes:
    """The last resort of a `Router` that redirects nothing itself; raises what that does for no route."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope["path"].rstrip("/")
        if scope["type"] == "http" and path != scope["path"] and self._has(scope, path):
            query = scope["query_string"].decode("latin-1")
            to = RedirectResponse(quote(path) + (f"?{query}" if query else ""))
            await to(scope, receive, send)
        else:
            await self._router.not_found(scope, receive, send)

    def _has(self, scope: Scope, path: str) -> bool:
        other = {**scope, "path": path}
        return any(route.matches(other)[0] is not Match.NONE for route in self._router.routes)

"""Assembles the HTTP application: the routes found in ``api/routes``, the guard, the error envelope."""

import importlib
import pkgutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute

from penstock.api import errors, routes, security
from penstock.api.doors import Doors
from penstock.api.guards import Guard
from penstock.api.office import Office
from penstock.api.slashes import Slashes

Lifespan = Callable[[], AbstractAsyncContextManager[None]]


def create_app(office: Office, lifespan: Lifespan | None = None) -> FastAPI:
    """The application. ``lifespan`` opens and closes what the office stands on."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        if lifespan is None:
            yield
        else:
            async with lifespan():
                yield

    app = FastAPI(
        title="Penstock",
        version=office.version,
        description="Durable jobs from CPU-heavy Python functions.",
        lifespan=life,
        docs_url=None,  # see `routes.docs`: FastAPI's own loads its page from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # see `slashes`
        routes=sorted(_routes(office), key=_turn),
    )
    app.router.default = Slashes(app.router)
    errors.install(app)
    security.describe(app, office.entrance)
    _protect(app, office)
    return app


def _protect(app: FastAPI, office: Office) -> None:
    """What stands before the routes, from the innermost to the outermost."""
    entrance = office.entrance
    app.add_middleware(Doors, entrance=entrance, desk=office.desk)
    if entrance.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=entrance.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-API-Key", "X-Request-ID"],
            expose_headers=["Location", "Retry-After", "X-Request-ID"],
        )
    app.add_middleware(
        Guard,
        max_body=office.max_body,
        registry=office.registry,
        leaving=lambda: office.desk.leaving,
        hsts_s=entrance.hsts_s,
    )


def _routes(office: Office) -> Iterator[BaseRoute]:
    """All of them side by side: a router inside the router would be searched twice for each request."""
    for entry in pkgutil.iter_modules(routes.__path__):
        module = importlib.import_module(f"{routes.__name__}.{entry.name}")
        yield from module.router(office).routes


def _turn(route: BaseRoute) -> tuple[bool, bool]:
    """When a route is looked at: fixed paths before those that a name completes, the busiest first."""
    path = getattr(route, "path", "")
    return "{" in path, path != "/jobs"

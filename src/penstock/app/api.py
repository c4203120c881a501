"""A node's HTTP API."""

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from penstock import __version__
from penstock.api.app import Lifespan, create_app
from penstock.api.office import Office
from penstock.app.broker import make_broker
from penstock.core.catalog import Catalog
from penstock.service.desk import Desk
from penstock.settings import Settings


@dataclass(frozen=True)
class Api:
    """The HTTP application of one node; entering ``running`` opens its broker.

    ``leave`` lets go of whoever waits for something, so that a stop does not have to.
    """

    app: FastAPI
    running: Lifespan
    leave: Callable[[], None]


def make_api(settings: Settings, catalog: Catalog) -> Api:
    """The API of a node that serves these tasks; the application runs its own ``running`` when served."""
    registry = CollectorRegistry()
    broker = make_broker(settings, registry)
    desk = Desk(broker, catalog, settings.node)

    @contextlib.asynccontextmanager
    async def running() -> AsyncIterator[None]:
        await broker.open()
        try:
            yield
        finally:
            await desk.close()
            await broker.close()

    office = Office(desk, registry, settings.node, socket.gethostname(), __version__, settings.max_body)
    return Api(create_app(office, running), running, desk.leave)

"""A node's HTTP API."""

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from penstock import __version__
from penstock.api.app import Lifespan, create_app
from penstock.api.entrance import Entrance
from penstock.api.office import Office
from penstock.app.broker import make_broker, open_patiently
from penstock.app.entrance import make_entrance, watched
from penstock.app.history import kept, make_archive
from penstock.app.reference import tell_tasks
from penstock.core.catalog import Catalog
from penstock.service.desk import Desk
from penstock.settings import Settings


@dataclass(frozen=True)
class Api:
    """The HTTP application of one node; entering ``running`` opens its broker.

    ``reach`` waits for a broker that is not there yet, which a node that starts with it should do first.
    ``leave`` lets go of whoever waits for something, so that a stop does not have to.
    """

    app: FastAPI
    running: Lifespan
    reach: Callable[[], Awaitable[None]]
    leave: Callable[[], None]


def make_api(settings: Settings, catalog: Catalog, *, at_home: bool = False, recording: bool = True) -> Api:
    """The API of a node that serves these tasks; the application runs its own ``running`` when served.

    ``at_home``: it answers only this process, which may do with the broker what it likes anyway. One that is
    only there for a moment leaves it to others to record history.
    """
    tell_tasks(settings)
    registry = CollectorRegistry()
    broker = make_broker(settings, registry)
    desk = Desk(broker, catalog, settings.node)
    archive = make_archive(settings)

    entrance = Entrance() if at_home else make_entrance(settings, broker)

    @contextlib.asynccontextmanager
    async def running() -> AsyncIterator[None]:
        await broker.open()
        try:
            async with watched(entrance), kept(archive, broker, settings, recording=recording):
                yield
        finally:
            await broker.close()

    office = Office(
        desk=desk,
        registry=registry,
        node=settings.node,
        host=socket.gethostname(),
        version=__version__,
        max_body=settings.max_body,
        entrance=entrance,
        archive=archive,
    )
    reach = partial(open_patiently, broker, settings.broker_url)
    return Api(create_app(office, running), running, reach, desk.leave)

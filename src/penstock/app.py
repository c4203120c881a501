"""Assembly: the one place that chooses adapters. Builds a node's API or worker from settings."""

import asyncio
import contextlib
import importlib
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, start_http_server

from penstock import __version__
from penstock.api.app import Lifespan, create_app
from penstock.api.office import Office
from penstock.core.catalog import Catalog
from penstock.core.clock import system_clock
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import WorkerInfo
from penstock.executors.process import ProcessExecutor
from penstock.ports import Broker, BrokerOptions
from penstock.service.desk import Desk
from penstock.service.upkeep import Upkeep
from penstock.settings import Settings
from penstock.telemetry.broker import observed
from penstock.worker.policy import SlotPolicy, WorkerPolicy
from penstock.worker.supervisor import Supervisor


def make_broker(settings: Settings, registry: CollectorRegistry) -> Broker:
    """The broker of the URL's scheme, counted and timed; opens nothing yet."""
    scheme = settings.broker_url.partition("://")[0]
    name = f"penstock.brokers.{scheme}"
    try:
        adapter = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name != name:
            raise
        message = f"no broker speaks {scheme!r}; PENSTOCK_BROKER_URL starts with sqlite://"
        raise PenstockError(ErrorCode.INVALID_REQUEST, message) from None
    options = BrokerOptions(
        lease_ms=settings.lease,
        timeout_s=settings.broker_timeout / 1000,
        keep_jobs_ms=settings.keep_results,
        keep_events_ms=settings.keep_events,
    )
    broker: Broker = adapter.connect(settings.broker_url, options, system_clock)
    return observed(broker, registry)


@dataclass(frozen=True)
class Api:
    """The HTTP application of one node; entering ``running`` opens its broker."""

    app: FastAPI
    running: Lifespan


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
    return Api(create_app(office, running), running)


async def run_worker(settings: Settings, parent: int | None = None) -> None:
    """A worker, until SIGTERM or SIGINT has drained it; a second signal cuts the drain short.

    ``parent`` is a file descriptor that closes when the process that started this one is gone.
    """
    registry = CollectorRegistry()
    broker = make_broker(settings, registry)
    info = worker_info(settings)
    supervisor = Supervisor(broker, ProcessExecutor(settings.tasks), info, worker_policy(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    if parent is not None:
        loop.add_reader(parent, _orphaned, loop, parent, supervisor)
    if settings.worker_metrics_port:
        start_http_server(settings.worker_metrics_port, "127.0.0.1", registry)
    await broker.open()
    log = structlog.get_logger("penstock.worker").bind(worker=info.id)
    log.info("connected", broker=settings.broker_url.partition("://")[0])
    upkeep = asyncio.create_task(Upkeep(broker, info.id).run())
    try:
        await supervisor.run()
    finally:
        upkeep.cancel()
        await broker.close()


def _orphaned(loop: asyncio.AbstractEventLoop, parent: int, supervisor: Supervisor) -> None:
    loop.remove_reader(parent)
    supervisor.stop()


def worker_info(settings: Settings) -> WorkerInfo:
    """What a new worker of this node says of itself; its id is ``node/number``."""
    return WorkerInfo(
        id=f"{settings.node}/{os.getpid()}-{secrets.token_hex(3)}",
        node=settings.node,
        host=socket.gethostname(),
        pid=os.getpid(),
        slots=settings.slots,
        queues=settings.queues,
        started_at=system_clock(),
        version=__version__,
    )


def worker_policy(settings: Settings) -> WorkerPolicy:
    """The operator's decisions about a worker."""
    slot = SlotPolicy(
        memory_bytes=settings.slot_memory,
        recycle_after=settings.recycle_after,
        recycle_bytes=settings.recycle_memory,
    )
    return WorkerPolicy(
        slots=settings.slots, queues=settings.queues, drain_s=settings.drain / 1000, slot=slot
    )

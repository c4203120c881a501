"""A node's worker. Imports nothing of the API, so that it starts fast and stays small."""

import asyncio
import os
import secrets
import signal
import socket

import structlog
from prometheus_client import CollectorRegistry, start_http_server

from penstock import __version__
from penstock.app.broker import make_broker, open_patiently
from penstock.app.reference import tell_tasks
from penstock.app.spool import broker_key, worker_spool
from penstock.core.clock import system_clock
from penstock.core.errors import PenstockError
from penstock.core.job import WorkerInfo
from penstock.executors.process import ProcessExecutor
from penstock.service.ticker import Ticker
from penstock.service.upkeep import Upkeep
from penstock.settings import Settings
from penstock.worker.leftovers import Leftovers
from penstock.worker.policy import SlotPolicy, WorkerPolicy
from penstock.worker.supervisor import Supervisor


async def run_worker(settings: Settings, parent: int | None = None) -> None:
    """A worker, until SIGTERM or SIGINT has drained it; a second signal cuts the drain short.

    ``parent`` is a file descriptor that closes when the process that started this one is gone.
    """
    tell_tasks(settings)
    registry = CollectorRegistry()
    broker = make_broker(settings, registry)
    info = worker_info(settings)
    spool = worker_spool(settings, info.id)
    leftovers = Leftovers(broker, spool)
    upkeep = Upkeep(broker, info.id, leftovers.settle)
    supervisor = Supervisor(
        broker,
        ProcessExecutor(settings.tasks, broker_key(settings)),
        info,
        worker_policy(settings),
        on_lapse=upkeep.hurry,
        on_outage=upkeep.hold_off,
        spool=spool if settings.spool_limit else None,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    if parent is not None:
        loop.add_reader(parent, _orphaned, loop, parent, supervisor)
    if settings.worker_metrics_port:
        start_http_server(settings.worker_metrics_port, "127.0.0.1", registry)
    await open_patiently(broker, settings.broker_url)
    await settle_leftovers(leftovers)
    looking_after = [asyncio.create_task(each.run()) for each in (upkeep, Ticker(broker, settings.node))]
    try:
        await supervisor.run()
    finally:
        for task in looking_after:
            task.cancel()
        await broker.close()


async def settle_leftovers(leftovers: Leftovers) -> None:
    """Before anything is taken over: what the last worker of this machine had done is done."""
    try:
        await leftovers.settle()
    except PenstockError as failed:
        log = structlog.get_logger("penstock.spool")
        log.warning("spooled outcomes have to wait", error=failed.message)  # upkeep tries again


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
        slots=settings.slots,
        queues=settings.queues,
        drain_s=settings.drain / 1000,
        renew_s=min(1.0, settings.lease / 5000),
        slot=slot,
    )

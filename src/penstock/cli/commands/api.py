"""``penstock api``: the HTTP API alone."""

import asyncio
import signal
import socket
from collections.abc import Callable
from typing import Any

import structlog
import typer
import uvicorn
import uvloop

from penstock.app.api import make_api
from penstock.cli.announce import announced
from penstock.cli.exposure import refuse_public
from penstock.cli.memory import settle_memory
from penstock.cli.options import BrokerUrl, Host, Insecure, Modules, ParentFd, Port, WordFd, begin
from penstock.cli.protocol import Protocol
from penstock.cli.run import ExitCode, fail, plain_errors
from penstock.cli.server import Server
from penstock.core.catalog import load
from penstock.settings import Settings

BACKLOG = 2048

KEPT_S = 75
"""How long an idle connection is kept: longer than clients and balancers keep it, who may be about to ask."""


def command() -> typer.Typer:
    """Serve the API."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def api(
        modules: Modules = None,
        *,
        host: Host = None,
        port: Port = None,
        insecure: Insecure = None,
        broker: BrokerUrl = None,
        parent_fd: ParentFd = None,
        word_fd: WordFd = None,
    ) -> None:
        """Serve the HTTP API until Ctrl-C or SIGTERM."""
        with plain_errors(word_fd=word_fd):
            chosen = begin(modules, broker, host=host, port=port, insecure=insecure)
            refuse_public(chosen)
            with _listening(chosen) as listener:
                uvloop.run(_serve(chosen, listener, parent_fd))

    return app


def _listening(chosen: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in chosen.host else socket.AF_INET
    try:
        return socket.create_server((chosen.host, chosen.port), family=family, backlog=BACKLOG)
    except OSError as failed:
        fail(f"cannot listen on {chosen.host}:{chosen.port}: {failed.strerror}", ExitCode.USAGE)


async def _serve(chosen: Settings, listener: socket.socket, parent_fd: int | None) -> None:
    api = make_api(chosen, load(chosen.tasks))
    settle_memory()
    server = Server(_config(api.app), chosen.linger / 1000)

    def stop() -> None:
        api.leave()
        server.force_exit = server.should_exit  # asked again: wait for nobody
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    if parent_fd is not None:
        loop.add_reader(parent_fd, _orphaned, loop, parent_fd, stop)
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    log = structlog.get_logger("penstock.api")
    await api.reach()
    async with api.running():
        log.info("serving", url=url, docs=f"{url}/docs", node=chosen.node)
        with announced(chosen, url):
            await server.serve(sockets=[listener])
    log.info("stopped")


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Protocol,
        lifespan="off",  # entered by `_serve`: uvicorn would tell of a broker that is away by a traceback
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whom to believe is decided by `core.addresses`
        backlog=BACKLOG,
        timeout_keep_alive=KEPT_S,
        timeout_graceful_shutdown=5,
    )


def _orphaned(loop: asyncio.AbstractEventLoop, parent_fd: int, stop: Callable[[], None]) -> None:
    loop.remove_reader(parent_fd)
    stop()

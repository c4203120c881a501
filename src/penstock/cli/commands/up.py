"""``penstock up``: a whole node, API and worker, each in a process of its own that is kept alive."""

import asyncio

import typer

from penstock.cli.exposure import refuse_public
from penstock.cli.launcher import Launcher
from penstock.cli.options import BrokerUrl, Host, Insecure, Modules, ParentFd, Port, Queues, Slots, begin
from penstock.cli.run import plain_errors


def command() -> typer.Typer:
    """Start a node."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def up(
        modules: Modules = None,
        *,
        host: Host = None,
        port: Port = None,
        slots: Slots = None,
        queues: Queues = None,
        insecure: Insecure = None,
        broker: BrokerUrl = None,
        parent_fd: ParentFd = None,
    ) -> None:
        """Start a node: the API and a worker, until Ctrl-C or SIGTERM."""
        with plain_errors():
            chosen = begin(
                modules, broker, host=host, port=port, slots=slots, queues=queues, insecure=insecure
            )
            refuse_public(chosen)
        raise typer.Exit(asyncio.run(Launcher(chosen, parent_fd).run()))

    return app

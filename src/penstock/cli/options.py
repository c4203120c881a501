"""Options of the commands that start something, and the settings that they make."""

from typing import Annotated, Any

import typer

from penstock.cli.run import settings
from penstock.core.catalog import check_files
from penstock.settings import Settings
from penstock.telemetry import logs

Modules = Annotated[
    list[str] | None,
    typer.Argument(help="Modules or .py files with your tasks. [PENSTOCK_TASKS]", show_default=False),
]
Host = Annotated[str | None, typer.Option(help="Address to listen on. [PENSTOCK_HOST, 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(help="Port to listen on, 0 for any. [PENSTOCK_PORT, 8000]")]
Insecure = Annotated[
    bool | None, typer.Option("--insecure", help="Listen on a public address although there are no keys.")
]
Slots = Annotated[int | None, typer.Option(help="Attempts at a time. [PENSTOCK_SLOTS, the CPUs]")]
Queues = Annotated[str | None, typer.Option(help="Queues to take jobs from, with commas. [PENSTOCK_QUEUES]")]
BrokerUrl = Annotated[str | None, typer.Option("--broker", help="Where jobs are kept. [PENSTOCK_BROKER_URL]")]
ParentFd = Annotated[int | None, typer.Option("--parent-fd", hidden=True)]
SomeIds = Annotated[list[str] | None, typer.Argument(help="The jobs' ids, instead of a filter.")]
OfTask = Annotated[str | None, typer.Option(help="Only of this task.")]
OfQueue = Annotated[str | None, typer.Option(help="Only of this queue.")]
WordFd = Annotated[int | None, typer.Option("--word-fd", hidden=True)]


def begin(modules: list[str] | None, broker: str | None, **given: Any) -> Settings:
    """The settings with a command's options on top; from now on logs are as they say.

    Raises INVALID_REQUEST as `settings` does, and for a file with tasks that is not there: before anything
    listens or connects, and once where several processes will load it.
    """
    chosen = settings(tasks=tuple(modules) if modules else None, broker_url=broker, **given)
    check_files(chosen.tasks)
    logs.configure(chosen.log_format, chosen.log_level)
    return chosen

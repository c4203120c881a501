"""How a command runs: it gets a client, and an error becomes one line and an exit code."""

import asyncio
import importlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import IntEnum
from typing import Annotated, Any, NoReturn

import httpx
import msgspec
import typer

from penstock.app.broker import BrokerNeverCame
from penstock.cli import show
from penstock.client import AsyncClient
from penstock.core.catalog import load
from penstock.core.errors import ErrorCode, PenstockError
from penstock.settings import Settings
from penstock.telemetry import logs
from penstock.whereabouts import read

Url = Annotated[str | None, typer.Option("--url", help="Node to talk to. [PENSTOCK_URL]")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

AS_JSON = "penstock.json"
"""Where a command's context tells, before its options are read, whether JSON was asked for."""


class ExitCode(IntEnum):
    """What the shell learns."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    NOT_FOUND = 4
    INTERRUPTED = 130


_CODES = {
    ErrorCode.VALIDATION_ERROR: ExitCode.USAGE,
    ErrorCode.INVALID_REQUEST: ExitCode.USAGE,
    ErrorCode.TOO_LARGE: ExitCode.USAGE,
    ErrorCode.TASK_UNKNOWN: ExitCode.NOT_FOUND,
    ErrorCode.JOB_NOT_FOUND: ExitCode.NOT_FOUND,
    ErrorCode.NOT_FOUND: ExitCode.NOT_FOUND,
    ErrorCode.BROKER_UNAVAILABLE: ExitCode.UNAVAILABLE,
    ErrorCode.HISTORY_UNAVAILABLE: ExitCode.UNAVAILABLE,
    ErrorCode.NODE_UNREACHABLE: ExitCode.UNAVAILABLE,
    ErrorCode.QUEUE_FULL: ExitCode.UNAVAILABLE,
    ErrorCode.RATE_LIMITED: ExitCode.UNAVAILABLE,
}


def fail(message: str, code: ExitCode) -> NoReturn:
    """One line on stderr, and out."""
    show.errors.print(f"[red]error:[/red] {show.escape(message)}", soft_wrap=True)
    raise typer.Exit(code)


@contextmanager
def plain_errors(*, as_json: bool = False, word_fd: int | None = None) -> Iterator[None]:
    """Turn what may go wrong into one line, or into the API's envelope on stdout with ``--json``.

    Of processes that share ``word_fd`` only the first says it: they fail for the same reason.
    """
    try:
        yield
    except PenstockError as error:
        if word_fd is not None and not os.read(word_fd, 1):
            raise typer.Exit(_exit_code(error)) from None
        if as_json:
            show.error_json(error)
        fail(error.message, _exit_code(error))
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _exit_code(error: PenstockError) -> ExitCode:
    # Whoever started this waited for the broker already, so it is no more the "try again" of UNAVAILABLE.
    if isinstance(error, BrokerNeverCame):
        return ExitCode.FAILED
    return _CODES.get(error.code, ExitCode.FAILED)


def settings(**given: Any) -> Settings:
    """The settings of the environment, with the command's own options on top; raises as `read` does."""
    return read(Settings, **given)


def with_client(
    url: str | None, action: Callable[[AsyncClient], Awaitable[None]], *, as_json: bool = False
) -> None:
    """Run an action with a client for the node, or for the broker itself when there is no node."""

    async def run() -> None:
        async with client(url) as connected:
            await action(connected)

    with plain_errors(as_json=as_json):
        asyncio.run(run())


@asynccontextmanager
async def client(url: str | None) -> AsyncIterator[AsyncClient]:
    """A client for ``--url``, PENSTOCK_URL, or the node announced beside the broker's file.

    Without any of them, the application itself answers in this process, on the broker.
    """
    chosen = settings()
    target = url or chosen.node_url
    if target is not None:
        async with AsyncClient(target, api_key=chosen.key, patience_s=0) as remote:
            yield remote
        return
    logs.configure(chosen.log_format, "warning")
    # Most calls have a node to talk to; only this path needs the whole application.
    make_api = importlib.import_module("penstock.app.api").make_api
    api = make_api(chosen, load(chosen.tasks), at_home=True, recording=False)
    async with api.running():
        transport = httpx.ASGITransport(api.app)
        async with AsyncClient("http://penstock", transport=transport, patience_s=0) as local:
            yield local


def params_from(text: str | None) -> dict[str, Any]:
    """Parameters given as JSON, or as ``@file.json``."""
    if text is None:
        return {}
    try:
        if text.startswith("@"):
            with open(text[1:], "rb") as file:  # noqa: PTH123 - a name from the command line
                value = msgspec.json.decode(file.read())
        else:
            value = msgspec.json.decode(text)
    except (OSError, msgspec.DecodeError) as failed:
        raise PenstockError(ErrorCode.INVALID_REQUEST, f"--params: {failed}") from None
    if not isinstance(value, dict):
        raise PenstockError(ErrorCode.INVALID_REQUEST, "--params: must be a JSON object")
    return value

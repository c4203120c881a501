"""``penstock doctor``: looks at everything that usually goes wrong, and says what to do."""

import shutil
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import typer

from penstock import __version__
from penstock.app.broker import without_password
from penstock.cli import show
from penstock.cli.remains import Finding, remains
from penstock.cli.run import ExitCode, Json, Url, plain_errors, settings, with_client
from penstock.cli.unserved import unserved
from penstock.client import AsyncClient, messages
from penstock.core.catalog import load
from penstock.core.errors import PenstockError
from penstock.core.units import readable_size
from penstock.machine import available_cpus, available_memory
from penstock.settings import Settings

LOW_DISK = 500 * 2**20


def command() -> typer.Typer:
    """Diagnose."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def doctor(url: Url = None, as_json: Json = False) -> None:
        """Check settings, tasks, disk, leftovers, broker and workers; exit code 1 if something is wrong."""
        with plain_errors(as_json=as_json):
            chosen = settings()
        findings: list[Finding] = []

        async def action(connected: AsyncClient) -> None:
            findings.extend([finding async for finding in _node(connected)])

        findings.extend(_here(chosen, url))
        findings.extend(remains(chosen))
        try:
            with_client(url, action, as_json=False)
        except typer.Exit:
            findings.append(("node", False, "cannot be asked; see the error above"))
        _report(findings, as_json=as_json)

    return app


def _here(chosen: Settings, url: str | None) -> list[Finding]:
    free = shutil.disk_usage(Path.cwd()).free
    node = url or chosen.node_url
    return [
        ("version", True, f"penstock {__version__}, Python {sys.version.partition(' ')[0]}"),
        ("machine", True, f"{available_cpus()} CPUs, {readable_size(available_memory())} memory"),
        ("disk", free > LOW_DISK, f"{readable_size(free)} free here"),
        _tasks(chosen),
        (
            "asked",
            True,
            f"node at {node}" if node else f"broker {without_password(chosen.broker_url)}, no node",
        ),
    ]


def _tasks(chosen: Settings) -> Finding:
    try:
        catalog = load(chosen.tasks)
    except PenstockError as failed:
        return ("tasks", False, failed.message)
    return ("tasks", True, f"{len(catalog)} can be imported here: {', '.join(catalog)}")


async def _node(connected: AsyncClient) -> AsyncIterator[Finding]:
    health = await connected.send(messages.report("/health"))
    broker = health["broker"]
    yield ("broker", broker["status"] == "ok", broker.get("reason", "answers"))
    for warning in broker.get("warnings", ()):
        yield ("broker", False, warning)
    if finding := _history(health.get("history")):
        yield finding
    workers = health["workers"] or {"live": 0, "slots": 0, "busy": 0}
    told = f"{workers['live']} live, {workers['busy']} of {workers['slots']} slots busy"
    yield (
        "workers",
        workers["live"] > 0,
        told if workers["live"] else "none is live; start: penstock worker",
    )
    found = (await connected.send(messages.report("/workers")))["workers"]
    lost = [worker["id"] for worker in found if not worker["live"]]
    yield (
        "leases",
        not lost,
        f"lapsed, jobs not taken over yet: {', '.join(lost)}" if lost else "all current",
    )
    yield _queues(health["queues"] or ())


def _queues(queues: Iterable[dict[str, Any]]) -> Finding:
    paused = [queue["name"] for queue in queues if queue["paused"]]
    alone = [queue["name"] for queue in queues if unserved(queue)]
    troubles = [f"paused: {', '.join(paused)}"] if paused else []
    if alone:
        troubles.append(
            f"jobs wait, and no worker takes any from: {', '.join(alone)} (penstock worker --queues)"
        )
    return ("queues", not troubles, "; ".join(troubles) or "none is paused, each has a worker")


LONG_LAG_S = 60.0


def _history(told: dict[str, Any] | None) -> Finding | None:
    """None where history is switched off, or the node is too old to have any."""
    if told is None:
        return None
    if told["status"] != "ok":
        return ("history", False, told.get("reason", "not opened yet") + "; jobs are not affected")
    lag_s = told.get("lag_s")
    said = "has recorded nothing yet" if lag_s is None else f"{lag_s:.0f} s behind"
    return ("history", (lag_s or 0.0) < LONG_LAG_S, said)


def _report(findings: list[Finding], *, as_json: bool) -> None:
    if as_json:
        show.as_json([{"check": check, "ok": ok, "finding": said} for check, ok, said in findings])
    else:
        rows = (
            (check, show.styled("[green]ok[/green]" if ok else "[red]look[/red]"), said)
            for check, ok, said in findings
        )
        show.table(("check", "", "finding"), rows, "nothing was checked")
    if not all(ok for _, ok, _ in findings):
        raise typer.Exit(ExitCode.FAILED)

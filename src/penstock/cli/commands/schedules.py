"""``penstock schedules add|list|show|pause|resume|run|remove``: jobs submitted by the clock."""

from typing import Annotated, Any

import msgspec
import typer

from penstock.cli import show
from penstock.cli.flags import flags_of
from penstock.cli.run import Json, Url, params_from, with_client
from penstock.client import AsyncClient, messages, schedules
from penstock.client.messages import Call
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import Priority
from penstock.core.schedule import Missed
from penstock.core.schedule_forms import ScheduleView

Name = Annotated[str, typer.Argument(help="The schedule's name.")]
Task = Annotated[str, typer.Argument(help="The task to submit.")]
Cron = Annotated[str, typer.Option(help="Five cron fields, or six with seconds first.")]
Timezone = Annotated[str, typer.Option(help="Time zone, such as Europe/Berlin.")]
Param = Annotated[list[str] | None, typer.Option(help="NAME=VALUE, a parameter; JSON or text. Repeatable.")]
Whole = Annotated[
    str | None, typer.Option("--params", help="Parameters as JSON or @file.json; --param wins.")
]
Prio = Annotated[Priority | None, typer.Option("--priority", help="Priority of its jobs.")]
Queue = Annotated[str | None, typer.Option(help="Queue of its jobs.")]
MissedTicks = Annotated[Missed, typer.Option("--missed", help="Ticks that no worker was there for.")]
Paused = Annotated[bool, typer.Option("--paused", help="Begin paused.")]
Replace = Annotated[bool, typer.Option("--replace", help="Change the schedule if there is one.")]


def command() -> typer.Typer:
    """Schedules: add, list, show, pause, resume, run, remove."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, help="Jobs submitted by the clock.")
    app.command("add")(_add)
    app.command("list")(_list)
    app.command("show")(_show)
    app.command("pause")(_pause)
    app.command("resume")(_resume)
    app.command("run")(_run)
    app.command("remove")(_remove)
    return app


def _add(  # noqa: PLR0917 - the options of a command
    name: Name,
    task: Task,
    cron: Cron,
    timezone: Timezone = "UTC",
    param: Param = None,
    whole: Whole = None,
    priority: Prio = None,
    queue: Queue = None,
    missed: MissedTicks = Missed.ONCE,
    paused: Paused = False,
    replace: Replace = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Begin a schedule: penstock schedules add nightly credit_loss --cron "0 2 * * *" --param load=1000."""

    async def action(client: AsyncClient) -> None:
        texts = await _texts(client, task) if param else set()
        body = {
            "cron": cron,
            "timezone": timezone,
            "task": task,
            "params": params_from(whole) | dict(_pair(each, texts) for each in param or []),
            "priority": priority,
            "queue": queue,
            "missed": missed,
            "paused": paused,
        }
        made = await (_put(client, name, body) if replace else client.send(_create(name, body)))
        _details(made, as_json=as_json)

    with_client(url, action, as_json=as_json)


def _create(name: str, body: dict[str, Any]) -> Call[ScheduleView]:
    return schedules.create({"name": name} | body)


async def _put(client: AsyncClient, name: str, body: dict[str, Any]) -> ScheduleView:
    try:
        return await client.send(schedules.put(name, body))
    except PenstockError as failed:
        if failed.code is not ErrorCode.NOT_FOUND:
            raise
        return await client.send(_create(name, body))


async def _texts(client: AsyncClient, task: str) -> set[str]:
    """The parameters that are texts whatever they look like, ``12345`` for one."""
    schema = (await client.send(messages.task(task))).params_schema
    return {flag.path[0] for flag in flags_of(schema) if flag.type is str and len(flag.path) == 1}


def _pair(text: str, texts: set[str]) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator:
        raise PenstockError(ErrorCode.INVALID_REQUEST, f"--param {text!r}: write NAME=VALUE")
    try:
        decoded = msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value
    return name, value if name in texts and not isinstance(decoded, str) else decoded


def _list(url: Url = None, as_json: Json = False) -> None:
    """List schedules, by name."""

    async def action(client: AsyncClient) -> None:
        found = await client.send(schedules.every())
        if as_json:
            show.as_json([one.model_dump(mode="json") for one in found])
            return
        rows = ((one.name, one.cron, one.timezone, one.task, *_times(one)) for one in found)
        columns = ("name", "cron", "zone", "task", "last tick", "next", "missed", "")
        show.table(columns, rows, "no schedules")

    with_client(url, action, as_json=as_json)


def _times(schedule: ScheduleView) -> tuple[object, ...]:
    upcoming = "paused" if schedule.paused else next(iter(schedule.next), "never")
    return schedule.last_tick, upcoming, schedule.missed_ticks or None, schedule.last_error


def _show(name: Name, url: Url = None, as_json: Json = False) -> None:
    """Show a schedule, with its next five ticks."""
    _one(schedules.get(name), url, as_json=as_json)


def _pause(name: Name, url: Url = None, as_json: Json = False) -> None:
    """Submit no more of its jobs."""
    _one(schedules.switch(name, paused=True), url, as_json=as_json)


def _resume(name: Name, url: Url = None, as_json: Json = False) -> None:
    """Go on with its next tick."""
    _one(schedules.switch(name, paused=False), url, as_json=as_json)


def _run(name: Name, url: Url = None, as_json: Json = False) -> None:
    """Submit one of its jobs now."""

    async def action(client: AsyncClient) -> None:
        job = await client.send(schedules.run(name))
        show.as_json(show.job_json(job)) if as_json else show.job_line(job)

    with_client(url, action, as_json=as_json)


def _remove(name: Name, url: Url = None, as_json: Json = False) -> None:
    """End a schedule; its jobs stay."""

    async def action(client: AsyncClient) -> None:
        gone = await client.send(schedules.remove(name))
        if as_json:
            show.as_json(gone.model_dump(mode="json"))
        else:
            show.console.print(f"removed {show.escape(gone.name)}")

    with_client(url, action, as_json=as_json)


def _one(call: Call[ScheduleView], url: str | None, *, as_json: bool) -> None:
    async def action(client: AsyncClient) -> None:
        _details(await client.send(call), as_json=as_json)

    with_client(url, action, as_json=as_json)


def _details(schedule: ScheduleView, *, as_json: bool) -> None:
    if as_json:
        show.as_json(schedule.model_dump(mode="json"))
        return
    facts = {
        "cron": f"{schedule.cron}  ({schedule.timezone})",
        "task": schedule.task,
        "params": msgspec.json.encode(schedule.params).decode(),
        "queue": f"{schedule.queue}, {schedule.priority} priority",
        "missed ticks": schedule.missed,
        "state": "paused" if schedule.paused else "active",
        "last tick": schedule.last_tick and f"{schedule.last_tick}  job {schedule.last_job}",
        "missed": schedule.missed_ticks and f"{schedule.missed_ticks} ticks were never submitted",
        "waiting": schedule.last_error,
        "next": "  ".join(schedule.next),
    }
    show.console.print(f"[bold]{show.escape(schedule.name)}[/bold]")
    for name, fact in facts.items():
        if fact:
            show.console.print(f"  {name:<13} {show.escape(str(fact))}", soft_wrap=True)

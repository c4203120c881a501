"""``penstock experiment NAME``: break a real deployment on purpose and count every message."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli import show
from penstock.cli.experiments import leftovers, report, runner
from penstock.cli.experiments.plan import Aim, Mode
from penstock.cli.run import ExitCode, Json, plain_errors, settings

Messages = Annotated[int | None, typer.Option("--messages", "-n", envvar="N", help="Messages to send.")]
Parallel = Annotated[int | None, typer.Option("--parallel", "-p", envvar="P", help="Sent at a time.")]
KillAfter = Annotated[
    int | None, typer.Option("--kill-after", envvar="KILL_AFTER", help="Dequeues before things get broken.")
]
Delay = Annotated[
    int | None,
    typer.Option("--delay-ms", envvar="PROCESSING_DELAY_MS", help="Milliseconds a message takes."),
]
Workers = Annotated[int | None, typer.Option("--workers", help="Workers to start.")]
Slots = Annotated[int | None, typer.Option("--slots", help="Messages at a time per worker.")]
Rounds = Annotated[int | None, typer.Option("--rounds", help="How often things get broken.")]
Outage = Annotated[float | None, typer.Option("--outage", help="Seconds the broker is away each time.")]
Limit = Annotated[float | None, typer.Option("--limit", help="Seconds to wait for the last message.")]
Broker = Annotated[
    str | None,
    typer.Option(
        "--broker", help="sqlite (a file of its own), redis or valkey (a server of its own), or a URL."
    ),
]
Api = Annotated[
    str | None,
    typer.Option("--api", help="Send to this deployment instead of an own one, with PENSTOCK_API_KEY."),
]
HowOften = Annotated[Mode, typer.Option("--mode", help="at-most-once shows the loss that leases prevent.")]
OwnTask = Annotated[str | None, typer.Option("--task", help="A task of yours instead of message.")]
Module = Annotated[str | None, typer.Option("--module", help="Module or .py file that has it.")]
Keep = Annotated[bool, typer.Option("--keep", help="Keep the folder with logs and lines.")]
Folder = Annotated[Path, typer.Option("--report-dir", envvar="REPORT_DIR", help="Where reports go.")]


def command() -> typer.Typer:
    """Experiments."""
    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        help="Break a real deployment on purpose, count every message, write a report.",
    )
    app.command("help")(_help)
    for name, trial in runner.found().items():
        app.command(name, help=f"Shows that {trial.PROVES}.")(_command(name))
    app.command("clean")(_clean)
    return app


def _help(*, as_json: Json = False) -> None:
    """What each experiment proves, and its usual figures."""
    found = runner.found()
    if as_json:
        show.as_json([{"experiment": name, "proves": trial.PROVES} for name, trial in found.items()])
        return
    rows = (
        (name, f"{trial.PLAN.messages}", trial.PLAN.parallel, trial.PROVES) for name, trial in found.items()
    )
    show.table(("experiment", "messages", "parallel", "proves"), rows, "there is none")
    show.console.print("\npenstock experiment NAME --help tells what can be set; clean removes what is left.")


def _command(name: str) -> Callable[..., None]:
    trial = runner.found()[name]

    def run(
        *,
        messages: Messages = None,
        parallel: Parallel = None,
        kill_after: KillAfter = None,
        delay_ms: Delay = None,
        workers: Workers = None,
        slots: Slots = None,
        rounds: Rounds = None,
        outage_s: Outage = None,
        limit_s: Limit = None,
        broker: Broker = None,
        api: Api = None,
        mode: HowOften = Mode.AT_LEAST_ONCE,
        task: OwnTask = None,
        module: Module = None,
        keep: Keep = False,
        report_dir: Folder = report.DEFAULT_FOLDER,
        as_json: Json = False,
    ) -> None:
        with plain_errors(as_json=as_json):
            plan = trial.PLAN.changed(
                messages=messages,
                parallel=parallel,
                kill_after=kill_after,
                delay_ms=delay_ms,
                workers=workers,
                slots=slots,
                rounds=rounds,
                outage_s=outage_s,
                limit_s=limit_s,
            )
            aim = Aim(
                broker=broker,
                api=api,
                mode=mode,
                task=task,
                module=module,
                api_key=settings().key if api else None,
            )
            made = asyncio.run(runner.run(name, plan, aim, keep=keep))
            path = report.write(made, report_dir)
        show.as_json(made) if as_json else report.show_report(made, path)
        if not made.kept:
            raise typer.Exit(ExitCode.FAILED)

    return run


def _clean(
    *,
    broker: Annotated[
        str | None, typer.Option("--broker", help="Server to remove left-over keys from.")
    ] = None,
    report_dir: Folder = report.DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Remove reports, and files and keys that runs left which were killed."""
    removed: dict[str, Any] = {"reports": leftovers.remove_reports(report_dir)}
    removed["folders"] = leftovers.remove_folders()
    with plain_errors(as_json=as_json):
        if broker is not None:
            removed["namespaces"] = asyncio.run(leftovers.remove_namespaces(broker))
    if as_json:
        show.as_json(removed)
        return
    for what, names in removed.items():
        show.console.print(f"{what}: {show.escape(', '.join(names)) or 'none'}", soft_wrap=True)

"""Runs one experiment from its first process to its report."""

import importlib
import pkgutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast

from penstock.cli import show
from penstock.cli.experiments import folder, report, trials
from penstock.cli.experiments.board import Board
from penstock.cli.experiments.brokers import choose
from penstock.cli.experiments.ledger import Ledger, count
from penstock.cli.experiments.plan import Aim, Mode, Plan
from penstock.cli.experiments.promises import Promise, judge, of_every_run
from penstock.cli.experiments.report import Report
from penstock.cli.experiments.stage import Stage
from penstock.core.errors import ErrorCode, PenstockError


class Trial(Protocol):
    """A module of ``trials``."""

    PROVES: str
    PLAN: Plan
    REMOTE: bool
    AT_MOST_ONCE: bool

    async def run(self, stage: Stage) -> None:
        """Send, and break things meanwhile."""
        ...

    def promises(self, ledger: Ledger, plan: Plan) -> list[Promise]:
        """What this one promises beside what all do."""
        ...


def found() -> dict[str, Trial]:
    """The experiments by name, as ``kill-inflight``."""
    modules = (entry.name for entry in pkgutil.iter_modules(trials.__path__))
    return {
        name.replace("_", "-"): cast("Trial", importlib.import_module(f"{trials.__name__}.{name}"))
        for name in modules
    }


def check(name: str, trial: Trial, aim: Aim) -> None:
    """Raises INVALID_REQUEST for what this experiment cannot be aimed at."""
    problem = None
    if aim.api and not trial.REMOTE:
        problem = f"{name} kills processes, so it starts its own; --api is for {', '.join(_remote())}"
    elif aim.api and aim.broker:
        problem = "--api names a deployment that has its broker; leave out --broker"
    elif aim.mode is Mode.AT_MOST_ONCE and not trial.AT_MOST_ONCE:
        problem = f"{name} kills no worker, so it cannot show the loss of --mode at-most-once"
    elif aim.mode is Mode.AT_MOST_ONCE and aim.task:
        problem = "--mode at-most-once processes messages itself; leave out --task"
    elif name == "lose-broker" and aim.broker and "://" in aim.broker:
        problem = "a server that is not the experiment's own is not killed; use --broker redis"
    if problem:
        raise PenstockError(ErrorCode.INVALID_REQUEST, problem)


def _remote() -> list[str]:
    return [name for name, trial in found().items() if trial.REMOTE]


async def run(name: str, plan: Plan, aim: Aim, *, keep: bool = False) -> Report:
    """Run it; ``keep`` leaves the folder with logs and lines where it is, and says so."""
    trial = found()[name]
    check(name, trial, aim)
    this = folder.new_run()
    place = folder.make(this)
    try:
        return await _run(name, trial, plan, aim, place)
    finally:
        if keep:
            show.errors.print(f"kept: {show.escape(str(place))}", soft_wrap=True)
        else:
            folder.remove(place)


async def _run(name: str, trial: Trial, plan: Plan, aim: Aim, place: Path) -> Report:
    started = datetime.now(UTC)
    store = None if aim.api else choose(aim.broker, place, place.name)
    board = Board(name, plan.messages)
    stage = Stage(plan, aim, board, place.name)
    async with board.shown(), stage.opened(place, store):
        began = datetime.now(UTC)
        await trial.run(stage)
        jobs = await stage.settled()
        took = datetime.now(UTC) - began
        await stage.drained()
        lines = stage.lines.read() if stage.lines else None
    ledger = count(stage.sender.sent, jobs, lines, stage.disturbances, took.total_seconds())
    promises = of_every_run(ledger)
    if aim.mode is Mode.AT_LEAST_ONCE:
        promises += trial.promises(ledger, plan)
    judged = promises, judge(ledger, promises, aim.mode)
    settings = report.settings(plan, aim, store.shown if store else None)
    return report.make(
        name=name,
        proves=trial.PROVES,
        run=place.name,
        times=(started, datetime.now(UTC)),
        settings=settings,
        ledger=ledger,
        judged=judged,
    )

"""The report of a run: a JSON file, and a table for people."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from penstock import __version__
from penstock.cli import show
from penstock.cli.experiments.ledger import Ledger, Spread
from penstock.cli.experiments.plan import Aim, Plan
from penstock.cli.experiments.promises import Promise, Verdict

DEFAULT_FOLDER = Path("experiments", "reports")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What is written. Times are ISO 8601 UTC; ``git_sha`` is that of the current folder."""

    experiment: str
    proves: str
    command: str
    version: str
    git_sha: str | None
    run: str
    started: str
    ended: str
    duration_s: float
    settings: dict[str, Any]
    results: Ledger
    promises: list[Promise]
    verdict: str
    kept: bool


def make(
    *,
    name: str,
    proves: str,
    run: str,
    times: tuple[datetime, datetime],
    settings: dict[str, Any],
    ledger: Ledger,
    judged: tuple[list[Promise], Verdict],
) -> Report:
    """The report of a run that began and ended at ``times``."""
    promises, verdict = judged
    started, ended = times
    return Report(
        experiment=name,
        proves=proves,
        command=_command(),
        version=__version__,
        git_sha=_git_sha(),
        run=run,
        started=_iso(started),
        ended=_iso(ended),
        duration_s=round((ended - started).total_seconds(), 3),
        settings=settings,
        results=ledger,
        promises=promises,
        verdict=verdict.words,
        kept=verdict.kept,
    )


def settings(plan: Plan, aim: Aim, broker: str | None) -> dict[str, Any]:
    """What the run was asked to do, without a password."""
    return asdict(plan) | {
        "mode": str(aim.mode),
        "broker": broker,
        "api": aim.api,
        "task": aim.task or "message",
        "module": aim.module,
    }


def write(report: Report, folder: Path) -> Path:
    """Write it as ``<name>-<UTC>.json``; the run's end names it, and a second one of that second a suffix."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = f"{datetime.fromisoformat(report.ended):%Y%m%dT%H%M%SZ}"
    text = msgspec.json.format(msgspec.json.encode(report), indent=2)
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        path = folder / f"{report.experiment}-{stamp}{suffix}.json"
        try:
            with path.open("xb") as file:
                file.write(text + b"\n")
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"{folder} has too many reports of {stamp}")


def show_report(report: Report, path: Path) -> None:
    """The ledger, the promises and the verdict."""
    show.table(("ledger", ""), _rows(report.results), "nothing was counted")
    show.console.print()
    rows = ((_mark(each.kept), each.promise, each.found) for each in report.promises)
    show.table(("", "promise", "found"), rows, "nothing was promised")
    colour = "green" if report.kept else "red"
    show.console.print(f"\n[{colour}]{show.escape(report.verdict)}[/{colour}]", soft_wrap=True)
    show.console.print(f"[dim]report: {show.escape(str(path))}[/dim]", soft_wrap=True)


def _rows(ledger: Ledger) -> Iterator[tuple[str, str]]:
    for name in ("attempted", "accepted", "refused", "succeeded", "failed", "lost", "duplicated"):
        yield name, str(getattr(ledger, name))
    yield "re-executed", str(ledger.re_executed)
    yield "messages/s", str(ledger.messages_per_s)
    yield "status codes", _pairs(ledger.statuses)
    yield "workers' shares", _pairs(ledger.shares)
    yield "answered", _spread(ledger.answer_ms)
    yield "sent to done", _spread(ledger.done_ms)
    for each in ledger.recoveries:
        again = f"; interrupted jobs after {each.interrupted_s} s" if each.interrupted_s is not None else ""
        yield "recovery", f"{each.what} for {each.down_s} s; next job after {each.first_start_s} s{again}"


def _pairs(counts: dict[str, int]) -> str:
    return ", ".join(f"{name}: {number}" for name, number in counts.items())


def _spread(found: Spread | None) -> str:
    if found is None:
        return "-"
    return f"p50 {found.p50} ms, p90 {found.p90} ms, p99 {found.p99} ms, max {found.max} ms"


def _mark(kept: bool) -> Any:
    return show.styled("[green]kept[/green]" if kept else "[red]BROKEN[/red]")


def _command() -> str:
    return " ".join(["penstock", *(_bare(word) for word in sys.argv[1:])])


def _bare(word: str) -> str:
    """A word of the command line without the password of a URL in it."""
    before, separator, rest = word.partition("://")
    return f"{before}{separator}{rest.rpartition('@')[2]}" if separator else word


def _git_sha() -> str | None:
    try:
        asked = ["git", "rev-parse", "HEAD"]
        found = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

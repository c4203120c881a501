"""Fifty million loans under three economic scenarios, simulated live on a Penstock node of its own.

`python examples/demo.py` starts the node, submits a job per scenario, shows how they come along, and leaves
a table on the screen and a picture of the loss distributions beside the node's log. On a terminal the node
then stays up until Ctrl-C. `--help` lists what can be changed.
"""

# ruff: noqa: E402 - Ctrl-C is to be quiet from the first line on, also while the imports take their second
import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from demo_chart import draw
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from penstock import Client, PenstockError
from penstock.core.submission import JobView

HOST = "127.0.0.1"
PORT = 8000
READY_S = 60.0
STOP_S = 15.0
LOOK_S = 0.5

SCENARIOS: Mapping[str, Mapping[str, float]] = {
    "calm": {"unemployment": 3.5, "interest_rate": 2.5, "house_price_index": 105},
    "downturn": {"unemployment": 6.5, "interest_rate": 5.25, "house_price_index": 95},
    "severe": {"unemployment": 10, "interest_rate": 8, "house_price_index": 80},
}

console = Console(highlight=False)


class NodeError(Exception):
    """The node did not come up, or went away."""


class Node:
    """A Penstock node, with its broker file and its log in one folder."""

    def __init__(self, folder: Path, port: int | None) -> None:
        self.log = folder / "node.log"
        self.port = port or _free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; `wait_until_ready` tells when it can be used."""
        with self.log.open("wb") as log, _patient():
            self.process = subprocess.Popen(  # noqa: S603 - this Python, our own words
                [sys.executable, "-m", "penstock", "up", "--host", HOST, "--port", str(self.port)],
                cwd=self.log.parent,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for this process, which then stops the node
            )

    def stop(self) -> None:
        """Let it stop in order, and do not be hurried."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self.process is None:
            return
        self.process.terminate()
        if not self.ended(STOP_S):
            self.process.kill()
            self.process.wait()

    def wait_until_ready(self, client: Client) -> None:
        """Return when the API answers and a worker is live."""
        give_up = time.monotonic() + READY_S
        while not _has_worker(client):
            if self.ended(within_s=0.2):
                raise NodeError("the node ended by itself")
            if time.monotonic() > give_up:
                raise NodeError(f"the node was not ready after {READY_S:.0f} s")

    def ended(self, within_s: float | None = None) -> bool:
        """Whether its process ends within this many seconds; None waits for ever."""
        if self.process is None:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(within_s)
        return self.process.poll() is not None


@contextlib.contextmanager
def _patient() -> Iterator[None]:
    """A Ctrl-C in here is heeded at the end, so that nothing half-started is left behind."""
    pressed: list[int] = []
    usual = signal.signal(signal.SIGINT, lambda number, _frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if pressed:
        raise KeyboardInterrupt


def _free_port() -> int:
    """The usual port if nobody has it, else any."""
    for wanted in (PORT, 0):
        with contextlib.suppress(OSError), socket.create_server((HOST, wanted)) as listener:
            return int(listener.getsockname()[1])
    raise NodeError("no port is free")


def _environment() -> dict[str, str]:
    """This process's own, but none of the settings of another node."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return kept | {
        "PENSTOCK_BROKER_URL": "sqlite:///penstock.db",
        "PENSTOCK_LOG_FORMAT": "console",
        "PENSTOCK_DRAIN": "1s",
    }


def _has_worker(client: Client) -> bool:
    try:
        return any(worker["live"] for worker in client.stats()["workers"])
    except PenstockError:
        return False


class Board(Protocol):
    """Where the progress is shown."""

    def show(self, name: str, job: JobView) -> None:
        """This scenario's job as it stands."""


class Bars:
    """A progress bar per scenario, for a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._rows = {name: progress.add_task(name, total=1.0, said="", start=False) for name in SCENARIOS}

    def show(self, name: str, job: JobView) -> None:
        """Move the scenario's bar."""
        row = self._rows[name]
        if job.started_at:
            self._progress.start_task(row)
        self._progress.update(row, completed=_fraction(job), said=escape(_said(job)))
        if job.final:
            self._progress.stop_task(row)


class Lines:
    """A line per state and quarter, for a log."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[str, int]] = {}

    def show(self, name: str, job: JobView) -> None:
        """Print what is new."""
        news = (str(job.state), int(4 * _fraction(job)))
        if self._shown.get(name) != news:
            self._shown[name] = news
            console.print(f"{name:<9} {100 * _fraction(job):>3.0f} %  {_said(job)}")


def _fraction(job: JobView) -> float:
    if job.state == "succeeded":
        return 1.0
    return job.progress.fraction if job.progress else 0.0


def _said(job: JobView) -> str:
    running = job.progress is not None and not job.final
    return job.progress.message.partition(",")[0] if running and job.progress else str(job.state)


@contextlib.contextmanager
def _board() -> Iterator[Board]:
    if not console.is_terminal:
        yield Lines()
        return
    percent = TextColumn("{task.percentage:>3.0f} %")
    columns = (TextColumn("{task.description:<9}"), BarColumn(), percent, TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[said]}", style="dim"), console=console) as progress:
        yield Bars(progress)


def simulate(client: Client, loans: int, repeats: int) -> dict[str, JobView]:
    """Submit a job per scenario and follow them to their ends."""
    jobs: dict[str, JobView] = {}
    try:
        for name, macro in SCENARIOS.items():
            # One seed for all: what differs between the scenarios is then the economy, not luck.
            params = {"load": loans, "repeats": repeats, "seed": 1, "macro": macro}
            jobs[name] = client.submit("credit_loss", params)
        with _board() as board:
            _follow(client, jobs, board)
    except BaseException:
        _cancel(client, jobs)
        raise
    return jobs


def _cancel(client: Client, jobs: Mapping[str, JobView]) -> None:
    """Jobs are kept until they are done, so the next demo would find them."""
    with contextlib.suppress(PenstockError):
        for job in jobs.values():
            client.cancel(job.id)


def _follow(client: Client, jobs: dict[str, JobView], board: Board) -> None:
    while True:
        for name, job in jobs.items():
            board.show(name, job)
        unfinished = [name for name, job in jobs.items() if not job.final]
        if not unfinished:
            return
        for name in unfinished:
            jobs[name] = client.get(jobs[name].id, LOOK_S / len(unfinished))


def table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """The figures, a column per scenario; money in millions of currency units."""
    grid = Table(title="credit loss, money in millions", title_justify="left", title_style="bold")
    for name in ("scenario", *results):
        grid.add_column(name, justify="left" if name == "scenario" else "right")
    for label, read in _ROWS.items():
        grid.add_row(label, *(read(result) for result in results.values()))
        if label in ("default rate", "expected credit loss", "p95"):
            grid.add_section()
    return grid


def _percent(value: float) -> str:
    return f"{100 * value:.4f} %"


def _millions(value: float) -> str:
    return _grouped(value / 1e6, decimals=1)


def _grouped(number: float, decimals: int = 0) -> str:
    """Digits in groups of three, as in 12 000 000."""
    return f"{number:,.{decimals}f}".replace(",", " ")


_ROWS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "hazard rate per year": lambda result: f"{result['hazard_rate']:.6f}",
    "probability of default": lambda result: _percent(result["pd"]),
    "defaults": lambda result: _grouped(result["defaults"]),
    "default rate": lambda result: _percent(result["default_rate"]),
    "expected credit loss": lambda result: _millions(result["expected_credit_loss"]),
    "p5": lambda result: _millions(result["percentiles"]["p5"]),
    "p25": lambda result: _millions(result["percentiles"]["p25"]),
    "p50": lambda result: _millions(result["percentiles"]["p50"]),
    "p75": lambda result: _millions(result["percentiles"]["p75"]),
    "p95": lambda result: _millions(result["percentiles"]["p95"]),
    "elapsed": lambda result: f"{result['elapsed_s']:.1f} s",
}


def run(loans: int, repeats: int, folder: Path, port: int | None) -> None:
    """The whole demo; raises `NodeError` or `PenstockError` when it cannot go on."""
    folder.mkdir(parents=True, exist_ok=True)
    node = Node(folder, port)
    try:
        node.start()
        with Client(node.url) as client:
            _wait(node, client)
            console.print(f"Node: {node.url}")
            console.print(f"Each scenario draws {_grouped(loans)} loans {repeats} times.")
            _report(simulate(client, loans, repeats), folder / "credit_loss.png")
        if console.is_terminal:
            console.print(f"The node stays up at {node.url} (try {node.url}/docs) until you press Ctrl-C.")
            _stay(node)
    finally:
        node.stop()


def _wait(node: Node, client: Client) -> None:
    console.print(f"Starting a node; its log is {node.log}", soft_wrap=True)
    try:
        node.wait_until_ready(client)
    except NodeError as failed:
        raise NodeError(f"{failed}; it says:\n{node.log.read_text()}") from failed


def _report(jobs: Mapping[str, JobView], picture: Path) -> None:
    for name, job in jobs.items():
        if job.state != "succeeded":
            said = f": {job.error.message}" if job.error else ""
            raise NodeError(f"the {name} scenario {job.state}{said}")
    results = {name: job.result for name, job in jobs.items()}
    console.print(table(results))
    draw(results, picture)
    console.print(f"Picture: {picture}", soft_wrap=True)


def _stay(node: Node) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        node.ended()
        raise NodeError(f"the node ended by itself; see {node.log}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Loss of a loan portfolio under three economic scenarios.")
    parser.add_argument("--loans", type=int, default=50_000_000, help="loans in the portfolio [%(default)s]")
    parser.add_argument("--repeats", type=int, default=100, help="portfolios per scenario [%(default)s]")
    parser.add_argument(
        "--output", type=Path, default=Path("demo-output"), help="folder for all files [%(default)s]"
    )
    parser.add_argument("--port", type=int, help=f"port of its node [{PORT}, or any if that is taken]")
    chosen = parser.parse_args()
    if not 10_000 <= chosen.loans <= 1_000_000_000 or not 2 <= chosen.repeats <= 10_000:
        parser.error("--loans is from 10 000 to a thousand million, --repeats from 2 to 10 000")
    return chosen


def main() -> int:
    """The demo's exit code: 0, 1 when something failed, 130 when it was interrupted on the way."""
    chosen = _arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        run(chosen.loans, chosen.repeats, chosen.output, chosen.port)
    except KeyboardInterrupt:
        return 130
    except (NodeError, PenstockError) as failed:
        console.print(str(failed), markup=False, soft_wrap=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What one measurement of one contestant stands on: an empty Redis, a driver, and workers when asked for."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from peers import crew
from peers.crew import Crew
from peers.environments import ROOT, python
from peers.jobs import read_ledger
from peers.plan import Plan
from peers.redis_server import Server, running
from peers.remote import DriverError, Remote

START_S = 2.0
WARM_UP = 20


@dataclass
class Rig:
    """The parts, and what most measurements do with them."""

    contestant: str
    server: Server
    driver: Remote
    folder: Path
    environment: dict[str, str]
    crews: list[Crew] = field(default_factory=list)

    def start_workers(self) -> Crew:
        """Start the contestant's workers; they are killed when the rig is taken down."""
        log = self.folder / "workers.log"
        started = crew.start(python(self.contestant), self.driver.workers(), self.environment, log)
        self.crews.append(started)
        return started

    def warm_workers(self) -> Crew:
        """Workers that have answered, and have had time to get all their processes up."""
        started = self.start_workers()
        # Nothing is asked before: SAQ's sweep at the start takes a job just being fetched for a dead one.
        time.sleep(START_S)
        self.driver.answers(WARM_UP, pause_s=0.1)
        return started

    def ledger(self) -> list[int]:
        """The numbers of the ``note`` jobs that ran to their end so far."""
        return read_ledger(self.folder / "ledger")


@contextmanager
def rig(contestant: str, aim: str, plan: Plan) -> Iterator[Rig]:
    """Set up for one measurement, and leave nothing running behind."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name, running(Path(name)) as server:
        folder = Path(name)
        environment = _environment(server, aim, plan, folder)
        log = folder / "driver.log"
        built = Rig(contestant, server, _driver(contestant, environment, log), folder, environment)
        try:
            yield built
        except DriverError as failed:
            raise DriverError(f"{failed}\n{_tail(log)}\n{_tail(folder / 'workers.log')}") from None
        finally:
            built.driver.close()
            for started in built.crews:
                started.kill()


def _driver(contestant: str, environment: dict[str, str], log: Path) -> Remote:
    return Remote(python(contestant), contestant, environment, log)


def _environment(server: Server, aim: str, plan: Plan, folder: Path) -> dict[str, str]:
    return os.environ | {
        "BENCH_AIM": aim,
        "BENCH_LEDGER": str(folder / "ledger"),
        "BENCH_REDIS_URL": server.url,
        "PENSTOCK_BROKER_URL": plan.penstock_url.format(port=server.port, folder=folder),
        "PENSTOCK_LOG_LEVEL": "warning",
        "PENSTOCK_MAX_DEPTH": str(10**9),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH")])),
    }


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""

"""What a fault may leave behind on this machine: spooled outcomes, and processes of workers that are gone."""

import contextlib
from collections.abc import Iterator

import msgspec
import psutil

from penstock.app.spool import broker_key, spooled
from penstock.executors.system import SUPERVISOR, started_at
from penstock.settings import Settings

Finding = tuple[str, bool, str]


class Orphan(msgspec.Struct, frozen=True):
    """A process that a worker's slot or zygote is or started, and that outlived the worker."""

    pid: int
    name: str


def remains(chosen: Settings) -> list[Finding]:
    """The findings about this machine, for ``penstock doctor``."""
    return [_spool(chosen), _processes(broker_key(chosen))]


def _spool(chosen: Settings) -> Finding:
    found = spooled(chosen)
    left = [file for file in found if not file.owned]
    aside = sorted(chosen.spool.glob("*.unreadable"))
    waiting = sum(file.outcomes for file in found if file.owned)
    troubles = [f"{file.outcomes} outcomes of a dead worker in {file.path}" for file in left]
    if left:
        troubles.append("to settle them, start here: penstock worker")
    if waiting:
        troubles.append(f"{waiting} outcomes wait for the broker")
    troubles += [f"not understood, put aside: {path}" for path in aside]
    return ("spool", not troubles, "; ".join(troubles) or "empty")


def _processes(house: str) -> Finding:
    left = sorted(orphans(house), key=lambda each: each.pid)
    named = ", ".join(f"{each.pid} ({each.name})" for each in left)
    return ("processes", not left, f"outlived their worker: {named}" if left else "none outlived its worker")


def orphans(house: str) -> Iterator[Orphan]:
    """Processes with the mark of a supervisor of this broker that no longer lives; those we may look into."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError, ValueError):
            mark = process.environ().get(SUPERVISOR)
            if mark and process.status() != psutil.STATUS_ZOMBIE and _is_orphan(mark, house):
                yield Orphan(process.pid, process.name())


def _is_orphan(mark: str, house: str) -> bool:
    pid, began, belongs = mark.split(":")
    return belongs == house and began != started_at(int(pid))

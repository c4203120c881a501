"""How long the jobs and requests that a fault had hit took to go on, once there was somebody to do it."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

from penstock.ports import Event, EventKind
from support.faults.clients import Sent
from support.faults.inject import Suffered
from support.faults.ledger import Ledger
from support.faults.plan import Plan

SIGNS = {EventKind.RUNNING, EventKind.SCHEDULED, EventKind.SUCCEEDED, EventKind.FAILED, EventKind.CANCELLED}
"""What shows that somebody looks after a job that was running; to be queued again is not yet enough."""

SHARED = {"broker", "disk"}


@dataclass(frozen=True)
class Execution:
    """An attempt that really began: a line of the witness."""

    n: int
    pid: int
    at: float


@dataclass(frozen=True)
class Outages:
    """When nothing could go on: the store was hit, or every node of a role was."""

    suffered: list[Suffered]
    plan: Plan

    def usable_s(self, role: str, began: float, ended: float) -> float:
        """Seconds of this span in which the store and a node of this role were at hand."""
        edges = {edge for each in self.suffered for edge in (each.began, each.ended) if began < edge < ended}
        spans = pairwise(sorted(edges | {began, ended}))
        return sum(b - a for a, b in spans if not self._out(role, (a + b) / 2))

    def _out(self, role: str, at: float) -> bool:
        now = [each for each in self.suffered if each.began <= at < each.ended]
        nodes = {each.node for each in now if each.node.startswith(role) and each.fault.part != "slot"}
        count = self.plan.workers if role == "worker" else self.plan.apis
        return len(nodes) == count or any(each.fault.part in SHARED for each in now)


def hit(
    suffered: Suffered, events: list[Event], executions: list[Execution], by_id: dict[str, int]
) -> list[tuple[str, float]]:
    """The jobs that ran where the fault was, each with the time of its next sign of life."""
    numbers = {each.n for each in executions if each.pid == suffered.pid and each.at <= suffered.began}
    signs: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.kind in SIGNS:
            signs[event.job_id].append(event)
    found = []
    for job_id, told in signs.items():
        for before, after in pairwise(told):
            if (
                before.kind is EventKind.RUNNING
                and before.at / 1000 <= suffered.began < after.at / 1000
                and suffered.node in {"", str(before.data["worker"]).partition("/")[0]}
                and (not suffered.pid or by_id.get(job_id) in numbers)
            ):
                found.append((job_id, after.at / 1000))
    return found


def recover(
    ledger: Ledger, suffered: Suffered, jobs: list[tuple[str, float]], sent: Sent, outages: Outages
) -> None:
    """Enter what a fault did; a later one that left nobody to go on with is not counted against this one."""
    ended = suffered.ended
    waits = [(outages.usable_s("worker", ended, at), job_id) for job_id, at in jobs if at > ended]
    if suffered.fault.part in SHARED | {"api"}:
        asked = [over for began, over in sent.requests if began < ended < over]
        waits += [(outages.usable_s("api", ended, over), "request") for over in asked]
    ledger.recovered += max(len(jobs), len(waits))
    worst_s, which = max(waits, default=(0.0, ""))
    if worst_s > ledger.worst_recovery_s:
        ledger.worst_recovery_s = worst_s
        ledger.worst = f"{which} after {suffered}"

"""What became of every job, from four witnesses: clients, broker, feed, and the attempts themselves."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from penstock.core.job import Job, State
from penstock.ports import Broker, Event, EventKind
from support.faults.clients import Sent
from support.faults.deployment import Deployment
from support.faults.inject import Suffered
from support.faults.ledger import Ledger
from support.faults.plan import Work
from support.faults.recovery import Execution, Outages, hit, recover

ENDINGS = {EventKind.SUCCEEDED, EventKind.FAILED, EventKind.CANCELLED}

BATCH = 500


async def audit(deployment: Deployment, sent: Sent, suffered: list[Suffered]) -> Ledger:
    """The ledger of a run that is over."""
    works = [work for work in deployment.plan.works if work.n in sent.offered]
    events = await _feed(deployment.broker)
    jobs = await _jobs(deployment.broker, list(sent.jobs.values()))
    executions = _executions(deployment)
    ledger = Ledger(runs=1, attempted=len(works), accepted=len(sent.jobs), unanswered=sent.unanswered)
    ledger.anomalies += sent.anomalies
    ledger.faults.update(str(each.fault) for each in suffered)
    begun = Counter(each.n for each in executions)
    ledger.executed = begun.total()
    for work in works:
        if work.n in sent.jobs:
            _count(ledger, work, jobs.get(sent.jobs[work.n]), begun[work.n])
    count_doubles(ledger, events, sent)
    by_id = {job_id: n for n, job_id in sent.jobs.items()}
    for each in suffered:
        recover(ledger, each, hit(each, events, executions, by_id), sent, Outages(suffered, deployment.plan))
    return ledger


async def _feed(broker: Broker) -> list[Event]:
    found: list[Event] = []
    while page := await broker.events(found[-1].id if found else "", 0.0):
        found += page
    return found


async def _jobs(broker: Broker, ids: list[str]) -> dict[str, Job]:
    found: dict[str, Job] = {}
    for at in range(0, len(ids), BATCH):
        found |= {job.id: job for job in await broker.get(ids[at : at + BATCH]) if job is not None}
    return found


def _executions(deployment: Deployment) -> list[Execution]:
    lines = (line.split() for line in deployment.witness.read_text().splitlines())
    return [Execution(int(n), int(pid), float(at)) for n, pid, at in lines]


def _count(ledger: Ledger, work: Work, job: Job | None, begun: int) -> None:
    if wrong := what_is_wrong(work, job, begun):
        ledger.lost += 1
        ledger.anomalies.append(f"job {job.id if job else ''} of {work}: {wrong}")
        return
    assert job is not None
    match job.state:
        case State.SUCCEEDED:
            ledger.succeeded += 1
        case State.FAILED:
            ledger.failed += 1
        case State.CANCELLED:
            ledger.cancelled += 1
    needed = job.spec.limits.max_attempts if work.task == "failing" else 1
    ledger.repeated += max(0, begun - needed)


def what_is_wrong(work: Work, job: Job | None, begun: int) -> str:
    if job is None:
        return "it is unknown"
    if not job.state.final:
        return f"it is still {job.state}"
    if job.state is State.CANCELLED:
        return "" if work.cancel_after_s is not None else "nobody cancelled it"
    if job.state is State.FAILED:
        return "" if work.task == "failing" else f"it failed: {job.error}"
    if work.task == "failing" or job.result is None or msgspec.json.decode(job.result) != work.n:
        return f"its result is {job.result!r}"
    return "" if begun else "it succeeded without having run"


def count_doubles(ledger: Ledger, events: Iterable[Event], sent: Sent) -> None:
    """A job that ended twice, and one that exists beside the one its client was told of."""
    endings = Counter(event.job_id for event in events if event.kind in ENDINGS)
    known = set(sent.jobs.values())
    doubles = [f"{job_id} ended {count} times" for job_id, count in endings.items() if count > 1]
    doubles += [f"{job_id} was made beside another" for job_id in {e.job_id for e in events} - known]
    ledger.duplicated += len(doubles)
    ledger.anomalies += doubles

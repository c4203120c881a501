"""How many jobs are likely to begin before one that waits, and how long that may take.

Brokers count (`LineAhead`); what the counts mean is decided here. A forecast is no promise: who comes
later with more urgent work goes first, and limits on how many may run are not looked at.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

import msgspec


class LineAhead(msgspec.Struct, frozen=True, kw_only=True):
    """What one line of the queue has in front of a job.

    ``client`` names the line's client, ``stride`` is how far a turn moves it on. ``before`` counts its jobs
    that are more urgent, ``beside`` those as urgent as the job: of the job's own client only the older ones.
    ``tasks`` are those of its first jobs, as a sample of what runs how long.
    """

    client: Hashable
    stride: int
    before: int
    beside: int
    tasks: Sequence[str] = ()


class Ahead(msgspec.Struct, frozen=True, kw_only=True):
    """What is likely to begin before a job: how many, and how many of each task as far as a sample tells."""

    position: int
    tasks: Mapping[str, float]


def ahead(client: Hashable, stride: int, lines: Iterable[LineAhead]) -> Ahead:
    """What a job of this client has ahead: all of its own, and of each other client as much as its share."""
    lines = list(lines)
    own_turns = 1 + sum(line.beside for line in lines if line.client == client)
    turns = {line.client: own_turns * stride // line.stride for line in lines}
    position, tasks = 0, Counter[str]()
    for line in lines:
        beside = line.beside if line.client == client else min(line.beside, turns[line.client])
        turns[line.client] -= beside
        position += line.before + beside
        for task in line.tasks:
            tasks[task] += (line.before + beside) / len(line.tasks)  # type: ignore[assignment]  # a share of them
    return Ahead(position=position, tasks={task: jobs for task, jobs in tasks.items() if jobs})


def learnt(told: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The usual run time of each task in milliseconds, from what each worker tells of itself."""
    by_task: dict[str, list[float]] = {}
    for paces in told:
        for task, ms in paces.items():
            by_task.setdefault(task, []).append(ms)
    return {task: sum(each) / len(each) for task, each in by_task.items()}


def eta_s(waits_for: Ahead, running: int, slots: int, paces: Mapping[str, float]) -> float | None:
    """Seconds until the job is likely to begin; None without slots, or if nothing is learnt of the tasks.

    A task that nothing is known of counts like the others. What runs now is half done on average.
    """
    known = {task: jobs for task, jobs in waits_for.tasks.items() if task in paces}
    usual = _mean(known, paces)
    if slots < 1 or usual is None:
        return None
    busy = min(running, slots)
    work_ms = waits_for.position * usual + (
        usual * busy / 2 if waits_for.position or running >= slots else 0.0
    )
    return work_ms / slots / 1000


def _mean(jobs: Mapping[str, float], paces: Mapping[str, float]) -> float | None:
    """The usual run time of these jobs in milliseconds; of all tasks if there are none."""
    total = sum(jobs.values())
    if total:
        return sum(count * paces[task] for task, count in jobs.items()) / total
    return sum(paces.values()) / len(paces) if paces else None

"""What a fault run will do: a pure function of a seed, so that a run that failed can be made again."""

import random
from dataclasses import dataclass, field
from typing import Any, Literal

Store = Literal["sqlite", "redis", "valkey"]

CLIENTS = 4
RESTART_S = 1.2
"""What it takes to start a node again, roughly; for the length of the whole only."""

STEPS = {
    "worker": ("after-claim", "before-renew", "before-settle", "after-settle"),
    "api": ("before-submit", "after-submit", "after-cancel"),
}


@dataclass(frozen=True)
class Work:
    """One job: ``n`` is its number and its right result. Times are seconds from being accepted."""

    n: int
    task: str
    params: dict[str, Any]
    delay_s: float = 0.0
    cancel_after_s: float | None = None
    again: bool = False

    def submission(self, run: str) -> dict[str, Any]:
        """What is sent; the idempotency key is the same at every try."""
        body = {"task": self.task, "params": self.params, "idempotency_key": f"{run}-{self.n}"}
        return body | ({"delay_s": self.delay_s} if self.delay_s else {})


@dataclass(frozen=True)
class Parcel:
    """Jobs that are submitted together, so many seconds after the beginning."""

    at_s: float
    works: tuple[Work, ...]


@dataclass(frozen=True)
class Fault:
    """One fault: ``gap_s`` after the one before it was over, for ``for_s`` seconds.

    ``part`` is what suffers, ``where`` picks one of several, ``step`` is the step at which it happens.
    """

    gap_s: float
    kind: str
    part: str
    where: int = 0
    for_s: float = 0.0
    step: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.part}" + (f" {self.step}" if self.step else "")


@dataclass(frozen=True)
class Plan:
    """A deployment, the work it is given, and two lanes of faults that happen at the same time.

    ``endless`` work accompanies the faults: what is left of it when they are over is not submitted.
    """

    seed: int
    store: Store
    workers: int
    apis: int
    slots: int
    lease_ms: int
    lanes: tuple[tuple[Fault, ...], ...]
    parcels: tuple[Parcel, ...] = field(repr=False)
    endless: bool = False

    @property
    def works(self) -> list[Work]:
        """Every job, by number."""
        return sorted((work for parcel in self.parcels for work in parcel.works), key=lambda work: work.n)


def draw(seed: int, store: Store, jobs: int = 400, faults: int = 8, *, narrow: bool = False) -> Plan:
    """The plan of a seed; ``narrow`` means that the disk of a SQLite file may be filled."""
    dice = random.Random(f"{seed} {store} deployment")
    lanes = tuple(
        tuple(_fault(random.Random(f"{seed} {store} {lane} {n}"), table) for n in range(count))
        for lane, (table, count) in enumerate(_tables(store, faults, narrow=narrow))
    )
    lasts_s = max(sum(each.gap_s + each.for_s + RESTART_S for each in lane) for lane in lanes)
    return Plan(
        seed=seed,
        store=store,
        workers=dice.randint(1, 3),
        apis=dice.randint(1, 2),
        slots=dice.randint(1, 3),
        lease_ms=dice.choice((2_000, 3_000)),
        lanes=lanes,
        parcels=_parcels(random.Random(f"{seed} {store} work"), jobs, lasts_s),
    )


Table = dict[tuple[str, str], int]

PROCESSES: Table = {
    ("kill", "api"): 2,
    ("kill", "worker"): 2,
    ("kill", "zygote"): 1,
    ("kill", "slot"): 3,
    ("stop", "api"): 1,
    ("stop", "worker"): 2,
    ("stop", "zygote"): 1,
    ("stop", "slot"): 1,
    ("trap-kill", "worker"): 6,
    ("trap-stop", "worker"): 2,
    ("trap-kill", "api"): 3,
}
SERVER: Table = {("kill", "broker"): 2, ("stop", "broker"): 1}
NETWORK: Table = {(kind, part): 1 for kind in ("cut", "hold", "mute", "deafen") for part in ("worker", "api")}
DISK: Table = {("fill", "disk"): 1}


def _tables(store: Store, faults: int, *, narrow: bool) -> list[tuple[Table, int]]:
    if store != "sqlite":
        return [(PROCESSES, faults), (SERVER | NETWORK, faults // 2)]
    return [(PROCESSES, faults), (DISK, faults // 4)] if narrow else [(PROCESSES, faults)]


def _fault(dice: random.Random, table: Table) -> Fault:
    ((kind, part),) = dice.choices(list(table), list(table.values()))
    return Fault(
        gap_s=round(dice.uniform(0.2, 1.5), 3),
        kind=kind,
        part=part,
        where=dice.randrange(60),
        for_s=_duration(dice, outlasts=part == "worker" and "kill" not in kind),
        step=dice.choice(STEPS[part]) if kind.startswith("trap") else "",
    )


def _duration(dice: random.Random, *, outlasts: bool) -> float:
    """Short or long; what silences a living worker sometimes outlasts its lease, so that it wakes up late."""
    longest = (3.5, 5.5) if outlasts else (0.5, 4.0)
    return round(dice.uniform(*dice.choice(((0, 0.5), (0.5, 2.0), longest))), 3)


def _parcels(dice: random.Random, jobs: int, lasts_s: float) -> tuple[Parcel, ...]:
    parcels, n = [], 0
    while n < jobs:
        size = min(jobs - n, dice.choice((1, 1, dice.randint(5, 40))))
        works = tuple(_work(dice, number, alone=size == 1) for number in range(n, n + size))
        parcels.append(Parcel(round(dice.uniform(0, lasts_s), 3), works))
        n += size
    return tuple(sorted(parcels, key=lambda parcel: parcel.at_s))


def _work(dice: random.Random, n: int, *, alone: bool) -> Work:
    delay_s = round(dice.uniform(0.05, 2.0), 3) if dice.random() < 0.1 else 0.0
    cancel_s = round(dice.uniform(0.0, 1.0), 3) if dice.random() < 0.08 else None
    task, more = _task(dice) if alone or dice.random() < 0.06 else ("quick", {})
    return Work(n, task, {"n": n} | more, delay_s, cancel_s, again=dice.random() < 0.1)


def _task(dice: random.Random) -> tuple[str, dict[str, Any]]:
    match dice.choices(("quick", "busy", "long", "talking", "failing"), (8, 8, 1, 3, 3))[0]:
        case "busy":
            return "busy", {"seconds": round(dice.uniform(0.01, 0.2), 3)}
        case "long":
            return "busy", {"seconds": round(dice.uniform(1.0, 3.0), 3)}
        case "talking":
            return "talking", {"steps": dice.randint(1, 20)}
        case name:
            return name, {}

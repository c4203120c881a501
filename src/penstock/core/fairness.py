"""Who is next when several clients wait: priorities first, then equal shares, then age.

A *line* holds the waiting jobs of one queue, one client and, if only so many jobs of their task may run,
one task, in the order of `lifecycle.rank`. Brokers keep the lines; which line gives the next job is
decided here, and once more in ``brokers/redis/lua/lines.lua``, which must say the same.

Shares are start-time fair queueing (P. Goyal, H. Vin, H. Cheng, "Start-time Fair Queueing", SIGCOMM 1996):
each start moves a client's tag on by `stride` of its weight, and the smallest tag is next. Whoever had
nothing to do comes in at the tag of the last one that was served, so that nobody saves up turns. Each band
has tags of its own, so that work that was urgent is not held against work that is not.
"""

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import NamedTuple

import msgspec

from penstock.core.job import JobSpec
from penstock.core.lifecycle import AGE_STEP_MS

STRIDE = 5040
"""How far one start moves the tag of a client of weight 1; weights up to 10 divide it."""

MOST_WEIGHT = 100
MOST_LINES = 64
"""Lines of a queue among which a claim chooses: those whose first job has waited longest."""

CLIENTS = "clients"
"""The shelf that keeps what an operator allows each client, as `ClientTerms`."""


class ClientTerms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an operator allows a client: jobs at a time and share of the workers; None leaves it open."""

    max_running: int | None = None
    weight: int | None = None


class Line(NamedTuple):
    """Whose jobs wait here; "" for jobs of no client, and for tasks of which any number may run."""

    client: str
    task: str


class Waiting(NamedTuple):
    """A job that waits: where it stands in its line."""

    rank: int
    id: str


class Pick(NamedTuple):
    """Which line of those given is next, and with which job."""

    line: int
    job: Waiting


PLAIN = Line("", "")


def line_of(spec: JobSpec) -> Line:
    """The line of its queue in which a job waits."""
    if spec.client is None and spec.max_running is None:
        return PLAIN
    return Line(spec.client or "", spec.task if spec.max_running is not None else "")


def stride(weight: int) -> int:
    """How far one start moves the tag of a client of this weight."""
    return max(1, STRIDE // max(1, weight))


def band(rank: int, now: int) -> int:
    """How many steps of ageing a job is away from being as urgent as one of high priority that comes now."""
    return max(0, -((now - rank) // AGE_STEP_MS))


Tags = MutableMapping[tuple[int, str | None], int]
"""By band and client; for None, the tag at which the last start of the band began."""


class Rooms:
    """How many more jobs may begin, by client and by task; ``find`` is asked once for each."""

    def __init__(self, find: Callable[[str, str], int | None]) -> None:
        self._find = find
        self._left: dict[tuple[str, str], int | None] = {}

    def has(self, line: Line) -> bool:
        """Whether another job of this line may begin."""
        return all(left is None or left > 0 for left in map(self._of, _names(line)))

    def take(self, line: Line) -> None:
        """One began."""
        for name in _names(line):
            left = self._of(name)
            if left is not None:
                self._left[name] = left - 1

    def _of(self, name: tuple[str, str]) -> int | None:
        if name not in self._left:
            self._left[name] = self._find(*name)
        return self._left[name]


def _names(line: Line) -> Iterator[tuple[str, str]]:
    if line.client:
        yield "client", line.client
    if line.task:
        yield "task", line.task


class _Contender:
    """A line with its first job."""

    def __init__(self, number: int, line: Line, jobs: Iterator[Waiting]) -> None:
        self.number = number
        self.line = line
        self._jobs = jobs
        self.head = next(jobs, None)

    def pop(self) -> Pick:
        """Its first job, which the next one replaces."""
        picked = Pick(self.number, self.first)
        self.head = next(self._jobs, None)
        return picked

    @property
    def first(self) -> Waiting:
        """Its first job, of a line that has one."""
        if self.head is None:
            raise ValueError("the line is empty")
        return self.head


def choose(
    lines: Sequence[tuple[Line, Iterator[Waiting]]],
    limit: int,
    now: int,
    *,
    tags: Tags,
    strides: Callable[[str], int],
    rooms: Rooms,
) -> Iterator[Pick]:
    """The next jobs, best first, at most ``limit``; ``tags`` is moved on as they are taken.

    A client that is alone is not charged for its turns.
    """
    contenders = [
        _Contender(number, line, jobs) for number, (line, jobs) in enumerate(lines) if rooms.has(line)
    ]
    contenders = [one for one in contenders if one.head is not None]
    shared = len({one.line.client for one in contenders}) > 1
    for _ in range(limit):
        ready = [one for one in contenders if one.head is not None and rooms.has(one.line)]
        if not ready:
            return
        best = min(ready, key=lambda one: _order(one, now, tags, shared=shared))
        rooms.take(best.line)
        if shared:
            _charge(best, now, tags, strides)
        yield best.pop()


def _order(one: _Contender, now: int, tags: Tags, *, shared: bool) -> tuple[int, int, Waiting]:
    in_band = band(one.first.rank, now)
    return in_band, _tag(tags, in_band, one.line.client) if shared else 0, one.first


def _tag(tags: Tags, in_band: int, client: str) -> int:
    return max(tags.get((in_band, client), 0), tags.get((in_band, None), 0))


def _charge(one: _Contender, now: int, tags: Tags, strides: Callable[[str], int]) -> None:
    in_band = band(one.first.rank, now)
    began = _tag(tags, in_band, one.line.client)
    tags[in_band, None] = began
    tags[in_band, one.line.client] = began + strides(one.line.client)


def starts_before(own_ahead: int, weight: int, others: Sequence[int]) -> int:
    """The bound: starts before that of a job of the most urgent band, from the moment it is in it.

    ``own_ahead`` are the jobs of its own client in front of it, ``others`` the weights of the other clients
    that have jobs in the band meanwhile. Holds while no more than `MOST_LINES` lines of the queue wait and
    nothing waits for a concurrency limit.
    """
    own = stride(weight)
    return own_ahead + sum((own_ahead + 1) * own // stride(other) + 1 for other in others)

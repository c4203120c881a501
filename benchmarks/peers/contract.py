"""What a contestant has to offer. Standard library only: it is imported in every environment."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

REDIS_URL = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/0")
"""The Redis of this measurement, database 0."""

RESULTS_URL = REDIS_URL.removesuffix("/0") + "/1"
"""Database 1 of it, for peers that let results be kept apart: DBSIZE then counts them."""

AIM = os.environ.get("BENCH_AIM", "drain")
"""The measurement that runs, for peers whose best documented setting depends on it."""


@dataclass(frozen=True)
class About:
    """What the report tells of a contestant.

    ``packages`` are those whose versions matter; ``settings`` names what differs from the defaults.
    The expected rates (jobs/s) only choose how many jobs a measurement takes, so that it lasts a few
    seconds for everyone.
    """

    packages: Sequence[str]
    settings: str
    drain_rate: int
    submit_rate: int


@dataclass(frozen=True)
class Process:
    """A worker process to start: arguments for the environment's Python, and variables."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class Contestant(Protocol):
    """A queue with two worker processes' worth of slots. All jobs are functions of ``peers.jobs``.

    The methods are coroutines for the sake of those that need a loop; they run one at a time.
    """

    about: About

    def workers(self) -> Sequence[Process]:
        """What to start, as the operator of this queue would; two slots in all."""
        ...

    async def open(self) -> None:
        """Connect as a producer."""
        ...

    async def submit(self, task: str, numbers: Sequence[int]) -> None:
        """Queue one job per number by the fastest documented way; return when all are stored."""
        ...

    async def answer(self, number: int) -> int:
        """Queue one ``noop`` and return its result by the documented way of waiting."""
        ...

    async def stored(self) -> int:
        """How many jobs have ended with a stored result; cheap, it is asked often."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


def batches(numbers: Sequence[int], size: int = 1000) -> Iterator[Sequence[int]]:
    """The numbers in order, ``size`` at a time."""
    return (numbers[start : start + size] for start in range(0, len(numbers), size))

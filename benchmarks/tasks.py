"""What the benchmarks run: the jobs of ``peers.jobs`` as Penstock's tasks."""

from collections.abc import Iterator

from peers import jobs
from penstock import task


@task(retries=0)
def noop(n: int = 0) -> int:
    """Nothing, so that only Penstock is measured."""
    return jobs.noop(n)


@task
def burn(n: int = 0) -> int:
    """50 ms of CPU time."""
    return jobs.burn(n)


@task
def note(n: int = 0) -> int:
    """20 ms of CPU time and a line in a ledger."""
    return jobs.note(n)


@task(retries=0)
def parts(count: int) -> int:
    """Nothing, in so many parts; the result is the sum of their numbers."""
    return sum(range(count))


@parts.split
def _(count: int) -> Iterator[dict[str, int]]:
    return ({"n": n} for n in range(count))


@parts.part
def _(n: int) -> int:
    return jobs.noop(n)


@parts.merge(block=500)
def _(so_far: int | None, results: list[int]) -> int:
    return (so_far or 0) + sum(results)

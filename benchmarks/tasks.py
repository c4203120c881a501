"""What the benchmarks run: the jobs of ``peers.jobs`` as Penstock's tasks."""

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

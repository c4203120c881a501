"""What the benchmarks run: a task that does nothing, so that only Penstock is measured."""

from penstock import task


@task(retries=0)
def noop(n: int = 0) -> int:
    """Nothing."""
    return n

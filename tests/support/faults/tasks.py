"""What the jobs of a fault run do; nodes load this module by its path.

Each attempt that begins leaves a line in the file PENSTOCK_FAULT_WITNESS: the job's number and the process.
That is a witness of what was executed which no broker can doctor.
"""

import os
import time
from collections.abc import Iterator

from penstock import Progress, task

STEP_S = 0.01
"""What a step of `talking` takes: it is these tasks' work to last, so that faults meet them at it."""

PART_S = 0.002
"""What a part of `spread` takes."""


def _witness(n: int) -> None:
    file = os.open(os.environ["PENSTOCK_FAULT_WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{n} {os.getpid()} {time.time():.3f}\n".encode())
    os.close(file)


@task(retries=20, backoff="10ms")
def quick(n: int) -> int:
    _witness(n)
    return n


@task(retries=20, backoff="10ms")
def busy(n: int, seconds: float) -> int:
    _witness(n)
    time.sleep(seconds)
    return n


@task(retries=20, backoff="10ms")
def talking(n: int, steps: int, progress: Progress) -> int:
    _witness(n)
    for done in range(steps):
        print("step", done, "of", n)  # noqa: T201 - what this task is for
        progress.update(done / steps, f"step {done}")
        time.sleep(STEP_S)
    return n


@task(retries=1, backoff="10ms")
def failing(n: int) -> int:
    _witness(n)
    raise ValueError(f"as asked: {n}")


@task(retries=20, backoff="10ms")
def spread(n: int, count: int) -> list[int]:
    """Adds up the numbers below ``count``; the parts sign as 1 000 000 · n and their own number."""
    return spread.in_order(n, count)


@spread.split
def _(n: int, count: int) -> Iterator[dict[str, int]]:
    return ({"n": n, "number": number} for number in range(count))


@spread.part
def _(n: int, number: int) -> int:
    _witness(1_000_000 * n + number)
    time.sleep(PART_S)
    return number


@spread.merge(block=3)
def _(so_far: list[int] | None, results: list[int]) -> list[int]:
    """Their sum, how many were added, and a sum that shows what came twice or not in its turn."""
    total, added, turns = so_far or (0, 0, 0)
    for result in results:
        total, added, turns = total + result, added + 1, turns + (added + 1) * result
    return [total, added, turns]

"""What the jobs of a fault run do; nodes load this module by its path.

Each attempt that begins leaves a line in the file PENSTOCK_FAULT_WITNESS: the job's number and the process.
That is a witness of what was executed which no broker can doctor.
"""

import os
import time

from penstock import Progress, task


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
        time.sleep(0.01)
    return n


@task(retries=1, backoff="10ms")
def failing(n: int) -> int:
    _witness(n)
    raise ValueError(f"as asked: {n}")

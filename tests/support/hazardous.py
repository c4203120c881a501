"""Tasks that misbehave in every way a worker must survive; tests load this module by its path."""

import ctypes
import logging
import os
import subprocess
import sys
import time

import numpy as np

from penstock import Progress, task


@task(retries=0)
def noop(n: int = 0) -> int:
    return n


@task(retries=3, backoff="10ms")
def nap(seconds: float = 0.1) -> float:
    time.sleep(seconds)
    return seconds


@task(retries=0)
def steps(count: int, seconds: float, progress: Progress) -> int:
    for done in range(count):
        progress.update(done / count, f"step {done} of {count}")
        time.sleep(seconds)
    progress.update(1.0)
    return count


@task(retries=2, backoff="10ms")
def fails(message: str = "as asked") -> int:
    raise ValueError(message)


@task(retries=1, backoff="10ms")
def segfault() -> int:
    ctypes.string_at(0)
    return 0


@task(retries=1, backoff="10ms")
def leave(status: int = 3) -> int:
    os._exit(status)


@task(retries=0, memory="300MB")
def hoard() -> int:
    kept = []
    while True:
        kept.append(np.ones(4_000_000))
        time.sleep(0.005)


@task(retries=0, timeout="300ms", grace="300ms")
def soft_loop() -> int:
    while True:
        time.sleep(0.01)


@task(retries=0, timeout="300ms", grace="300ms")
def stubborn_loop() -> int:
    while True:
        try:
            while True:
                time.sleep(0.01)
        except Exception:
            logging.getLogger().info("not listening")


@task(retries=0)
def crunch(seconds: float = 60.0) -> float:
    """Long numpy calls that never look at a flag."""
    matrix = np.random.default_rng(0).random((1500, 1500))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        matrix = matrix @ matrix
        matrix /= matrix.max()
    return float(matrix.sum())


@task(retries=0)
def talks(lines: int = 3) -> int:
    for n in range(lines):
        print("printed", n)
    logging.getLogger("model").warning("logged")
    print("on stderr", file=sys.stderr)
    return lines


@task(retries=0)
def spawns(seconds: float = 60.0) -> int:
    """Leaves a process of its own behind."""
    return subprocess.Popen(["sleep", str(seconds)]).pid


@task(retries=5, backoff="10ms")
def append_line(path: str, text: str, seconds: float = 0.0) -> int:
    time.sleep(seconds)
    with open(path, "a") as file:
        file.write(text + "\n")
    return os.getpid()

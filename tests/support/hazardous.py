"""Tasks that misbehave in every way a worker must survive; tests load this module by its path.

``mark`` is a file that is written when the task has really begun, with the id of its process.
"""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info
from wait import until  # which stands beside it, as every loader of this file sees

from penstock import Progress, task

_kept: list[bytearray] = []


def _begin(mark: str) -> None:
    if mark:
        fresh = Path(f"{mark}.{os.getpid()}")
        fresh.write_text(str(os.getpid()))
        fresh.rename(mark)


def _hold(release: str) -> None:
    if release:
        until(Path(release).exists)


@task(retries=0)
def noop(n: int = 0) -> int:
    return n


@task(retries=3, backoff="10ms")
def nap(seconds: float = 0.1, mark: str = "", release: str = "") -> float:
    """Sleeps for so long and, if ``release`` names a file, until that is there."""
    _begin(mark)
    time.sleep(seconds)
    _hold(release)
    return seconds


@task(retries=3, backoff="10ms")
def pid(seconds: float = 0.0, release: str = "") -> int:
    time.sleep(seconds)
    _hold(release)
    return os.getpid()


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


@task(retries=20, backoff="10ms")
def poison() -> int:
    ctypes.string_at(0)
    return 0


@task(retries=1, backoff="10ms")
def leave(status: int = 3) -> int:
    os._exit(status)


@task(retries=1, backoff="10ms")
def quits(status: int = 4) -> int:
    sys.exit(status)


@task(retries=0, memory="300MB")
def hoard() -> int:
    kept = []
    while True:
        kept.append(np.ones(2_000_000))
        if len(kept) * kept[-1].nbytes > 350_000_000:
            signal.pause()  # so that a supervisor that is late meets little more


@task(retries=0, timeout="300ms", grace="10s")
def soft_loop() -> int:
    while True:
        signal.pause()


@task(retries=0, timeout="300ms", grace="300ms")
def stubborn_loop() -> int:
    while True:
        try:
            while True:
                signal.pause()
        except Exception:  # noqa: BLE001 - that is the hazard
            logging.getLogger().info("not listening")


@task(retries=0, cpu="200ms", grace="10s")
def spins() -> int:
    """Uses CPU time, and stops when it is asked to."""
    total = 0
    while True:
        total += sum(range(10**6))


@task(retries=0, cpu="200ms", grace="200ms")
def spins_deaf() -> int:
    """One call in which no signal handler runs."""
    return sum(range(10**15))


@task(retries=0, cpu="200ms", grace="200ms")
def rests(seconds: float = 1.0) -> float:
    """Takes much longer than its CPU time."""
    time.sleep(seconds)
    return seconds


@task(retries=0)
def grow(mebibytes: int, seconds: float = 0.02) -> int:
    """Keeps memory after it has returned, and is not known as tiny."""
    time.sleep(seconds)
    _kept.append(bytearray(os.urandom(1)) * (mebibytes * 2**20))
    return os.getpid()


@task(retries=1, backoff="10ms", timeout="5m")
def sudden(then: str = "", seconds: float = 600.0) -> int:
    """Tiny, so that it is known as tiny, but for what is to happen ``then``."""
    match then:
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(3)
        case "sleep":
            time.sleep(seconds)
        case "hold":
            sum(range(10**15))  # keeps every other thread of its process from running, too
    return os.getpid()


@task(retries=0)
def deaf(mark: str = "") -> int:
    """One call that lasts for hours and in which no signal handler runs."""
    _begin(mark)
    return sum(range(10**15))


def _down(levels: int, mark: str) -> None:
    if levels:
        _further(levels - 1, mark)
    else:
        _begin(mark)
        while True:
            signal.pause()


def _further(levels: int, mark: str) -> None:
    _down(levels, mark)


@task(retries=0)
def deep(levels: int = 300, mark: str = "") -> None:
    """Waits at the bottom of a recursion, so that its traceback takes a while to write."""
    _down(levels, mark)


@task(retries=0)
def crunch(seconds: float = 600.0, mark: str = "") -> float:
    """Long numpy calls that never look at a flag."""
    _begin(mark)
    matrix = np.random.default_rng(0).random((1500, 1500))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        matrix = matrix @ matrix
        matrix /= matrix.max()
    return float(matrix.sum())


@task(retries=0)
def talks(lines: int = 3) -> int:
    for n in range(lines):
        print("printed", n)  # noqa: T201 - what this task is for
    logging.getLogger("model").warning("logged")
    print("on stderr", file=sys.stderr)  # noqa: T201
    return lines


@task(retries=0)
def says_and_waits(text: str, release: str) -> None:
    """Prints, then runs until the file ``release`` is there."""
    print(text)  # noqa: T201
    _hold(release)


@task(retries=0)
def waits(release: str, mark: str) -> int:
    """Runs until the file ``release`` is there; ``mark`` with ``.over`` says that it was seen."""
    _begin(mark)
    _hold(release)
    _begin(f"{mark}.{os.getpid()}.over")
    return os.getpid()


@task(retries=0)
def shouts(lines: int) -> int:
    for n in range(lines):
        print("printed", n)  # noqa: T201
    return lines


@task(retries=0)
def chatters(seconds: float, others: int, progress: Progress) -> int:
    """Prints and reports without a pause, in threads of its own too, until it is stopped."""
    over = time.monotonic() + seconds
    stop = threading.Event()

    def chatter() -> None:
        while not stop.is_set():
            print("x" * 3_000)  # noqa: T201

    helpers = [threading.Thread(target=chatter) for _ in range(others)]
    for helper in helpers:
        helper.start()
    try:
        count = 0
        while time.monotonic() < over:
            # More than the line takes at once, so that a signal falls into the middle of it.
            progress.update(1.0, "y" * 600_000)
            print("z" * 100)  # noqa: T201
            count += 1
        return count
    finally:
        stop.set()
        for helper in helpers:
            helper.join()


@task(retries=0)
def spawns(seconds: float = 600.0, stay: float = 0.0, mark: str = "") -> int:
    """Leaves a process of its own behind; ``mark`` is given that one's id."""
    left = subprocess.Popen(["sleep", str(seconds)])
    if mark:
        Path(f"{mark}.new").write_text(str(left.pid))
        Path(f"{mark}.new").rename(mark)
    time.sleep(stay)
    return left.pid


@task(retries=0)
def forks(escape: bool, seconds: float = 600.0) -> int:
    """Leaves a copy of its own process behind, which holds everything open that this one had open.

    One that escapes is in no group that a worker knows of.
    """
    left = os.fork()
    if left == 0:
        if escape:
            os.setsid()
        time.sleep(seconds)
        os._exit(0)
    return left


@task(retries=0)
def blas() -> list[dict[str, Any]]:
    np.ones((64, 64)) @ np.ones((64, 64))
    return [dict(library) for library in threadpool_info()]


@task(retries=0, threads=2)
def blas_of_two() -> list[dict[str, Any]]:
    return blas()


@task(retries=5, backoff="10ms")
def append_line(path: str, text: str, seconds: float = 0.0, release: str = "") -> int:
    time.sleep(seconds)
    _hold(release)
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(text + "\n")
    return os.getpid()

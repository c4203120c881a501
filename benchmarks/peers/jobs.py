"""What the jobs do, for every contestant. Standard library only: it runs in all environments."""

import os
import time
from collections.abc import Callable
from pathlib import Path

BURN_S = 0.050
NOTE_S = 0.020


def noop(n: int) -> int:
    """Nothing, so that only the queue is measured."""
    return n


def burn(n: int) -> int:
    """50 ms of CPU time of this thread, however long that takes."""
    spin(BURN_S)
    return n


def note(n: int) -> int:
    """20 ms of CPU time, then one line in the ledger: this job's function ran to its end."""
    spin(NOTE_S)
    ledger = os.open(os.environ["BENCH_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, b"%d\n" % n)  # one write to a file opened for appending: lines never mix
    finally:
        os.close(ledger)
    return n


def spin(seconds: float) -> None:
    """Use CPU for ``seconds`` of this thread's own time."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def read_ledger(path: Path) -> list[int]:
    """The numbers of the jobs that ran to their end, in that order."""
    return [int(line) for line in path.read_text().split()] if path.exists() else []


FUNCTIONS: dict[str, Callable[[int], int]] = {"noop": noop, "burn": burn, "note": note}

"""The order of tests for several processes: what takes longest is begun first, by all of them.

pytest-xdist gives each process a run of tests of about the same number, and who is through takes over the end
of another's. Left as they are found, the longest tests would be the last, and most processes idle by then.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TypeVar

Test = TypeVar("Test")


def dealt(long: Sequence[Sequence[Test]], short: Iterable[Test], processes: int) -> list[Test]:
    """All tests: for each process its turns of the ``long`` files, and then ``short`` tests."""
    short = list(short)
    left = sum(map(len, long)) + len(short)
    rest = iter(short)
    found: list[Test] = []
    for number in range(processes):
        mine = [test for file in long[number::processes] for test in file]
        share = left // (processes - number)
        mine += islice(rest, max(0, share - len(mine)))
        left -= share
        found += mine
    return found + list(rest)

"""Tasks that are done in parts; tests load this module by its path."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penstock import DoNotRetry, Progress, task


@task(retries=3, backoff="10ms")
def summed(  # noqa: PLR0917 - one for each thing that a test may want
    count: int,
    seconds: float = 0.0,
    wrong: int = -1,
    enough: int = -1,
    note: str = "",
    size: int = 0,
) -> str:
    """Adds up the numbers below ``count``, each in a part that takes so many ``seconds``.

    The part ``wrong`` fails for good; ``enough`` is a sum that will do; ``note`` is a file in which every
    part writes its number; ``size`` bytes are added to every part's result.
    """
    return summed.in_order(count, seconds, wrong, enough, note, size)


@summed.split
def _(count: int, seconds: float, wrong: int, note: str, size: int) -> Iterator[dict[str, Any]]:
    for n in range(count):
        yield {"n": n, "seconds": seconds, "wrong": wrong, "note": note, "size": size}


@summed.part
def _(n: int, seconds: float, wrong: int, note: str, size: int) -> tuple[int, str]:
    if note:
        with Path(note).open("a", encoding="utf-8") as file:
            file.write(f"{n} {os.getpid()}\n")
    time.sleep(seconds)
    if n == wrong:
        raise DoNotRetry(f"as asked: {n}")
    return n, "x" * size


@summed.merge(block=4)
def _(so_far: list[int] | None, results: list[tuple[int, str]]) -> list[int]:
    """The sum, and how many were added: every one in its turn, or it is told."""
    total, added = so_far or (0, 0)
    for n, _ in results:
        if n != added:
            raise DoNotRetry(f"part {n} came where {added} should")
        total, added = total + n, added + 1
    return [total, added]


@summed.estimate
def _(enough: int, partial: list[int]) -> tuple[str, bool]:
    return f"at least {partial[0]}", 0 <= enough <= partial[0]


@summed.finish
def _(partial: list[int] | None) -> str:
    return "{} of {}".format(*partial) if partial else "nothing"


@task(retries=0)
def tolerant(count: int, wrong: int) -> list[int | None]:
    """Leaves out what fails."""
    raise DoNotRetry("too small to be split")


@tolerant.split
def _(count: int, wrong: int) -> Iterator[dict[str, int]]:
    for n in range(count):
        yield {"n": n, "wrong": wrong}


@tolerant.part
def _(n: int, wrong: int) -> int:
    if n == wrong:
        raise ValueError("as asked")
    return n


@tolerant.merge(block=3, failed="skip")
def _(so_far: list[int | None] | None, results: list[int | None]) -> list[int | None]:
    return [*(so_far or []), *results]


@task(retries=1, backoff="10ms")
def slow_split(count: int, seconds: float, progress: Progress) -> int:
    """Takes so many ``seconds`` to say what each part is."""
    return slow_split.in_order(count, seconds, progress)


@slow_split.split
def _(count: int, seconds: float) -> Iterator[dict[str, int]]:
    for n in range(count):
        time.sleep(seconds)
        yield {"n": n}


@slow_split.part
def _(n: int) -> int:
    return n


@slow_split.merge
def _(so_far: int | None, results: list[int]) -> int:
    return (so_far or 0) + sum(results)


@task(retries=0)
def tiny(count: int) -> int:
    """Parts that cost nothing, for figures."""
    return tiny.in_order(count)


@tiny.split
def _(count: int) -> Iterator[dict[str, int]]:
    return ({"n": n} for n in range(count))


@tiny.part
def _(n: int) -> int:
    return n


@tiny.merge(block=500)
def _(so_far: int | None, results: list[int]) -> int:
    return (so_far or 0) + sum(results)


TURN_S = 0.02
"""What a turn takes, so that another that did not wait for it would be seen in the middle of it."""


@task(retries=0, max_running=1)
def in_turn(count: int, note: str) -> int:
    """Parts of which one may run at a time; each writes when it begins and ends."""
    return in_turn.in_order(count, note)


@in_turn.split
def _(count: int, note: str) -> Iterator[dict[str, Any]]:
    return ({"n": n, "note": note} for n in range(count))


@in_turn.part
def _(n: int, note: str) -> int:
    with Path(note).open("a", encoding="utf-8") as file:
        file.write(f"begin {n}\n")
        file.flush()
        time.sleep(TURN_S)
        file.write(f"end {n}\n")
    return n


@in_turn.merge
def _(so_far: int | None, results: list[int]) -> int:
    return (so_far or 0) + sum(results)


@task(retries=0)
def nothing(n: int = 0) -> int:
    """A plain job beside the parts."""
    return n


@task
def talkative(count: int) -> int:
    """Adds up the numbers below ``count``, each in a part that tells how far it is."""
    return sum(range(count))


@talkative.split
def _(count: int) -> Iterator[dict[str, int]]:
    return ({"n": n} for n in range(count))


@talkative.part
def _(n: int, progress: Progress) -> int:
    for _ in progress.track(range(3), 3, "steps"):
        pass
    return n


@talkative.merge
def _(so_far: int | None, results: list[int]) -> int:
    return (so_far or 0) + sum(results)

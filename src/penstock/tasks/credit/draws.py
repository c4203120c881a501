"""The random part of the portfolio simulation, cut into chunks that know nothing of each other.

A chunk is counted from (seed, repeat, number, loans, pd) alone and counts are merged by adding integers,
so any number of workers, in any order and after any retry, arrives at bit-identical totals.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np

# Draws per block: 256 KiB of float64 stay in a core's second-level cache from being drawn to being compared.
BLOCK: Final = 32_768


class Chunk(NamedTuple):
    """Which loans to draw: ``loans`` of them, as chunk ``number`` of ``repeat``, both counted from 0."""

    repeat: int
    number: int
    loans: int


class Counted(NamedTuple):
    """How many of ``loans`` in ``repeat`` defaulted: one chunk, or several of the same repeat together."""

    repeat: int
    loans: int
    defaults: int


def chunks(load: int, chunk: int, repeats: int) -> Iterator[Chunk]:
    """Every chunk of ``repeats`` portfolios of ``load`` loans, in order; each one's last may be shorter."""
    for repeat in range(repeats):
        for number, start in enumerate(range(0, load, chunk)):
            yield Chunk(repeat, number, min(chunk, load - start))


def count_defaults(seed: int, chunk: Chunk, pd: float) -> Counted:
    """Draw one uniform float64 per loan of ``chunk`` and count those below ``pd`` (0 to 1).

    Memory is one block whatever the chunk's size; the numbers are those of a single large draw.
    """
    stream = _stream(seed, chunk.repeat, chunk.number)
    buffer = np.empty(min(BLOCK, chunk.loans))
    defaults = 0
    for start in range(0, chunk.loans, BLOCK):
        draws = buffer[: chunk.loans - start]
        stream.random(out=draws)
        defaults += int(np.count_nonzero(draws < pd))
    return Counted(chunk.repeat, chunk.loans, defaults)


def merge(counted: Iterable[Counted], load: int, repeats: int) -> list[int]:
    """Defaults of each repeat, from counts in any order.

    Raises ValueError unless the counts of every repeat cover exactly ``load`` loans.
    """
    loans, defaults = [0] * repeats, [0] * repeats
    for part in counted:
        loans[part.repeat] += part.loans
        defaults[part.repeat] += part.defaults
    if any(covered != load for covered in loans):
        raise ValueError(f"some chunks are missing or doubled: each repeat must cover {load} loans")
    return defaults


def _stream(seed: int, repeat: int, number: int) -> np.random.Generator:
    """The chunk's own generator, the same one that spawning children from ``SeedSequence(seed)`` would give.

    SeedSequence hashes the key into unrelated states (O'Neill 2015). SFC64 (Doty-Humphrey, PractRand) passes
    the usual test batteries, cannot cycle within 2**64 numbers, and is NumPy's fastest at drawing doubles.
    """
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(repeat, number))))

"""The random part of the simulations, cut into chunks that know nothing of each other.

A chunk's numbers follow from (seed, chunk number) alone, so that any number of workers, in any order and
after any retry, draws the same ones.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

CHUNK: Final = 65_536
"""Simulations drawn from one random stream. Another number would be another sample: a new task version."""

BLOCK: Final = 16_384
"""Simulations held at once: 128 KiB of float64 stay in a core's second-level cache."""


class Chunk(NamedTuple):
    """Which simulations to draw: ``draws`` of them, as chunk ``number``, counted from 0."""

    number: int
    draws: int


def chunks(simulations: int) -> Iterator[Chunk]:
    """Every chunk of ``simulations``, in order; the last may be shorter."""
    for number, start in enumerate(range(0, simulations, CHUNK)):
        yield Chunk(number, min(CHUNK, simulations - start))


def blocks(chunk: Chunk) -> Iterator[int]:
    """Sizes of the blocks that a chunk is drawn in."""
    for start in range(0, chunk.draws, BLOCK):
        yield min(BLOCK, chunk.draws - start)


def stream(seed: int, chunk: Chunk) -> np.random.Generator:
    """The chunk's own generator, the one that spawning children from ``SeedSequence(seed)`` would give.

    SeedSequence hashes the key into unrelated states (O'Neill 2015); SFC64 (Doty-Humphrey, PractRand) passes
    the usual test batteries. Normal numbers are drawn by the ziggurat method (Marsaglia and Tsang 2000).
    """
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(chunk.number,))))

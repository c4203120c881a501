"""Cuts a simulation into shares: runs of chunks that one part of the job draws. Whole-number arithmetic only.

A chunk is drawn from its own stream, whoever draws it, so how they are cut decides who works when, and
nothing else.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from pydantic import BaseModel, ConfigDict

from penstock.core.spans import chunk_spans, spans
from penstock.tasks.credit.draws import Chunk

SMALL: Final = 20_000_000
"""Draws below which a simulation stays in one piece: it takes about a tenth of a second."""

SHARE: Final = 12_000_000
"""Draws of one share at most, unless a chunk has more or there are more than `MOST_SPANS`: some 15 ms, many
times what a share costs."""

SHARE_TO_TARGET: Final = 4_000_000
"""The same for a simulation that ends when it is exact enough, which is looked at between whole shares."""

LAST_SHARE: Final = 2_000_000
"""Draws of the last shares at least: so little that no slot has to wait long for another."""


class Simulation(BaseModel):
    """Which chunks there are to draw: ``repeats`` portfolios of ``load`` loans, ``chunk`` loans each.

    Of the first ``begun`` repeats the first ``skip`` chunks were drawn before.
    """

    model_config = ConfigDict(frozen=True)

    seed: int
    pd: float
    load: int
    chunk: int
    repeats: int
    begun: int = 0
    skip: int = 0

    @property
    def per_repeat(self) -> int:
        """Chunks of one portfolio, the last of which may be short."""
        return -(-self.load // self.chunk)

    @property
    def left(self) -> int:
        """Chunks that are to be drawn in all."""
        return self.repeats * self.per_repeat - self.begun * self.skip

    def at(self, index: int) -> Chunk:
        """The chunk that is the ``index``-th to be drawn."""
        rest = self.per_repeat - self.skip
        if index < self.begun * rest:
            repeat, number = divmod(index, rest)
            number += self.skip
        else:
            repeat, number = divmod(index - self.begun * rest, self.per_repeat)
            repeat += self.begun
        return Chunk(repeat, number, min(self.chunk, self.load - number * self.chunk))


class Share(BaseModel):
    """The chunks from ``first`` up to and without ``end``, by the order in which they are to be drawn."""

    model_config = ConfigDict(frozen=True)

    simulation: Simulation
    first: int
    end: int

    def chunks(self) -> Iterator[Chunk]:
        """Every chunk, in order."""
        return map(self.simulation.at, range(self.first, self.end))

    def by_repeat(self) -> Iterator[tuple[int, Iterator[Chunk]]]:
        """The chunks of each repeat that this share touches."""
        return groupby(self.chunks(), lambda chunk: chunk.repeat)


def shares(simulation: Simulation, *, to_target: bool = False) -> Iterator[Share]:
    """Every chunk in one share, in order; a single share if there is little to draw.

    ``to_target``: the simulation may end early.
    """
    for first, end in _spans(simulation, SHARE_TO_TARGET if to_target else SHARE):
        yield Share(simulation=simulation, first=first, end=end)


def _spans(simulation: Simulation, draws: int) -> Iterator[tuple[int, int]]:
    loans = min(simulation.chunk, simulation.load)
    if simulation.left * loans < SMALL:
        return spans(simulation.left, simulation.left, simulation.left)
    return chunk_spans(simulation.left, loans, draws, LAST_SHARE)

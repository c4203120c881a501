"""Cuts a simulation into shares, runs of chunks that one part of the job draws, and folds what came of them.

A chunk is drawn from its own stream, whoever draws it, so how they are cut decides who works when, and
nothing else: also with a target, which is looked at chunk by chunk, in order.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from pydantic import BaseModel, ConfigDict

from penstock.core.progress import Progress
from penstock.core.spans import chunk_spans, spans
from penstock.tasks.finance.draws import CHUNK, Chunk
from penstock.tasks.finance.simulation import Method, Part, Plan, joined, reached, simulate

SMALL: Final = 10_000_000
"""Random numbers below which a simulation stays in one piece: it takes about a tenth of a second."""

SHARE: Final = 1_500_000
"""Random numbers of one share at most, unless a chunk takes more or there are more than `MOST_SPANS`: some
15 ms, many times what a share costs."""

LAST_SHARE: Final = 250_000
"""Random numbers of the last shares at least: so little that no slot has to wait long for another."""


class Share(BaseModel):
    """The chunks from ``first`` up to and without ``end``, of so many ``simulations`` in all.

    The first ``skip`` chunks of the simulation were drawn before.
    """

    model_config = ConfigDict(frozen=True)

    simulations: int
    target_error: float | None
    first: int
    end: int
    skip: int = 0

    @property
    def plan(self) -> Plan:
        """What is wanted of the whole simulation."""
        return Plan(self.simulations, self.target_error)

    @property
    def whole(self) -> bool:
        """Whether there is no other share."""
        return self.first == self.skip and self.end * CHUNK >= self.simulations

    def chunks(self) -> Iterator[Chunk]:
        """Every chunk, in order; the last of the simulation may be shorter."""
        for number in range(self.first, self.end):
            yield Chunk(number, min(CHUNK, self.simulations - number * CHUNK))


def shares(plan: Plan, numbers: int = 1, skip: int = 0) -> Iterator[Share]:
    """Every chunk in one share, in order; a single share if there is little to draw.

    ``numbers``: how many random numbers one simulation takes. ``skip``: chunks that were drawn before.
    """
    for first, end in _spans(plan.simulations - skip * CHUNK, numbers):
        yield Share(
            simulations=plan.simulations,
            target_error=plan.target_error,
            first=skip + first,
            end=skip + end,
            skip=skip,
        )


def _spans(simulations: int, numbers: int) -> Iterator[tuple[int, int]]:
    chunks = -(-simulations // CHUNK)
    if simulations * numbers <= SMALL:
        return spans(chunks, chunks, chunks)
    return chunk_spans(chunks, CHUNK * numbers, SHARE, LAST_SHARE)


def drawn(share: Share, before: Part, method: Method[Part], progress: Progress) -> list[Part]:
    """What one share found, `joined`; chunk by chunk if the simulation may stop between any two of them.

    ``before``: what was drawn before; only the share that is all there is to draw needs to know.
    """
    if share.whole:
        return simulate(share.plan, share.chunks(), before, method, progress)
    tracked = progress.track(share.chunks(), share.end - share.first, "chunks")
    found = (method.draw(chunk) for chunk in tracked)
    return joined(found, method) if share.target_error is None else list(found)


def folded(plan: Plan, so_far: list[Part], results: Iterable[list[Part]], method: Method[Part]) -> list[Part]:
    """With what the next shares found, `joined`, up to the chunk with which the target is reached."""
    if plan.target_error is None:
        return joined(chain(so_far, *results), method)
    pieces = so_far
    for part in chain.from_iterable(results):
        pieces = joined((*pieces, part), method)
        if reached(plan, method.combine(pieces), method):
            break
    return pieces

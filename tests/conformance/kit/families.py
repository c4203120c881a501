"""A job with parts, in the words of the tests: split it, run parts, merge what has ended."""

import json
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from kit.values import claim, finish, spec, submit_one
from penstock.core.job import Job, JobSpec
from penstock.core.lifecycle import Claim, Merged, Outcome, Split, Succeeded
from penstock.ports import Broker


def part_specs(parent: Job, numbers: Sequence[int]) -> list[JobSpec]:
    """The parts of a job with these numbers."""
    return [
        spec(
            parent_id=parent.id,
            part=number,
            task=parent.spec.task,
            queue=parent.spec.queue,
            max_running=parent.spec.max_running,
            limits=replace(parent.spec.limits, max_attempts=1),
            params=msgspec.Raw(str(number).encode()),
        )
        for number in numbers
    ]


async def split(broker: Broker, total: int, *, block: int = 2, page: int = 1_000, **changes: object) -> Job:
    """A new job that waits for so many parts; the queue has nothing else."""
    parent = await submit_one(broker, merge_block=block, **changes)
    (claimed,) = await claim(broker, queues=(parent.spec.queue,))
    assert (claimed.spec.id, claimed.parts) == (parent.id, None)
    for first in range(0, total, page):
        specs = part_specs(parent, range(first, min(total, first + page)))
        assert await broker.spread(parent.id, claimed.token, first, specs)
    assert await broker.settle([finish(claimed, Split(total))]) == [True]
    return parent


def number_of(claimed: Claim) -> int:
    """Which part this is."""
    assert claimed.spec.part is not None
    return claimed.spec.part


async def end(broker: Broker, *claims: Claim, outcome: Outcome | None = None) -> list[bool]:
    """End these parts; each gives its number as its result."""
    return await broker.settle(
        [finish(one, outcome or Succeeded(msgspec.Raw(str(number_of(one)).encode()))) for one in claims]
    )


async def merge(broker: Broker, claimed: Claim) -> list[int | None]:
    """Make the merge step that was claimed: the partial result is the list of all results so far."""
    parts = claimed.parts
    assert parts is not None
    assert parts.known
    so_far = [] if claimed.partial is None else json.loads(bytes(claimed.partial))
    assert len(so_far) == parts.merged
    found = await broker.results(claimed.spec.id, parts.merged, claimed.ready - parts.merged)
    so_far += [None if each is None else json.loads(bytes(each)) for each in found]
    body = msgspec.Raw(json.dumps(so_far).encode())
    whole = claimed.ready == parts.total
    outcome = Succeeded(body) if whole else Merged(body, claimed.ready)
    assert await broker.settle([finish(claimed, outcome)]) == [True]
    return so_far

"""A task in parts, done as workers do it, but in this process."""

from collections.abc import Callable, Mapping
from typing import Any

from penstock.core.progress import Progress


def as_jobs(task: Any, params: Mapping[str, Any], reorder: Callable[[list[int]], object]) -> tuple[int, Any]:
    """How many parts there are, and what was folded: every part a job of its own, all through JSON.

    ``reorder`` changes the list of the parts' numbers to the order in which they are done.
    """
    fanout, model = task.fanout, task.read(task.parse(params))
    wanted = [fanout.write_part(part) for part in fanout.parts(model)]
    numbers = list(range(len(wanted)))
    reorder(numbers)
    results = {number: task.run_part(wanted[number], Progress()) for number in numbers}
    folding, at = fanout.folding(model), 0
    while at < len(wanted) and not folding.reached:
        block = range(at, min(at + fanout.block, len(wanted)))
        # A merge may be begun by one worker and gone on with by another.
        partial = None if folding.partial is None else fanout.write_partial(folding.partial)
        folding = fanout.folding(model, partial, at)
        folding.add([fanout.read_result(results[number]) for number in block])
        at = block.stop
    return len(wanted), folding

"""How far a slot may read ahead, learnt from how long jobs take. Nothing here is configured.

Tiny jobs are shipped in batches, so that none costs a round trip of its own. The last of a batch waits
no longer than `WORTH_MS`; behind a job that takes longer, or is not known, nothing is shipped.
"""

WORTH_MS = 20.0
MAX_AHEAD = 500


class Pace:
    """Exponentially weighted means of run times in milliseconds, per task and over everything."""

    def __init__(self) -> None:
        self._by_task: dict[str, float] = {}
        self._overall: float | None = None
        self._trust = 1

    def learn(self, task: str, elapsed_ms: float) -> None:
        """Take one finished attempt into account."""
        self._by_task[task] = _blend(self._by_task.get(task), elapsed_ms)
        self._overall = _blend(self._overall, elapsed_ms)

    def expected_ms(self, task: str) -> float:
        """What the next attempt of this task may take; a whole slot's worth if it was never seen."""
        return max(self._by_task.get(task, WORTH_MS), WORTH_MS / MAX_AHEAD)

    def judge(self, *, kept_up: bool) -> None:
        """After a claim: did the slots take all of it? Grow by doubling, start over when they did not.

        What is claimed next need not be like what ran last, so a long read-ahead must be earned.
        """
        self._trust = min(MAX_AHEAD, self._trust * 2) if kept_up else 1

    def depth(self) -> int:
        """How many jobs a slot should have at hand, at least one."""
        if self._overall is None:
            return 1
        behind = int(WORTH_MS / max(self._overall, WORTH_MS / MAX_AHEAD))
        return min(self._trust, 1 + behind)


def _blend(mean: float | None, value: float) -> float:
    """Believe slowness quickly and speed slowly: the first is what others would have to wait for."""
    if mean is None:
        return value
    weight = 0.5 if value > mean else 0.1
    return mean + weight * (value - mean)

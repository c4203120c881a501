"""How long the tasks of this worker usually run, told with each renewal so that others can forecast."""

from collections import OrderedDict, deque
from statistics import median

MOST_TASKS = 64
"""Tasks that are remembered; the one that was not run for longest goes."""

WINDOW = 33
"""Attempts of a task that are remembered."""


class RunTimes:
    """Medians of the last attempts of each task, in milliseconds."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, deque[float]] = OrderedDict()
        self._changed: set[str] = set()
        self._usual: dict[str, float] = {}

    def learn(self, task: str, elapsed_ms: float) -> None:
        """Take one attempt into account."""
        last = self._last.get(task)
        if last is None:
            last = self._begin(task)
        last.append(elapsed_ms)
        self._changed.add(task)

    def _begin(self, task: str) -> deque[float]:
        while len(self._last) >= MOST_TASKS:
            forgotten, _ = self._last.popitem(last=False)
            self._changed.discard(forgotten)
            self._usual.pop(forgotten, None)
        self._last[task] = deque(maxlen=WINDOW)
        return self._last[task]

    def usual(self) -> dict[str, float]:
        """The median of each task."""
        for task in self._changed:
            self._last.move_to_end(task)
            self._usual[task] = round(median(self._last[task]), 3)
        self._changed.clear()
        return dict(self._usual)

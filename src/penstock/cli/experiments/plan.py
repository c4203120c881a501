"""What an experiment is asked to do."""

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from penstock.core.errors import ErrorCode, PenstockError


class Mode(StrEnum):
    """When a message is taken off the books: after it was processed, or (to show the loss) before."""

    AT_LEAST_ONCE = "at-least-once"
    AT_MOST_ONCE = "at-most-once"


@dataclass(frozen=True)
class Plan:
    """Counts and durations of one run.

    ``kill_after`` is how many messages have been dequeued when things get broken, ``rounds`` how often
    they are, ``outage_s`` how long each time; ``limit_s`` bounds the wait for the last message.
    """

    messages: int = 200
    parallel: int = 50
    kill_after: int = 10
    delay_ms: int = 0
    workers: int = 1
    slots: int = 8
    rounds: int = 1
    outage_s: float = 3.0
    limit_s: float = 180.0

    def changed(self, **given: Any) -> "Plan":
        """With what was given (not None) in place; raises INVALID_REQUEST for what cannot be run."""
        plan = replace(self, **{name: value for name, value in given.items() if value is not None})
        least = {"messages": 1, "parallel": 1, "workers": 1, "slots": 1, "rounds": 1}
        low = [name for name, value in asdict(plan).items() if value < least.get(name, 0)]
        if low:
            message = f"too small: {', '.join(f'{name} {getattr(plan, name)}' for name in low)}"
            raise PenstockError(ErrorCode.INVALID_REQUEST, message)
        return plan


@dataclass(frozen=True)
class Aim:
    """What an experiment is run against.

    ``broker``: a broker URL, ``redis`` for a server of its own, None for a file of its own. ``api``: a
    running deployment instead, asked with ``api_key`` if it wants one. ``task`` with ``module``: the
    user's own task instead of ``message``.
    """

    broker: str | None = None
    api: str | None = None
    mode: Mode = Mode.AT_LEAST_ONCE
    task: str | None = None
    module: str | None = None
    api_key: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What every request to the deployment shows."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api and self.api_key else {}

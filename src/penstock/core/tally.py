"""How brokers keep two small counts of a job in the one number that was once for lost workers alone.

Its low byte counts vanished workers, what is above counts hand-backs. So the stores need no new column.
"""

_STEP = 256


def packed(losses: int, handbacks: int) -> int:
    """The number to keep; ``losses`` is below 256."""
    return losses + _STEP * handbacks


def losses_in(number: int) -> int:
    """How many workers vanished."""
    return number % _STEP


def handbacks_in(number: int) -> int:
    """How many workers handed the job back because they did not know its task."""
    return number // _STEP

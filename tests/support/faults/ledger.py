"""What a fault run counts, in a shape that can be summed, printed and kept."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Self

WORST_RECOVERY_S = 10.0


@dataclass
class Ledger:
    """Jobs, executions and faults of one run or several.

    ``attempted`` jobs were handed to clients, ``accepted`` ones were answered with an id. Of these,
    ``succeeded``, ``failed`` and ``cancelled`` ended as somebody asked for; ``lost`` ones are unknown,
    unfinished, or ended as nobody asked for; ``duplicated`` ones ended twice, or exist twice. ``repeated``
    counts executions beyond those that a job needs. ``unanswered`` counts requests that had to be made again.
    Recovery is in seconds from the repair of a fault until the last of the ``recovered`` jobs and requests
    that it had hit went on; ``worst`` says which that was. ``missed`` faults were planned and found no
    victim.
    """

    runs: int = 0
    attempted: int = 0
    accepted: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    lost: int = 0
    duplicated: int = 0
    executed: int = 0
    repeated: int = 0
    unanswered: int = 0
    recovered: int = 0
    missed: int = 0
    worst_recovery_s: float = 0.0
    worst: str = ""
    duration_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    anomalies: list[str] = field(default_factory=list)

    def __add__(self, other: Self) -> "Ledger":
        mine, theirs = vars(self), vars(other)
        summed = {name: value + theirs[name] for name, value in mine.items()}
        slower = max(self, other, key=lambda ledger: ledger.worst_recovery_s)
        summed |= {"worst_recovery_s": slower.worst_recovery_s, "worst": slower.worst}
        return Ledger(**summed)

    @property
    def kept_its_promises(self) -> bool:
        """Whether nothing is wrong with what was counted."""
        return (
            self.accepted == self.attempted == self.succeeded + self.failed + self.cancelled
            and self.lost == self.duplicated == len(self.anomalies) == 0
            and self.worst_recovery_s <= WORST_RECOVERY_S
        )

    def as_json(self) -> str:
        """One object, the field names as keys."""
        return json.dumps(vars(self) | {"kept_its_promises": self.kept_its_promises}, indent=2)

    def as_table(self) -> str:
        """A line per figure, then the faults, then the slowest recovery and what is wrong."""
        lines = [_line(name, value) for name, value in vars(self).items() if isinstance(value, int | float)]
        lines += [f"  {kind:<32}{count:>6}" for kind, count in sorted(self.faults.items())]
        lines += [f"slowest: {self.worst}"] if self.worst else []
        return "\n".join([*lines, *(f"ANOMALY {anomaly}" for anomaly in self.anomalies)])


def _line(name: str, value: float) -> str:
    return f"{name:<22}{value:>16,.2f}" if isinstance(value, float) else f"{name:<22}{value:>16,}"

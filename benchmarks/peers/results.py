"""What was measured, as it is kept in JSON."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from peers.measurement import Figures
from peers.plan import Plan


@dataclass
class Results:
    """``rounds[measurement][contestant]``: its rounds; ``failures``: in words, what could not be measured."""

    plan: Plan
    redis: str = ""
    contestants: dict[str, dict[str, Any]] = field(default_factory=dict)
    rounds: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, measurement: str, contestant: str, figures: Figures) -> None:
        """One more round."""
        self.rounds.setdefault(measurement, {}).setdefault(contestant, []).append(figures)

    def fail(self, measurement: str, contestant: str, reason: str) -> None:
        """A round that came to nothing; the last one's reason is kept."""
        self.failures.setdefault(measurement, {})[contestant] = reason

    def save(self, path: Path) -> None:
        """Write all of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {"machine": machine(), "redis": self.redis, "plan": asdict(self.plan)}
        document |= {"contestants": self.contestants, "rounds": self.rounds, "failures": self.failures}
        path.write_text(json.dumps(document, indent=2) + "\n")


def machine() -> str:
    """What the figures belong to."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cpus} CPUs, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def column(rounds: Sequence[Figures], key: str) -> list[float]:
    """One figure over the rounds."""
    return [figures[key] for figures in rounds if key in figures]


def median(rounds: Sequence[Figures], key: str) -> float:
    """The middle of a figure's rounds."""
    return statistics.median(column(rounds, key))

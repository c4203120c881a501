"""How much is measured: one object that every measurement reads."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Counts and bounds. ``seconds`` is how long a rate should be looked at."""

    rounds: int = 3
    seconds: float = 5.0
    answers: int = 500
    jobs: int = 200
    backlog: int = 1_000_000
    memory_jobs: int = 50_000
    kill_wait_s: float = 30.0
    penstock_url: str = "redis://127.0.0.1:{port}/0"

    def count(self, rate: int, least: int = 200) -> int:
        """Jobs that last ``seconds`` at an expected rate."""
        return max(least, round(rate * self.seconds))


QUICK = Plan(
    rounds=1,
    seconds=1.0,
    answers=50,
    jobs=40,
    backlog=20_000,
    memory_jobs=5_000,
    kill_wait_s=10.0,
)

"""What a worker's log says of its jobs: each one while they are few, a count when they are many."""

import time
from collections import Counter

import structlog

from penstock.core.job import JobSpec, State
from penstock.core.lifecycle import (
    Cancelled,
    Failed,
    HandedBack,
    Lost,
    Merged,
    Outcome,
    Released,
    Split,
    Succeeded,
    Verdict,
)

LINES_PER_SECOND = 20

_NAMES = {
    Succeeded: "job succeeded",
    Failed: "job failed",
    Cancelled: "job cancelled",
    Released: "job released",
    Lost: "job lost",
    HandedBack: "job handed back, its task is unknown here",
    Split: "job split into parts",
    Merged: "parts merged",
}


class Journal:
    """Writes one line per finished attempt up to `LINES_PER_SECOND`, and counts of the rest."""

    def __init__(self, worker: str) -> None:
        self._log = structlog.get_logger("penstock.worker").bind(worker=worker)
        self._second = 0
        self._written = 0
        self._unwritten: Counter[str] = Counter()

    def finished(
        self,
        spec: JobSpec,
        attempt: int,
        outcome: Outcome,
        elapsed_ms: float,
        verdict: Verdict | None = None,
    ) -> None:
        """One attempt is over, and ``verdict`` is to become of its job. Failures always get their line."""
        if isinstance(outcome, Failed):
            error = verdict.error if verdict and verdict.error else outcome.error
            dead = verdict is not None and verdict.state is State.FAILED
            log = self._log.bind(code=error.code, error=error.message, dead=dead)
            self._write(log.warning, "job failed", spec, attempt, elapsed_ms)
        elif self._may_write():
            self._write(self._log.info, _NAMES[type(outcome)], spec, attempt, elapsed_ms)
        else:
            self._unwritten[_NAMES[type(outcome)]] += 1

    def said(self, spec: JobSpec, attempt: int, stream: str, text: str) -> None:
        """A task printed or logged a line."""
        if self._may_write():
            self._log.info(
                "job says",
                job=spec.id,
                task=spec.task,
                attempt=attempt,
                request=spec.request_id,
                stream=stream,
                text=text,
            )
        else:
            self._unwritten["job says"] += 1

    def flush(self) -> None:
        """Write the counts of what got no line of its own."""
        counts, self._unwritten = self._unwritten, Counter()
        for what, count in counts.items():
            self._log.info(f"{what} (many)", count=count)

    def _write(self, log: object, what: str, spec: JobSpec, attempt: int, elapsed_ms: float) -> None:
        log(  # type: ignore[operator]
            what,
            job=spec.id,
            task=spec.task,
            attempt=attempt,
            request=spec.request_id,
            elapsed_ms=round(elapsed_ms, 1),
        )

    def _may_write(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._written = second, 0
            self.flush()
        self._written += 1
        return self._written <= LINES_PER_SECOND

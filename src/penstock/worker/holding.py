"""A claim in the hands of this worker, from the moment it is given until its settlement is accepted."""

from penstock.core.attempt import Run
from penstock.core.job import JobProgress
from penstock.core.lifecycle import Claim
from penstock.ports import Held

MAX_LINES = 50
"""Log lines of one attempt that one renewal carries; a task that prints more loses the oldest."""


class Holding:
    """Mutable notes about one attempt.

    ``since`` is when it came to where it is, ``worth_ms`` what it is expected to take, ``unwanted``
    is set when its token no longer holds.
    """

    def __init__(self, claim: Claim, claimed_at: float) -> None:
        self.claim = claim
        self.since = claimed_at
        self.worth_ms = 0.0
        self.unwanted = False
        self.cancelled = False
        self._progress: JobProgress | None = None
        self._lines: list[str] = []

    @property
    def token(self) -> int:
        """The right to settle it."""
        return self.claim.token

    def run(self) -> Run:
        """The attempt as its child is told."""
        spec, limits = self.claim.spec, self.claim.spec.limits
        return Run(
            job_id=spec.id,
            token=self.claim.token,
            attempt=self.claim.attempt,
            task=spec.task,
            params=bytes(spec.params),
            timeout_ms=limits.timeout_ms,
            threads=limits.threads,
        )

    def note(self, progress: JobProgress) -> None:
        """Keep the newest progress for the next renewal."""
        self._progress = progress

    def add_line(self, text: str) -> None:
        """Keep a line for the next renewal."""
        self._lines.append(text)
        del self._lines[:-MAX_LINES]

    @property
    def talking(self) -> bool:
        """Whether it has lines that no renewal has carried yet."""
        return bool(self._lines)

    def report(self) -> Held:
        """What the next renewal says of it; call `reported` once that has arrived."""
        return Held(
            job_id=self.claim.spec.id,
            token=self.claim.token,
            progress=self._progress,
            lines=tuple(self._lines),
        )

    def reported(self, report: Held) -> None:
        """Forget what was published, keep what came meanwhile."""
        if self._progress is report.progress:
            self._progress = None
        if report.lines:
            del self._lines[: len(report.lines)]

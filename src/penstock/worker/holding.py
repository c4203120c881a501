"""A claim in the hands of this worker, from the moment it is given until its settlement is accepted."""

from collections import deque

from penstock.core.attempt import Run
from penstock.core.job import JobProgress
from penstock.core.lifecycle import Claim
from penstock.ports import Held

MAX_LINES = 50
MAX_CHARACTERS = 8_000
"""What of an attempt's log one renewal carries; a task that prints more loses the oldest lines.

Otherwise a task that prints in a loop would fill the disk with its events.
"""


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
        self._lines: deque[str] = deque()
        self._characters = 0
        self._dropped = 0
        self._told = 0

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
        self._characters += len(text)
        while len(self._lines) > MAX_LINES or self._characters > MAX_CHARACTERS:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._characters -= len(self._lines.popleft())
        self._dropped += 1

    @property
    def talking(self) -> bool:
        """Whether it has lines that no renewal has carried yet."""
        return bool(self._lines)

    def report(self) -> Held:
        """What the next renewal says of it; call `reported` once that has arrived."""
        self._told = self._dropped + len(self._lines)
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
        while self._dropped < self._told:
            self._drop_oldest()

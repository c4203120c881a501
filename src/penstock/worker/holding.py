"""A claim in the hands of this worker, from the moment it is given until its settlement is accepted."""

from collections import deque

from penstock.core.attempt import MergeStep, Run, SplitStep
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

    ``kind`` tells what takes about the same time (a part of a job takes another than the job itself),
    ``since`` is when it came to where it is, ``worth_ms`` what it is expected to take, ``unwanted``
    is set when its token no longer holds.
    """

    __slots__ = ("_log", "_progress", "cancelled", "claim", "kind", "since", "token", "unwanted", "worth_ms")

    def __init__(self, claim: Claim, claimed_at: float) -> None:
        self.claim = claim
        self.token = claim.token
        spec = claim.spec
        self.kind = spec.task if spec.part is None else f"{spec.task} part"
        self.since = claimed_at
        self.worth_ms = 0.0
        self.unwanted = False
        self.cancelled = False
        self._progress: JobProgress | None = None
        self._log: _Log | None = None  # most attempts say nothing

    def run(self) -> Run:
        """The attempt as its child is told."""
        claim, spec = self.claim, self.claim.spec
        limits = spec.limits
        return Run(
            spec.id,
            claim.token,
            claim.attempt,
            spec.task,
            bytes(spec.params),
            limits.timeout_ms,
            limits.threads,
            limits.cpu_ms,
            spec.part is not None,
            _step(claim) if spec.merge_block else None,
        )

    def note(self, progress: JobProgress) -> None:
        """Keep the newest progress for the next renewal."""
        self._progress = progress

    def add_line(self, text: str) -> None:
        """Keep a line for the next renewal."""
        if self._log is None:
            self._log = _Log()
        self._log.add(text)

    @property
    def talking(self) -> bool:
        """Whether it has lines that no renewal has carried yet."""
        return self._log is not None and bool(self._log.lines)

    def report(self) -> Held:
        """What the next renewal says of it; call `reported` once that has arrived."""
        return Held(
            job_id=self.claim.spec.id,
            token=self.token,
            progress=self._progress,
            lines=self._log.tell() if self._log else (),
        )

    def reported(self, report: Held) -> None:
        """Forget what was published, keep what came meanwhile."""
        if self._progress is report.progress:
            self._progress = None
        if self._log is not None:
            self._log.told()


def _step(claim: Claim) -> SplitStep | MergeStep:
    """What is to be done with a job that is done in parts."""
    parts = claim.parts
    if parts is None or not parts.known:
        return SplitStep()
    partial = None if claim.partial is None else bytes(claim.partial)
    return MergeStep(partial, parts.merged, claim.ready, parts.total, claim.spec.merge_block)


class _Log:
    """The last lines of an attempt."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque()
        self._characters = 0
        self._dropped = 0
        self._told = 0

    def add(self, text: str) -> None:
        self.lines.append(text)
        self._characters += len(text)
        while len(self.lines) > MAX_LINES or self._characters > MAX_CHARACTERS:
            self._drop_oldest()

    def tell(self) -> tuple[str, ...]:
        self._told = self._dropped + len(self.lines)
        return tuple(self.lines)

    def told(self) -> None:
        while self._dropped < self._told:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._characters -= len(self.lines.popleft())
        self._dropped += 1

"""What must be so of one job with parts by the rules of ``core.family``: the oracle of its state machine."""

import json
from collections.abc import Sequence

from penstock.core import family
from penstock.core.errors import FailureCode
from penstock.core.job import Job, JobSpec, Parts, State
from penstock.core.lifecycle import Claim, Merged, Outcome, Settlement, Split, Succeeded


class Family:
    """One job; ``total`` parts it is to be split into. ``token`` is 0 while it waits or is in line."""

    def __init__(self, spec: JobSpec, total: int) -> None:
        self.spec = spec
        self.total = total
        self.state = State.QUEUED
        self.token = 0
        self.stopping = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.known = False
        self.ids: list[str] = []
        self.ended: dict[int, bool] = {}
        self.merged = 0

    @property
    def ready(self) -> int:
        """How many parts have ended from the first one on."""
        return next(n for n in range(len(self.ids) + 1) if n not in self.ended)

    @property
    def parts(self) -> Parts | None:
        """What the broker must tell."""
        done = sum(self.ended.values())
        counted = Parts(len(self.ids), done, len(self.ended) - done, self.merged, known=self.known)
        return counted if self.ids else None

    def claimed(self, claimed: Claim) -> None:
        """The job was given out for a split or a merge step."""
        assert self.state is State.QUEUED
        assert claimed.parts == self.parts
        assert claimed.ready == self.ready
        self.state, self.token = State.RUNNING, claimed.token

    def may_begin(self, part_id: str) -> bool:
        """Whether this part may be given out."""
        return part_id in self.ids and not self.state.final

    def spread(self, claimed: Claim, parts: Sequence[JobSpec]) -> bool:
        """Whether these parts, from the first on, must have been taken; those that were there stay."""
        if self.token != claimed.token:
            return False
        self.ids += [part.id for part in parts[len(self.ids) :]]
        return True

    def settled(self, claimed: Claim, outcome: Outcome, settled: Settlement) -> bool:
        """Whether this end of a split or a merge step must have been accepted."""
        if self.token != claimed.token:
            return False
        self.token = 0
        if isinstance(outcome, Succeeded):
            self._succeed(outcome)
        elif self.stopping:
            self.state = settled.if_cancelled.state
        elif isinstance(outcome, Split | Merged):
            self.known = True
            self.merged = outcome.upto if isinstance(outcome, Merged) else self.merged
            self._advance()
        else:
            self.state = settled.verdict.state
        return True

    def _succeed(self, outcome: Succeeded) -> None:
        self.state = State.SUCCEEDED
        body = json.loads(bytes(outcome.result))
        if isinstance(body, list):
            assert body == [n + 1 if self.ended[n] else None for n in range(self.total)]

    def part_ended(self, part_id: str, number: int, *, well: bool) -> None:
        """A part succeeded or failed for good; not one of an earlier run or of an ended job."""
        if not self.may_begin(part_id):
            return
        self.ended[number] = well
        if not well and not self.spec.skip_failed_parts:
            self.state, self.token = State.FAILED, 0
        self._advance()

    def _advance(self) -> None:
        waits = self.state is State.RUNNING and not self.token
        if waits and self.parts and family.due(self.parts, self.ready, self.spec.merge_block):
            self.state = State.QUEUED

    def cancel(self) -> None:
        """Somebody cancelled the job."""
        if self.token:
            self.stopping = True
        elif not self.state.final:
            self.state = State.CANCELLED

    def retry(self) -> None:
        """Somebody retried the job."""
        if self.state in {State.FAILED, State.CANCELLED}:
            self.state, self.stopping = State.QUEUED, False
            self._begin_anew()

    def check(self, job: Job) -> None:
        """Raises AssertionError if the job is not as it must be."""
        assert (job.state, job.token, job.parts) == (self.state, self.token, self.parts)
        if job.error is not None and job.error.code == FailureCode.PART_FAILED:
            number = int(job.error.message.split()[1])
            assert self.ended[number] is False

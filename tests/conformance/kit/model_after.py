"""What a broker must do with jobs that wait for others, said with the rules of ``core.after``."""

from collections.abc import Iterable

from penstock.core import after
from penstock.core.job import Job, State


class Waits:
    """Who waits for whom among the jobs of a model."""

    def __init__(self, jobs: dict[str, Job]) -> None:
        self._jobs = jobs
        self._ahead: dict[str, set[str]] = {}

    def submitted(self, job_ids: Iterable[str], now: int) -> None:
        """Look at those that new jobs wait for."""
        ended = [job_id for job_id in job_ids if self._jobs[job_id].spec.after and self._ends(job_id, now)]
        self.follow(ended, now)

    def _ends(self, job_id: str, now: int) -> bool:
        job = self._jobs[job_id]
        states = {ahead: self._state(ahead) if ahead != job_id else None for ahead in job.spec.after}
        for ahead, state in states.items():
            if after.spoils(job.spec, state):
                self._jobs[job_id] = after.give_up(job, now, ahead, state)
                return True
        self._ahead[job_id] = {ahead for ahead, state in states.items() if state and not state.final}
        self._release(job_id, now)
        return False

    def _state(self, job_id: str) -> State | None:
        return self._jobs[job_id].state if job_id in self._jobs else None

    def _release(self, job_id: str, now: int) -> None:
        if not self._ahead[job_id]:
            del self._ahead[job_id]
            self._jobs[job_id] = after.release(self._jobs[job_id], now)

    def follow(self, job_ids: Iterable[str], now: int) -> None:
        """Those that wait for these, as far as they have ended, and so on."""
        ended = [one for one in job_ids if one in self._jobs and self._jobs[one].state.final]
        for job_id in ended:
            self._ahead.pop(job_id, None)
        for job_id in ended:  # which grows
            state = self._jobs[job_id].state
            for follower in [one for one, ahead in self._ahead.items() if job_id in ahead]:
                if after.spoils(self._jobs[follower].spec, state):
                    del self._ahead[follower]
                    self._jobs[follower] = after.give_up(self._jobs[follower], now, job_id, state)
                    ended.append(follower)
                else:
                    self._ahead[follower].discard(job_id)
                    self._release(follower, now)

"""What a broker must do, said with the rules of ``core.lifecycle``: the oracle of the state machine.

A model holds the jobs, leases and marks of one store as plain values. A method either foretells an
answer or takes note of one that the rules leave open, such as which of several lapsed jobs came first.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from msgspec.structs import replace

from kit.model_after import Waits
from penstock.core import drain, fairness, lifecycle, sharing
from penstock.core.drain import Full
from penstock.core.fairness import ClientTerms, Line, Rooms, Waiting
from penstock.core.job import Job, JobProgress, JobSpec, State
from penstock.core.lifecycle import Claim, Settlement
from penstock.core.past import Attempt, attempts_of, ended, remember
from penstock.core.sharing import CacheStats
from penstock.ports import Admission, BrokerOptions, Held, QueueStats, Receipt


class Model:
    """The store as it must be at ``now``, which the caller moves."""

    def __init__(self, options: BrokerOptions, now: int) -> None:
        self.options = options
        self.now = now
        self.jobs: dict[str, Job] = {}
        self.paused: set[str] = set()
        self.leases: dict[str, int] = {}
        self.known: set[str] = set()
        self.last_token = 0
        self.attempts: dict[str, tuple[Attempt, ...]] = {}
        self.reports: list[tuple[str, str]] = []
        self.limits: dict[str, int] = {}
        self.joins: list[tuple[str, str | None]] = []
        self.hits: list[str] = []
        self.cache = CacheStats()
        self.terms: dict[str, ClientTerms] = {}
        self._said: dict[tuple[str, str], int] = {}
        self._tags: dict[tuple[str, ...], fairness.Tags] = {}
        self._keys: dict[tuple[str, str] | None, str] = {}
        self._flights: dict[str, str] = {}
        self._answers: dict[str, tuple[str, int]] = {}
        self._drained: Counter[tuple[str, int]] = Counter()
        self._strays: set[int] = set()
        self._waits = Waits(self.jobs)
        self._untold: set[tuple[str, str]] = set()

    def submit(self, specs: Sequence[JobSpec]) -> list[Receipt]:
        """The answers to a submission; of a job that was there before, or joined, as it stands at the end."""
        receipts = [self._submit(spec) for spec in specs]
        new = [one.job.id for one in receipts if one.job and one.admission is Admission.ACCEPTED]
        self._waits.submitted(new, self.now)
        fresh = {Admission.ACCEPTED, Admission.CACHED}
        return [
            one
            if one.job is None or (one.admission in fresh and not one.job.spec.after)
            else replace(one, job=self.jobs[one.job.id])
            for one in receipts
        ]

    def _submit(self, spec: JobSpec) -> Receipt:
        known = self.jobs.get(self._keys.get(_key(spec), spec.id))
        if known is not None:
            same = known.spec.fingerprint == spec.fingerprint
            return Receipt(admission=Admission.REPEATED if same else Admission.CONFLICT, job=known)
        if sharing.looks(spec) and (answer := self._answer(spec) or self._join(spec)):
            return answer
        full = self._full(spec)
        if full is not None:
            return Receipt(admission=Admission.REFUSED, job=None, full=full)
        if sharing.looks(spec):
            self.cache = replace(self.cache, misses=self.cache.misses + 1)
        if sharing.shares(spec):
            self._flights[spec.fingerprint] = spec.id
        return self._keep(spec, Admission.ACCEPTED, lifecycle.accept(spec, self.now))

    def _keep(self, spec: JobSpec, admission: Admission, job: Job) -> Receipt:
        if (key := _key(spec)) is not None:
            self._keys[key] = job.id
        self.jobs[job.id] = job
        if admission is Admission.ACCEPTED:
            self._learn(spec)
        return Receipt(admission=admission, job=job)

    def _answer(self, spec: JobSpec) -> Receipt | None:
        source, until = self._answers.get(spec.fingerprint, ("", 0))
        if until <= self.now:
            return None
        found = self.jobs[source]
        saved = self.cache.saved_ms + sharing.run_ms(found)
        self.cache = replace(self.cache, hits=self.cache.hits + 1, saved_ms=saved)
        self.hits.append(spec.id)
        return self._keep(spec, Admission.CACHED, sharing.hit(spec, found, self.now))

    def _join(self, spec: JobSpec) -> Receipt | None:
        other = self.jobs.get(self._flights.get(spec.fingerprint, ""))
        if other is None or not sharing.may_join(other, spec, self.now):
            return None
        self.cache = replace(self.cache, joined=self.cache.joined + 1)
        self.joins.append((other.id, spec.client))
        return self._keep(spec, Admission.JOINED, sharing.join(other, spec))

    def _full(self, spec: JobSpec) -> Full | None:
        waiting = {State.QUEUED, State.SCHEDULED}
        depth = sum(job.spec.queue == spec.queue and job.state in waiting for job in self.jobs.values())
        limit = self.limits.get(spec.queue, self.options.max_depth)
        if depth < limit or spec.part is not None:
            return None
        return Full(depth=depth, limit=limit, drain_per_s=self._drain(spec.queue))

    def _drain(self, queue: str) -> float:
        return drain.per_second([self._drained[queue, slot] for slot in drain.slots_at(self.now)], self.now)

    def _land(self, job: Job) -> None:
        """The job has ended: if it is the one in flight, its answer is given to others."""
        if self._flights.get(job.spec.fingerprint) != job.id:
            return
        del self._flights[job.spec.fingerprint]
        if job.state is State.SUCCEEDED:
            self._answers[job.spec.fingerprint] = (job.id, self.now + job.spec.cache_ms)

    def forget_answers(self, fingerprints: Sequence[str] | None) -> int:
        """How many answers must have been there to forget."""
        before = self.entries()
        for one in list(self._answers | self._flights) if fingerprints is None else fingerprints:
            self._answers.pop(one, None)
            self._flights.pop(one, None)
        return before - self.entries()

    def entries(self) -> int:
        """How many answers can be given."""
        return sum(until > self.now for _, until in self._answers.values())

    def claim(self, worker: str, queues: Iterable[str], limit: int, tokens: Iterable[int]) -> list[Claim]:
        """The claims that must be given; their tokens are the broker's to choose."""
        self._promote()
        line = self._next(set(queues), limit)
        if line:
            self.leases[worker] = self.now + self.options.lease_ms
        return [self._start(job, worker, token) for job, token in zip(line, tokens, strict=True)]

    def _learn(self, spec: JobSpec) -> None:
        self._said["weight", spec.client or ""] = spec.weight
        if spec.max_running is not None:
            self._said["task", spec.task] = spec.max_running

    def _next(self, queues: set[str], limit: int) -> list[Job]:
        """The jobs that must be given out, by turns of their clients."""
        lines: dict[tuple[str, Line], list[Waiting]] = {}
        for job in self.in_line():
            if job.spec.queue in queues - self.paused:
                place = job.spec.queue, fairness.line_of(job.spec)
                waiting = Waiting(lifecycle.rank(job.spec.priority, job.due_at), job.id)
                lines.setdefault(place, []).append(waiting)
        picks = fairness.choose(
            [(line, iter(jobs)) for (_, line), jobs in lines.items()],
            limit,
            self.now,
            tags=self._tags.setdefault(tuple(sorted(queues)), {}),
            strides=self._stride,
            rooms=Rooms(self._room),
        )
        return [self.jobs[pick.job.id] for pick in picks]

    def _stride(self, client: str) -> int:
        said = self._said.get(("weight", client), 1) if client else 1
        return fairness.stride(self.terms.get(client, ClientTerms()).weight or said)

    def _room(self, kind: str, name: str) -> int | None:
        most = (
            self.terms.get(name, ClientTerms()).max_running
            if kind == "client"
            else self._said.get((kind, name))
        )
        running = [fairness.line_of(job.spec) for job in self.jobs.values() if job.state is State.RUNNING]
        return None if most is None else most - sum(getattr(line, kind) == name for line in running)

    def _promote(self) -> None:
        for job in self.jobs.values():
            if job.state is State.SCHEDULED and job.due_at <= self.now:
                self.jobs[job.id] = replace(job, state=State.QUEUED)

    def in_line(self) -> list[Job]:
        """The queued jobs in the order in which they are given out."""
        queued = [job for job in self.jobs.values() if job.state is State.QUEUED]
        return sorted(queued, key=lambda job: (lifecycle.rank(job.spec.priority, job.due_at), job.id))

    def _start(self, job: Job, worker: str, token: int) -> Claim:
        self._issue(token)
        self._untold -= {(job.id, "worker"), (job.id, "started_at")}
        started = self.jobs[job.id] = lifecycle.start(job, worker, token, self.now)
        return Claim(
            spec=job.spec,
            token=token,
            attempt=started.attempt,
            losses=job.losses,
            crashes=job.crashes,
            handbacks=job.handbacks,
        )

    def _issue(self, token: int) -> None:
        assert token > self.last_token, "tokens grow"
        self.last_token = token

    def settle(self, settlements: Iterable[Settlement]) -> list[bool]:
        """Which of these must be accepted."""
        settled = list(settlements)
        accepted = [self._settle(each) for each in settled]
        self._waits.follow([each.job_id for each, ok in zip(settled, accepted, strict=True) if ok], self.now)
        return accepted

    def _settle(self, settled: Settlement) -> bool:
        job = self.jobs.get(settled.job_id)
        if job is None or job.state is not State.RUNNING or job.token != settled.token:
            return False
        job_now = self.jobs[job.id] = lifecycle.settle(job, settled, self.now)
        if job_now.state.final:
            self._drained[job.spec.queue, self.now // drain.SLOT_MS] += 1
            self._land(job_now)
        if settled.ending is not None:
            newest = ended(settled.ending, job.worker, job.started_at, self.now)
            self.attempts[job.id] = remember(self.attempts.get(job.id, ()), newest)
        return True

    def renew(self, worker: str, held: Sequence[Held]) -> tuple[set[int], set[int]]:
        """The tokens to cancel, among those held, and those lost."""
        self.leases[worker] = self.now + self.options.lease_ms
        self.known.add(worker)
        current = {job.token: job for job in self._running(worker)}
        for report in held:
            if report.token in current and report.progress is not None:
                self._report(report.job_id, report.progress)
        holding = {report.token for report in held}
        for token in current.keys() - holding:
            if current[token].started_at < self.now - self.options.lease_ms:
                self._strays.add(token)
                self._untold.add((current[token].id, "worker"))
        cancel = {token for token in holding & current.keys() if current[token].cancel_requested}
        return cancel, holding - current.keys()

    def _running(self, worker: str) -> list[Job]:
        running = [job for job in self.jobs.values() if job.state is State.RUNNING and job.worker == worker]
        return [job for job in running if job.token not in self._strays]

    def _report(self, job_id: str, progress: JobProgress) -> None:
        self.jobs[job_id] = replace(self.jobs[job_id], progress=progress)
        self.reports.append((job_id, progress.message))

    def cancel(self, job_ids: Iterable[str], *, force: bool = False) -> list[Job | None]:
        """The answers to a cancel."""
        chosen = list(job_ids)
        rule = partial(lifecycle.cancel, force=force)
        for job_id in dict.fromkeys(chosen):
            self._change(job_id, rule)
        self._waits.follow(chosen, self.now)
        return [self.jobs.get(job_id) for job_id in chosen]

    def retry(self, job_ids: Iterable[str]) -> list[Job | None]:
        """The answers to a retry."""
        return [self._change(job_id, lifecycle.revive) for job_id in job_ids]

    def _change(self, job_id: str, rule: Callable[[Job, int], Job]) -> Job | None:
        if job_id in self.jobs:
            before = self.jobs[job_id]
            after = self.jobs[job_id] = rule(before, self.now)
            if after.state.final:
                self._land(after)
            elif before.state.final and sharing.shares(after.spec):
                self._flights.setdefault(after.spec.fingerprint, job_id)
            if self.jobs[job_id].state is State.QUEUED:
                self._untold -= {(job_id, "worker"), (job_id, "started_at")}
        return self.jobs.get(job_id)

    def live(self, worker: str) -> bool:
        """Whether the worker has a lease that has not lapsed."""
        return worker in self.leases and self.leases[worker] >= self.now

    def reclaimed(self, worker: str, limit: int, claims: Sequence[Claim]) -> None:
        """Take note of what was reclaimed, if it is what can be."""
        lapsed = {job.id: job for job in self.jobs.values() if self._lapsed(job)}
        assert len(claims) == min(limit, len(lapsed))
        assert len({claim.spec.id for claim in claims}) == len(claims)
        for claim in sorted(claims, key=lambda claim: claim.token):
            self._take_over(lapsed[claim.spec.id], worker, claim)
        for other in [one for one in self.leases if not self.live(one) and not self._running(one)]:
            self.retire(other)

    def _lapsed(self, job: Job) -> bool:
        return job.state is State.RUNNING and (job.token in self._strays or not self.live(job.worker))

    def _take_over(self, job: Job, worker: str, claim: Claim) -> None:
        lost_by = claim.lost_by if job.token in self._strays else job.worker
        untold = (job.id, "started_at") in self._untold
        expected = Claim(
            spec=job.spec,
            token=claim.token,
            attempt=job.attempt,
            losses=job.losses,
            crashes=job.crashes,
            handbacks=job.handbacks,
            lost_by=lost_by,
            begun_at=claim.begun_at if untold else job.started_at,
        )
        assert claim == expected
        assert lost_by
        self._issue(claim.token)
        self._untold.discard((job.id, "worker"))
        self._untold.add((job.id, "started_at"))
        self.jobs[job.id] = replace(job, token=claim.token, worker=worker)

    def retire(self, worker: str) -> None:
        """The worker is not known any more."""
        self.leases.pop(worker, None)
        self.known.discard(worker)

    def trimmed(self, limit: int, gone: set[str]) -> None:
        """Take note of what was trimmed, if it is what can be."""
        before = self.now - self.options.keep_jobs_ms
        past = {job.id for job in self.jobs.values() if job.state.final and job.finished_at < before}
        assert gone <= past
        assert len(gone) == min(limit, len(past))
        for job_id in gone:
            self._forget(job_id)

    def purge(self, job_ids: Iterable[str]) -> list[bool]:
        """Which of these must be gone."""
        return [self._purge(job_id) for job_id in job_ids]

    def _purge(self, job_id: str) -> bool:
        if job_id not in self.jobs or not self.jobs[job_id].state.final:
            return False
        self._forget(job_id)
        return True

    def _forget(self, job_id: str) -> None:
        job = self.jobs.pop(job_id)
        self._keys = {key: kept for key, kept in self._keys.items() if kept != job_id}
        if self._answers.get(job.spec.fingerprint, ("",))[0] == job_id:
            del self._answers[job.spec.fingerprint]
        self.attempts.pop(job_id, None)

    def remembered(self) -> list[list[Attempt]]:
        """What the broker must tell of the attempts of each job."""
        return [attempts_of(job, self.attempts.get(job.id, ())) for job in self.jobs.values()]

    def agree(self, found: Job) -> Job:
        """The job as it must be read, taking from ``found`` only what the rules leave open."""
        job = self.jobs[found.id]
        if found.state is State.QUEUED and job.state is State.SCHEDULED and job.due_at <= self.now:
            job = replace(job, state=State.QUEUED)
        for job_id, field in self._untold:
            if job_id == job.id:
                job = replace(job, **{field: getattr(found, field)})
        self.jobs[job.id] = job
        return job

    def figures(self, queue: str) -> QueueStats:
        """What the broker must count for this queue."""
        states = [job.state for job in self.jobs.values() if job.spec.queue == queue]
        line = [job for job in self.in_line() if job.spec.queue == queue]
        return QueueStats(
            name=queue,
            scheduled=states.count(State.SCHEDULED),
            queued=len(line),
            running=states.count(State.RUNNING),
            oldest_age_ms=max(0, self.now - line[0].due_at) if line else 0,
            paused=queue in self.paused,
            max_depth=self.limits.get(queue, self.options.max_depth),
            drain_per_s=self._drain(queue),
        )

    def workers(self) -> dict[str, tuple[int, bool]]:
        """How much each worker that told of itself holds, and whether it is live."""
        return {worker: (len(self._running(worker)), self.live(worker)) for worker in self.known}


def _key(spec: JobSpec) -> tuple[str, str] | None:
    return None if spec.idempotency_key is None else (spec.client or "", spec.idempotency_key)

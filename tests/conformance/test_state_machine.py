"""Any sequence of verbs, from several workers on several brokers, does what ``core.lifecycle`` says.

``PENSTOCK_TEST_PROFILE=dev`` runs a few sequences, ``ci`` (the default where CI is set) many.
"""

import asyncio
import itertools
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from kit.backends import BACKENDS, Backend
from kit.model import Model
from kit.time import ManualClock
from kit.values import BROKEN, CRASHED, DONE, feed, finish, held, spec, worker
from msgspec.structs import replace

from penstock.core.fairness import ClientTerms
from penstock.core.job import TRANSITIONS, AfterFailure, JobError, JobProgress, Limits, Priority, State
from penstock.core.lifecycle import (
    AGE_STEP_MS,
    Cancelled,
    Claim,
    Failed,
    HandedBack,
    Lost,
    Released,
)
from penstock.ports import DEPTHS, BrokerOptions, EventKind, JobQuery

LEASE_MS = 5_000
KEEP_MS = 100_000
OPTIONS = BrokerOptions(
    lease_ms=LEASE_MS, timeout_s=20, keep_jobs_ms=KEEP_MS, keep_events_ms=10**12, max_depth=30
)
QUEUES = ("a", "b")
WORKERS = ("w0", "w1", "w2")
NOBODY = "00000000-0000-7000-8000-000000000000"

workers = st.sampled_from(WORKERS)
limits = st.builds(
    Limits,
    max_attempts=st.integers(1, 4),
    max_crashes=st.integers(1, 3),
    backoff_ms=st.sampled_from([0, 1_000]),
)
fields = st.fixed_dictionaries(
    {
        "queue": st.sampled_from(QUEUES),
        "priority": st.sampled_from(Priority),
        "delay_ms": st.sampled_from([0, 0, 300, 4_000]),
        "limits": limits,
        "fingerprint": st.sampled_from(["f", "g"]),
        "client": st.sampled_from([None, "c", "d"]),
        "task": st.sampled_from(["square", "square", "cube"]),
        "max_running": st.sampled_from([None, None, None, 1, 2]),
        "weight": st.sampled_from([1, 1, 3]),
        "idempotency_key": st.sampled_from([None, None, None, "k", "l"]),
        "cache_ms": st.sampled_from([0, 0, 5_000, 200_000]),
        "refresh": st.sampled_from([False, False, False, True]),
        "part": st.sampled_from([None, None, None, 0]),
        "after": st.just([]) | st.just([]) | st.lists(st.integers(0, 30), max_size=2),
        "after_failure": st.sampled_from(AfterFailure),
    }
)
UNKNOWN = HandedBack(JobError("TASK_UNKNOWN", "not here"))
outcomes = st.sampled_from(
    [
        DONE,
        DONE,
        BROKEN,
        BROKEN,
        CRASHED,
        CRASHED,
        Failed(BROKEN.error, permanent=True),
        Cancelled(),
        Released(),
        UNKNOWN,
    ]
)
draws = st.sampled_from([0.0, 0.3, 0.999])
picks = st.lists(st.integers(0, 30), min_size=1, max_size=3)
jumps = (1, 300, 1_000, LEASE_MS - 1, LEASE_MS, LEASE_MS + 1, 2 * LEASE_MS, AGE_STEP_MS)
steps_of_time = st.sampled_from([*jumps, KEEP_MS, KEEP_MS + 1, -1, -300])


class BrokerMachine(RuleBasedStateMachine):
    """Every rule does one thing to the brokers and to the model; the invariants compare them."""

    make: ClassVar[Callable[[Path], Backend]]

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="penstock-")
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.store = type(self).make(Path(self.folder.name))
        self.brokers = [self.run(self.store.open(self.clock, OPTIONS)) for _ in range(2)]
        self.turn = itertools.count()
        self.model = Model(OPTIONS, self.clock.now)
        self.holding: dict[str, list[Claim]] = {one: [] for one in WORKERS}
        self.issued: list[Claim] = []
        self.told: dict[str, State] = {}
        self.successes: Counter[str] = Counter()
        self.last_event = ""

    def run(self, answer: Any) -> Any:
        return self.runner.get_loop().run_until_complete(answer)

    def teardown(self) -> None:
        self.run(self.store.remove())
        self.runner.close()
        self.folder.cleanup()

    @property
    def broker(self) -> Any:
        """The brokers take turns, so each sees what the other did."""
        return self.brokers[next(self.turn) % len(self.brokers)]

    def some_jobs(self, chosen: list[int]) -> list[str]:
        known = [*self.model.jobs, NOBODY]
        return [known[n % len(known)] for n in chosen]

    @initialize(batch=st.lists(fields, min_size=3, max_size=6))
    def start_with_some(self, batch: list[dict[str, Any]]) -> None:
        self.submit(batch)

    @rule(batch=st.lists(fields, min_size=1, max_size=4))
    def submit(self, batch: list[dict[str, Any]]) -> None:
        specs = [spec(**one | {"after": tuple(self.some_jobs(one["after"]))}) for one in batch]
        assert self.run(self.broker.submit(specs)) == self.model.submit(specs)

    @precondition(lambda self: self.model.jobs)
    @rule(chosen=picks)
    def submit_again(self, chosen: list[int]) -> None:
        jobs = [self.model.jobs[job_id] for job_id in self.some_jobs(chosen) if job_id != NOBODY]
        specs = [job.spec for job in jobs]
        assert self.run(self.broker.submit(specs)) == self.model.submit(specs)

    @rule(who=workers, queues=st.permutations(QUEUES), only=st.booleans(), limit=st.integers(1, 4))
    def claim(self, who: str, queues: list[str], only: bool, limit: int) -> None:
        queues = queues[:1] if only else queues
        claims = self.run(self.broker.claim(who, queues, limit, 0))
        assert claims == self.model.claim(who, queues, limit, [one.token for one in claims])
        self.holding[who] += claims
        self.issued += claims
        if not claims:  # whether a claim of nothing extends the lease is left open
            self.renew(who, [])

    @rule(limit=st.integers(1, 3))
    def claim_by_all(self, limit: int) -> None:
        for who in WORKERS:
            self.claim(who, list(QUEUES), only=False, limit=limit)

    @precondition(lambda self: any(self.holding.values()))
    @rule(chosen=picks, outcome=outcomes, draw=draws)
    def settle(self, chosen: list[int], outcome: Any, draw: float) -> None:
        everywhere = [one for claims in self.holding.values() for one in claims]
        ending = [everywhere[n % len(everywhere)] for n in chosen]
        self.settle_all(ending, outcome, draw)
        for who, claims in self.holding.items():
            self.holding[who] = [one for one in claims if one not in ending]

    @precondition(lambda self: self.issued)
    @rule(chosen=picks, outcome=outcomes, draw=draws)
    def settle_any_token_ever_issued(self, chosen: list[int], outcome: Any, draw: float) -> None:
        self.settle_all([self.issued[n % len(self.issued)] for n in chosen], outcome, draw)

    def settle_all(self, ending: list[Claim], outcome: Any, draw: float) -> None:
        settlements = [finish(one, Lost(one.lost_by) if one.lost_by else outcome, draw) for one in ending]
        assert self.run(self.broker.settle(settlements)) == self.model.settle(settlements)

    @rule(who=workers, speaking=st.lists(st.booleans(), max_size=4))
    def renew(self, who: str, speaking: list[bool]) -> None:
        heard = itertools.zip_longest(self.holding[who], speaking[: len(self.holding[who])])
        news = JobProgress(0.25, f"at {self.clock.now}")
        reports = [held(one, news if speaks else None) for one, speaks in heard]
        cancel, lost = self.model.renew(who, reports)
        orders = self.run(self.broker.renew(worker(who), reports))
        holding = {one.token for one in reports}
        assert (orders.cancel & holding, orders.lost) == (cancel, lost)
        self.holding[who] = [one for one in self.holding[who] if one.token not in lost]

    @rule(who=workers, forgets=st.booleans(), retires=st.booleans())
    def leave(self, who: str, forgets: bool, retires: bool) -> None:
        if forgets:
            self.holding[who] = []
        if retires:
            self.run(self.broker.retire(who))
            self.model.retire(who)

    @rule(ms=steps_of_time)
    def let_time_pass(self, ms: int) -> None:
        self.clock.advance(ms)
        self.model.now = self.clock.now

    @rule(who=workers, limit=st.integers(1, 3))
    def reclaim(self, who: str, limit: int) -> None:
        self.renew(who, [])  # a worker that looks after others keeps its own lease
        claims = self.run(self.broker.reclaim(who, limit))
        self.model.reclaimed(who, limit, claims)
        self.holding[who] += claims
        self.issued += claims

    @rule(who=workers, alive=st.sets(workers), ms=st.sampled_from([LEASE_MS, LEASE_MS + 1]))
    def reclaim_after_a_lease(self, who: str, alive: set[str], ms: int) -> None:
        self.let_time_pass(ms)
        for one in sorted(alive):
            self.renew(one, [])
        self.reclaim(who, 3)

    @rule(verb=st.sampled_from(["cancel", "retry", "force"]), chosen=picks)
    def cancel_or_retry(self, verb: str, chosen: list[int]) -> None:
        job_ids = self.some_jobs(chosen)
        forced: dict[str, bool] = {"force": True} if verb == "force" else {}
        verb = "cancel" if forced else verb
        answers = self.run(getattr(self.broker, verb)(job_ids, **forced))
        expected = getattr(self.model, verb)(job_ids, **forced)
        assert [answer and answer.id for answer in answers] == [job and job.id for job in expected]
        last = {answer.id: answer for answer in answers if answer}
        assert list(last.values()) == [self.model.agree(answer) for answer in last.values()]

    @rule(chosen=picks)
    def purge(self, chosen: list[int]) -> None:
        job_ids = self.some_jobs(chosen)
        gone = self.run(self.broker.purge(job_ids))
        assert gone == self.model.purge(job_ids)
        for job_id in itertools.compress(job_ids, gone):
            del self.told[job_id]

    @rule(queue=st.sampled_from(QUEUES), verb=st.sampled_from(["pause", "resume", "resume"]))
    def pause_or_resume(self, queue: str, verb: str) -> None:
        self.run(getattr(self.broker, verb)(queue))
        (self.model.paused.add if verb == "pause" else self.model.paused.discard)(queue)

    @rule(queue=st.sampled_from(QUEUES), limit=st.sampled_from([None, None, 0, 2, 5]))
    def limit_depth(self, queue: str, limit: int | None) -> None:
        self.run(self.broker.put(DEPTHS, queue, None if limit is None else b"%d" % limit))
        self.model.limits.pop(queue, None)
        self.model.limits |= {} if limit is None else {queue: limit}

    @rule(some=st.sampled_from([None, ["f"], ["g", "g", "h"]]))
    def forget_answers(self, some: list[str] | None) -> None:
        assert self.run(self.broker.forget_answers(some)) == self.model.forget_answers(some)

    @rule(
        client=st.sampled_from(["c", "d"]),
        most=st.sampled_from([None, 1, 2]),
        weight=st.sampled_from([None, 2]),
    )
    def limit_client(self, client: str, most: int | None, weight: int | None) -> None:
        terms = ClientTerms(max_running=most, weight=weight)
        self.run(self.broker.limit_client(client, terms))
        self.model.terms[client] = terms

    @rule(limit=st.integers(0, 3))
    def trim(self, limit: int) -> None:
        before = list(self.model.jobs)
        count = self.run(self.broker.trim(limit))
        left = self.run(self.broker.get(before))
        gone = {job_id for job_id, job in zip(before, left, strict=True) if job is None}
        assert count == len(gone)
        self.model.trimmed(limit, gone)
        for job_id in gone:
            del self.told[job_id]

    @precondition(
        lambda self: (len(self.model.jobs) + len(self.issued)) % 10 == 7
    )  # costs as much as ten others
    @rule()
    def close_and_open_again(self) -> None:
        self.run(self.store.close(self.brokers.pop(0)))
        self.brokers.append(self.run(self.store.open(self.clock, OPTIONS)))

    @invariant()
    def every_job_is_as_the_model_says(self) -> None:
        found = self.run(self.broker.get(list(self.model.jobs)))
        assert found == [job and self.model.agree(job) for job in found]
        listed = self.run(self.broker.find(JobQuery(limit=1_000)))
        newest_first = sorted(self.model.jobs.values(), key=lambda job: job.id, reverse=True)
        assert listed == [replace(job, result=None) for job in newest_first]
        assert self.run(self.broker.attempts(list(self.model.jobs))) == self.model.remembered()

    @invariant()
    def one_token_is_current_per_running_job(self) -> None:
        for job in self.model.jobs.values():
            issued = job.token in {one.token for one in self.issued if one.spec.id == job.id}
            assert issued == (job.state is State.RUNNING)
        assert len({one.token for one in self.issued}) == len(self.issued)

    @invariant()
    def figures_are_right(self) -> None:
        stats = self.run(self.broker.stats())
        counted = {queue.name: queue for queue in stats.queues}
        assert counted == {name: self.model.figures(name) for name in counted}
        assert {job.spec.queue for job in self.model.jobs.values()} | self.model.paused <= counted.keys()
        states = Counter(job.state for job in self.model.jobs.values())
        assert {state: stats.states.get(state, 0) for state in State} == {s: states[s] for s in State}
        listed = {one.info.id: (one.running, one.live) for one in stats.workers}
        assert listed == self.model.workers()
        assert stats.cache == replace(self.model.cache, entries=self.model.entries())

    @invariant()
    def events_tell_every_change_once(self) -> None:
        reports, joins = [], []
        for event in self.run(feed(self.broker, self.last_event)):
            self.last_event = event.id
            assert event.at == self.clock.now
            if event.kind is EventKind.PROGRESS:
                reports.append((event.job_id, event.data["message"]))
            elif event.kind is EventKind.JOINED:
                joins.append((event.job_id, event.data["client"]))
            elif event.data.get("cached"):
                assert event.job_id in self.model.hits
                assert event.job_id not in self.told
                self.told[event.job_id] = State(event.kind)
            else:
                self.follow(event.job_id, State(event.kind))
        assert reports == self.model.reports
        assert sorted(joins, key=str) == sorted(self.model.joins, key=str)
        self.model.reports.clear()
        self.model.joins.clear()
        assert self.told == {job.id: job.state for job in self.model.jobs.values()}

    def follow(self, job_id: str, state: State) -> None:
        if job_id in self.told:
            assert state in TRANSITIONS[self.told[job_id]]
        else:
            assert state in {State.SCHEDULED, State.QUEUED}
        self.told[job_id] = state
        self.successes[job_id] += state is State.SUCCEEDED
        assert self.successes[job_id] <= 1


EXAMPLES = {"dev": 15, "ci": 200}
STEPS = {"dev": 50, "ci": 100}
PROFILE = os.environ.get("PENSTOCK_TEST_PROFILE", "ci" if os.environ.get("CI") else "dev")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", BACKENDS)
def test_a_broker_does_what_core_says(name: str, tmp_path: Path) -> None:
    kind = BACKENDS[name]
    kind(tmp_path)  # its servers start here, or skip the test, not within a sequence

    class Machine(BrokerMachine):
        @staticmethod
        def make(folder: Path) -> Backend:
            return kind(folder, durable=False)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
            max_examples=max(1, round(EXAMPLES[PROFILE] * kind.share)),
            stateful_step_count=STEPS[PROFILE],
        ),
    )

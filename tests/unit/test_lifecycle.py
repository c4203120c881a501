"""The rules of a job's life, whatever happens to it in whatever order."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from penstock.core import lifecycle
from penstock.core.job import FINAL_STATES, TRANSITIONS, Job, JobError, JobSpec, Limits, Priority, State
from penstock.core.lifecycle import AGE_STEP_MS, Cancelled, Claim, Failed, Lost, Outcome, Released, Succeeded
from penstock.core.verdict import MAX_LOSSES, backoff_ms, decide, settlement

NOW = 1_700_000_000_000
BROKEN = JobError("TASK_ERROR", "it broke")
CRASH = JobError("CRASHED", "SIGSEGV")

limits = st.builds(
    Limits,
    max_attempts=st.integers(1, 5),
    max_crashes=st.integers(1, 5),
    backoff_ms=st.integers(0, 10_000),
    backoff_cap_ms=st.integers(0, 60_000),
)
draws = st.floats(0, 1, exclude_max=True)
outcomes = st.one_of(
    st.builds(Succeeded, st.just(Raw(b"1"))),
    st.builds(Failed, st.just(BROKEN), permanent=st.booleans(), crashed=st.booleans()),
    st.builds(Cancelled),
    st.builds(Released),
    st.builds(Lost, st.just("w")),
)
times = st.integers(NOW - 10 * AGE_STEP_MS, NOW + 10 * AGE_STEP_MS)
priorities = st.sampled_from(Priority)


def spec(**changes: object) -> JobSpec:
    return JobSpec(**({"id": "j", "task": "t"} | changes))


def claim_of(job: Job) -> Claim:
    return Claim(spec=job.spec, token=job.token, attempt=job.attempt, losses=job.losses, crashes=job.crashes)


def finish(job: Job, outcome: Outcome, draw: float = 0.5, now: int = NOW) -> Job:
    return lifecycle.settle(job, settlement(claim_of(job), outcome, draw), now)


def running(**changes: object) -> Job:
    return replace(lifecycle.start(lifecycle.accept(spec(), NOW), "w", 1, NOW), **changes)


@st.composite
def lives(draw: st.DrawFn) -> list[Job]:
    """A job as it stands after each of many things that happened to it."""
    now = NOW
    job = lifecycle.accept(spec(limits=draw(limits), delay_ms=draw(st.sampled_from([0, 0, 50]))), now)
    life = [job]
    for token in range(1, draw(st.integers(1, 25))):
        now += draw(st.integers(0, 100_000))
        match draw(st.integers(0, 5)):
            case 0:
                job = lifecycle.cancel(job, now)
            case 1:
                job = lifecycle.revive(job, now)
            case _ if job.state is State.SCHEDULED and job.due_at <= now:
                job = replace(job, state=State.QUEUED)
            case _ if job.state is State.QUEUED:
                job = lifecycle.start(job, "w", token, now)
            case _ if job.state is State.RUNNING:
                job = finish(job, draw(outcomes), draw(draws), now)
        life.append(job)
    return life


@given(lives())
def test_every_step_is_a_known_transition(life: list[Job]) -> None:
    for before, after in itertools.pairwise(life):
        assert after.state is before.state or after.state in TRANSITIONS[before.state]


@given(lives())
def test_a_job_is_consistent_at_every_moment(life: list[Job]) -> None:
    for job in life:
        assert (job.token > 0) == (job.state is State.RUNNING)
        assert (job.finished_at is not None) == job.state.final
        assert (job.result is not None) == (job.state is State.SUCCEEDED)
        assert job.error is not None or job.state not in {State.FAILED, State.CANCELLED}
        assert job.error is None or job.state not in {State.RUNNING, State.SUCCEEDED}
        assert job.due_at >= job.created_at


@given(lives())
def test_attempts_and_losses_never_exceed_their_limits(life: list[Job]) -> None:
    for job in life:
        assert 0 <= job.attempt <= job.spec.limits.max_attempts
        assert 0 <= job.losses <= MAX_LOSSES + 1
        assert job.losses <= MAX_LOSSES or job.state is State.FAILED
        assert 0 <= job.crashes <= min(job.attempt, job.spec.limits.max_crashes)
        assert job.crashes < job.spec.limits.max_crashes or job.state.final or job.attempt == 0


@given(lives())
def test_a_success_is_never_left(life: list[Job]) -> None:
    successes = [n for n, job in enumerate(life) if job.state is State.SUCCEEDED]
    if successes:
        assert all(job == life[successes[0]] for job in life[successes[0] :])


@given(limits, draws)
def test_a_job_that_always_fails_uses_each_of_its_attempts_once(allowed: Limits, draw: float) -> None:
    job = lifecycle.accept(spec(limits=allowed), NOW)
    starts = 0
    while not job.state.final:
        job = lifecycle.start(replace(job, state=State.QUEUED), "w", starts + 1, NOW)
        starts += 1
        job = finish(job, Failed(BROKEN), draw)
    assert (starts, job.attempt) == (allowed.max_attempts, allowed.max_attempts)
    assert (job.state, job.error) == (State.FAILED, BROKEN)


@given(limits, draws)
def test_a_job_that_always_crashes_is_quarantined(allowed: Limits, draw: float) -> None:
    job = lifecycle.accept(spec(limits=allowed), NOW)
    starts = 0
    while not job.state.final:
        job = lifecycle.start(replace(job, state=State.QUEUED), "w", starts + 1, NOW)
        starts += 1
        job = finish(job, Failed(CRASH, crashed=True), draw)
        assert job.crashes == starts
    assert starts == min(allowed.max_attempts, allowed.max_crashes)
    assert (job.state, job.error.code) == (State.FAILED, "CRASHED")
    early = allowed.max_crashes < allowed.max_attempts
    assert ("quarantined after" in job.error.message) == early
    assert job.error.message.startswith("SIGSEGV")


def test_an_ordinary_failure_is_no_crash() -> None:
    job = running(spec=spec(limits=Limits(max_crashes=1)))
    assert finish(job, Failed(BROKEN)).state is State.SCHEDULED
    crashed = finish(running(spec=spec(), attempt=2, crashes=2), Failed(BROKEN))
    assert (crashed.state, crashed.crashes) == (State.SCHEDULED, 2)
    assert finish(running(attempt=2, crashes=2), Failed(CRASH, crashed=True)).state is State.FAILED


def test_a_job_outlives_so_many_lost_workers_and_no_more() -> None:
    job = lifecycle.accept(spec(limits=Limits(max_attempts=1)), NOW)
    starts = 0
    while not job.state.final:
        job = lifecycle.start(job, "w", starts + 1, NOW)
        starts += 1
        job = finish(job, Lost(f"w{starts}"))
        assert job.losses == starts
    assert starts == MAX_LOSSES + 1
    assert (job.state, job.error.code) == (State.FAILED, "WORKER_LOST")
    assert f"w{starts}" in job.error.message


def test_there_are_steps_from_every_state_that_is_not_the_end() -> None:
    assert TRANSITIONS.keys() == set(State)
    assert {state for state in State if not TRANSITIONS[state]} == {State.SUCCEEDED}
    assert {state for state in FINAL_STATES if TRANSITIONS[state]} == lifecycle.RETRYABLE_STATES


@given(limits, st.integers(1, 10**6), draws)
def test_a_backoff_is_below_its_ceiling_and_its_cap(allowed: Limits, attempt: int, draw: float) -> None:
    delay = backoff_ms(allowed, attempt, draw)
    ceiling = min(allowed.backoff_cap_ms, allowed.backoff_ms * 2 ** (min(attempt, 41) - 1))
    assert 0 <= delay <= max(0, ceiling - 1)


@given(limits, st.integers(1, 60))
def test_a_backoff_spreads_over_its_whole_range_and_never_shrinks(allowed: Limits, attempt: int) -> None:
    assert backoff_ms(allowed, attempt, 0.0) == 0
    longest = 1 - 2**-53
    assert backoff_ms(allowed, attempt, longest) <= backoff_ms(allowed, attempt + 1, longest)


@pytest.mark.parametrize(("attempt", "expected"), [(1, 500), (2, 1_000), (3, 2_000), (4, 3_000), (99, 3_000)])
def test_a_backoff_doubles_up_to_its_cap(attempt: int, expected: int) -> None:
    allowed = Limits(backoff_ms=1_000, backoff_cap_ms=6_000)
    assert backoff_ms(allowed, attempt, 0.5) == expected


HEAD_START = {Priority.HIGH: 0, Priority.MEDIUM: AGE_STEP_MS, Priority.LOW: 2 * AGE_STEP_MS}


@given(priorities, times, priorities, times)
def test_the_bound_of_starvation(mine: Priority, ready: int, theirs: Priority, later: int) -> None:
    """A job waits at most for those that are ready within its priority's head start after it."""
    goes_first = lifecycle.rank(mine, ready) < lifecycle.rank(theirs, later)
    assert goes_first == (later - ready > HEAD_START[mine] - HEAD_START[theirs])
    if later - ready > 2 * AGE_STEP_MS:
        assert goes_first, "nothing waits for what comes more than two steps later"


@given(times)
def test_at_the_same_time_the_higher_priority_goes_first(ready: int) -> None:
    ranks = [lifecycle.rank(priority, ready) for priority in (Priority.HIGH, Priority.MEDIUM, Priority.LOW)]
    assert ranks == sorted(set(ranks))


@given(outcomes, limits, st.integers(1, 5), st.integers(0, MAX_LOSSES), draws)
def test_a_verdict_is_a_step_that_a_running_job_may_take(
    outcome: Outcome, allowed: Limits, attempt: int, losses: int, draw: float
) -> None:
    claim = Claim(spec=spec(limits=allowed), token=1, attempt=attempt, losses=losses)
    verdict = decide(claim, outcome, draw)
    assert verdict.state in TRANSITIONS[State.RUNNING]
    assert (verdict.delay_ms > 0) == (verdict.state is State.SCHEDULED)
    assert attempt - 1 <= verdict.attempt <= attempt
    assert losses <= verdict.losses <= losses + 1


@given(outcomes, limits, st.integers(1, 5), draws)
def test_a_cancelled_job_gets_no_further_attempt(
    outcome: Outcome, allowed: Limits, attempt: int, draw: float
) -> None:
    claim = Claim(spec=spec(limits=allowed), token=1, attempt=attempt)
    settled = settlement(claim, outcome, draw)
    assert settled.if_cancelled.state.final
    if settled.verdict.state.final:
        assert settled.if_cancelled == settled.verdict, "what is over is not undone by a cancel"
    else:
        assert settled.if_cancelled.state is State.CANCELLED
    assert (settled.result is not None) == isinstance(outcome, Succeeded)


@pytest.mark.parametrize("outcome", [Released(), Lost("w")])
def test_an_uncharged_attempt_keeps_the_place_in_line(outcome: Outcome) -> None:
    job = finish(running(attempt=3), outcome, now=NOW + 10 * AGE_STEP_MS)
    assert (job.state, job.attempt, job.due_at) == (State.QUEUED, 2, NOW)


def test_a_failed_attempt_is_due_after_its_backoff() -> None:
    job = finish(running(), Failed(BROKEN), draw=0.5, now=NOW + 70)
    assert (job.state, job.due_at, job.error) == (State.SCHEDULED, NOW + 70 + 500, BROKEN)


def test_a_permanent_failure_is_the_last() -> None:
    job = finish(running(), Failed(BROKEN, permanent=True))
    assert (job.state, job.attempt, job.error) == (State.FAILED, 1, BROKEN)


@given(lives())
def test_cancelling_twice_is_cancelling_once(life: list[Job]) -> None:
    once = lifecycle.cancel(life[-1], NOW)
    assert lifecycle.cancel(once, NOW + 1) == once
    assert once.state.final or once.cancel_requested


@given(lives())
def test_a_revived_job_is_as_if_new(life: list[Job]) -> None:
    before = life[-1]
    after = lifecycle.revive(before, NOW + 1)
    if before.state not in lifecycle.RETRYABLE_STATES:
        assert after == before
    else:
        fresh = lifecycle.accept(replace(before.spec, delay_ms=0), NOW + 1)
        assert after == replace(fresh, spec=before.spec, created_at=before.created_at)


@given(st.integers(0, 10**9))
def test_a_delay_counts_from_acceptance(delay_ms: int) -> None:
    job = lifecycle.accept(spec(delay_ms=delay_ms), NOW)
    assert (job.created_at, job.due_at) == (NOW, NOW + delay_ms)
    assert job.state is (State.SCHEDULED if delay_ms else State.QUEUED)


def test_a_start_forgets_what_the_last_attempt_said() -> None:
    failed = finish(running(), Failed(BROKEN))
    again = lifecycle.start(replace(failed, state=State.QUEUED), "v", 9, NOW + 5)
    assert (again.error, again.progress, again.finished_at) == (None, None, None)
    assert (again.worker, again.token, again.attempt, again.started_at) == ("v", 9, 2, NOW + 5)

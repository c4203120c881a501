"""A slot with a child that is only played: every order of messages, deaths and orders can be acted out."""

import asyncio
import functools
import itertools
import time
from collections import Counter, deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.attempt import Done, Fault, Line, Note, Ready, Recalled
from penstock.core.errors import ErrorCode, FailureCode, PenstockError
from penstock.core.job import JobError, JobProgress, JobSpec, Limits
from penstock.core.lifecycle import Cancelled, Claim, Failed, Released, Succeeded
from penstock.worker.holding import Holding
from penstock.worker.pace import MAX_AHEAD, WORTH_MS, Pace
from penstock.worker.policy import SlotPolicy
from penstock.worker.slot import ASK_S, STUCK_MS, TERMINATE_S, Slot
from penstock.worker_ports import Exit

KILLED = Exit(status=-9)
LIMITS = Limits(timeout_ms=1_000, grace_ms=500, memory_bytes=1_000_000)
LATE = 10_000.0
"""Seconds from now after which every timeout of `LIMITS` has passed."""


class Puppet:
    """Plays a child. What it is told takes effect in `hear`, what it says arrives in `speak`.

    What it keeps (`keep`) is found by `look`, or said with its next answer.
    """

    def __init__(self, pid, on_message, on_exit):
        self.pid = pid
        self._on_message = on_message
        self._on_exit = on_exit
        self.ears, self.mouth = deque(), deque([Ready(pid)])
        self.kept, self.succeeded = [], []
        self.queue, self.running, self.cancelled = deque(), None, set()
        self.closed = self.killed = self.dead = False
        self.size = 0
        self.cpu = 0.0
        self.signals = []

    def send(self, runs):
        self.ears.append(("runs", list(runs)))

    def cancel(self, token):
        self.ears.append(("cancel", token))

    def recall(self):
        self.ears.append(("recall", None))

    def look(self):
        while self.kept:
            self._on_message(self.kept.pop(0))

    def terminate(self):
        self.signals.append("TERM")

    def kill(self):
        self.signals.append("KILL")
        self.killed = True

    def close(self):
        self.closed = True

    def rss(self):
        return self.size

    def cpu_ms(self):
        return self.cpu

    def hear(self):
        """Take the next message from the supervisor."""
        if not self.ears or self.dead:
            return
        match self.ears.popleft():
            case "runs", runs:
                self.queue.extend(run.token for run in runs)
            case "cancel", token:
                self.cancelled.add(token)
            case "recall", _:
                self.mouth.append(Recalled(tuple(self.queue)))
                self.queue.clear()

    def begin(self):
        """Begin the next attempt; one that was cancelled is answered at once."""
        if self.running is not None or not self.queue or self.dead:
            return
        self.running = self.queue.popleft()
        if self.running in self.cancelled:
            self.answer(Fault(self.running, FailureCode.CANCELLED, "cancelled", ""))

    def answer(self, answer=None):
        """Finish the attempt that runs, and send what was kept."""
        self.keep(answer)
        self.mouth.extend(self.kept)
        self.kept.clear()

    def keep(self, answer=None):
        """Finish the attempt that runs without sending its answer."""
        if self.running is not None and not self.dead:
            self.kept.append(answer or Done(self.running, b"1", 100))
            if isinstance(self.kept[-1], Done):
                self.succeeded.append(self.running)
            self.running = None

    def speak(self):
        """Let the next message arrive."""
        if self.mouth:
            self._on_message(self.mouth.popleft())

    def say_all(self):
        while self.mouth:
            self.speak()

    def work(self):
        """Hear, do and say everything; what has nothing left to do keeps nothing."""
        while not self.dead and (self.ears or self.queue or self.running is not None or self.kept):
            self.hear()
            self.begin()
            self.answer()
        self.say_all()

    def die(self, how=KILLED):
        """End; what it had said still arrives, as from a pipe, and what it had kept."""
        if not self.dead:
            self.dead = True
            self.say_all()
            self.look()
            self._on_exit(how)


class Stage:
    """Plays the executor and the supervisor."""

    def __init__(self, recycle_after=1_000_000, recycle_bytes=2**40):
        self.pace = Pace()
        policy = SlotPolicy(memory_bytes=10_000_000, recycle_after=recycle_after, recycle_bytes=recycle_bytes)
        self.slot = Slot(0, self, self, self.pace, policy)
        self.puppets = []
        self.finishes = []
        self.returns = []
        self.notes, self.lines, self.ends = [], [], []
        self.given = []
        self.starts = set()
        self.asked = deque()
        self.held_up = False
        self._tokens = itertools.count(1)

    async def spawn(self, on_message, on_exit):
        if self.held_up:
            wait = asyncio.get_running_loop().create_future()
            self.asked.append(wait)
            await wait
        puppet = Puppet(len(self.puppets) + 100, on_message, on_exit)
        self.puppets.append(puppet)
        return puppet

    def finished(self, holding, outcome, elapsed_ms):  # noqa: ARG002 - as `Office` has it
        self.finishes.append((holding.token, outcome))

    def returned(self, holdings):
        self.returns.extend(holding.token for holding in holdings)

    def noted(self, holding, progress):
        self.notes.append((holding.token, progress))

    def logged(self, holding, stream, text):
        self.lines.append((holding.token, stream, text))

    def child_ended(self, slot, *, idle):  # noqa: ARG002 - as `Office` has it
        self.ends.append(idle)
        task = asyncio.get_running_loop().create_task(self.restart())
        self.starts.add(task)
        task.add_done_callback(self.starts.discard)

    async def restart(self):
        while self.slot.pid is None:
            try:
                await self.slot.start()
            except PenstockError:
                await asyncio.sleep(0)

    async def start(self):
        """The first child, ready for work."""
        starting = asyncio.get_running_loop().create_task(self.slot.start())
        await settle()
        self.child.speak()
        await starting
        return self.child

    @property
    def child(self):
        """The newest child."""
        return self.puppets[-1]

    def holding(self, task="t", limits=LIMITS):
        token = next(self._tokens)
        self.given.append(token)
        return Holding(
            Claim(spec=JobSpec(id=f"j{token}", task=task, limits=limits), token=token, attempt=1), 0
        )

    def give(self, count=1, task="t", limits=LIMITS):
        """Ship this many attempts; their tokens."""
        holdings = [self.holding(task, limits) for _ in range(count)]
        for holding in holdings:
            self.slot.take(holding)
        self.slot.ship()
        return [holding.token for holding in holdings]

    def outcome(self, token):
        """What the only report of this attempt said."""
        (only,) = [outcome for reported, outcome in self.finishes if reported == token]
        assert token not in self.returns
        return only

    @property
    def usable(self):
        """Whether the slot would take work now."""
        return self.slot.pid is not None and self.slot.room() and self.slot.appetite(1) == 1


async def settle():
    """Let everything that is due happen."""
    for _ in range(10):
        await asyncio.sleep(0)


class Clockwork(asyncio.SelectorEventLoop):
    """An event loop whose time is moved by hand."""

    ahead = 0.0

    def time(self):
        return super().time() + self.ahead


async def later(seconds):
    """Move the event loop's time on."""
    asyncio.get_running_loop().ahead += seconds
    await settle()


def acted(test):
    """Run the test on a loop whose time is moved by hand."""

    @functools.wraps(test)
    def on_stage(*args, **kwargs):
        with asyncio.Runner(loop_factory=Clockwork) as runner:
            runner.run(test(*args, **kwargs))

    return on_stage


@acted
async def test_an_answer_frees_the_slot():
    stage = Stage()
    child = await stage.start()
    (token,) = stage.give()
    assert not stage.slot.room()
    child.work()
    assert isinstance(stage.outcome(token), Succeeded)
    assert stage.usable


@acted
async def test_what_an_attempt_says_is_passed_on():
    stage = Stage()
    child = await stage.start()
    (token,) = stage.give()
    progress = JobProgress(0.5, "half")
    child.mouth.extend(
        [Note(token, progress), Line(token, "stdout", "hello"), Line(token + 1, "stdout", "?")]
    )
    child.work()
    assert stage.notes == [(token, progress)]
    assert stage.lines == [(token, "stdout", "hello")]


@acted
async def test_a_dead_child_ends_its_first_attempt_and_gives_the_others_back():
    stage = Stage()
    child = await stage.start()
    first, *rest = stage.give(3)
    child.die()
    outcome = stage.outcome(first)
    assert outcome.error.code == FailureCode.CRASHED
    assert "SIGKILL" in outcome.error.message
    assert stage.returns == rest
    await settle()
    stage.child.speak()
    await settle()
    assert stage.usable


@acted
async def test_a_child_that_dies_before_it_is_ready_is_replaced():
    stage = Stage()
    child = await stage.start()
    child.die()
    await settle()
    stillborn = stage.child
    stillborn.mouth.clear()
    stillborn.die()
    await settle()
    assert stage.child is not stillborn
    stage.child.speak()
    await settle()
    assert stage.usable
    assert stage.slot.pid == stage.child.pid


@acted
async def test_a_first_child_that_dies_at_birth_is_an_error():
    stage = Stage()
    starting = asyncio.get_running_loop().create_task(stage.slot.start())
    await settle()
    stage.child.mouth.clear()
    stage.child.die()
    with pytest.raises(PenstockError) as raised:
        await starting
    assert raised.value.code is ErrorCode.INTERNAL_ERROR
    assert stage.slot.pid is None


@acted
async def test_a_running_attempt_is_asked_then_terminated_then_killed():
    stage = Stage()
    child = await stage.start()
    (token,) = stage.give()
    child.hear()
    child.begin()
    stage.slot.stop_attempt(token)
    child.hear()
    assert token in child.cancelled
    assert child.signals == []
    await later(ASK_S)
    assert child.signals == ["TERM"]
    await later(TERMINATE_S)
    assert child.signals == ["TERM", "KILL"]
    child.die()
    assert stage.outcome(token) == Cancelled()


@acted
async def test_an_attempt_that_listens_keeps_its_child():
    stage = Stage()
    child = await stage.start()
    (token,) = stage.give()
    child.hear()
    child.begin()
    stage.slot.stop_attempt(token)
    child.answer(Fault(token, FailureCode.CANCELLED, "cancelled", ""))
    child.speak()
    await later(ASK_S + TERMINATE_S + 1)
    assert child.signals == []
    assert stage.outcome(token) == Cancelled()
    assert stage.usable


@acted
async def test_cancelling_an_attempt_that_waits_leaves_the_running_one_alone():
    stage = Stage()
    child = await stage.start()
    running, waiting = stage.give(2)
    child.hear()
    child.begin()
    stage.slot.stop_attempt(waiting)
    await later(ASK_S + TERMINATE_S + 1)
    assert child.signals == []
    child.work()
    assert isinstance(stage.outcome(running), Succeeded)
    assert stage.outcome(waiting) == Cancelled()


@acted
async def test_an_attempt_past_its_grace_is_killed_as_timed_out():
    stage = Stage()
    child = await stage.start()
    (token,) = stage.give()
    began = stage.slot._head_since
    stage.slot.patrol(began + 1.49)
    assert child.signals == []
    stage.slot.patrol(began + 1.51)
    assert child.signals == ["KILL"]
    child.die()
    error = stage.outcome(token).error
    assert error.code == FailureCode.TIMED_OUT
    assert error.message == "took longer than 1 s and did not stop"


@acted
async def test_an_attempt_is_killed_for_its_own_cpu_time_only():
    stage = Stage()
    child = await stage.start()
    limits = Limits(cpu_ms=300, grace_ms=200)
    (first,) = stage.give(limits=limits)
    for cpu in (5_000.0, 5_500.0):  # what ran before, then all that is allowed
        child.cpu = cpu
        stage.slot.patrol(time.monotonic())
    child.work()
    (second,) = stage.give(limits=limits)
    child.cpu = 5_900.0
    stage.slot.patrol(time.monotonic())
    child.cpu = 6_400.0
    stage.slot.patrol(time.monotonic())
    assert not child.killed
    assert isinstance(stage.outcome(first), Succeeded)
    child.cpu = 6_401.0
    stage.slot.patrol(time.monotonic())
    assert child.killed
    child.die()
    outcome = stage.outcome(second)
    assert outcome.error == JobError("TIMED_OUT", "used more than 300 ms of CPU time and did not stop")
    assert outcome.crashed


@acted
async def test_an_attempt_beyond_its_memory_is_killed_with_readable_sizes():
    stage = Stage()
    child = await stage.start()
    (token,) = stage.give(limits=Limits(memory_bytes=300 * 2**20))
    child.size = 400 * 2**20
    stage.slot.patrol(stage.slot._head_since + 0.2)
    child.die()
    error = stage.outcome(token).error
    assert error.code == FailureCode.OUT_OF_MEMORY
    assert error.message == "400 MiB > limit 300 MiB"


@acted
async def test_a_task_without_a_limit_of_its_own_has_the_workers():
    stage = Stage()
    child = await stage.start()
    stage.give(limits=Limits())
    child.size = 9_000_000
    stage.slot.patrol(stage.slot._head_since + 0.2)
    assert child.signals == []
    child.size = 11_000_000
    stage.slot.patrol(stage.slot._head_since + 0.2)
    assert child.signals == ["KILL"]


@acted
async def test_an_answer_that_crosses_a_kill_stands_and_the_next_attempt_is_not_charged():
    """The attempt finished in the instant in which it was killed; the kill hits its successor."""
    stage = Stage()
    child = await stage.start()
    first, second, third = stage.give(3)
    child.hear()
    child.begin()
    stage.slot.patrol(time.monotonic() + LATE)
    assert child.signals == ["KILL"]
    child.answer()
    child.begin()
    child.die()
    assert isinstance(stage.outcome(first), Succeeded)
    assert stage.outcome(second) == Released()
    assert stage.returns == [third]
    await settle()
    stage.child.speak()
    await settle()
    assert stage.usable


@acted
async def test_an_only_answer_that_crosses_a_kill_leaves_a_usable_slot():
    stage = Stage()
    child = await stage.start()
    (token,) = stage.give()
    child.hear()
    child.begin()
    stage.slot.release_all()
    child.answer()
    child.die()
    assert isinstance(stage.outcome(token), Succeeded)
    await settle()
    stage.child.speak()
    await settle()
    assert stage.usable


@acted
async def test_an_answer_still_kept_by_a_child_that_dies_stands_and_its_successor_is_charged():
    stage = Stage()
    child = await stage.start()
    first, second, third, fourth = stage.give(4)
    child.hear()
    for _ in range(2):
        child.begin()
        child.keep()
    child.begin()
    child.die(Exit(status=-11))
    assert isinstance(stage.outcome(first), Succeeded)
    assert isinstance(stage.outcome(second), Succeeded)
    assert stage.outcome(third).error.code == FailureCode.CRASHED
    assert stage.returns == [fourth]


@acted
async def test_a_timeout_is_not_held_against_an_attempt_whose_answer_is_kept(monkeypatch):
    stage = Stage()
    child = await stage.start()
    first, second = stage.give(2)
    child.hear()
    child.begin()
    child.keep()
    child.begin()
    now = time.monotonic() + 10
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stage.slot.patrol(now)
    assert child.signals == []
    assert isinstance(stage.outcome(first), Succeeded)
    monkeypatch.setattr(time, "monotonic", lambda: now + 1.51)
    stage.slot.patrol(now + 1.51)
    assert child.signals == ["KILL"]
    child.die()
    assert stage.outcome(second).error.code == FailureCode.TIMED_OUT


@acted
async def test_a_cancel_of_an_attempt_whose_answer_is_kept_leaves_the_running_one_alone():
    stage = Stage()
    child = await stage.start()
    first, second = stage.give(2)
    child.hear()
    child.begin()
    stage.slot.stop_attempt(first)
    child.keep()
    child.begin()
    await later(ASK_S + TERMINATE_S + 1)
    assert child.signals == []
    assert isinstance(stage.outcome(first), Succeeded)
    child.work()
    assert isinstance(stage.outcome(second), Succeeded)


@acted
async def test_giving_up_releases_what_runs_and_not_what_is_answered():
    stage = Stage()
    child = await stage.start()
    first, second = stage.give(2)
    child.hear()
    child.begin()
    child.keep()
    child.begin()
    stage.slot.release_all()
    assert child.signals == ["KILL"]
    child.die()
    assert isinstance(stage.outcome(first), Succeeded)
    assert stage.outcome(second) == Released()


@acted
async def test_what_waits_behind_a_long_attempt_is_called_back():
    stage = Stage()
    child = await stage.start()
    running, *waiting = stage.give(4)
    child.hear()
    child.begin()
    stage.slot.patrol(stage.slot._head_since + STUCK_MS / 1000 + 0.001)
    child.hear()
    child.say_all()
    assert stage.returns == waiting
    child.work()
    assert isinstance(stage.outcome(running), Succeeded)


@acted
async def test_nothing_is_put_behind_an_attempt_that_turned_out_to_be_long(monkeypatch):
    stage = Stage()
    child = await stage.start()
    for _ in range(50):
        stage.pace.learn("t", 0.1)
    stage.give()
    child.hear()
    child.begin()
    assert stage.slot.room()
    assert stage.slot.appetite(10) == 9
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 1)
    assert not stage.slot.room()
    assert stage.slot.appetite(10) == 0
    child.work()
    assert stage.slot.room()


@acted
@pytest.mark.parametrize("elapsed_ms", [1.0, 15.0, 25.0])
async def test_attempts_are_taken_as_long_as_the_last_waits_no_longer_than_a_worth(elapsed_ms):
    stage = Stage()
    await stage.start()
    for _ in range(50):
        stage.pace.learn("known", elapsed_ms)
    taken = 0
    while stage.slot.room():
        stage.slot.take(stage.holding("known"))
        taken += 1
    assert taken <= MAX_AHEAD
    assert (taken - 1) * elapsed_ms < WORTH_MS <= taken * elapsed_ms


@acted
async def test_nothing_is_put_behind_an_unknown_attempt():
    stage = Stage()
    await stage.start()
    stage.slot.take(stage.holding("unknown"))
    assert not stage.slot.room()


@acted
async def test_recycling_has_the_next_child_ready_before_the_old_one_leaves():
    stage = Stage(recycle_after=2)
    old = await stage.start()
    stage.held_up = True
    for _ in range(3):
        stage.give()
        old.hear()
        old.begin()
        old.answer(Done(old.running, b"1", 50_000))
        old.say_all()
        await settle()
        assert stage.usable, "the old one works on until the new one is there"
    assert len(stage.asked) == 1
    stage.asked.popleft().set_result(None)
    await settle()
    assert stage.slot.pid == old.pid
    stage.child.speak()
    await settle()
    assert stage.slot.pid == stage.child.pid != old.pid
    assert old.closed
    assert stage.usable
    old.die(Exit(status=0))
    assert stage.ends == []


@acted
async def test_tiny_attempts_count_by_their_length_towards_recycling():
    stage = Stage(recycle_after=10)
    child = await stage.start()
    for _ in range(99):
        stage.give()
        child.hear()
        child.begin()
        child.answer(Done(child.running, b"1", 900))
        child.say_all()
    await settle()
    assert len(stage.puppets) == 1
    for _ in range(20):
        stage.give()
        child.hear()
        child.begin()
        child.answer(Done(child.running, b"1", 900))
        child.say_all()
    await settle()
    assert len(stage.puppets) == 2


@acted
async def test_a_child_that_rests_above_its_size_is_recycled():
    stage = Stage(recycle_bytes=1_000)
    old = await stage.start()
    old.size = 2_000
    stage.give()
    old.hear()
    old.begin()
    old.answer(Done(old.running, b"1", 50_000))
    old.say_all()
    await settle()
    stage.child.speak()
    await settle()
    assert stage.slot.pid != old.pid
    assert old.closed


@acted
async def test_a_replacement_that_cannot_be_made_is_tried_again_later():
    stage = Stage(recycle_after=1)
    child = await stage.start()
    stage.held_up = True
    for attempt in range(2):
        stage.give()
        child.hear()
        child.begin()
        child.answer(Done(child.running, b"1", 50_000))
        child.say_all()
        await settle()
        asked = stage.asked.popleft()
        if attempt == 0:
            asked.set_exception(PenstockError(ErrorCode.INTERNAL_ERROR, "no more processes"))
        else:
            asked.set_result(None)
        await settle()
    stage.child.speak()
    await settle()
    assert stage.slot.pid == stage.child.pid != child.pid


@acted
async def test_only_one_child_stays_when_two_were_on_their_way():
    """The child dies while its replacement is being made: the slot asks for another one as well."""
    stage = Stage(recycle_after=1)
    old = await stage.start()
    stage.held_up = True
    stage.give()
    old.hear()
    old.begin()
    old.answer(Done(old.running, b"1", 50_000))
    old.say_all()
    await settle()
    old.die()
    await settle()
    for asked in list(stage.asked):
        asked.set_result(None)
    await settle()
    for puppet in stage.puppets:
        puppet.say_all()
    await settle()
    kept = [puppet for puppet in stage.puppets if not puppet.dead and not puppet.closed]
    assert [puppet.pid for puppet in kept] == [stage.slot.pid]
    assert stage.usable


@acted
async def test_a_recall_of_everything_still_lets_the_replacement_in():
    stage = Stage(recycle_after=1)
    old = await stage.start()
    stage.give()
    old.hear()
    old.begin()
    old.answer(Done(old.running, b"1", 50_000))
    old.say_all()
    tokens = stage.give(2)
    await settle()
    stage.child.speak()
    await settle()
    stage.slot.recall()
    old.hear()
    old.hear()
    old.say_all()
    assert stage.returns == tokens
    await settle()
    assert stage.usable
    assert old.closed


def each(stage, do):
    for puppet in stage.puppets:
        do(puppet)


def give_if_room(stage, count):
    if stage.slot.room():
        stage.give(count)


def stop(slot, pick):
    """As the supervisor does it: once."""
    if slot._given:
        holding = slot._given[pick(slot._given)]
        if not holding.cancelled:
            holding.cancelled = True
            slot.stop_attempt(holding.token)


def fork(stage):
    if stage.asked:
        stage.asked.popleft().set_result(None)


def reap(puppet):
    if puppet.killed:
        puppet.die()
    if puppet.closed and not puppet.queue and puppet.running is None:
        puppet.die(Exit(status=0))


MOVES = {
    "give one": lambda stage: give_if_room(stage, 1),
    "give three": lambda stage: give_if_room(stage, 3),
    "hear": lambda stage: each(stage, Puppet.hear),
    "begin": lambda stage: each(stage, Puppet.begin),
    "answer": lambda stage: each(stage, lambda puppet: puppet.answer(Done(puppet.running, b"1", 50_000))),
    "keep": lambda stage: each(stage, lambda puppet: puppet.keep(Done(puppet.running, b"1", 50_000))),
    "look": lambda stage: each(stage, Puppet.look),
    "speak": lambda stage: each(stage, Puppet.speak),
    "recall": lambda stage: stage.slot.recall(),
    "cancel the first": lambda stage: stop(stage.slot, lambda given: next(iter(given))),
    "cancel the last": lambda stage: stop(stage.slot, lambda given: next(reversed(given))),
    "patrol": lambda stage: stage.slot.patrol(time.monotonic() + 0.2),
    "patrol late": lambda stage: stage.slot.patrol(time.monotonic() + LATE),
    "release": lambda stage: stage.slot.release_all(),
    "crash": lambda stage: stage.child.die(Exit(status=-11)),
    "fork": fork,
    "reap": lambda stage: each(stage, reap),
}
OFTEN = (
    "give one",
    "hear",
    "hear",
    "begin",
    "begin",
    "answer",
    "keep",
    "speak",
    "speak",
    "fork",
    "reap",
    "pause",
)
moves = st.sampled_from([*MOVES, "pause", "time passes", *OFTEN])


@given(st.lists(moves, min_size=20, max_size=100), st.sampled_from([1, 3, 1_000_000]))
@settings(deadline=None, max_examples=300)
@acted
async def test_whatever_happens_every_attempt_is_reported_once_and_the_slot_recovers(script, recycle_after):
    stage = Stage(recycle_after)
    await stage.start()
    stage.held_up = True
    for move in script:
        if move == "pause":
            await settle()
        elif move == "time passes":
            await later(ASK_S + 0.01)
        else:
            MOVES[move](stage)
    await curtain(stage)
    assert Counter([token for token, _ in stage.finishes] + stage.returns) == Counter(stage.given)
    kept = [puppet for puppet in stage.puppets if not puppet.dead and not puppet.closed]
    assert [puppet.pid for puppet in kept] == [stage.slot.pid]
    assert stage.usable
    # Only the slot itself sends SIGKILL in these plays, so no attempt may be charged for one.
    failures = [outcome.error for _, outcome in stage.finishes if isinstance(outcome, Failed)]
    assert not any("SIGKILL" in error.message for error in failures)
    # An attempt that was answered, even in an answer that was only kept, ends as it was answered.
    assert {token for token, outcome in stage.finishes if isinstance(outcome, Succeeded)} == {
        token for puppet in stage.puppets for token in puppet.succeeded
    }


async def curtain(stage):
    """Let everything come to its end."""
    stage.held_up = False
    for _ in range(8):
        while stage.asked:
            stage.asked.popleft().set_result(None)
        for puppet in list(stage.puppets):
            if puppet.killed:
                puppet.die()
            puppet.work()
            if puppet.closed:
                puppet.die(Exit(status=0))
        await later(ASK_S + TERMINATE_S)

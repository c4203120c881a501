"""When a child keeps an answer for a moment, and when it sends it."""

import os
import socket
import time

import msgspec
import pytest

from penstock.core.attempt import Done, FromChild, Run
from penstock.core.catalog import Catalog
from penstock.executors.answers import MAX_ANSWER, KeptAnswers, shared_memory
from penstock.executors.child import TINY_NS, Runner
from penstock.executors.frames import Frames

RUN = Run("j", 1, 1, "tiny", b"{}")
DONE = Done(1, b"1", 5)


@pytest.fixture
def lines():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


@pytest.fixture
def runner(lines):
    """Among tiny attempts, an instant after it sent something."""
    memory = shared_memory()
    runner = Runner(lines[1], KeptAnswers(memory), Catalog([]))
    os.close(memory)
    runner._tiny.add("tiny")
    runner._pending.append(RUN)
    runner._sent_at = time.perf_counter_ns() + 10**12
    return runner


def sent(lines):
    frames = Frames(msgspec.msgpack.Decoder(list[FromChild]))
    try:
        return [answer.token for answers in frames.feed(lines[0].recv(1 << 16)) for answer in answers]
    except BlockingIOError:
        return []


def test_an_answer_between_tiny_attempts_is_kept(runner, lines):
    runner._answer(RUN, DONE)
    assert sent(lines) == []
    assert runner._kept.read(0)


def nothing_follows(runner):
    runner._pending.clear()


def something_unknown_follows(runner):
    runner._pending[0] = Run("j", 2, 1, "unknown", b"{}")


def it_took_long(runner):
    runner._tiny.clear()


def nothing_was_sent_lately(runner):
    runner._sent_at = time.perf_counter_ns() - TINY_NS


def it_said_something(runner):
    runner._spoke = True


@pytest.mark.parametrize(
    "case",
    [nothing_follows, something_unknown_follows, it_took_long, nothing_was_sent_lately, it_said_something],
)
def test_it_is_sent_with_those_before_it_when(runner, lines, case):
    runner._answer(RUN, DONE)
    case(runner)
    runner._answer(RUN, Done(2, b"1", 5))
    assert sent(lines) == [1, 2]
    assert not runner._kept.read(2)


def test_a_long_answer_is_sent_behind_those_that_were_kept(runner, lines):
    runner._answer(RUN, DONE)
    runner._answer(RUN, Done(2, b"x" * MAX_ANSWER, 5))
    runner._answer(RUN, Done(3, b"1", 5))
    assert sent(lines) == [1, 2]
    assert runner._kept.read(2)


def test_the_answer_of_an_attempt_that_spoke_is_never_found_before_it_is_sent(runner, monkeypatch):
    """What it said may still be on its way, and may only be published before it is settled."""
    it_said_something(runner)
    found = []
    monkeypatch.setattr(runner, "_write", lambda _: found.append(runner._kept.read(0)))
    runner._answer(RUN, DONE)
    assert found == [b""]


def test_waiting_for_work_sends_what_was_kept(runner, lines):
    runner._answer(RUN, DONE)
    runner._pending.clear()
    runner._arrivals.put(False)
    assert runner._next() is None
    assert sent(lines) == [1]


def test_only_what_was_sent_counts_as_sent(runner):
    """The supervisor looks for kept answers only for a while after it has heard something."""
    runner._sent_at = 0
    runner._flush()
    assert runner._sent_at == 0

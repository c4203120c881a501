"""Answers in memory that two processes share, here two mappings of it in one."""

import asyncio
import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.attempt import Done, Line
from penstock.executors.answers import MAX_ANSWER, SIZE, KeptAnswers, shared_memory
from penstock.executors.frames import encode, frame
from penstock.executors.process import ProcessChild


def both_sides():
    """The child's view and the supervisor's."""
    memory = shared_memory()
    try:
        return KeptAnswers(memory), KeptAnswers(memory)
    finally:
        os.close(memory)


def found(reader, arrived=0):
    kept = reader.read(arrived)
    return msgspec.msgpack.decode(kept) if kept else []


def test_what_is_kept_is_found_at_once_and_in_order():
    child, supervisor = both_sides()
    assert found(supervisor) == []
    for n in range(300):
        assert child.keep(encode(n))
        assert found(supervisor) == list(range(n + 1))


def test_what_is_kept_is_sent_as_one_frame_of_an_array():
    child, _ = both_sides()
    assert bytes(child.framed()) == b""
    for n in range(300):
        child.keep(encode(n))
    whole = bytes(child.framed())
    assert int.from_bytes(whole[:4]) == len(whole) - 4
    assert msgspec.msgpack.decode(whole[4:]) == list(range(300))


def test_what_was_sent_is_gone_and_does_not_come_back():
    child, supervisor = both_sides()
    child.keep(encode("a"))
    child.framed()
    child.clear()
    assert found(supervisor) == found(supervisor, 1) == []
    child.keep(encode("b"))
    assert found(supervisor, 1) == ["b"]


def test_nothing_is_found_before_all_that_was_sent_has_arrived():
    child, supervisor = both_sides()
    child.passed(2)
    child.keep(encode("third"))
    assert [found(supervisor, arrived) for arrived in range(4)] == [[], [], ["third"], []]


@pytest.mark.parametrize("at", [0, 7, 20])
def test_what_is_being_changed_is_not_taken_for_an_answer(at):
    child, supervisor = both_sides()
    child.keep(encode("a" * 30))
    child._memory[17 + at] ^= 1
    assert found(supervisor) == []


def test_it_says_when_it_is_full_and_keeps_nothing_long():
    child, supervisor = both_sides()
    assert not child.keep(b"x" * (MAX_ANSWER + 1))
    answer = encode("x" * 1000)
    kept = 0
    while child.keep(answer):
        kept += 1
    assert SIZE - 2 * len(answer) < kept * len(answer) <= SIZE
    assert len(found(supervisor)) == kept
    many, reader = both_sides()
    small = 0
    while many.keep(b"\x01"):
        small += 1
    assert len(found(reader)) == small == 4095


class Scene:
    """A child that is only played, with real shared memory, before a real `ProcessChild`."""

    def __init__(self):
        self.kept, theirs = both_sides()
        self.heard, self.answered = [], []
        self.seen = ProcessChild(os.getpid(), theirs, self.heard.append, self.heard.append)
        self.on_its_way = b""
        self.unclear = False

    def done(self):
        self.answered.append(Done(len(self.answered), b"1", 5))
        return self.answered[-1]

    def keep(self):
        self.finish_sending()
        self.kept.keep(encode(self.done()))

    def send(self):
        """Send what is kept; the child may pause or die before it notes that."""
        self.finish_sending()
        if whole := bytes(self.kept.framed()):
            self.on_its_way += whole
            self.unclear = True

    def finish_sending(self):
        if self.unclear:
            self.kept.clear()
            self.unclear = False

    def answer_at_once(self):
        self.send()
        self.finish_sending()
        self.on_its_way += frame([Line(0, "stdout", "said")]) + frame([self.done()])
        self.kept.passed(1)

    def arrive(self, part=1.0):
        size = round(len(self.on_its_way) * part)
        data, self.on_its_way = self.on_its_way[:size], self.on_its_way[size:]
        if data:
            self.seen.data_received(data)

    def arrive_in_part(self):
        self.arrive(0.4)

    def look(self):
        self.seen.look()


moves = st.sampled_from(
    ["keep", "keep", "keep", "send", "answer_at_once", "arrive", "arrive_in_part", "look"]
)


@given(st.lists(moves, max_size=60))
def test_every_answer_is_heard_once_and_in_order_whenever_one_looks(script):
    async def act():
        scene = Scene()
        for move in script:
            getattr(scene, move)()
        scene.arrive()
        scene.look()
        return scene

    scene = asyncio.run(act())
    assert [message for message in scene.heard if isinstance(message, Done)] == scene.answered

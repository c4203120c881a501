import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.attempt import (
    Batch,
    CancelRun,
    Done,
    Fault,
    FromChild,
    Line,
    Note,
    Ready,
    Recall,
    Recalled,
    Run,
)
from penstock.core.job import JobProgress
from penstock.executors.frames import Frames, frame

tokens = st.integers(0, 2**63 - 1)
texts = st.text(max_size=200)
runs = st.builds(
    Run,
    job_id=texts,
    token=tokens,
    attempt=st.integers(1, 100),
    task=texts,
    params=st.binary(max_size=200),
    timeout_ms=st.none() | st.integers(1, 2**31),
    threads=st.integers(1, 64),
)
from_child = st.one_of(
    st.builds(Done, tokens, st.binary(max_size=300), st.integers(0, 2**40)),
    st.builds(Fault, tokens, texts, texts, texts, st.booleans(), st.integers(0, 2**40)),
    st.builds(Note, tokens, st.builds(JobProgress, st.floats(0, 1), texts)),
    st.builds(Line, tokens, texts, texts),
    st.builds(Recalled, st.lists(tokens).map(tuple)),
    st.builds(Ready, st.integers(1, 2**22)),
)
to_child = st.one_of(
    st.builds(Batch, st.lists(runs, max_size=5).map(tuple)),
    st.builds(CancelRun, tokens),
    st.just(Recall()),
)


def cut(stream, sizes):
    """The stream in pieces of these sizes, over and over."""
    start = 0
    while start < len(stream):
        for size in sizes:
            yield stream[start : start + size]
            start += size


@given(st.lists(from_child), st.lists(st.integers(1, 400), min_size=1, max_size=8))
def test_messages_survive_any_cutting_of_the_stream(messages, sizes):
    frames = Frames(msgspec.msgpack.Decoder(FromChild))
    stream = b"".join(map(frame, messages))
    assert [message for piece in cut(stream, sizes) for message in frames.feed(piece)] == messages


@given(st.lists(to_child), st.lists(st.integers(1, 400), min_size=1, max_size=8))
def test_the_way_down_is_cut_alike(messages, sizes):
    frames = Frames(msgspec.msgpack.Decoder(Batch | CancelRun | Recall))
    stream = b"".join(map(frame, messages))
    assert [message for piece in cut(stream, sizes) for message in frames.feed(piece)] == messages


@given(from_child)
def test_a_message_comes_out_with_its_last_byte_and_not_before(message):
    frames = Frames(msgspec.msgpack.Decoder(FromChild))
    whole = frame(message)
    assert frames.feed(whole[:-1]) == []
    assert frames.feed(whole[-1:]) == [message]
    assert frames.feed(b"") == []


def test_a_result_of_many_megabytes_passes():
    frames = Frames(msgspec.msgpack.Decoder(FromChild))
    big = Done(1, b"x" * 20_000_000)
    whole = frame(big)
    assert [m for piece in cut(whole, [1 << 16]) for m in frames.feed(piece)] == [big]


def test_what_is_no_message_is_refused():
    frames = Frames(msgspec.msgpack.Decoder(FromChild))
    with pytest.raises(msgspec.DecodeError):
        frames.feed(b"\x00\x00\x00\x01\xc1")

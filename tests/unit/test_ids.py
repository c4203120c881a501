"""Ids are UUIDs of version 7 (RFC 9562) that grow."""

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock.core import ids
from penstock.core.ids import IdMaker, new_id


def milliseconds_of(made: str) -> int:
    """The first 48 bits of the id."""
    return int(made.replace("-", "")[:12], 16)


def test_the_layout_is_that_of_rfc_9562() -> None:
    before = time.time_ns() // 1_000_000
    made = IdMaker()()
    after = time.time_ns() // 1_000_000
    read = uuid.UUID(made)
    assert str(read) == made
    assert (read.version, read.variant) == (7, uuid.RFC_4122)
    assert before <= milliseconds_of(made) <= after


def test_ids_of_one_maker_strictly_increase() -> None:
    made = [new_id() for _ in range(20_000)]
    assert made == sorted(set(made))
    assert {uuid.UUID(one).version for one in made} == {7}


def test_ids_strictly_increase_in_each_of_many_threads_and_never_repeat() -> None:
    maker = IdMaker()
    start = threading.Barrier(8)

    def make(_: int) -> list[str]:
        start.wait()
        return [maker() for _ in range(3_000)]

    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(make, range(8)))
    assert all(batch == sorted(batch) for batch in batches)
    assert len({one for batch in batches for one in batch}) == 8 * 3_000


def test_ids_made_at_once_are_like_ids_made_one_by_one(at: list[int]) -> None:
    maker = IdMaker()
    made = [maker(), *maker.many(3_000), maker(), *maker.many(0), *maker.many(1), maker()]
    assert len(made) == 3_004
    assert made == sorted(set(made))
    assert {milliseconds_of(one) for one in made} == set(at)
    assert {(uuid.UUID(one).version, uuid.UUID(one).variant) for one in made} == {(7, uuid.RFC_4122)}
    assert len({one[-8:] for one in made}) > 3_000, "the last 32 bits of each are drawn"


def test_ids_made_at_once_carry_over_to_the_upper_bits(at: list[int]) -> None:
    maker = IdMaker()
    maker()
    maker._counter = (1 << 30) - 2
    made = maker.many(4)
    assert made == sorted(set(made))
    assert [one[14:18] for one in made] == ["7000", "7000", "7001", "7001"]


def test_batches_of_many_threads_never_overlap() -> None:
    maker = IdMaker()
    start = threading.Barrier(8)

    def make(_: int) -> list[str]:
        start.wait()
        return [one for _ in range(50) for one in maker.many(40)]

    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(make, range(8)))
    assert all(batch == sorted(batch) for batch in batches)
    assert len({one for batch in batches for one in batch}) == 8 * 50 * 40


def test_an_id_made_after_another_was_seen_is_larger() -> None:
    maker = IdMaker()
    seen: list[str] = []
    lock = threading.Lock()

    def make() -> None:
        for _ in range(1_000):
            with lock:
                seen.append(maker())

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == sorted(set(seen))


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time in milliseconds that ids are made at."""
    now = [1_700_000_000_000]
    monkeypatch.setattr(ids.time, "time_ns", lambda: now[0] * 1_000_000)
    return now


def test_ids_of_one_millisecond_increase(at: list[int]) -> None:
    maker = IdMaker()
    made = [maker() for _ in range(5_000)]
    assert made == sorted(set(made))
    assert {milliseconds_of(one) for one in made} == set(at)


def test_ids_increase_when_the_clock_goes_back(at: list[int]) -> None:
    maker = IdMaker()
    made = []
    for step in (0, -1, -5_000, 1, 4_999, 3):
        at[0] += step
        made += [maker(), maker()]
    assert made == sorted(set(made))


def test_the_counter_of_one_millisecond_starts_low_enough_never_to_overflow(
    at: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ids.os, "urandom", lambda count: b"\xff" * count)
    maker = IdMaker()
    first, second = maker(), maker()
    assert first < second
    assert milliseconds_of(second) == at[0]
    assert uuid.UUID(second).version == 7
    assert uuid.UUID(second).variant == uuid.RFC_4122


def test_two_makers_in_one_millisecond_do_not_collide(at: list[int]) -> None:
    makers = [IdMaker() for _ in range(2_000)]
    assert len({maker() for maker in makers}) == len(makers)

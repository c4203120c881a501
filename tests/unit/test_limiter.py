"""The limiter counts with the others while it can, and alone while it cannot."""

import pytest

from penstock.api.limiter import PAUSE_S, Limiter
from penstock.core.errors import broker_unavailable
from penstock.core.rate import Rate

RATE = Rate(3, 3_600)


class Meter:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def take(self, name, most, window_ms):
        self.asked.append((name, most, window_ms))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self):
        self.asked.append("close")


@pytest.fixture
def at(monkeypatch):
    """``at.now`` is the monotonic time."""

    class Time:
        now = 1_000.0

        def monotonic(self):
            return self.now

        def time(self):
            return self.now

    told = Time()
    monkeypatch.setattr("penstock.api.limiter.time", told)
    monkeypatch.setattr("limits.aio.storage.memory.time", told)
    return told


async def test_alone_each_client_has_the_whole_rate():
    limiter = Limiter(RATE, None)
    for client in ("a", "b"):
        assert [await limiter.take(client) for _ in range(3)] == [0.0] * 3
        waits = [await limiter.take(client) for _ in range(3)]
        assert all(3_590 < wait <= 3_600 for wait in waits)


async def test_the_others_decide(at):
    meter = Meter(0, 0, 1_500)
    limiter = Limiter(RATE, meter)
    assert [await limiter.take("a") for _ in range(3)] == [0.0, 0.0, 1.5]
    assert {asked[1:] for asked in meter.asked} == {(3, 3_600_000)}
    assert len({asked[0] for asked in meter.asked}) == 1


async def test_who_is_refused_costs_the_server_nothing_until_he_may_come(at):
    meter = Meter(1_500, 0)
    limiter = Limiter(RATE, meter)
    assert await limiter.take("a") == 1.5
    at.now += 1.0
    assert await limiter.take("a") == 0.5
    assert len(meter.asked) == 1
    at.now += 0.5
    assert await limiter.take("a") == 0.0
    assert len(meter.asked) == 2


async def test_while_the_server_is_away_the_node_counts_alone_and_asks_again_later(at):
    meter = Meter(0, broker_unavailable("gone"), 0)
    limiter = Limiter(RATE, meter)
    assert [await limiter.take("a") for _ in range(4)] == [0.0] * 4
    assert len(meter.asked) == 2, "once it did not answer, it is left alone"
    assert await limiter.take("a") > 0, "three of them were counted here"
    at.now += PAUSE_S
    assert await limiter.take("b") == 0.0
    assert len(meter.asked) == 3


async def test_clients_that_are_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr("penstock.api.limiter.MOST_REFUSED", 10)
    limiter = Limiter(Rate(1, 60), Meter(*[1_000] * 100))
    for n in range(100):
        await limiter.take(f"client {n}")
    assert len(limiter._refused) <= 10


async def test_it_lets_go_of_the_server():
    meter = Meter()
    await Limiter(RATE, meter).close()
    assert meter.asked == ["close"]


async def test_a_clock_that_is_set_back_locks_nobody_out(at):
    at.now = 100_000.0
    limiter = Limiter(RATE, None)
    assert [await limiter.take("a") > 0 for _ in range(4)] == [False, False, False, True]
    at.now -= 50_000
    limiter._refused.clear()
    assert [await limiter.take("a") > 0 for _ in range(4)] == [False, False, False, False]
    assert await limiter.take("a") > 0

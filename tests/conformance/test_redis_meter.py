"""Requests are counted together by all who share a server, and each is let through once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from kit.backends import RedisBackend
from kit.redis import EVERY_KIND, owner
from kit.time import deadline

from penstock.brokers.redis import meter
from penstock.brokers.redis.metering import PATIENCE_S as USUAL_PATIENCE_S
from penstock.brokers.redis.metering import RedisMeter
from penstock.core.errors import ErrorCode, PenstockError
from penstock.ports import BrokerOptions
from support.wait import eventually, least

every_kind = pytest.mark.parametrize("backend", EVERY_KIND, indirect=True)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that runs other tests may take its time."""
    monkeypatch.setattr("penstock.brokers.redis.metering.PATIENCE_S", 10.0)


@pytest.fixture
async def two(backend: RedisBackend) -> AsyncIterator[tuple[RedisMeter, RedisMeter]]:
    both = meter(backend.url, BrokerOptions()), meter(backend.url, BrokerOptions())
    yield both
    for each in both:
        await each.close()


@every_kind
async def test_two_count_together(two: tuple[RedisMeter, RedisMeter]) -> None:
    answers = await asyncio.gather(*(two[n % 2].take("ada", 20, 60_000) for n in range(50)))
    assert Counter(wait == 0 for wait in answers) == {True: 20, False: 30}
    assert all(0 <= wait <= 60_000 for wait in answers)
    assert await two[0].take("bob", 20, 60_000) == 0


@every_kind
async def test_room_comes_back_as_the_window_moves(two: tuple[RedisMeter, RedisMeter]) -> None:
    assert [await two[0].take("ada", 2, 300) for _ in range(2)] == [0, 0]
    wait_ms = await two[1].take("ada", 2, 300)
    assert 0 < wait_ms <= 300

    async def taken() -> bool:
        return await two[1].take("ada", 2, 300) == 0

    async with deadline():
        await eventually(taken)


@every_kind
async def test_what_is_counted_is_bounded_and_goes_away(
    backend: RedisBackend, two: tuple[RedisMeter, RedisMeter]
) -> None:
    for _ in range(10):
        await two[0].take("ada", 5, 60_000)
    name = f"{{{backend.namespace}}}:taken:ada"
    assert owner(backend).ask("LLEN", name) == 5
    assert 0 < int(owner(backend).ask("PTTL", name)) <= 60_000


@every_kind
async def test_a_clock_that_was_set_back_locks_nobody_out(
    backend: RedisBackend, two: tuple[RedisMeter, RedisMeter]
) -> None:
    name = f"{{{backend.namespace}}}:taken:ada"
    owner(backend).ask("RPUSH", name, *[99_999_999_999_999] * 3)
    assert await two[0].take("ada", 3, 1_000) == 0


@every_kind
async def test_a_server_that_is_away_is_not_waited_for_long(
    backend: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.brokers.redis.metering.PATIENCE_S", USUAL_PATIENCE_S)
    hurried = meter(backend.url, BrokerOptions())

    async def waited_s() -> float:
        began = asyncio.get_running_loop().time()
        with pytest.raises(PenstockError) as failed:
            await hurried.take("ada", 5, 60_000)
        assert failed.value.code is ErrorCode.BROKER_UNAVAILABLE
        return asyncio.get_running_loop().time() - began

    with backend.outage(backend.outages[0]):
        assert await least(waited_s, 4) < 4
    await hurried.close()

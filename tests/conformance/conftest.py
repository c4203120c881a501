"""Every test here receives its broker from a fixture, once per backend: that is the whole trick.

``broker`` and ``other`` are two brokers on one store, both on the hand-moved ``clock``;
``backend`` opens more.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kit.backends import BACKENDS, Backend
from kit.time import ManualClock

from penstock.ports import Broker, BrokerOptions

OPTIONS = BrokerOptions(lease_ms=5_000, timeout_s=10.0, keep_jobs_ms=600_000, keep_events_ms=300_000)


@pytest.fixture(params=BACKENDS)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    store = BACKENDS[request.param](tmp_path)
    yield store
    await store.remove()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def broker(backend: Backend, clock: ManualClock) -> Broker:
    return await backend.open(clock, OPTIONS)


@pytest.fixture
async def other(backend: Backend, clock: ManualClock) -> Broker:
    return await backend.open(clock, OPTIONS)

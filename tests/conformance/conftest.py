"""Every test here receives its broker from a fixture, once per backend: that is the whole trick.

``broker`` and ``other`` are two brokers on one store, both on the hand-moved ``clock``;
``backend`` opens more.
"""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the tests share the package `kit`
pytest.register_assert_rewrite("kit")

from kit.backends import BACKENDS, Backend  # noqa: E402 - needs the path above
from kit.time import ManualClock  # noqa: E402

from penstock.ports import Broker, BrokerOptions  # noqa: E402

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

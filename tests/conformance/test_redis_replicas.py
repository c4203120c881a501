"""Behind Sentinel nothing counts as accepted that only the primary has."""

import contextlib
from collections.abc import Iterator

import pytest
from kit.backends import RedisBackend
from kit.redis import opened
from kit.values import DONE, claim, claim_one, finish, get_one, ids, spec, submit_one

from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import State
from penstock.ports import Admission

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("backend", ["sentinel"], indirect=True)]

BRISK_S = 2.0
"""Long enough for the server, which looks at its blocked clients every tenth of a second, to tell why."""


@contextlib.contextmanager
def replicas_paused(backend: RedisBackend, count: int) -> Iterator[None]:
    """So many replicas take nothing in meanwhile, though the primary still counts them as its own."""
    group = backend.server
    replicas = [server for server in group.data if server is not group.primary][:count]
    with contextlib.ExitStack() as stack:
        for server in replicas:
            stack.enter_context(server.paused())
        yield


async def test_one_replica_is_enough_by_default(backend: RedisBackend) -> None:
    async with opened(backend.url, timeout_s=5) as broker:
        with replicas_paused(backend, 1):
            job = await submit_one(broker)
            assert await broker.settle([finish(await claim_one(broker), DONE)]) == [True]
        assert (await get_one(broker, job.id)).state is State.SUCCEEDED


async def test_the_number_of_replicas_can_be_chosen(backend: RedisBackend) -> None:
    async with (
        opened(f"{backend.url}&replicas=2", timeout_s=BRISK_S) as strict,
        opened(f"{backend.url}&replicas=0", timeout_s=BRISK_S) as easy,
    ):
        await submit_one(strict)
        with replicas_paused(backend, 1), pytest.raises(PenstockError, match="not confirmed") as refused:
            await submit_one(strict)
        assert refused.value.code is ErrorCode.BROKER_UNAVAILABLE
        with replicas_paused(backend, 2):
            await submit_one(easy)


async def test_what_no_replica_confirms_is_refused_however_often_it_is_repeated(
    backend: RedisBackend,
) -> None:
    """The primary knows the job by then, but to say so would be to promise that it is kept."""
    async with opened(backend.url, timeout_s=BRISK_S) as broker:
        await submit_one(broker)
        claimed = await claim_one(broker)
        wanted = spec(idempotency_key="key")
        with replicas_paused(backend, 2):
            for _ in range(2):
                for call in (lambda: broker.submit([wanted]), lambda: broker.settle([finish(claimed)])):
                    with pytest.raises(PenstockError, match="not confirmed by 1 replica") as refused:
                        await call()
                    assert refused.value.code is ErrorCode.BROKER_UNAVAILABLE
        (receipt,) = await broker.submit([wanted])
        assert (receipt.admission, receipt.job.id) == (Admission.REPEATED, wanted.id)
        assert ids(await claim(broker)) == [wanted.id]
        assert (await get_one(broker, claimed.spec.id)).state is State.SUCCEEDED

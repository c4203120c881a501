"""Does at the broker what an attempt asks for that splits a job or merges its parts."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import msgspec
import structlog
from msgspec.structs import replace

from penstock.core.attempt import PartsPage, Reply, Request, ResultsWanted
from penstock.core.errors import PenstockError
from penstock.core.ids import new_id
from penstock.core.job import JobSpec
from penstock.ports import Broker

Answer = TypeVar("Answer")


class Persist(Protocol):
    """Repeats an action while the broker is away."""

    def __call__(self, action: Callable[[], Awaitable[Answer]], /) -> Awaitable[Answer]:
        """What the action returned in the end."""


class Errands:
    """Every request is replied to, but those that are under way when the worker ends."""

    def __init__(self, broker: Broker, persist: Persist) -> None:
        self._broker = broker
        self._persist = persist
        self._under_way: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger("penstock.worker")

    def run(self, reply: Callable[[Reply], None], spec: JobSpec, request: Request) -> None:
        """See to a request of an attempt at this job; ``reply`` is called when it is done."""
        errand = asyncio.get_running_loop().create_task(self._run(reply, spec, request))
        self._under_way.add(errand)
        errand.add_done_callback(self._under_way.discard)

    def stop(self) -> None:
        """Give up what is under way."""
        for errand in self._under_way:
            errand.cancel()

    async def _run(self, reply: Callable[[Reply], None], spec: JobSpec, request: Request) -> None:
        try:
            match request:
                case PartsPage():
                    reply(await self._persist(lambda: self._spread(spec, request)))
                case ResultsWanted():
                    reply(await self._persist(lambda: self._fetch(spec, request)))
        except PenstockError as failed:
            reply(Reply(request.token, error=failed.message))
        except Exception as failed:  # noqa: BLE001 - whatever it was, the attempt must not wait for ever
            self._log.exception("cannot do what an attempt asks for", job=spec.id)
            reply(Reply(request.token, error=f"{type(failed).__name__}: {failed}"))

    async def _spread(self, spec: JobSpec, page: PartsPage) -> Reply:
        parts = part_specs(spec, page.first, page.params)
        holds = await self._broker.spread(spec.id, page.token, page.first, parts)
        return Reply(page.token, lost=not holds)

    async def _fetch(self, spec: JobSpec, wanted: ResultsWanted) -> Reply:
        results = await self._broker.results(spec.id, wanted.first, wanted.count)
        return Reply(wanted.token, tuple(None if each is None else bytes(each) for each in results))


def part_specs(parent: JobSpec, first: int, params: Sequence[bytes]) -> list[JobSpec]:
    """Parts of a job as jobs of their own: as urgent as it, for the same client, never shared or cached.

    The limit of how many jobs of the task may run holds for them; the job itself takes up no room meanwhile.
    """
    like = JobSpec(
        id="",
        task=parent.task,
        version=parent.version,
        queue=parent.queue,
        priority=parent.priority,
        limits=parent.limits,
        client=parent.client,
        initiated_by=parent.initiated_by,
        request_id=parent.request_id,
        parent_id=parent.id,
        weight=parent.weight,
        max_running=parent.max_running,
    )
    ids = new_id.many(len(params))
    return [
        replace(like, id=part_id, params=msgspec.Raw(each), part=number)
        for number, (part_id, each) in enumerate(zip(ids, params, strict=True), first)
    ]

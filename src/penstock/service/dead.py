"""Dead letters: failed jobs are listed, retried and purged by a person, many at a time."""

from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from penstock.core.clock import epoch_ms
from penstock.core.dead import DeadChoice, DeadFilter, DeadPage, DeadReport
from penstock.core.job import Job, State
from penstock.core.past import Attempt
from penstock.ports import Broker, JobQuery


class DeadLetters:
    """Use cases about failed jobs; part of the `Desk`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def find(self, page: DeadPage, client: str | None = None) -> list[tuple[Job, list[Attempt]]]:
        """Those that match, of a ``client`` if one is given, newest first, with what is kept of attempts."""
        jobs = await self._broker.find(replace(_query(page, page.limit), client=client))
        attempts = await self._broker.attempts([job.id for job in jobs])
        return list(zip(jobs, attempts, strict=True))

    async def retry(self, choice: DeadChoice) -> DeadReport:
        """Queue them anew, with all their attempts. Raises VALIDATION_ERROR for an unclear choice."""
        return await self._apply(choice, self._retry)

    async def purge(self, choice: DeadChoice) -> DeadReport:
        """Forget them and all that belongs to them. Raises as `retry` does."""
        return await self._apply(choice, self._broker.purge)

    async def _retry(self, job_ids: Sequence[str]) -> list[bool]:
        return [job is not None for job in await self._broker.retry(job_ids)]

    async def _apply(
        self, choice: DeadChoice, verb: Callable[[Sequence[str]], Awaitable[list[bool]]]
    ) -> DeadReport:
        choice.check()
        found = await self._chosen(choice)
        done = await verb(found) if found else []
        ids = [job_id for job_id, ok in zip(found, done, strict=True) if ok]
        skipped = [job_id for job_id in choice.ids if job_id not in set(ids)]
        whole = choice.ids or len(found) < choice.limit
        return DeadReport(count=len(ids), ids=ids, skipped=skipped, next=None if whole else found[-1])

    async def _chosen(self, choice: DeadChoice) -> list[str]:
        if not choice.ids:
            return [job.id for job in await self._broker.find(_query(choice, choice.limit))]
        jobs = await self._broker.get(list(dict.fromkeys(choice.ids)))
        return [job.id for job in jobs if job is not None and job.state is State.FAILED]


def _query(wanted: DeadFilter, limit: int) -> JobQuery:
    return JobQuery(
        state=State.FAILED,
        task=wanted.task,
        queue=wanted.queue,
        code=wanted.code,
        ended_after=epoch_ms(wanted.ended_after),
        ended_before=epoch_ms(wanted.ended_before),
        before=wanted.before,
        limit=limit,
    )

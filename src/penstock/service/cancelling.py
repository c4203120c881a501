"""Many jobs are stopped with one request: those of a queue, of a task, or by their ids."""

from collections.abc import Sequence

from penstock.core.cancelling import CancelChoice, CancelReport, OpenState
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import Job, State
from penstock.core.keys import Key, Role
from penstock.ports import Broker, JobQuery


class Cancelling:
    """A use case about many jobs; part of the `Desk`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def cancel(self, choice: CancelChoice, by: Key | None = None) -> CancelReport:
        """Stop what was chosen, the newest first.

        Who is no administrator stops jobs of its own client alone. Raises VALIDATION_ERROR for an unclear
        choice, FORBIDDEN for another's jobs.
        """
        choice.check()
        own = None if by is None or by.role is Role.ADMIN else by.client
        if own is not None and choice.client not in {None, own}:
            raise PenstockError(ErrorCode.FORBIDDEN, f"jobs of {choice.client} are another client's")
        found = await self._chosen(choice, own)
        stopped = await self._stopped(found, force=choice.force)
        skipped = [job_id for job_id in (choice.ids or found) if job_id not in set(stopped)]
        whole = choice.ids or len(found) < choice.limit
        return CancelReport(
            count=len(stopped), ids=stopped, skipped=skipped, next=None if whole else found[-1]
        )

    async def _chosen(self, choice: CancelChoice, own: str | None) -> list[str]:
        if not choice.ids:
            return await self._matching(choice, own or choice.client)
        jobs = await self._broker.get(list(dict.fromkeys(choice.ids)))
        return [job.id for job in jobs if job is not None and _open_to(job, own)]

    async def _matching(self, choice: CancelChoice, client: str | None) -> list[str]:
        """The newest that match. What waits is looked up before what runs: a job only moves that way."""
        found: set[str] = set()
        for state in [choice.state] if choice.state else OpenState:
            query = JobQuery(
                state=State(state),
                task=choice.task,
                queue=choice.queue,
                client=client,
                before=choice.before,
                limit=choice.limit,
            )
            found.update(job.id for job in await self._broker.find(query))
        return sorted(found, reverse=True)[: choice.limit]

    async def _stopped(self, job_ids: Sequence[str], *, force: bool) -> list[str]:
        jobs = await self._broker.cancel(job_ids, force=force) if job_ids else []
        return [job.id for job in jobs if job is not None and _stopping(job)]


def _open_to(job: Job, own: str | None) -> bool:
    return not job.state.final and (own is None or job.spec.client == own)


def _stopping(job: Job) -> bool:
    return job.state is State.CANCELLED or job.cancel_requested

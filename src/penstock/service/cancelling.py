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
        """Stop what was chosen, the newest first; a job that several wait for only by its id or ``force``.

        A job that changes its state between two looks, as one that is retried, may be left out.
        Who is no administrator stops jobs of its own client alone. Raises VALIDATION_ERROR for an unclear
        choice, FORBIDDEN for another's jobs.
        """
        choice.check()
        own = None if by is None or by.role is Role.ADMIN else by.client
        if own is not None and choice.client not in {None, own}:
            raise PenstockError(ErrorCode.FORBIDDEN, f"jobs of {choice.client} are another client's")
        found = await self._chosen(choice, own)
        stopped = await self._stopped([*found.values()], choice)
        ended = set(stopped)
        skipped = [job_id for job_id in dict.fromkeys(choice.ids or found) if job_id not in ended]
        whole = choice.ids or len(found) < choice.limit
        return CancelReport(
            count=len(stopped), ids=stopped, skipped=skipped, next=None if whole else min(found)
        )

    async def _chosen(self, choice: CancelChoice, own: str | None) -> dict[str, Job]:
        if not choice.ids:
            return await self._matching(choice, own or choice.client)
        jobs = await self._broker.get(list(dict.fromkeys(choice.ids)))
        return {job.id: job for job in jobs if job is not None and _open_to(job, own)}

    async def _matching(self, choice: CancelChoice, client: str | None) -> dict[str, Job]:
        """The newest that match. What waits is looked up before what runs: most jobs move that way."""
        found: dict[str, Job] = {}
        for state in [choice.state] if choice.state else OpenState:
            query = JobQuery(
                state=State(state),
                task=choice.task,
                queue=choice.queue,
                client=client,
                before=choice.before,
                limit=choice.limit,
            )
            found.update({job.id: job for job in await self._broker.find(query)})
        return {job_id: found[job_id] for job_id in sorted(found, reverse=True)[: choice.limit]}

    async def _stopped(self, found: Sequence[Job], choice: CancelChoice) -> list[str]:
        # Whoever repeats a filter must not take others' jobs from them by and by: each time one would leave.
        freely = choice.force or choice.ids
        job_ids = [job.id for job in found if freely or job.waiters == 1]
        jobs = await self._broker.cancel(job_ids, force=choice.force) if job_ids else []
        return [job.id for job in jobs if job is not None and _stopping(job)]


def _open_to(job: Job, own: str | None) -> bool:
    return not job.state.final and (own is None or job.spec.client == own)


def _stopping(job: Job) -> bool:
    return job.state is State.CANCELLED or job.cancel_requested

"""Whose jobs the events of a feed are about, which the feed itself does not say."""

from penstock.core.errors import ErrorCode, PenstockError
from penstock.service.desk import Desk

MOST = 10_000
"""Jobs remembered by one reader; most events are about a job that was heard of just before."""


class Owners:
    """One reader's memory of jobs and clients. ``client`` is whose jobs the reader sees, None for all."""

    def __init__(self, desk: Desk, client: str | None) -> None:
        self._desk = desk
        self._client = client
        self._known: dict[str, str | None] = {}

    async def may_see(self, job_id: str) -> bool:
        """Whether the reader sees this job. Raises BROKER_UNAVAILABLE."""
        return self._client is None or await self._of(job_id) == self._client

    async def _of(self, job_id: str) -> str | None:
        """The client of a job; None for one without, or that is gone."""
        if job_id not in self._known:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[job_id] = await self._look(job_id)
        return self._known[job_id]

    async def _look(self, job_id: str) -> str | None:
        try:
            return (await self._desk.get(job_id)).spec.client
        except PenstockError as failed:
            if failed.code is ErrorCode.JOB_NOT_FOUND:
                return None
            raise

"""Submissions for later: at a time, or after other jobs."""

from collections.abc import Sequence

from penstock.core.clock import epoch_ms, system_clock
from penstock.core.errors import PenstockError, field_error
from penstock.core.job import JobSpec
from penstock.core.keys import Key
from penstock.core.submission import Submission
from penstock.ports import Broker
from penstock.service.asker import may_see


def delay_ms(submission: Submission) -> int:
    """How long a job is to wait. ``run_at`` is taken by this node's clock; what is past is due at once.

    Raises VALIDATION_ERROR if both are given.
    """
    if submission.run_at is None:
        return round(submission.delay_s * 1000)
    if submission.delay_s:
        raise field_error([("run_at", "cannot be combined with delay_s")])
    late = epoch_ms(submission.run_at) - system_clock()
    if late > _MOST_MS:
        raise field_error([("run_at", "must be within a year from now")])
    return max(0, late)


_MOST_MS = 31_536_000_000


async def unknown_ahead(
    broker: Broker, specs: Sequence[JobSpec | PenstockError], by: Key | None = None
) -> list[JobSpec | PenstockError]:
    """The jobs, with a VALIDATION_ERROR in the place of each that waits for one that nobody knows.

    A job that is forgotten between this and the submission counts as one that did not succeed.
    """
    ahead = list({each for spec in specs if isinstance(spec, JobSpec) for each in spec.after})
    if not ahead:
        return list(specs)
    known = {job.id for job in await broker.get(ahead) if job is not None and may_see(by, job)}
    return [_checked(spec, known) if isinstance(spec, JobSpec) else spec for spec in specs]


def _checked(spec: JobSpec, known: set[str]) -> JobSpec | PenstockError:
    wrong = [
        (f"after[{n}]", f"there is no job {each}") for n, each in enumerate(spec.after) if each not in known
    ]
    return field_error(wrong) if wrong else spec

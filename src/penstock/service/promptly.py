"""A job whose answer is waited for by the one who asks, as if it were a plain call."""

from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import Job, State
from penstock.core.keys import Key
from penstock.core.submission import Submission
from penstock.service.desk import Desk


async def promptly(
    desk: Desk, submission: Submission, wait_s: float, request_id: str | None = None, by: Key | None = None
) -> Job:
    """The job when it has succeeded, within ``wait_s`` seconds.

    Raises TASK_TIMEOUT if it has not ended by then, and cancels it: nobody would fetch the answer. Raises
    INTERNAL_ERROR, naming job and reason, if it failed; and as `Desk.submit` does.
    """
    job = (await desk.submit(submission, request_id, wait_s, by)).job
    assert job is not None  # noqa: S101 - what is not refused has a job
    if job.state is State.SUCCEEDED:
        return job
    if job.state.final:
        reason = job.error.code if job.error else job.state
        message = f"job {job.id} has {job.state}: {reason}"
        raise PenstockError(ErrorCode.INTERNAL_ERROR, message, {"job_id": job.id, "reason": reason})
    await desk.cancel(job.id)
    message = f"no answer within {wait_s:g} s; job {job.id} is cancelled"
    raise PenstockError(ErrorCode.TASK_TIMEOUT, message, {"job_id": job.id, "wait_s": wait_s})

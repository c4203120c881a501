"""How an attempt ended, in core's terms: from what the child said, or from how it died."""

import signal

import msgspec

from penstock.core.attempt import Answer, Done, MergeDone, SplitDone
from penstock.core.errors import FailureCode
from penstock.core.job import JobError
from penstock.core.lifecycle import Cancelled, Failed, HandedBack, Lost, Merged, Outcome, Split, Succeeded
from penstock.core.units import readable_size
from penstock.worker_ports import Exit


def said(answer: Answer) -> Outcome:
    """The outcome a child reported."""
    if isinstance(answer, Done):
        return Succeeded(msgspec.Raw(answer.result))
    if isinstance(answer, SplitDone):
        return Split(answer.total)
    if isinstance(answer, MergeDone):
        return Merged(msgspec.Raw(answer.partial), answer.upto, answer.progress)
    if answer.code == FailureCode.CANCELLED:
        return Cancelled()
    error = JobError(answer.code, answer.message, answer.detail)
    if answer.code == FailureCode.TASK_UNKNOWN:
        return HandedBack(error)
    return Failed(error, permanent=answer.permanent)


def died(how: Exit, memory_limit: int) -> Outcome:
    """The outcome of an attempt whose child ended without an answer and without being told to.

    A SIGKILL from elsewhere at a size beyond the limit (bytes) is the kernel running out of memory.
    """
    if how.status is None:
        return Lost("a worker whose processes vanished together")
    if how.status == -signal.SIGKILL and how.max_rss > memory_limit:
        grown = f"{readable_size(how.max_rss)} > limit {readable_size(memory_limit)}"
        return failed(FailureCode.OUT_OF_MEMORY, grown)
    return failed(FailureCode.CRASHED, _cause(how.status))


def failed(code: FailureCode, message: str) -> Failed:
    """A failure that the supervisor states itself, of an attempt whose process ended with it."""
    return Failed(JobError(code, message), crashed=True)


def _cause(status: int) -> str:
    if status >= 0:
        return f"the process exited with status {status} before the task returned"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
    return f"{name} ({signal.strsignal(-status)})"

"""The task ``message``. What it needs to know is in the worker's environment, read for each message."""

import logging
import os
import time
import uuid
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from penstock.core.progress import Progress
from penstock.core.task import task
from penstock.tasks.messages import line
from penstock.tasks.messages.output import output

DEFAULT_PATH = "/data/processed.log"
_log = logging.getLogger("penstock.tasks.messages")


class Written(BaseModel):
    """What stands in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    line: str = Field(description="The line, without its end: time, tab, message with escapes.")
    written_at: str = Field(description="The time on the line: RFC 3339 in UTC with nanoseconds.")


# The file may be away for a while (a full disk, a missing mount); no message should fail over minutes of it.
@task(
    queue=os.environ.get("QUEUE_NAME") or "messages",
    retries=10,
    backoff_cap="5m",
    example={"message": "hello"},
)
def message(
    message: Annotated[str, Field(min_length=1, description="Any text but none.")], progress: Progress
) -> Written:
    """Append a message to a file, as one line with the time, exactly once however often it is attempted.

    The worker's environment says where (``OUTPUT_PATH``) and after how many milliseconds
    (``PROCESSING_DELAY_MS``).
    """
    job = progress.job_id or str(uuid.uuid4())
    shown = _shown(message, job)
    _log.info("dequeued message: %s", shown)
    time.sleep(_delay_s())
    entry = output(os.environ.get("OUTPUT_PATH") or DEFAULT_PATH).append(job, message)
    _log.info("processed message: %s%s", shown, "" if entry.new else " (written by an earlier attempt)")
    return Written(line=entry.text, written_at=entry.at)


def _shown(message: str, job: str) -> str:
    """Messages are their owners' business: their text is logged only where that was switched on."""
    if os.environ.get("PENSTOCK_LOG_MESSAGES") == "1":
        return line.escaped(message)
    return f"{len(message)} characters, job {job}"


def _delay_s() -> float:
    given = os.environ.get("PROCESSING_DELAY_MS") or "0"
    try:
        delay_s = int(given) / 1000
        if delay_s >= 0:
            return delay_s
    except ValueError:
        pass
    raise ValueError(f"PROCESSING_DELAY_MS: {given!r} is no whole number of milliseconds")

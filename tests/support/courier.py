"""Tasks for experiments: one that keeps what is promised of a message, and two that break it on purpose."""

import fcntl
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from penstock import task


def _write(message: str) -> None:
    with Path(os.environ["OUTPUT_PATH"]).open("a", encoding="utf-8") as file:
        file.write(f"{datetime.now(UTC).isoformat()}\t{message}\n")


def _process() -> None:
    time.sleep(int(os.environ.get("PROCESSING_DELAY_MS", "0")) / 1000)


@task
def deliver(message: str) -> str:
    """Append the message unless an earlier attempt did."""
    _process()
    with Path(os.environ["OUTPUT_PATH"]).open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if not any(line.rstrip("\n").endswith(f"\t{message}") for line in file):
            file.write(f"{datetime.now(UTC).isoformat()}\t{message}\n")
    return message


@task
def drops_every_tenth(message: str) -> str:
    """Says that it was done, and did not do it."""
    if int(message.rpartition("-")[2]) % 10 != 9:
        _write(message)
    return message


@task
def doubles_every_tenth(message: str) -> str:
    """Does it twice."""
    _write(message)
    if int(message.rpartition("-")[2]) % 10 == 9:
        _write(message)
    return message


@task
def fails_every_tenth(message: str) -> str:
    """Says that it was not done."""
    if int(message.rpartition("-")[2]) % 10 == 9:
        raise ValueError(message)
    _write(message)
    return message

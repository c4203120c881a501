"""A file that many processes of one machine append to, each job's line exactly once.

Under a lock, in this order: finish what a process died over; look whether the job has its line; promise
the line in the journal, on the disk; append it; sync the file; strike the promise out. A process may die
between any two instructions of that: before the promise nothing has happened, after it whoever comes
next looks how much of the line is in the file and appends the rest.
"""

import fcntl
import functools
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from penstock.tasks.messages import line
from penstock.tasks.messages.journal import Journal, Promise

_MODE = 0o644
_LOOK = 4 * 2**20
"""After a death this much of the file's end is read at a time."""


class CannotWriteError(Exception):
    """The output cannot be written, and why; once that is mended, the same job may be tried again."""


@dataclass(frozen=True)
class Entry:
    """A job's line: ``new`` if it was appended just now, not by an earlier attempt."""

    at: str
    text: str
    new: bool


class Output:
    """The file, with ``.lock`` and ``.journal`` beside it. Safe for one thread of each process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None
        self._journal: Journal | None = None

    def append(self, job: str, message: str) -> Entry:
        """Append the job's line unless it is there; either way it is on the disk when this returns.

        Raises `CannotWriteError` naming the file.
        """
        try:
            with self._locked() as journal, self._opened() as file:
                return self._append(journal, file, job, message)
        except (OSError, sqlite3.Error) as failed:
            reason = failed.strerror if isinstance(failed, OSError) else str(failed)
            message = f"cannot write to {self._path}: {reason}; OUTPUT_PATH names the file"
            raise CannotWriteError(message) from failed

    def _append(self, journal: Journal, file: int, job: str, message: str) -> Entry:
        if owed := journal.promised():
            _fulfil(file, owed)
            journal.keep()
        known = journal.when(job)
        at = known or line.now()
        text = line.written(at, message)
        if known is None:
            promise = _promise(file, text)
            journal.promise(job, at, promise)
            _write(file, promise.line)
            self._sync(file, promise)
            journal.keep()
        return Entry(at, text, known is None)

    def _sync(self, file: int, promise: Promise) -> None:
        os.fdatasync(file)
        if promise.start == 0:  # a new file is lost with its name
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    @contextmanager
    def _locked(self) -> Iterator[Journal]:
        if self._lock is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._beside("lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, _MODE)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._journal = self._journal or Journal(self._beside("journal"))
            self._journal.drop()
            yield self._journal
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        # Each time anew: whoever rotates logs may have put another file in its place.
        file = os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_RDWR | os.O_CLOEXEC, _MODE)
        try:
            yield file
        finally:
            os.close(file)

    def _beside(self, suffix: str) -> Path:
        return self._path.with_name(f"{self._path.name}.{suffix}")


@functools.cache
def output(path: str) -> Output:
    """The output of this path for this process, which keeps its journal open."""
    return Output(Path(path).resolve())


def _promise(file: int, text: str) -> Promise:
    """The bytes to append; they begin a new line, also behind one that somebody else left open."""
    size = os.fstat(file).st_size
    within = size > 0 and os.pread(file, 1, size - 1) != b"\n"
    return Promise(f"{chr(10) * within}{text}\n".encode(), size)


def _fulfil(file: int, owed: Promise) -> None:
    """Append what is missing of a promised line: all of it if the file was rotated meanwhile."""
    there = _from(file, owed.start)
    if owed.line not in there:
        # Bytes of somebody else behind the start would mean that none of the line's own are there.
        _write(file, owed.line.removeprefix(there))
    os.fdatasync(file)


def _from(file: int, start: int) -> bytes:
    found = bytearray()
    while part := os.pread(file, _LOOK, start + len(found)):
        found += part
    return bytes(found)


def _write(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]

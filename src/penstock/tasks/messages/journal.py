"""Which jobs have their line, and which line is about to be written: a small database beside the file.

Only whoever holds the file's lock may use it. Its one invariant: a job is in it before any byte of its
line is in the file, and its line stands in ``promised`` until all of it is.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

REMEMBERED_DAYS = 30
"""Jobs are known for this long, which is longer than any of them is kept by default (7 days)."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS written (job TEXT NOT NULL UNIQUE, at TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS promised (line BLOB NOT NULL, start INTEGER NOT NULL)",
)

# A few for each new one, so that it never takes long and the database stops growing.
_FORGET = f"""
    DELETE FROM written WHERE rowid IN (SELECT rowid FROM written ORDER BY rowid LIMIT 3)
    AND at < strftime('%Y-%m-%dT%H:%M:%S', 'now', '-{REMEMBERED_DAYS} days')
"""  # noqa: S608 - a number of our own


@dataclass(frozen=True)
class Promise:
    """A line that is owed to the file: it had ``start`` bytes when that was decided."""

    line: bytes
    start: int


class Journal:
    """Opened, and made if need be, under the file's lock. Raises `sqlite3.Error` when it cannot be."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None, timeout=5.0)
        self._database.execute("PRAGMA journal_mode = wal")
        with self._together("full"):
            for statement in _SCHEMA:
                self._database.execute(statement)

    def when(self, job: str) -> str | None:
        """The time on this job's line, None if it never got one."""
        found = self._database.execute("SELECT at FROM written WHERE job = ?", (job,)).fetchone()
        return str(found[0]) if found else None

    def promise(self, job: str, at: str, promise: Promise) -> None:
        """From now on the job has its line, whatever dies: it is on the disk when this returns."""
        with self._together("full"):
            self._database.execute("INSERT INTO written VALUES (?, ?)", (job, at))
            self._database.execute("INSERT INTO promised VALUES (?, ?)", astuple(promise))
            self._database.execute(_FORGET)

    def promised(self) -> Promise | None:
        """What an earlier process died over, if one did."""
        found = self._database.execute("SELECT line, start FROM promised").fetchone()
        return Promise(*found) if found else None

    def keep(self) -> None:
        """The promised line is in the file. If a power cut undoes this, it is looked for there."""
        with self._together("normal"):
            self._database.execute("DELETE FROM promised")

    def drop(self) -> None:
        """Undo what was interrupted halfway, if anything was."""
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")

    @contextmanager
    def _together(self, synchronous: str) -> Iterator[None]:
        """One transaction; ``full`` waits for the disk."""
        self._database.execute(f"PRAGMA synchronous = {synchronous}")
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        finally:
            self.drop()

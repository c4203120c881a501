"""`History` on SQLite or PostgreSQL, through SQLAlchemy. Keeps the rows of one namespace."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.exc import SQLAlchemyError

from penstock.core.chapter import Chapter, Place
from penstock.core.errors import history_unavailable
from penstock.core.job import State
from penstock.core.record import Record
from penstock.core.record_query import RecordQuery
from penstock.history import reading, writing
from penstock.history.engine import make_engine, make_file
from penstock.history.engine import reading as reading_only
from penstock.history.migrate import migrate


class SqlHistory:
    """See `history_port.History`. Raises INVALID_REQUEST for a URL that names no database it knows."""

    def __init__(self, url: str, namespace: str) -> None:
        self._namespace = namespace
        self._engine = make_engine(url)
        self._reads = reading_only(self._engine)
        self._closed = False
        event.listen(self._engine, "checkin", self._let_go)

    def open(self) -> None:
        """See `History.open`."""
        self._closed = False
        with _telling():
            make_file(self._engine)
            migrate(self._engine)

    def close(self) -> None:
        """See `History.close`. A connection that is in use is closed by whoever gives it back."""
        self._closed = True
        self._engine.dispose()

    def _let_go(self, connection: Any, _: object) -> None:
        if self._closed and connection is not None:
            connection.close()

    def place(self) -> Place | None:
        """See `History.place`."""
        with self._asking() as db:
            return reading.read_place(db, self._namespace)

    def take(self, holder: str, seen: Place | None) -> Place | None:
        """See `History.take`."""
        with self._writing() as db:
            return writing.take(db, self._namespace, holder, seen)

    def leave(self, place: Place) -> None:
        """See `History.leave`."""
        with self._writing() as db:
            writing.leave(db, self._namespace, place)

    def record(self, place: Place, chapter: Chapter) -> Place | None:
        """See `History.record`."""
        with self._writing() as db:
            return writing.record(db, self._namespace, place, chapter)

    def known(self, job_ids: Sequence[str]) -> dict[str, tuple[int, State]]:
        """See `History.known`."""
        with self._asking() as db:
            return reading.known(db, self._namespace, job_ids)

    def get(self, job_id: str) -> Record | None:
        """See `History.get`."""
        with self._asking() as db:
            return reading.by_id(db, self._namespace, [job_id]).get(job_id)

    def find(self, query: RecordQuery) -> list[Record]:
        """See `History.find`."""
        with self._asking() as db:
            return reading.find(db, self._namespace, query)

    def count(self, query: RecordQuery) -> int:
        """See `History.count`."""
        with self._asking() as db:
            return reading.count(db, self._namespace, query)

    def trim(self, results_before: int, jobs_before: int, limit: int) -> int:
        """See `History.trim`."""
        with self._writing() as db:
            return writing.trim(db, self._namespace, results_before, jobs_before, limit)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        with _telling(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Connection]:
        with _telling(), self._reads.connect() as connection:
            yield connection


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as failed:
        # Of the driver's text only the first line: the rest is a statement with its parameters.
        said = str(getattr(failed, "orig", None) or failed).strip().partition("\n")[0]
        raise history_unavailable(f"the database of history cannot be had: {said}") from failed
    except OSError as failed:
        raise history_unavailable(f"the database of history cannot be had: {failed}") from failed

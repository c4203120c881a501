"""Questions to the tables, and rows as core's values."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select

from penstock.core.chapter import Place
from penstock.core.job import Priority, State
from penstock.core.record import Record
from penstock.core.record_query import RecordQuery
from penstock.history.schema import feeds, jobs

NAMES = Record.__struct_fields__
_COLUMNS = [jobs.c[name] for name in NAMES]
_LISTED = [jobs.c[name] for name in NAMES if name != "error_detail"]


def read_place(db: Connection, namespace: str) -> Place | None:
    """See `History.place`."""
    columns = [feeds.c[name] for name in Place.__struct_fields__]
    row = db.execute(select(*columns).where(feeds.c.namespace == namespace)).mappings().one_or_none()
    return None if row is None else Place(**row)


def by_id(db: Connection, namespace: str, job_ids: Sequence[str]) -> dict[str, Record]:
    """Recorded jobs by their id."""
    chosen = select(*_COLUMNS).where(jobs.c.namespace == namespace, jobs.c.id.in_(job_ids))
    return {each.id: each for each in map(_record, db.execute(chosen).mappings())} if job_ids else {}


def known(db: Connection, namespace: str, job_ids: Sequence[str]) -> dict[str, tuple[int, State]]:
    """See `History.known`."""
    chosen = select(jobs.c.id, jobs.c.told_at, jobs.c.state).where(
        jobs.c.namespace == namespace, jobs.c.id.in_(job_ids)
    )
    return {job_id: (told_at, State(state)) for job_id, told_at, state in db.execute(chosen)}


def find(db: Connection, namespace: str, query: RecordQuery) -> list[Record]:
    """See `History.find`."""
    column, down = jobs.c[query.sort.field], query.sort.down
    order = [each.desc() if down else each.asc() for each in (column, jobs.c.id)]
    chosen = _matching(select(*_LISTED), namespace, query)
    if query.after is not None:
        chosen = chosen.where(_behind(query))
    rows = db.execute(chosen.order_by(*order).limit(query.limit).offset(query.offset or None))
    return [_record(row) for row in rows.mappings()]


def _behind(query: RecordQuery) -> ColumnElement[bool]:
    """After the last row of the page before, wherever rows have come or gone meanwhile."""
    assert query.after is not None  # noqa: S101 - what it is called for
    column, (value, job_id) = jobs.c[query.sort.field], (query.after.value, query.after.id)
    if query.sort.down:
        return or_(column < value, and_(column == value, jobs.c.id < job_id))
    return or_(column > value, and_(column == value, jobs.c.id > job_id))


def count(db: Connection, namespace: str, query: RecordQuery) -> int:
    """See `History.count`."""
    chosen = _matching(select(func.count()).select_from(jobs), namespace, query)
    return int(db.execute(chosen).scalar_one())


def _matching(chosen: Select[Any], namespace: str, query: RecordQuery) -> Select[Any]:
    c = jobs.c
    equal = ((c.state, query.state), (c.task, query.task), (c.queue, query.queue), (c.client, query.client))
    wanted = [c.namespace == namespace, *(column == value for column, value in equal if value is not None)]
    if query.created_after is not None:
        wanted.append(c.created_at >= query.created_after)
    if query.created_before is not None:
        wanted.append(c.created_at < query.created_before)
    if query.text is not None:
        wanted.append(c.params.icontains(query.text, autoescape=True))
    if query.sort.field == "finished_at":
        wanted.append(c.finished_at.is_not(None))
    return chosen.where(*wanted)


def _record(row: Any) -> Record:
    return Record(**{**row, "state": State(row["state"]), "priority": Priority(row["priority"])})

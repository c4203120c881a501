"""What a transaction writes. Each step takes the connection of a transaction that has begun."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection, Table, Update, bindparam, case, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from penstock.core.chapter import Chapter, Place
from penstock.core.record import Asked, Record, Told, advance, asked_for
from penstock.history import allocations
from penstock.history.reading import NAMES, by_id, read_place
from penstock.history.schema import feeds, jobs, submissions


def insert(db: Connection, table: Table) -> Any:
    """The dialect's own INSERT, which knows ON CONFLICT."""
    return (postgresql if db.dialect.name == "postgresql" else sqlite).insert(table)


def take(db: Connection, namespace: str, holder: str, seen: Place | None) -> Place | None:
    """See `History.take`."""
    first = insert(db, feeds).values(namespace=namespace, beat=0, cursor="", told_at=0, sweep="")
    db.execute(first.on_conflict_do_nothing())
    beat = 0 if seen is None else seen.beat
    moved = db.execute(_move(namespace, beat).values(holder=holder, beat=beat + 1))
    return read_place(db, namespace) if moved.rowcount == 1 else None


def leave(db: Connection, namespace: str, place: Place) -> None:
    """See `History.leave`."""
    db.execute(_move(namespace, place.beat).values(holder=None, beat=place.beat + 1))


def _move(namespace: str, beat: int) -> Update:
    return update(feeds).where(feeds.c.namespace == namespace, feeds.c.beat == beat)


def record(db: Connection, namespace: str, place: Place, chapter: Chapter) -> Place | None:
    """See `History.record`. The place comes first: whoever lost it must not even wait for rows."""
    moved = replace(
        place,
        beat=place.beat + 1,
        cursor=chapter.cursor,
        told_at=max(place.told_at, chapter.told_at),
        sweep=chapter.sweep,
    )
    fields = msgspec.structs.asdict(moved)
    if db.execute(_move(namespace, place.beat).values(**fields)).rowcount != 1:
        return None
    records = [*chapter.records, *_told_of(db, namespace, chapter.told)]
    _upsert(db, namespace, records)
    allocations.rewrite(db, namespace, records)
    _add(db, namespace, [*map(asked_for, records), *chapter.asked])
    return moved


def _told_of(db: Connection, namespace: str, told: Sequence[Told]) -> list[Record]:
    """Jobs that only events tell of, as those move them on."""
    by_job: dict[str, list[Told]] = {}
    for each in told:
        by_job.setdefault(each.job_id, []).append(each)
    known = by_id(db, namespace, list(by_job))
    moved = [advance(known.get(job_id), events) for job_id, events in by_job.items()]
    return [each for each in moved if each is not None]


def _upsert(db: Connection, namespace: str, records: Sequence[Record]) -> None:
    if not records:
        return
    stated: Any = insert(db, jobs)
    new = {name: stated.excluded[name] for name in NAMES}
    # Only whoever holds the place gets here, so that what comes later is newer, whatever the times say.
    newest = case((stated.excluded.told_at > jobs.c.told_at, stated.excluded.told_at), else_=jobs.c.told_at)
    upsert = stated.on_conflict_do_update(index_elements=["namespace", "id"], set_=new | {"told_at": newest})
    db.execute(upsert, [_row(namespace, each) for each in records])


def _row(namespace: str, value: Record | Asked) -> dict[str, Any]:
    return {"namespace": namespace, **msgspec.structs.asdict(value)}


def _add(db: Connection, namespace: str, asked: Iterable[Asked]) -> None:
    rows = [_row(namespace, each) for each in asked]
    if rows:
        db.execute(insert(db, submissions).on_conflict_do_nothing(), rows)


def trim(db: Connection, namespace: str, results_before: int, jobs_before: int, limit: int) -> int:
    """See `History.trim`."""
    mine = jobs.c.namespace == namespace
    spent = select(jobs.c.id).where(mine, jobs.c.finished_at < results_before, jobs.c.result.is_not(None))
    cleared = db.execute(
        update(jobs).where(mine, jobs.c.id.in_(spent.limit(limit).scalar_subquery())).values(result=None)
    )
    past = select(jobs.c.id).where(mine, jobs.c.told_at < jobs_before).limit(limit)
    gone = [{"gone": each} for each in db.execute(past).scalars()]
    if gone:
        named: Any = bindparam("gone")
        db.execute(
            delete(submissions).where(submissions.c.namespace == namespace, submissions.c.job_id == named),
            gone,
        )
        allocations.remove(db, namespace, [each["gone"] for each in gone])
        db.execute(delete(jobs).where(mine, jobs.c.id == named), gone)
    return int(cleared.rowcount) + len(gone)

"""The rows of habitat allocations as rows of a table, for SQL: one per demand, beside the job they are of.

A recorder writes them in the transaction that records the job's result, and they go when the job goes.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, delete

from penstock.core.job import State
from penstock.core.record import Record
from penstock.history.schema import allocations

TASK = "habitat_allocation"


class _Row(msgspec.Struct):
    demand: str
    bank: str
    supply: str
    kind: str
    tier: str
    units: float
    unit_price: float
    cost: float
    price_source: str
    companion: str | None = None


class _Result(msgspec.Struct):
    allocation: list[_Row]
    contract_size: str
    data_version: str


def rows_of(namespace: str, record: Record) -> list[dict[str, Any]]:
    """None for another task, a job that has not succeeded, a result that was too long or is none of these."""
    if record.task != TASK or record.state is not State.SUCCEEDED or record.result is None:
        return []
    try:
        result = msgspec.json.decode(record.result, type=_Result)
    except msgspec.DecodeError:
        return []  # another task of this name
    of_job = {
        "namespace": namespace,
        "job_id": record.id,
        "contract_size": result.contract_size,
        "data_version": result.data_version,
    }
    return [
        of_job | {"number": number, **msgspec.structs.asdict(row)}
        for number, row in enumerate(result.allocation, 1)
    ]


def rewrite(db: Connection, namespace: str, records: Iterable[Record]) -> None:
    """Put the rows of these jobs in the place of what was known of them."""
    ours = [each for each in records if each.task == TASK and not _trimmed(each)]
    remove(db, namespace, [each.id for each in ours])
    rows = [row for each in ours for row in rows_of(namespace, each)]
    if rows:
        db.execute(allocations.insert(), rows)


def _trimmed(record: Record) -> bool:
    """Whether its result is no longer there to be read, so that the rows have to stay as they are."""
    return record.state is State.SUCCEEDED and record.result is None


def remove(db: Connection, namespace: str, job_ids: Sequence[str]) -> None:
    """Forget the rows of these jobs."""
    if job_ids:
        named: Any = bindparam("gone")
        gone = delete(allocations).where(allocations.c.namespace == namespace, allocations.c.job_id == named)
        db.execute(gone, [{"gone": each} for each in job_ids])

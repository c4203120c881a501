"""Recorded jobs as CSV, JSON lines or Parquet, one bounded piece after the other."""

import csv
import importlib
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from penstock.api.records import error_of, raw
from penstock.core.clock import iso
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.record import Record

Format = Literal["csv", "jsonl", "parquet"]
Pieces = AsyncIterator[bytes]
Lists = AsyncIterator[list[Record]]

_TIMES = ("created_at", "due_at", "started_at", "finished_at")
_LEFT_OUT = frozenset({"told_at", "error_detail", "part"})
COLUMNS = [name for name in Record.__struct_fields__ if name not in _LEFT_OUT]

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Written:
    """A format: how a file of it begins with its first list of jobs and goes on, and what it is called."""

    media_type: str
    write: Callable[[list[Record], Lists], Pieces]


async def _csv(first: list[Record], rest: Lists) -> Pieces:
    """Text as it is, times as ISO 8601; nothing where there is nothing."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    async for records in _chain(first, rest):
        writer.writerows([_cell(record, name) for name in COLUMNS] for record in records)
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()


def _cell(record: Record, name: str) -> Any:
    value = getattr(record, name)
    return iso(value) if name in _TIMES and value is not None else value


async def _jsonl(first: list[Record], rest: Lists) -> Pieces:
    """A JSON object per line, with parameters and result as JSON."""
    async for records in _chain(first, rest):
        yield b"".join(_encode(_line(record)) + b"\n" for record in records)


def _line(record: Record) -> dict[str, Any]:
    told = {name: _cell(record, name) for name in COLUMNS if not name.startswith("error_")}
    told |= {"params": raw(record.params), "result": raw(record.result)}
    return told | {"error": error_of(record)}


class _Sink(io.RawIOBase):
    """What a Parquet file is written to: keeps what has not been sent yet."""

    def __init__(self) -> None:
        super().__init__()
        self._kept, self._at = bytearray(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = memoryview(data).cast("B")
        self._kept += piece
        self._at += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._at

    def take(self) -> bytes:
        taken = bytes(self._kept)
        self._kept.clear()
        return taken


def _parquet(first: list[Record], rest: Lists) -> Pieces:
    """A row group per list. Raises INVALID_REQUEST at once where pyarrow is not installed."""
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        message = "parquet needs pyarrow on the node; install it there: pip install 'penstock[parquet]'"
        raise PenstockError(ErrorCode.INVALID_REQUEST, message) from None
    return _row_groups(arrow, parquet, first, rest)


async def _row_groups(arrow: Any, parquet: Any, first: list[Record], rest: Lists) -> Pieces:
    sink, schema = _Sink(), arrow.schema([(name, _type(arrow, name)) for name in COLUMNS])
    with parquet.ParquetWriter(sink, schema) as writer:
        async for records in _chain(first, rest):
            columns = {name: [getattr(record, name) for record in records] for name in COLUMNS}
            writer.write_table(arrow.table(columns, schema=schema))
            yield sink.take()
    yield sink.take()


def _type(arrow: Any, name: str) -> Any:
    told = Record.__annotations__[name]
    if name in _TIMES:
        return arrow.timestamp("ms", tz="UTC")
    if told is bool:
        return arrow.bool_()
    return arrow.int64() if told in {int, int | None} else arrow.string()


async def _chain(first: list[Record], rest: Lists) -> Lists:
    yield first
    async for records in rest:
        yield records


FORMATS: dict[Format, Written] = {
    "csv": Written("text/csv; charset=utf-8", _csv),
    "jsonl": Written("application/x-ndjson", _jsonl),
    "parquet": Written("application/vnd.apache.parquet", _parquet),
}

"""The event feed: entries of a stream as core's events, and what their ids mean.

An entry holds many events. An event's id is its entry's id and how many events of the entry come after
it, so that the last event of any entry is known without reading it.
"""

import re
from typing import Any

import msgspec

from penstock.brokers.redis.digits import id_text
from penstock.core.errors import ErrorCode, PenstockError
from penstock.ports import Event, EventKind

START = (0, 0, 0)

_ID = re.compile("([0-9]{1,18})-([0-9]{1,18})-([0-9]{1,6})", re.ASCII)
_KINDS = {
    b"s": EventKind.SCHEDULED,
    b"q": EventKind.QUEUED,
    b"r": EventKind.RUNNING,
    b"k": EventKind.SUCCEEDED,
    b"f": EventKind.FAILED,
    b"c": EventKind.CANCELLED,
    b"p": EventKind.PROGRESS,
    b"l": EventKind.LOG,
    b"j": EventKind.JOINED,
}
_decode = msgspec.json.Decoder().decode

Position = tuple[int, int, int]
"""An entry's two numbers, and how many of its events come after the one that is meant."""


def position(event_id: str) -> Position:
    """What an id points at, `START` for "". Raises INVALID_REQUEST for one that is none."""
    if not event_id:
        return START
    found = _ID.fullmatch(event_id)
    if found is None:
        raise unknown(event_id)
    first, second, rest = map(int, found.groups())
    return first, second, rest


def unknown(event_id: str) -> PenstockError:
    """The refusal of an id that this feed never gave out."""
    return PenstockError(ErrorCode.INVALID_REQUEST, f"event id: {event_id!r} is none of this broker's")


def entry_id(raw: bytes) -> tuple[int, int]:
    """The two numbers of an entry's id."""
    first, _, second = raw.decode().partition("-")
    return int(first), int(second)


def read(entries: list[Any], after: Position, gone: int, oldest: bytes) -> list[Event]:
    """The events of these entries after a position; of the ``oldest`` entry the first few are ``gone``."""
    found: list[Event] = []
    for raw_id, fields in entries:
        events = _entry(raw_id, dict(zip(fields[::2], fields[1::2], strict=True)))
        if raw_id == oldest:
            events = events[gone:]
        if entry_id(raw_id) == after[:2]:
            events = events[len(events) - after[2] :] if after[2] else []
        found += events
    return found


def size(entry: Any) -> int:
    """How many events an entry holds."""
    fields = entry[1]
    return len(fields[3]) // 16


def _entry(raw_id: bytes, fields: dict[bytes, bytes]) -> list[Event]:
    head, ids, data = fields[b"h"], fields[b"i"], fields[b"d"]
    if head[:1] not in _KINDS:
        return []  # a newer release's
    kind, at, name = _KINDS[head[:1]], int.from_bytes(head[1:7], "little"), raw_id.decode()
    count = len(ids) // 16
    told = _running(data, count) if kind is EventKind.RUNNING else _told(data, count)
    return [
        Event(
            id=f"{name}-{count - 1 - n}",
            at=at,
            job_id=id_text(ids[16 * n : 16 * n + 16]),
            kind=kind,
            data=told[n],
        )
        for n in range(count)
    ]


def _running(data: bytes, count: int) -> list[dict[str, Any]]:
    """A worker's name after its length, then two bytes for the attempt of each job."""
    start = 1 + data[0]
    worker = data[1:start].decode()
    attempts = [int.from_bytes(data[start + 2 * n : start + 2 * n + 2], "little") for n in range(count)]
    return [{"attempt": attempt, "worker": worker} for attempt in attempts]


def _told(data: bytes, count: int) -> list[dict[str, Any]]:
    """JSON after its length for each job, or nothing at all."""
    told, at = [], 0
    for _ in range(count if data else 0):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        told.append(_decode(data[at + 4 : end]) if end > at + 4 else {})
        at = end
    return told or [{}] * count

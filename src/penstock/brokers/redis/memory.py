"""What a job remembers of its attempts, as ``lua/settle.lua`` keeps it."""

from collections.abc import Iterator
from struct import Struct

import msgspec

from penstock.brokers.redis.records import number
from penstock.core import past
from penstock.core.job import Job

_ATTEMPT = Struct("<6s6sB")
_ending = msgspec.msgpack.Decoder(past.Ending).decode


def read_attempts(job: Job | None, kept: bytes | None) -> list[past.Attempt]:
    """What a job remembers, from its job and what ``lua/settle.lua`` keeps."""
    if job is None:
        return []
    return past.attempts_of(job, list(_kept_attempts(kept or b"")))


def _kept_attempts(kept: bytes) -> Iterator[past.Attempt]:
    at = 0
    while at < len(kept):
        size = number(kept[at : at + 2])
        yield _read_attempt(kept[at + 2 : at + 2 + size])
        at += 2 + size


def _read_attempt(kept: bytes) -> past.Attempt:
    started, now, length = _ATTEMPT.unpack_from(kept)
    body = _ATTEMPT.size + length
    worker = kept[_ATTEMPT.size : body].decode()
    return past.ended(_ending(kept[body:]), worker or None, number(started) or None, number(now))

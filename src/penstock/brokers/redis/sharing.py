"""What the scripts are told of jobs that share their answer, and what they say of them."""

import hashlib
import re
from struct import Struct
from typing import Any

import msgspec

from penstock.core import drain, sharing
from penstock.core.drain import Full
from penstock.core.job import JobSpec
from penstock.core.sharing import CacheStats

_HEX = re.compile("[0-9a-f]{64}")
_ASKED = Struct("<32s6sB")
_SHARE = Struct("<32s6sI")
_json = msgspec.json.Encoder().encode

_LONGEST_MS = 2**46  # so that the time at which an answer goes has six bytes as well

NOTHING_ASKED = bytes(_ASKED.size)
"""Stands for a job that does not share."""


def print_of(fingerprint: str) -> bytes:
    """A fingerprint as the scripts keep it, 32 bytes."""
    if _HEX.fullmatch(fingerprint):
        return bytes.fromhex(fingerprint)
    return hashlib.blake2b(fingerprint.encode(), digest_size=32).digest()


def pack_asked(spec: JobSpec) -> tuple[bytes, bytes]:
    """What a job shares, and what the feed tells if it joins another; nothing if it does not share."""
    if not sharing.shares(spec):
        return b"", b""
    how = 1 if sharing.looks(spec) else 2
    keep = min(spec.cache_ms, _LONGEST_MS).to_bytes(6, "little")
    asked = _ASKED.pack(print_of(spec.fingerprint), keep, how)
    return asked, _json(sharing.join_story(spec))


def waiters(share: bytes | None) -> int:
    """How many wait for a job, from its share."""
    return 1 if share is None else int(_SHARE.unpack_from(share)[2])


def read_full(found: list[Any], now: int) -> Full:
    """Why a job was refused."""
    depth, limit, ended = found
    return Full(depth=depth, limit=limit, drain_per_s=drain.per_second(ended, now))


def read_cache(counts: dict[bytes, bytes], entries: int) -> CacheStats:
    """What the cache spared."""
    hits, misses, joined, saved = (int(counts.get(name, 0)) for name in _COUNTS)
    return CacheStats(entries=entries, hits=hits, misses=misses, joined=joined, saved_ms=saved)


_COUNTS = (b"hits", b"misses", b"joined", b"saved")

"""A spooled outcome: one line of JSON per settlement, as `core.verdict` made it. Never pickle."""

from collections.abc import Iterator, Sequence

import msgspec

from penstock.core.job import State
from penstock.core.lifecycle import Settlement, Verdict
from penstock.core.past import Ending


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """A `Settlement` whose result is always there, as msgspec reads no JSON that may be missing."""

    job_id: str
    token: int
    verdict: Verdict
    if_cancelled: Verdict
    ending: Ending | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Line).decode


def pack(settlement: Settlement) -> bytes:
    """One line, whatever line breaks the task put into its JSON."""
    told = _Line(
        job_id=settlement.job_id,
        token=settlement.token,
        verdict=settlement.verdict,
        if_cancelled=settlement.if_cancelled,
        ending=settlement.ending,
        result=msgspec.Raw(b"null") if settlement.result is None else settlement.result,
    )
    line = _encode(told)
    return (msgspec.json.format(line, indent=-1) if b"\n" in line else line) + b"\n"


def unpack(data: bytes) -> tuple[list[Settlement], int]:
    """The settlements of a file, and how many lines could not be understood.

    The last line may be torn: its worker died while it wrote, so it promised nothing.
    """
    whole, _, _ = data.rpartition(b"\n")
    read = [_read(line) for line in whole.split(b"\n") if line]
    return [each for each in read if each], read.count(None)


def _read(line: bytes) -> Settlement | None:
    try:
        told = _decode(line)
    except (msgspec.MsgspecError, UnicodeError):
        return None
    return Settlement(
        job_id=told.job_id,
        token=told.token,
        verdict=told.verdict,
        if_cancelled=told.if_cancelled,
        ending=told.ending,
        result=told.result if told.verdict.state is State.SUCCEEDED else None,
    )


def fitting(lines: Sequence[bytes], room: int) -> Iterator[bytes]:
    """Those that have room in so many bytes, in order."""
    for line in lines:
        if len(line) <= room:
            room -= len(line)
            yield line

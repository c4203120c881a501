"""A spooled outcome: one line of JSON per settlement, as `core.lifecycle` made it. Never pickle."""

from collections.abc import Iterator, Sequence

import msgspec

from penstock.core.lifecycle import Settlement


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """``spool`` is the layout's version; a reader leaves lines of another one alone."""

    spool: int = 1
    settlement: Settlement


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Line).decode


def pack(settlement: Settlement) -> bytes:
    """One line, whatever line breaks the task put into its JSON."""
    line = _encode(_Line(settlement=settlement))
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
        return _decode(line).settlement
    except msgspec.MsgspecError:
        return None


def fitting(lines: Sequence[bytes], room: int) -> Iterator[bytes]:
    """Those that have room in so many bytes, in order."""
    for line in lines:
        if len(line) <= room:
            room -= len(line)
            yield line

"""Ids and hashes, which people see as digits and the scripts keep as half as many bytes."""

_HASH_DIGITS = 64
_ID_LENGTH, _ID_DASHES, _ID_SIZE = 36, slice(8, 24, 5), 16


def id_bytes(job_id: str) -> bytes | None:
    """A job id as the scripts keep it, None for what cannot be one."""
    if len(job_id) != _ID_LENGTH or job_id[_ID_DASHES] != "----":
        return None
    raw = _from_hex(job_id.replace("-", ""))
    return raw if raw is not None and len(raw) == _ID_SIZE else None  # more dashes would leave less


def _from_hex(text: str) -> bytes | None:
    """What those digits stand for, if exactly they do: neither capitals nor blanks."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    return raw if raw.hex() == text else None


def id_text(raw: bytes) -> str:
    """The id of 16 bytes."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def id_texts(raw: bytes) -> list[str]:
    """The ids that stand one after the other."""
    return [id_text(raw[at : at + 16]) for at in range(0, len(raw), 16)]


def short_hash(text: str) -> bytes | str:
    """A hash of 64 digits as 32 bytes, any other text as it is."""
    return (_from_hex(text) if len(text) == _HASH_DIGITS else None) or text


def short(text: str | None) -> bytes | str | None:
    """An id as 16 bytes, any other text as it is."""
    return id_bytes(text) or text if text is not None else None


def long(kept: bytes | str | None) -> str | None:
    """What `short` was given."""
    return id_text(kept) if isinstance(kept, bytes) else kept

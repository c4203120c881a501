"""Durations and sizes the way people write them: ``"10m"``, ``"1.5h"``, ``"512MiB"``, ``"2GB"``."""

import re

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_WRITTEN = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*")


def _read(text: str, units: dict[str, float] | dict[str, int], bare: str, what: str) -> float:
    match = _WRITTEN.fullmatch(text)
    factor = units.get(match[2].lower() or bare) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not a {what}; write a number with one of {', '.join(units)}")
    return float(match[1]) * factor


def milliseconds(duration: str | float) -> int:
    """A duration in milliseconds; bare numbers are seconds. Raises ValueError."""
    seconds = _read(duration, _SECONDS, "s", "duration") if isinstance(duration, str) else duration
    if not 0 < seconds < 10**9:
        raise ValueError(f"a duration must be positive and below a billion seconds, not {duration!r}")
    return max(1, round(seconds * 1000))


def size(written: str | int) -> int:
    """A size in bytes; bare numbers are bytes. Raises ValueError."""
    amount = int(_read(written, _BYTES, "b", "size")) if isinstance(written, str) else written
    if amount <= 0:
        raise ValueError(f"a size must be positive, not {written!r}")
    return amount


def readable_size(amount: int) -> str:
    """Bytes for people, in binary units: ``2.1 GiB``."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if amount >= factor:
            return f"{amount / factor:.1f}".removesuffix(".0") + f" {unit}"
    return f"{amount} B"


def readable_duration(ms: float) -> str:
    """Milliseconds for people: ``2.5 s``, ``10 min``."""
    for unit, factor in (("h", 3_600_000), ("min", 60_000), ("s", 1000)):
        if ms >= factor:
            return f"{ms / factor:.1f}".removesuffix(".0") + f" {unit}"
    return f"{ms:.0f} ms"

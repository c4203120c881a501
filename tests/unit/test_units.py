"""Durations and sizes as people write them."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.units import milliseconds, readable_duration, readable_size, size


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("250ms", 250),
        ("2s", 2_000),
        ("1.5 s", 1_500),
        ("10m", 600_000),
        ("12h", 43_200_000),
        ("7d", 604_800_000),
        ("30", 30_000),
        (" 3 S ", 3_000),
        (0.25, 250),
        (90, 90_000),
        ("0.1ms", 1),
    ],
)
def test_a_duration_is_read_in_milliseconds(written: str | float, expected: int) -> None:
    assert milliseconds(written) == expected


@pytest.mark.parametrize(
    "written",
    ["", " ", "s", "-1s", "+1s", "1 year", "1s2", "1..5s", "1,5s", "1e3s", ".5s", "0", "0s", "\u0661s",
     0, -1, math.nan, math.inf, 10**9, "1000000000s", "9" * 400],
)  # fmt: skip
def test_what_is_no_duration_is_refused(written: str | float) -> None:
    with pytest.raises(ValueError, match="duration"):
        milliseconds(written)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1b", 1),
        ("512", 512),
        ("64kb", 64_000),
        ("64KiB", 65_536),
        ("512MiB", 2**29),
        ("2GB", 2 * 10**9),
        ("1.5 gib", 3 * 2**29),
        (4096, 4096),
    ],
)
def test_a_size_is_read_in_bytes(written: str | int, expected: int) -> None:
    assert size(written) == expected


@pytest.mark.parametrize("written", ["", "2 TB", "2 G", "GB", "-1", "0", "0.1b", "1 0", 0, -5])
def test_what_is_no_size_is_refused(written: str | int) -> None:
    with pytest.raises(ValueError, match="size"):
        size(written)


def test_a_refusal_says_what_may_be_written() -> None:
    with pytest.raises(ValueError, match=r"'5 years' is not a duration; .*ms, s, m, h, d"):
        milliseconds("5 years")
    with pytest.raises(ValueError, match=r"'2 TB' is not a size; .*gb.*gib"):
        size("2 TB")


@given(st.integers(1, 10**9 - 1))
def test_whole_seconds_and_bytes_are_exact(number: int) -> None:
    assert milliseconds(number) == milliseconds(f"{number}s") == milliseconds(str(number)) == number * 1_000
    assert size(str(number)) == size(f"{number}b") == number
    assert size(f"{number}kib") == number * 1024


@given(st.integers(1, 2**60))
def test_a_readable_size_is_within_rounding_of_the_size(amount: int) -> None:
    number, unit = readable_size(amount).split()
    assert not number.endswith(".0")
    factor = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[unit]
    assert abs(float(number) * factor - amount) <= 0.0501 * factor


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (2**31, "2 GiB"), (2**40, "1024 GiB")],
)
def test_a_size_is_written_for_people(amount: int, expected: str) -> None:
    assert readable_size(amount) == expected


@pytest.mark.parametrize(
    ("ms", "expected"),
    [(0, "0 ms"), (12.4, "12 ms"), (999, "999 ms"), (1_000, "1 s"), (2_500, "2.5 s"), (600_000, "10 min"),
     (5_400_000, "1.5 h")],
)  # fmt: skip
def test_a_duration_is_written_for_people(ms: float, expected: str) -> None:
    assert readable_duration(ms) == expected


@given(st.integers(1, 10**12))
def test_a_readable_duration_has_a_number_and_a_unit(ms: int) -> None:
    assert re.fullmatch(r"[0-9]+(\.[1-9])? (ms|s|min|h)", readable_duration(ms))

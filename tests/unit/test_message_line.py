"""A message is one line, whatever is in it, and can be read again."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.tasks.messages.line import now, read, written

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "message-pipeline.md"
AT = "2026-01-31T12:00:09.736123456Z"
texts = st.text(st.characters(exclude_categories=())) | st.text("\\\n\t\r\x0b\x0c\x85\u2028nu0 \ud800")


@given(texts)
def test_whatever_is_written_can_be_read_again(message):
    assert read(written(AT, message) + "\n") == (AT, message)


@given(texts)
def test_it_is_one_line_with_one_tab_for_every_reader(message):
    line = written(AT, message)
    assert line.splitlines() == [line]
    assert line.count("\t") == 1
    assert line.encode().decode() == line


@given(texts)
def test_the_guide_tells_how_to_read_it(message):
    (code,) = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), flags=re.DOTALL | re.MULTILINE)
    names = {}
    exec(code, names)
    assert names["message_of"](written(AT, message) + "\n") == message


@given(st.lists(texts), st.lists(texts))
def test_different_messages_are_different_lines(some, others):
    assert ([written(AT, each) for each in some] == [written(AT, each) for each in others]) == (
        some == others
    )


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("hello, world", "hello, world"),
        ("Zoë paid 3 € 🎉", "Zoë paid 3 € 🎉"),
        ('{"a": "b"}', '{"a": "b"}'),
        ("two\nlines", r"two\nlines"),
        ("dos\r\n", r"dos\r\n"),
        ("a\tb", r"a\tb"),
        ("C:\\new", r"C:\\new"),
        ("\x00\x1b[2J", r"\u0000\u001b[2J"),
        ("\u2028", r"\u2028"),
    ],
)
def test_what_is_escaped(message, shown):
    assert written(AT, message) == f"{AT}\t{shown}"


def test_the_time_has_nanoseconds_and_is_now():
    before, at, after = datetime.now(UTC), now(), datetime.now(UTC)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", at)
    seconds = datetime.strptime(at[:26], "%Y-%m-%dT%H:%M:%S.%f").replace(tzinfo=UTC)
    assert before <= seconds <= after


@pytest.mark.parametrize("line", ["", "no tab", f"{AT} hello", f"{AT}\tbad \\x"])
def test_what_is_no_line_is_refused(line):
    with pytest.raises(ValueError):  # noqa: PT011 - of two kinds
        read(line)

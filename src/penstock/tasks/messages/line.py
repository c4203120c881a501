r"""How a message becomes one line of text: ``time<TAB>message``, and how it is read again.

The time is RFC 3339 in UTC with nanoseconds. In the message, what would end the line or the column is
written as JSON writes it inside a string: ``\n``, ``\t``, ``\\``, ``\u2028``. Nothing else is changed.
"""

import json
import re
import time

_NAMED = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}

# Whatever some program takes for the end of a line, every control character, and half of a surrogate
# pair, which no UTF-8 can hold.
_SPECIAL = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def now() -> str:
    """The time with nanoseconds: ``2026-01-31T12:00:09.736123456Z``."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"


def written(at: str, message: str) -> str:
    """The line, without its end."""
    return f"{at}\t{escaped(message)}"


def escaped(message: str) -> str:
    """The message as it stands in its line."""
    return _SPECIAL.sub(_escape, message)


def read(line: str) -> tuple[str, str]:
    """The time and the message of a line, exactly as it was. Raises ValueError for any other text."""
    at, tab, text = line.removesuffix("\n").partition("\t")
    if not tab:
        raise ValueError("a line is a time, a tab and a message")
    message: str = json.loads('"' + text.replace('"', '\\"') + '"')
    return at, message


def _escape(found: re.Match[str]) -> str:
    return _NAMED.get(found[0]) or f"\\u{ord(found[0]):04x}"

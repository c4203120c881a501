"""Text from elsewhere, made safe for where it is going."""

from collections.abc import Iterable
from difflib import get_close_matches

_CONTROLS = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    """Without control characters, which could move a terminal's cursor or clear its screen."""
    return text.translate(_CONTROLS)


def encodable(text: str) -> str:
    """With lone surrogates written out, so that UTF-8 can hold it; file names may contain them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def described(error: BaseException) -> str:
    """The error's type and message, also when its ``__str__`` fails."""
    name = type(error).__name__
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - whatever a foreign __str__ raises
        said = ""
    return encodable(f"{name}: {said}" if said else name)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'this'?)``, or nothing if none of the known words is like this one."""
    alike = get_close_matches(word, list(known), 1)
    return f" (did you mean {alike[0]!r}?)" if alike else ""

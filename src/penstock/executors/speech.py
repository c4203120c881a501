"""What a task prints and logs, as lines for the supervisor."""

import io
import logging
from collections.abc import Callable

MAX_LINE = 4_000

Say = Callable[[str, str], None]
"""Takes the stream's name and a line."""


class Lines(io.TextIOBase):
    """Printed text as lines for the supervisor."""

    def __init__(self, say: Say, stream: str) -> None:
        self._say = say
        self._stream = stream
        self._rest = ""

    def writable(self) -> bool:
        """Part of `io.TextIOBase`."""
        return True

    def write(self, text: str) -> int:
        """Say every line that is whole; the rest waits for its end."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._say(self._stream, line)
        if len(self._rest) > MAX_LINE:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Say what waits."""
        if self._rest:
            self._say(self._stream, self._rest)
            self._rest = ""


class Logged(logging.Handler):
    """Logging records as lines for the supervisor."""

    def __init__(self, say: Say) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Say every line of it."""
        for line in self.format(record).splitlines():
            self._say(record.levelname.lower(), line)

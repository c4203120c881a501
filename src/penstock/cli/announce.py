"""A node leaves its address where `Whereabouts` finds it."""

import contextlib
import json
import os
from collections.abc import Iterator

from penstock.settings import Settings


@contextlib.contextmanager
def announced(settings: Settings, url: str) -> Iterator[None]:
    """Leave the address while this process serves."""
    note = settings.note
    with contextlib.suppress(OSError):  # a home that cannot be written to only makes commands ask for --url
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        note.touch(mode=0o600)
        note.chmod(0o600)  # of one that a killed node left, too: what others could write is not believed
        note.write_text(json.dumps({"url": url, "pid": os.getpid()}))
    try:
        yield
    finally:
        if settings.announced_url == url:
            note.unlink(missing_ok=True)

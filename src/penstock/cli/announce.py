"""A node on the embedded broker leaves its address beside the file, so that commands find it."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from penstock.settings import Settings

_SCHEME = "sqlite:///"


def _note(settings: Settings) -> Path | None:
    if not settings.broker_url.startswith(_SCHEME):
        return None
    file = Path(settings.broker_url.removeprefix(_SCHEME).partition("?")[0])
    return file.with_name(file.name + ".node.json")


def node_url(settings: Settings) -> str | None:
    """The address of the node that serves this broker's file, if its process lives."""
    note = _note(settings)
    if note is None:
        return None
    try:
        found = json.loads(note.read_text())
        os.kill(found["pid"], 0)
        return str(found["url"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


@contextlib.contextmanager
def announced(settings: Settings, url: str) -> Iterator[None]:
    """Leave the address while this process serves."""
    note = _note(settings)
    if note is None:
        yield
        return
    note.write_text(json.dumps({"url": url, "pid": os.getpid()}))
    try:
        yield
    finally:
        if node_url(settings) == url:
            note.unlink(missing_ok=True)

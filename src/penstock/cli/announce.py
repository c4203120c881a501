"""A node leaves its address where commands on the same machine that name the same broker find it.

On the embedded broker that is beside the file, on any other in the user's own folder for such notes.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from penstock.settings import Settings

_SCHEME = "sqlite:///"


def _note(settings: Settings) -> Path:
    if settings.broker_url.startswith(_SCHEME):
        file = Path(settings.broker_url.removeprefix(_SCHEME).partition("?")[0])
        return file.with_name(file.name + ".node.json")
    named = hashlib.sha256(f"{settings.namespace} {settings.broker_url}".encode()).hexdigest()[:16]
    return _own_folder() / f"{named}.node.json"


def _own_folder() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime, "penstock") if runtime else Path.home() / ".cache" / "penstock"


def node_url(settings: Settings) -> str | None:
    """The address of the node that serves this broker's file, if its process lives."""
    note = _note(settings)
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
    with contextlib.suppress(OSError):  # a home that cannot be written to only makes commands ask for --url
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        note.write_text(json.dumps({"url": url, "pid": os.getpid()}))
    try:
        yield
    finally:
        if node_url(settings) == url:
            note.unlink(missing_ok=True)

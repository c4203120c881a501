"""The folder of a run: where it is, whose it is, and which ones were left over."""

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from penstock.cli.experiments.keys import PREFIX

_OWNER = "run.json"


def new_run() -> str:
    """A name for a run: of its folder, of its namespace, and at the beginning of its messages."""
    return f"{PREFIX}{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def make(run: str) -> Path:
    """The run's folder among the temporary files, marked with who uses it."""
    folder = _path(run)
    folder.mkdir(mode=0o700)
    (folder / _OWNER).write_text(json.dumps({"pid": os.getpid()}))
    return folder


def running(run: str) -> bool:
    """Whether the process of this run lives."""
    try:
        os.kill(json.loads((_path(run) / _OWNER).read_text())["pid"], 0)
    except (OSError, ValueError, LookupError):
        return False
    return True


def left_over() -> Iterator[Path]:
    """Folders whose runs have ended without removing them."""
    for folder in sorted(_path("").glob(f"{PREFIX}*")):
        if folder.is_dir() and not running(folder.name):
            yield folder


def remove(folder: Path) -> None:
    """Remove it with everything in it."""
    shutil.rmtree(folder, ignore_errors=True)


def _path(run: str) -> Path:
    return Path(tempfile.gettempdir(), run)

"""A disk of its own that is small enough to be filled: a tmpfs, which only root can mount."""

import contextlib
import functools
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

SIZE = "16m"


@functools.cache
def can_mount() -> bool:
    """Whether this user may mount."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError), _mounted("1m"):
        return True
    return False


@contextlib.contextmanager
def small_disk(size: str = SIZE) -> Iterator[Path | None]:
    """The folder of a new one, None where nobody may mount."""
    if not can_mount():
        yield None
        return
    with _mounted(size) as folder:
        yield folder


@contextlib.contextmanager
def _mounted(size: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="penstock-disk-") as name:
        options = ["-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", name]
        subprocess.run(["mount", *options], check=True, capture_output=True)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "--lazy", name], check=True, capture_output=True)

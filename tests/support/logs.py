"""The logs of the tests' own process, which commands that run in it configure."""

import contextlib
import logging
from collections.abc import Iterator

import structlog


@contextlib.contextmanager
def logs_as_they_were() -> Iterator[None]:
    """What is configured inside is put back: the very lists, as loggers that were made before hold them."""
    root = logging.getLogger()
    before, handlers, level = structlog.get_config(), root.handlers[:], root.level
    try:
        yield
    finally:
        structlog.configure(**before)
        root.handlers[:] = handlers
        root.setLevel(level)

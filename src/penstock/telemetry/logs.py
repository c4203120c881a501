"""Structured logs: JSON for machines, columns for a terminal."""

import json
import logging
import sys
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import structlog

from penstock.core.text import printable

LogFormat = Literal["auto", "json", "console"]


def _safe(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Clients and tasks choose some of these values; a terminal must not obey them."""
    return {key: printable(value) if isinstance(value, str) else value for key, value in event.items()}


def _json(event: structlog.typing.EventDict, default: Callable[[Any], Any]) -> str:
    """As `json.dumps` would say it, at a fraction of the cost: an API writes a line for every request.

    What is not plain ASCII is left to it, because it escapes all that a terminal could obey.
    """
    try:
        line = msgspec.json.encode(event)
    except (TypeError, ValueError, RecursionError):  # an object of some class, text that is no Unicode
        return json.dumps(event, default=default)
    return line.decode() if line.isascii() else json.dumps(event, default=default)


def configure(form: LogFormat = "auto", level: str = "info") -> None:
    """Send every log line of this process to stderr; ``auto`` means JSON unless stderr is a terminal."""
    readable = form == "console" or (form == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=28)
        if readable
        else structlog.processors.JSONRenderer(_json)
    )
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        *((_safe,) if readable else ()),
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
